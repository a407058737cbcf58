"""What a bundle shows of personal features: no value of a row, and nothing that few rows share."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from typing import Any

import polars as pl

from trunkline.bundle.contract import Input
from trunkline.conf.privacy import SMALLEST_CELL
from trunkline.core.dataset import Dataset


def replaced(rows: Dataset, train: Dataset, inputs: Sequence[Input], personal: Collection[str]) -> Dataset:
    """Return rows with one value of each personal feature for all, which their contract allows.

    It is null where the value may be missing; else an allowed one, the mean, or the commonest text of training rows.
    """
    values = {field.name: _stand_in(field, train.frame[field.name]) for field in inputs if field.name in personal}
    columns = [pl.lit(value).cast(rows.frame.schema[name]).alias(name) for name, value in values.items()]
    return replace(rows, frame=rows.frame.with_columns(columns))


def _stand_in(field: Input, values: pl.Series) -> Any:
    if field.nullable:
        return None
    if field.allowed:
        return field.allowed[0]
    if field.type == "boolean":
        return False
    if field.role == "categorical":
        return values.drop_nulls().mode().sort()[0]
    mean = values.fill_nan(None).mean() if values.dtype.is_float() else values.mean()
    return round(mean) if field.type == "integer" else mean  # type: ignore[arg-type]


def clipped(train: Dataset, personal: Collection[str]) -> Dataset:
    """Return rows whose personal numbers end where SMALLEST_CELL rows, or all, are as low or as high."""
    names = [name for name in train.schema.of_role("numeric") if name in personal]
    return replace(train, frame=train.frame.with_columns(_clipped(train.frame[name]) for name in names))


def _clipped(values: pl.Series) -> pl.Series:
    ordered = (values.fill_nan(None) if values.dtype.is_float() else values).drop_nulls().sort()
    if ordered.is_empty() or values.dtype == pl.Boolean:
        return values
    last = min(SMALLEST_CELL, len(ordered)) - 1
    low, high = ordered[last], ordered[len(ordered) - 1 - last]
    return values.clip(min(low, high), max(low, high))


def suppressed(reference: Mapping[str, Any], personal: Collection[str]) -> dict[str, Any]:
    """Return the content of reference.json where no cell of a personal feature has fewer than SMALLEST_CELL rows."""
    features = {
        name: (_without_rare(of) if of["role"] == "categorical" else _merged(of)) if name in personal else of
        for name, of in reference["features"].items()
    }
    return {**reference, "features": features}


def _without_rare(histogram: Mapping[str, Any]) -> dict[str, Any]:
    counts = {text: count for text, count in histogram["counts"].items() if count >= SMALLEST_CELL}
    rare = sum(histogram["counts"].values()) - sum(counts.values())
    return {**histogram, "counts": counts, "other": histogram["other"] + rare}


def _merged(histogram: Mapping[str, Any]) -> dict[str, Any]:
    """Merge each bin of too few rows with the next ones, and what is left at the end with the last."""
    edges: list[float] = []
    counts: list[int] = []
    gathered = 0
    for edge, count in zip(histogram["edges"], histogram["counts"], strict=True):
        gathered += count
        if gathered >= SMALLEST_CELL:
            edges, counts, gathered = [*edges, edge], [*counts, gathered], 0
    if gathered and counts:
        edges[-1], counts[-1], gathered = histogram["edges"][-1], counts[-1] + gathered, 0
    lowest = histogram["lowest"] if edges else None
    return {**histogram, "lowest": lowest, "edges": edges, "counts": counts, "above": histogram["above"] + gathered}
