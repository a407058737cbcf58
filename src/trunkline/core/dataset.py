"""The two tables that the features stage hands on, and what their columns are."""

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Literal, Self

import polars as pl

from trunkline.core import files
from trunkline.core.errors import UserError
from trunkline.core.features import Feature, Role
from trunkline.core.files import parse_json
from trunkline.core.paths import FEATURES
from trunkline.core.tasks import NUMERIC, Task, levels, score_columns

Split = Literal["train", "holdout"]

SCHEMA = "schema.json"


@dataclass(frozen=True)
class Schema:
    """What the columns of a dataset are; the others are the request's own, kept for slices and clusters."""

    features: tuple[Feature, ...]
    label: str
    timezone: str
    task: Task = "binary"
    classes: tuple[str, ...] = ()  # of multiclass and multilabel, or the names of quantiles, in the order of the scores
    group: tuple[str, ...] = ()  # of ranking: columns of the request whose equal values are one group
    naive: str | None = None  # the feature that is by itself a simple forecast
    naive_error: float | None = None  # mean absolute difference of it and the label, in the training rows

    @classmethod
    def read(cls, folder: Path = FEATURES) -> Self:
        """Read the schema that the features stage wrote."""
        content = parse_json((folder / SCHEMA).read_text(encoding="utf-8"))
        features = tuple(Feature(**feature) for feature in content.pop("features"))
        listed = {name: tuple(content.get(name, ())) for name in ("classes", "group")}
        return cls(features=features, **content | listed)

    def write(self, folder: Path = FEATURES) -> None:
        """Write the schema beside the tables; without what only other tasks, or forecasts, have."""
        content = asdict(self)
        for key in ("task", "classes") if self.task == "binary" else ():
            del content[key]
        for key in ("naive", "naive_error") if self.naive is None else ():
            del content[key]
        if not self.group:
            del content["group"]
        files.write_json(folder / SCHEMA, content)

    @property
    def scores(self) -> tuple[str, ...]:
        """Names of the scores of a row."""
        return score_columns(self.classes)

    @property
    def levels(self) -> tuple[float, ...]:
        """Levels of the quantiles that are scored; none of another task."""
        return levels(self.task, self.classes)

    @property
    def names(self) -> list[str]:
        """Names of the features, in the order that models see them."""
        return [feature.name for feature in self.features]

    def of_role(self, role: Role) -> list[str]:
        """Names of the features of one role, in order."""
        return [feature.name for feature in self.features if feature.role == role]


@dataclass(frozen=True)
class Dataset:
    """Labelled rows of one part, ordered by event time, which is naive UTC, and key.

    The frame holds the request's columns, event_time if rows have one, the label and the features, each in its own
    type.
    """

    frame: pl.DataFrame
    schema: Schema

    @classmethod
    def read(cls, split: Split, folder: Path = FEATURES) -> Self:
        """Read the rows of one window; raises UserError for a feature that is infinite in some row."""
        dataset = cls(frame=pl.read_parquet(folder / f"{split}.parquet"), schema=Schema.read(folder))
        dataset.check_finite(split)
        return dataset

    @property
    def features(self) -> pl.DataFrame:
        """The feature columns in the order that models see them: numeric as Float64, categorical as String."""
        types = {"numeric": pl.Float64, "categorical": pl.String}
        return self.frame.select(pl.col(feature.name).cast(types[feature.role]) for feature in self.schema.features)

    @property
    def groups(self) -> pl.Series:
        """The number of each row's group, from 0 on; where no group is declared, each row is its own.

        Missing values are equal to each other.
        """
        names = self.schema.group
        ranks = pl.concat_str(pl.col(names).cast(pl.String).rank("dense").fill_null(0), separator=" ")
        group = ranks.rank("dense").cast(pl.Int64) - 1 if names else pl.int_range(pl.len())
        return self.frame.select(group.alias("group")).to_series()

    def check_finite(self, split: Split) -> None:
        """Raise UserError for a number that is infinite: no estimator takes one, nor does a bundle's contract."""
        infinite = self.features.select(pl.col(self.schema.of_role("numeric")).is_infinite())
        for name, row in ((column.name, column.arg_max()) for column in infinite if column.any()):
            raise UserError(
                f"data/features/{split}.parquet: '{name}' is infinite, first in row {row}; fix conf/features"
            )

    @property
    def label(self) -> pl.Series:
        """The label: 0 or 1 as Int8, a number as Float64, as Int64 the place of its class, or the number of a set.

        Raises UserError for a class that is not declared.
        """
        values, classes = self.frame[self.schema.label], self.schema.classes
        if self.schema.task == "binary":
            return values.cast(pl.Int8)
        if self.schema.task in NUMERIC:
            return values.cast(pl.Float64)
        if self.schema.task == "multilabel":
            return values.cast(pl.Int64)
        texts = values.cast(pl.String)
        foreign = texts.filter(~texts.is_in(classes)).unique().sort().to_list()
        if foreign:
            raise UserError(f"data.target.classes: '{foreign[0]}' is a label, but no declared class; add it")
        return texts.replace_strict(list(classes), range(len(classes)), return_dtype=pl.Int64)
