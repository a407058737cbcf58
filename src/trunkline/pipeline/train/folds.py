"""Parts of the training rows to try models on, split as training rows and holdout are, so that no fold knows more.

With a time, a fold learns from all that was known when its validation begins, and is measured on what follows.
Without, rows are put into folds by a hash of the columns that the holdout is split by.
"""

from dataclasses import dataclass
from datetime import datetime, timedelta

import numpy as np
import numpy.typing as npt
import polars as pl

from trunkline.core.dataset import Dataset
from trunkline.core.errors import UserError
from trunkline.core.features import EVENT_TIME
from trunkline.core.tables import rows
from trunkline.core.values import midnight

Rows = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Cut:
    """All that folds depend on of conf/data: when a label is known if rows have a time, else what stays together."""

    timezone: str
    known_after: timedelta | None
    by: tuple[str, ...]
    seed: int


@dataclass(frozen=True)
class Fold:
    """Places of the rows that are learnt from, and of those that are measured on."""

    train: Rows
    validate: Rows


def split(dataset: Dataset, cut: Cut, count: int, seed: int, key: str = "search.folds") -> tuple[Fold, ...]:
    """Return the folds of a dataset's rows, in the order of time if they have one; equal inputs give equal folds.

    Raises UserError, which names the key that declares their number, where a fold would have no rows.
    """
    folds = (
        _by_hash(dataset, cut, count, seed, key)
        if cut.known_after is None
        else _by_time(dataset, cut.timezone, cut.known_after, count)
    )
    for number, fold in enumerate(folds, 1):
        if not len(fold.train) or not len(fold.validate):
            raise UserError(f"{key}: fold {number} of {count} has no rows; declare fewer, or more to train on")
    return folds


def _by_time(dataset: Dataset, timezone: str, known_after: timedelta, count: int) -> tuple[Fold, ...]:
    """Expand the window by blocks of about as many rows, each begun at a local midnight, as the holdout is."""
    times = dataset.frame[EVENT_TIME]
    local = times.dt.replace_time_zone("UTC").dt.convert_time_zone(timezone).dt.date()
    days = [local[len(local) * block // (count + 1)] for block in range(1, count + 1)] if len(local) else []
    begins = [midnight(day, timezone) for day in days]
    blocks = zip(begins, [*begins[1:], datetime.max], strict=True)
    known_at = times + known_after
    return tuple(
        Fold(_places(known_at < begin), _places(times.is_between(begin, end, closed="left"))) for begin, end in blocks
    )


def _by_hash(dataset: Dataset, cut: Cut, count: int, seed: int, key: str) -> tuple[Fold, ...]:
    """Put rows that stay together on one side of the holdout's split into one fold."""
    absent = sorted(set(cut.by) - set(dataset.frame.columns))
    if absent:
        raise UserError(
            f"{key}: rows are split by '{absent[0]}', which is no column of the request; set another data.split.by"
        )
    other = cut.seed + 1 + seed  # than that of the holdout, of whose hashes these rows have the upper part only
    own = (rows.shares(dataset.frame, cut.by, other) * count).cast(pl.Int64)
    return tuple(Fold(_places(own != fold), _places(own == fold)) for fold in range(count))


def _places(mask: pl.Series) -> Rows:
    return mask.arg_true().cast(pl.Int64).to_numpy()
