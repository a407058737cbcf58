"""Measures windows of a prediction log beside the reference of its bundle: one pure function of what was read."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import polars as pl

from trunkline.core.tasks import Task
from trunkline.serve.labels.store import Outcomes
from trunkline.serve.prediction_log.place import Place


@dataclass(frozen=True)
class Source:
    """What is read: a log, the outcomes of it, and the bundle's reference.json as its content.

    `classes` are those of the bundle's contract.json, none unless the task is multiclass.
    """

    place: Place
    reference: Mapping[str, Any]
    outcomes: Outcomes
    task: Task = "binary"
    classes: tuple[str, ...] = ()


@dataclass(frozen=True)
class Plan:
    """What is measured: rows of a bundle from `since`, with what had arrived by `as_of` (both UTC).

    `environment` None takes the rows of all, `digest` None those of all bundles. `slices` and `cluster` are columns of
    requests or inputs; no cluster: each row is its own. `features` and `metrics` None: all of the reference.
    `released` is when the bundle was released or committed.
    """

    since: datetime
    as_of: datetime
    window: timedelta = timedelta(days=1)
    matures: timedelta = timedelta(0)
    environment: str | None = None
    digest: str | None = None
    slices: tuple[str, ...] = ()
    cluster: tuple[str, ...] = ()
    features: tuple[str, ...] | None = None
    metrics: tuple[str, ...] | None = None
    released: datetime | None = None


@dataclass(frozen=True)
class Measured:
    """The table, the counts of each window and those of the reference (table.py has their columns).

    `unmeasured` says in a line each what could not be measured, and why.
    """

    table: pl.DataFrame
    counts: pl.DataFrame
    reference_counts: pl.DataFrame
    unmeasured: tuple[str, ...]
