"""What is measured, in long form: a row for each number of a window, and the counts that distributions are drawn of."""

from collections.abc import Iterable, Mapping
from typing import Any

import polars as pl

INSTANT = pl.Datetime("us", "UTC")

WINDOW, KIND, SUBJECT, MEASURE = "window", "kind", "subject", "measure"
SLICE, LABEL = "slice", "label"
VALUE, LOW, HIGH, REFERENCE = "value", "low", "high", "reference"
ROWS, COVERAGE, COMPLETE = "rows", "coverage", "complete"
BIN, COUNT = "bin", "count"

FEATURE, SCORE, OUTCOME, PERFORMANCE, ESTIMATE = "feature", "score", "outcome", "performance", "estimate"
CALIBRATION, SYSTEM, SKEW = "calibration", "system", "skew"

TABLE: Mapping[str, Any] = {
    WINDOW: INSTANT,  # its start
    KIND: pl.String(),
    SUBJECT: pl.String(),  # such as a feature, a score, a metric, or latency
    MEASURE: pl.String(),
    SLICE: pl.String(),  # it and the label are "" for all rows; else such as origin and JFK
    LABEL: pl.String(),
    VALUE: pl.Float64(),
    LOW: pl.Float64(),  # it and HIGH are a 90 % interval by clusters, or null
    HIGH: pl.Float64(),
    REFERENCE: pl.Float64(),  # the same of the rows that the bundle was made of, or null
    ROWS: pl.Int64(),  # that the value is of; of performance, those with an outcome
    COVERAGE: pl.Float64(),  # share of the window's rows that have an outcome by now, of what needs outcomes
    COMPLETE: pl.Boolean(),  # the window is over, and has matured where outcomes are needed
}

COUNTS: Mapping[str, Any] = {
    WINDOW: INSTANT,
    KIND: pl.String(),
    SUBJECT: pl.String(),
    BIN: pl.String(),  # "below", the upper edge, "above", a text, "other" or "missing"
    COUNT: pl.Int64(),
}

REFERENCE_COUNTS: Mapping[str, Any] = {name: kind for name, kind in COUNTS.items() if name != WINDOW}

_KEY = (WINDOW, KIND, SUBJECT, MEASURE, SLICE, LABEL)


def of(rows: Iterable[Mapping[str, Any]]) -> pl.DataFrame:
    """Return rows of the table, sorted; slice and label are "" unless given, and whatever else is lacking null."""
    content = [{SLICE: "", LABEL: ""} | dict(row) for row in rows]
    return ordered(pl.DataFrame(content, schema=dict(TABLE), orient="row"))


def ordered(rows: pl.DataFrame) -> pl.DataFrame:
    """Return the rows of a table in its order."""
    return rows.sort(_KEY)
