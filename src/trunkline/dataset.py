"""The two tables that the features stage hands on, and what their columns are."""

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Literal, Self

import polars as pl

from trunkline.core import files
from trunkline.core.paths import FEATURES

Split = Literal["train", "holdout"]
Role = Literal["numeric", "categorical"]

SCHEMA = "schema.json"
EVENT_TIME = "event_time"


@dataclass(frozen=True)
class Feature:
    """A column that a model may read, as a number or as a category; either may be missing."""

    name: str
    role: Role


@dataclass(frozen=True)
class Schema:
    """What the columns of a dataset are; the others are the request's own, kept for slices and clusters."""

    features: tuple[Feature, ...]
    label: str
    timezone: str

    @classmethod
    def read(cls, folder: Path = FEATURES) -> Self:
        """Read the schema that the features stage wrote."""
        content = json.loads((folder / SCHEMA).read_text(encoding="utf-8"))
        features = tuple(Feature(**feature) for feature in content["features"])
        return cls(features=features, label=content["label"], timezone=content["timezone"])

    def write(self, folder: Path = FEATURES) -> None:
        """Write the schema beside the tables."""
        files.write_json(folder / SCHEMA, asdict(self))

    @property
    def names(self) -> list[str]:
        """Names of the features, in the order that models see them."""
        return [feature.name for feature in self.features]

    def of_role(self, role: Role) -> list[str]:
        """Names of the features of one role, in order."""
        return [feature.name for feature in self.features if feature.role == role]


@dataclass(frozen=True)
class Dataset:
    """Labelled rows of one window, ordered by event time; `event_time` is naive UTC, the label 0 or 1.

    The frame holds the request's columns, event_time, the label and the features, each in its own type.
    """

    frame: pl.DataFrame
    schema: Schema

    @classmethod
    def read(cls, split: Split, folder: Path = FEATURES) -> Self:
        """Read the rows of one window."""
        return cls(frame=pl.read_parquet(folder / f"{split}.parquet"), schema=Schema.read(folder))

    @property
    def features(self) -> pl.DataFrame:
        """The feature columns in the order that models see them: numeric as Float64, categorical as String."""
        types = {"numeric": pl.Float64, "categorical": pl.String}
        return self.frame.select(pl.col(feature.name).cast(types[feature.role]) for feature in self.schema.features)

    @property
    def label(self) -> pl.Series:
        """The label, Int8."""
        return self.frame[self.schema.label].cast(pl.Int8)
