"""The rows of the year, with features as of each prediction: as the server saw them, and with the weather mended."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import date
from functools import cached_property
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import polars as pl
from numpy.typing import NDArray

from examples.year.plan import FAULT, MENDED
from trunkline.conf.contract import Contract
from trunkline.conf.data import Data
from trunkline.conf.features import Features
from trunkline.core import expressions, files, paths
from trunkline.core.dataset import Dataset, Schema
from trunkline.core.params import Params
from trunkline.core.progress import track
from trunkline.core.values import midnight
from trunkline.pipeline.features import compiler
from trunkline.pipeline.features.duckdb import DuckDBEngine

METRIC = {  # of a reading in the units of the contract
    "temp": (pl.col("temp") - 32) / 1.8,
    "dewp": (pl.col("dewp") - 32) / 1.8,
    "wind_speed": pl.col("wind_speed") * 1.609,
    "precip": pl.col("precip") * 25.4,
    "visib": pl.col("visib") * 1.609,
}


@dataclass(frozen=True)
class Rows:
    """Labelled rows in order of event time: as the server saw them (`seen`), and as the mended source has them."""

    seen: Dataset
    mended: Dataset

    @cached_property
    def label(self) -> NDArray[np.int8]:
        """Whether each flight was late, 0 or 1."""
        return self.seen.label.to_numpy()

    @cached_property
    def day(self) -> NDArray[np.datetime64]:
        """The local day of each row."""
        times = self.seen.frame["event_time"].dt.replace_time_zone("UTC")
        return times.dt.convert_time_zone(self.seen.schema.timezone).dt.date().to_numpy().astype("datetime64[D]")

    @cached_property
    def flight(self) -> NDArray[np.int64]:
        """A number for each carrier and flight: what the monitor clusters by."""
        keys = self.seen.frame.select(pl.struct("carrier", "flight").rank("dense")).to_series()
        return keys.cast(pl.Int64).to_numpy() - 1

    def missing(self, feature: str, start: date, end: date) -> float:
        """Return the share of the rows of some days that had no value of a feature when they were scored."""
        values = self.seen.frame[feature].filter(self.between(start, end))
        return values.null_count() / max(1, len(values))

    def between(self, start: date, end: date) -> NDArray[np.bool_]:
        """Tell the rows of the local days from `start` up to, not including, `end`."""
        return (self.day >= np.datetime64(start)) & (self.day < np.datetime64(end))


def read(state: Path) -> Rows:
    """Return the rows, which are computed once and kept in a folder."""
    for name in ("mended", "seen"):
        if not (state / name / "train.parquet").is_file():
            _compute(state / name, faulty=name == "seen")
    return Rows(*(Dataset.read("train", state / name) for name in ("seen", "mended")))


def metric(weather: pl.DataFrame, zone: str) -> pl.DataFrame:
    """Return the weather with the month of the fault in metric units, less the rows that the contract refuses then."""
    inside = pl.col("time_hour").dt.replace_time_zone(None).is_between(
        midnight(FAULT, zone), midnight(MENDED, zone), closed="left"
    )  # fmt: skip
    turned = weather.with_columns(
        pl.when(inside).then(value).otherwise(pl.col(name)).alias(name) for name, value in METRIC.items()
    )
    return turned.filter((pl.col("visib") <= 15) & (pl.col("precip") <= 15) | ~inside)


def _compute(folder: Path, *, faulty: bool) -> None:
    params = Params.read()
    data, features, contract = params.group(Data), params.group(Features), params.group(Contract)
    plan = compiler.plan(features, data, contract)
    folder.mkdir(parents=True, exist_ok=True)
    schema = Schema(plan.outputs, data.target.name, data.timezone, data.target.task, data.target.class_names)
    schema.write(folder)
    label = ((schema.label, expressions.parse(data.target.expression)),)
    with _tables(data.timezone, faulty=faulty) as tables, DuckDBEngine(plan, tables) as engine:
        engine.load_requests(None, label)
        for primitive in track(plan.primitives, f"features, {folder.name}", unit="views"):
            engine.compute(primitive)
        with files.atomic_path(folder / "train.parquet") as path:
            engine.write(path, None, [schema.label])


@contextmanager
def _tables(zone: str, *, faulty: bool) -> Iterator[Path]:
    """Lend a folder with the validated tables, the weather with its fault if there is to be one."""
    with TemporaryDirectory() as name:
        folder = Path(name)
        for table in paths.VALID.glob("*.parquet"):
            (folder / table.name).symlink_to(table.absolute())
        if faulty:
            weather = metric(pl.read_parquet(paths.VALID / "weather.parquet"), zone)
            (folder / "weather.parquet").unlink()
            weather.write_parquet(folder / "weather.parquet")
        yield folder
