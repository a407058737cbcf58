"""Which rows people label: those that the model is least sure of, on which two arms disagree most, or any, by a seed.

Uncertainty is the margin: how far a score is from the threshold, or the likeliest class from the next one (B. Settles,
Active Learning Literature Survey, 2009, section 3.1).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import polars as pl

from trunkline.core.errors import UserError
from trunkline.core.tables import rows as table_rows
from trunkline.core.tasks import NUMERIC, SCORE, Task
from trunkline.serve.labelling.candidates import PER
from trunkline.serve.prediction_log.segments import ARM

By = Literal["random", "uncertain", "disagreeing"]

_ORDER, _SHARE = "order", "share"


@dataclass(frozen=True)
class Sampling:
    """How rows are chosen: so many, by what, and by which seed among equals; a score above the threshold says yes."""

    count: int
    by: By = "random"
    seed: int = 0
    threshold: float = 0.5


def choose(rows: pl.DataFrame, names: Sequence[str], how: Sampling, task: Task) -> pl.DataFrame:
    """Return what names the chosen rows, the most telling first, equally many of each value of `per` if rows have it.

    `rows` have these names, scores and maybe `arm`. Raises UserError where they lack what is chosen by.
    """
    measured = _disagreement(rows, names) if how.by == "disagreeing" else _answered(rows, names)
    if how.by == "random":
        measured = measured.with_columns(pl.lit(0.0).alias(_ORDER))
    elif how.by == "uncertain":
        measured = measured.with_columns(_margin(measured, how, task)).filter(pl.col(_ORDER).is_not_nan())
    drawn = table_rows.shares(measured, names, how.seed).alias(_SHARE)
    ordered = measured.with_columns(drawn).sort(_ORDER, _SHARE, *names)
    if PER in ordered.columns:
        ordered = ordered.with_columns(pl.int_range(pl.len()).over(PER).alias(_ORDER)).sort(_ORDER, PER)
    return ordered.head(how.count).select(names)


def _answered(rows: pl.DataFrame, names: Sequence[str]) -> pl.DataFrame:
    """Return each row once: that of the arm that answered."""
    answered = rows.filter(pl.col(ARM).ne_missing("shadow")) if ARM in rows.columns else rows
    return answered.unique(names, keep="first", maintain_order=True)


def _margin(rows: pl.DataFrame, how: Sampling, task: Task) -> pl.Series:
    if task in NUMERIC:
        raise UserError("--by uncertain: a score that is a number says nothing of how sure it is; take random")
    scores = _scores(rows)
    if not scores:
        raise UserError("--by uncertain: the rows have no score; score them by: trunkline predict --traceable")
    if len(scores) == 1 or task == "multilabel":
        apart = rows.select(pl.min_horizontal((pl.col(scores) - how.threshold).abs()).alias(_ORDER))
        return apart[_ORDER].fill_null(float("nan"))
    ranked = rows.select(pl.concat_list(scores).list.sort(descending=True).alias(_ORDER))[_ORDER]
    return (ranked.list.get(0) - ranked.list.get(1)).fill_null(float("nan")).alias(_ORDER)


def _disagreement(rows: pl.DataFrame, names: Sequence[str]) -> pl.DataFrame:
    """Return the rows that several arms scored unlike each other, the largest difference of a score first."""
    scores = _scores(rows)
    if ARM not in rows.columns:
        raise UserError("--by disagreeing: a table knows one model; take the log of a rollout in shadow: --log")
    if not scores:
        return rows.select(*names, pl.lit(0.0).alias(_ORDER)).clear()
    spread = -pl.max_horizontal(pl.col(name).max() - pl.col(name).min() for name in scores)
    per = [pl.col(PER).first()] if PER in rows.columns else []
    return rows.group_by(names, maintain_order=True).agg(spread.alias(_ORDER), *per).filter(pl.col(_ORDER) < 0)


def _scores(rows: pl.DataFrame) -> list[str]:
    return [name for name in rows.columns if name == SCORE or name.startswith(f"{SCORE}_")]
