"""Checks rows against a bundle's contract by column, and scores them with its graph.

A number is a numpy column and a text is checked once for each of its distinct values: no loop runs over the rows,
except over those that are refused.
"""

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import polars as pl
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv

from trunkline.bundle.contract import Contract, Input
from trunkline.bundle.runtime import Bundle
from trunkline.core.arrays import Floats
from trunkline.core.graphs import MISSING
from trunkline.core.tables import convert

Mask = npt.NDArray[np.bool_]
_LARGEST = float(np.finfo(np.float64).max)
_SHOWN = 40  # characters of a value in a message


@dataclass(frozen=True)
class Breach:
    """A requirement that some of a chunk's rows do not meet, in words that follow the field's name."""

    field: str
    words: str
    rows: Mask


@dataclass(frozen=True)
class Unseen:
    """The rows of a chunk in which an input is a text that no training row has; `texts` are those of all rows."""

    field: str
    rows: Mask
    texts: npt.NDArray[np.object_]


@dataclass(frozen=True)
class CheckedRows:
    """A chunk as a bundle takes it: float64 (n, k), NaN for missing; texts as objects (n, m), MISSING for missing."""

    numeric: Floats
    categorical: npt.NDArray[np.object_]
    breaches: tuple[Breach, ...]
    unseen: tuple[Unseen, ...]


def check_rows(chunk: Any, contract: Contract) -> CheckedRows:
    """Return a chunk (a pa.Table) as matrices in the contract's order, and which rows break the contract."""
    breaches: list[Breach] = []
    unseen: list[Unseen] = []
    numbers = [field for field in contract.inputs if field.role == "numeric"]
    texts = [field for field in contract.inputs if field.role == "categorical"]
    numeric, categorical = np.empty((len(chunk), len(numbers))), np.empty((len(chunk), len(texts)), dtype=object)
    for index, field in enumerate(numbers):
        good = _good_numbers(chunk, field)
        numeric[:, index] = _number(chunk, field, breaches.append) if good is None else good
    for index, field in enumerate(texts):
        categorical[:, index] = _text(chunk, field, breaches.append, unseen.append)
    return CheckedRows(numeric, categorical, tuple(breaches), tuple(unseen))


def reasons(chunk: Any, breaches: Sequence[Breach]) -> dict[int, str]:
    """Return, for each refused row of a chunk in order, what is wrong with it and with which value."""
    lines: dict[int, list[str]] = {}
    for breach in breaches:
        for row in np.flatnonzero(breach.rows).tolist():
            lines.setdefault(row, []).append(f"{breach.field}: {breach.words}{_value(chunk, breach.field, row)}")
    return {row: "; ".join(lines[row]) for row in sorted(lines)}


def _good_numbers(chunk: Any, field: Input) -> Floats | None:
    """Return a column that is stored as such numbers, NaN for missing, if a glance shows that no row is refused.

    The glance is the column's smallest and largest number: no thread waits for another while they are found.
    """
    if field.name not in chunk.schema.names or field.allowed is not None:
        return None
    stored = chunk.schema.field(field.name).type
    whole = pa.types.is_integer(stored) and field.type != "boolean"
    if not whole and not (pa.types.is_float64(stored) and field.type == "number"):
        return None
    values: Floats = chunk[field.name].to_numpy().astype(np.float64, copy=False)
    present = len(values) - int(np.isnan(values).sum())
    if present < len(values) and not field.nullable:
        return None
    low = -_LARGEST if field.min is None else field.min
    high = _LARGEST if field.max is None else field.max
    inside = present == 0 or (np.fmin.reduce(values) >= low and np.fmax.reduce(values) <= high)
    return values if inside else None


def _number(chunk: Any, field: Input, report: Callable[[Breach], None]) -> Floats:
    """Return the numbers, NaN for missing, and report every requirement that a row does not meet."""
    if field.name in chunk.schema.names:
        raw = pl.Series(field.name, pl.from_arrow(chunk[field.name]))
    else:
        raw = pl.Series(field.name, [None] * len(chunk), dtype=pl.Null)
    parsed = convert.parse(raw, field.type)
    values = parsed.values.cast(pl.Float64).alias(field.name)

    def breach(words: str, broken: pl.Series) -> None:
        mask = broken.fill_null(False).to_numpy()
        if mask.any():
            report(Breach(field.name, words, mask))

    breach(f"is not {convert.MEANING[field.type]}", parsed.failed)
    if not field.nullable and values.null_count():
        breach("is missing", values.is_null() & ~parsed.failed)
    if field.min is not None:
        breach(f"is below {_plain(field.min)}", values < field.min)
    if field.max is not None:
        breach(f"is above {_plain(field.max)}", values > field.max)
    if field.allowed is not None:
        breach(f"is not one of {_listed(field.allowed)}", ~values.is_in([float(value) for value in field.allowed]))
    return values.to_numpy()


def _text(
    chunk: Any, field: Input, report: Callable[[Breach], None], note: Callable[[Unseen], None]
) -> npt.NDArray[np.object_]:
    """Return the texts; each distinct one is made a Python object, checked, and looked for in the levels, once."""
    encoded = _encoded(_category_texts(chunk, field, report), field.name)
    distinct = np.array([*encoded.dictionary.to_pylist(), MISSING], dtype=object)
    codes = pl.Series(pl.from_arrow(encoded.indices)).fill_null(len(distinct) - 1).to_numpy()
    for words, wrong in _wrong_texts(distinct, field):
        mask = wrong[codes]
        if mask.any():
            report(Breach(field.name, words, mask))
    values: npt.NDArray[np.object_] = distinct[codes]
    if field.levels is not None:
        levels = {*field.levels, MISSING}
        new = np.array([text not in levels for text in distinct.tolist()], dtype=np.bool_)[codes]
        if new.any():
            note(Unseen(field.name, new, values))
    return values


def _category_texts(chunk: Any, field: Input, report: Callable[[Breach], None]) -> Any:
    """Return a chunk with a category's texts as the pipeline wrote those of the training rows."""
    if field.name not in chunk.schema.names or (field.category_of is None and _is_text(chunk[field.name].type)):
        return chunk
    kind = field.category_of or field.type
    parsed = convert.parse(pl.Series(field.name, pl.from_arrow(chunk[field.name])), kind)
    if parsed.failed.any():
        report(Breach(field.name, f"is not {convert.MEANING[kind]}", parsed.failed.to_numpy()))
    texts = parsed.values.cast(pl.String).to_arrow()
    return chunk.set_column(chunk.schema.get_field_index(field.name), field.name, texts)


def _is_text(stored: Any) -> bool:
    values = stored.value_type if pa.types.is_dictionary(stored) else stored
    return bool(pa.types.is_string(values) or pa.types.is_large_string(values) or pa.types.is_string_view(values))


def _encoded(chunk: Any, name: str) -> Any:
    """Return a column of texts as one pa.DictionaryArray whose dictionary holds no null."""
    if name not in chunk.schema.names:
        return pa.nulls(len(chunk), pa.string()).dictionary_encode()
    column = chunk[name].combine_chunks()
    if isinstance(column, pa.ChunkedArray):
        column = pa.concat_arrays(column.chunks) if column.num_chunks else pa.array([], column.type)
    if pa.types.is_dictionary(column.type):
        column = column.dictionary_decode()
    return pc.dictionary_encode(column.cast(pa.large_string()))


def _wrong_texts(distinct: npt.NDArray[np.object_], field: Input) -> Iterator[tuple[str, Mask]]:
    """Yield each requirement in words, with the distinct texts that do not meet it."""
    texts = distinct[:-1].tolist()

    def where(test: Callable[[str], bool], missing: bool = False) -> Mask:
        return np.array([*map(test, texts), missing], dtype=np.bool_)

    yield "is the text that is reserved for missing values", where(MISSING.__eq__)
    if not field.nullable:
        yield "is missing", where(lambda _: False, missing=True)
    if field.allowed is not None:
        allowed = {str(value) for value in field.allowed}
        yield f"is not one of {_listed(field.allowed)}", where(lambda text: text not in allowed)
    if field.pattern is not None:
        pattern = re.compile(field.pattern)
        yield f"is not of the form {field.pattern}", where(lambda text: pattern.fullmatch(text) is None)


def _value(chunk: Any, name: str, row: int) -> str:
    value = chunk[name][row].as_py() if name in chunk.schema.names else None
    if value is None:
        return ""
    text = str(value)
    return f" ({text if len(text) <= _SHOWN else text[:_SHOWN] + '…'!r})"


def _plain(number: float) -> str:
    return str(int(number)) if number == int(number) else str(number)


def _listed(values: Sequence[str | int]) -> str:
    shown = ", ".join(map(str, values[:20]))
    return shown if len(values) <= 20 else f"{shown} and {len(values) - 20} more"


def graph_scores(bundle: Bundle, features: pl.DataFrame) -> Floats:
    """Return a bundle's scores of rows of features, numeric ones Float64 and categorical ones String."""
    numeric = features.select(bundle.numeric).to_numpy().astype(np.float64)
    categorical = features.select(pl.col(bundle.categorical).fill_null(MISSING)).to_numpy().astype(object)
    if not bundle.numeric or not bundle.categorical:  # polars forgets the rows of a frame without columns
        numeric = numeric.reshape(features.height, len(bundle.numeric))
        categorical = categorical.reshape(features.height, len(bundle.categorical))
    return bundle.scores(np.ascontiguousarray(numeric), np.ascontiguousarray(categorical))
