"""What the server of the real loop answered, row by row, and the course that this makes of the days that were lived."""

from collections.abc import Iterator, Mapping, Sequence
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from examples.year import managed
from examples.year.managed import Event
from examples.year.plan import Version
from examples.year.rows import Rows
from examples.year.setting import DAY
from examples.year.strategies import Course
from trunkline.core.arrays import Floats

KEY: Mapping[str, type[pl.DataType]] = {  # conf/data: what is unique of a flight
    **dict.fromkeys(("year", "month", "day", "flight", "sched_dep_time"), pl.Int64), "carrier": pl.String,
}  # fmt: skip
Day = tuple[date, Mapping[str, Any]]


def scores(folder: Path, rows: Rows) -> Floats:
    """Return the score that answered each row, of the logs of each day; NaN where none did, shape (rows,)."""
    logged = pl.read_parquet(folder / "*.parquet").filter(pl.col("arm").is_null() | (pl.col("arm") != "shadow"))
    keys = logged.select(pl.col("request_columns").str.json_decode(pl.Struct(KEY)).alias("key"), "score").unnest("key")
    asked = rows.seen.frame.select(pl.col(name).cast(kind) for name, kind in KEY.items())
    joined = asked.join(keys.unique(list(KEY)), on=list(KEY), how="left", maintain_order="left")
    return np.asarray(joined["score"].fill_null(float("nan")).to_numpy(), dtype=np.float64)


def course(days: Sequence[Day], answers: Floats) -> Course:
    """Return the real loop as a strategy: its versions, from the day after their rollout, and what happened."""
    versions, learnt = [managed.first()], dict[str, Version]()
    for day, content in days:
        retraining, rollout = content["retraining"] or {}, content["rollout"] or {}
        if retraining.get("became") == "released":
            learnt[retraining["version"]] = _version(day, retraining)
        if rollout.get("answer") == "finish":
            versions.append(learnt[rollout["candidate"]])
    return Course("managed", versions, answers, tuple(_events(days)), tuple(_happened(days)))


def _version(day: date, retraining: Mapping[str, Any]) -> Version:
    """Return what a retraining of a day has made; it answers once a shadow and a canary, a day each, are over."""
    start, end = map(date.fromisoformat, retraining["windows"]["after"]["train"].split(".."))
    return Version(day + 3 * DAY, start, end + DAY)


def _events(days: Sequence[Day]) -> Iterator[Event]:
    """Yield each pull request for a retraining with what became of it."""
    back = {content["rollout"]["candidate"] for _, content in days if _answer(content) == "go back"}
    for day, content in days:
        retraining = content["retraining"] or {}
        if retraining.get("became"):
            asking = [each["rule"] for each in content["alerts"] if each["then"] == "retrain"]
            became = "taken back" if retraining.get("version") in back else retraining["became"]
            yield Event(day, "an alert" if asking else "schedule", became, _version(day, retraining))


def _happened(days: Sequence[Day]) -> Iterator[tuple[date, str]]:
    """Yield what the time line shows: releases, what was refused, forbidden or taken back, and alerts that begin."""
    before: set[tuple[str, str]] = set()
    for day, content in days:
        retraining = content["retraining"] or {}
        if retraining.get("what") == "refused":
            yield day, "forbidden"
        if retraining.get("became"):
            yield day, retraining["became"]
        if _answer(content) == "go back":
            yield day, "taken back"
        if content["challenger"]:
            yield day, "challenger"
        alerts = {(each["rule"], each["subject"]): each["upstream"] for each in content["alerts"]}
        yield from ((day, "upstream" if upstream else "alert") for key, upstream in alerts.items() if key not in before)
        before = set(alerts)


def _answer(content: Mapping[str, Any]) -> str:
    return str((content["rollout"] or {}).get("answer"))
