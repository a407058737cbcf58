"""Whose outcome it is: that of one prediction, by its request id and row, or of all with the same key.

A key is the columns that identify an observation (data.unique_key) as JSON: each value in its type of the contract, or
hashed where the log hashes it.
"""

import json
from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Any

import msgspec
import polars as pl

from trunkline.core.tables import convert
from trunkline.core.tables.convert import ColumnType
from trunkline.serve.log import INPUTS, REQUEST
from trunkline.serve.prediction_log.segments import COLUMNS, ROW

KEY = "key"
PLACE, IDENTITY = "place", "identity"  # the number of a row, and a text that is that of its outcomes

_BY_ID = pl.format("{}\t{}", ROW, REQUEST)


class Key(msgspec.Struct, frozen=True):
    """The columns of a key with their types, and which of them are hashed."""

    columns: tuple[tuple[str, ColumnType], ...]
    hashed: tuple[str, ...] = ()

    @property
    def names(self) -> frozenset[str]:
        """The names of the columns."""
        return frozenset(name for name, _ in self.columns)


def texts(frame: pl.DataFrame) -> list[str]:
    """Return the key of each row of a frame that has the columns of keys alone, in their types."""
    names = sorted(frame.columns)
    rows = frame.select(names).iter_rows()
    return [_TEXT.encode(dict(zip(names, row, strict=True))) for row in rows]


def identified(outcomes: pl.DataFrame) -> pl.DataFrame:
    """Return outcomes with the identity of each: its key, or its request id and row."""
    return outcomes.with_columns(pl.coalesce(KEY, _BY_ID).alias(IDENTITY))


def of_predictions(predictions: pl.DataFrame, keys: Iterable[Key]) -> pl.DataFrame:
    """Return every identity that an outcome of a prediction may have, beside the prediction's number from 0.

    `predictions` are rows of a log: request_id, row, request_columns and, where their keys may be in them, inputs.
    """
    numbers = pl.int_range(predictions.height, eager=True).alias(PLACE)
    own = predictions.select(numbers, _BY_ID.alias(IDENTITY))
    by_key = [pl.DataFrame({PLACE: numbers, IDENTITY: _keys(predictions, key)}, own.schema) for key in keys]
    return pl.concat([own, *by_key]).drop_nulls().unique(maintain_order=True)


def _keys(predictions: pl.DataFrame, key: Key) -> list[str | None]:
    """Return the key of each prediction, None of one of which the log lacks a column of it."""
    logged = _logged(predictions, key.names)
    rows = [row if row is not None and row.keys() >= key.names else None for row in logged]
    known = [row for row in rows if row is not None]
    columns = {name: pl.Series([_text(row[name]) for row in known], dtype=pl.String) for name in key.names}
    typed = {
        name: columns[name] if name in key.hashed else convert.parse(columns[name], kind).values
        for name, kind in key.columns
    }
    of_known = iter(texts(pl.DataFrame(typed)))
    return [None if row is None else next(of_known) for row in rows]


def _logged(predictions: pl.DataFrame, names: frozenset[str]) -> list[Mapping[str, Any] | None]:
    """Return the columns of each request, or the inputs of one that the log has no columns of."""
    requested = predictions[COLUMNS].to_list()
    kind = predictions.schema.get(INPUTS)
    has_all = isinstance(kind, pl.Struct) and names.issubset(field.name for field in kind.fields)
    inputs = predictions[INPUTS].to_list() if has_all else [None] * len(requested)
    return [own if text is None else json.loads(text) for text, own in zip(requested, inputs, strict=True)]


def _text(value: Any) -> str | None:
    return None if value is None else str(value)


def _time(value: datetime) -> str:
    return value.isoformat()


_TEXT = json.JSONEncoder(ensure_ascii=False, default=_time)  # json.dumps would make one for each row
