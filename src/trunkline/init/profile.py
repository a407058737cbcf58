"""What a table looks like: the type of each column, its notations, and what its values are. Pure."""

import re
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import polars as pl

from trunkline.conf.privacy import words
from trunkline.core.tables import convert
from trunkline.core.tables.convert import ColumnType

NULLS = (  # texts that mean nothing is there
    "NA", "N/A", "n/a", "#N/A", "NULL", "null", "None", "NaN", "nan", "?", "-", ".", "--", "*", "na", "n.a.", "N.A.",
    "<NA>", "NaT", "none", "nil", "missing", "Missing", "unknown", "Unknown",
)  # fmt: skip
UNREADABLE = 0.005  # share of the values that may be none of a column's type
_LOOKED_AT = 1000  # rows by which it is told whether a column can be held
LISTED = 20  # different values of a column that are listed, at most
_NOTATIONS = (
    "%m/%d/%Y", "%d/%m/%Y", "%d.%m.%Y", "%Y/%m/%d", "%d-%m-%Y", "%d-%b-%Y", "%d %b %Y", "%b %d, %Y", "%B %d, %Y",
    "%d.%m.%Y %H:%M", "%d.%m.%Y %H:%M:%S", "%m/%d/%Y %H:%M", "%m/%d/%Y %H:%M:%S", "%m/%d/%Y %I:%M:%S %p",
    "%m/%d/%Y %I:%M %p", "%d/%m/%Y %H:%M", "%d/%m/%Y %H:%M:%S", "%Y/%m/%d %H:%M", "%Y/%m/%d %H:%M:%S",
)  # fmt: skip
_MOST_NOTATIONS = 3
_COMPACT = "%Y%m%d"
_EPOCHS = {  # the numbers of 1980 to 2169, and the names of columns that hold them
    "epoch days": (3_650, 73_000, re.compile(r"(^|_)(date|day|days)$")),
    "epoch seconds": (3.15e8, 6.3e9, re.compile(r"(^|_)(date|time\w*|ts|epoch|at)(_|$)")),
    "epoch milliseconds": (3.15e11, 6.3e12, re.compile(r"(^|_)(date|time\w*|ts|epoch|at)(_|$)")),
}
# Numbers as people write them and no contract reads them: with a sign, with a comma for thousands or for the point.
_SIGN = r"(?:[$€£¥₹%]|AUD|CAD|CHF|CNY|DKK|EUR|GBP|INR|JPY|NOK|PLN|SEK|USD)"
_PARTS = r"[(]?[+-]?\s?(?:\d{1,3}(?:[.,'\x{a0} ]\d{3})+|\d+)(?:[.,]\d+)?[)]?"
_NOTATED = (
    rf"^(?:[+-]?{_SIGN}\s?{_PARTS}|{_PARTS}\s?{_SIGN}|[+-]?\d+,\d+|[+-]?\d{{1,3}}(?:,\d{{3}})+(?:\.\d+)?"
    r"|[+-]?\d{1,3}(?:[. ]\d{3})+,\d+)$"
)
_PERSONAL = {
    "e-mail addresses": r"^[^@\s]+@[^@\s]+\.[^@\s.]+$",
    "phone numbers": r"^(\+|00)\d[\d ()/-]{6,}$|^\(?\d{3}\)?[ -]\d{3}-\d{4}$",
    "coordinates": r"^[(\[]?[+-]?\d{1,2}\.\d{3,}[,; ]+[+-]?\d{1,3}\.\d{3,}[)\]]?$",
}
_MOSTLY = 0.8  # share of a column's texts
_DIGITS = r"^(19|20)\d\d(0[1-9]|1[0-2])(0[1-9]|[12]\d|3[01])$"


@dataclass(frozen=True)
class Column:
    """A column: its type and what its values are.

    `values` are all that there are, if they are few, the commonest first; `unreadable` counts those that are none of
    the type, `low` and `high` are of numbers, `length` is the mean number of characters of a text. `notation` says of a
    text that it is a number to a person, and what to do; `looks_like` which personal values it seems to have.
    """

    name: str
    type: ColumnType
    rows: int
    missing: int
    unreadable: int
    distinct: int
    formats: tuple[str, ...] = ()
    values: tuple[str | int, ...] = ()
    counts: tuple[int, ...] = ()
    low: float | None = None
    high: float | None = None
    length: float = 0.0
    pattern: str | None = None
    notation: str | None = None
    looks_like: str | None = None

    @property
    def present(self) -> int:
        """How many values there are."""
        return self.rows - self.missing


@dataclass(frozen=True)
class Table:
    """A table in the types that its columns look like; `nulls` are the texts that mean a missing value."""

    name: str
    frame: pl.DataFrame
    columns: tuple[Column, ...]
    nulls: tuple[str, ...]

    def column(self, name: str) -> Column:
        """Return a column; raises KeyError where there is none of that name."""
        return {column.name: column for column in self.columns}[name]


def unusable(raw: pl.Series) -> str | None:
    """Say why no contract can hold a column, such as one of lists; None where one can."""
    some = raw.head(_LOOKED_AT)  # what is stored, and as what, is the same in all rows
    kind, formats = _typed(some.drop_nulls())
    try:
        convert.parse(some, kind, formats)
    except TypeError as error:
        return str(error)
    return None


def profile(name: str, raw: pl.DataFrame, *, texts: bool) -> Table:
    """Look at every column of a table; `texts` says whether its source has texts only, as a CSV has.

    A column of a type that no contract knows, such as a list, raises TypeError with its name.
    """
    nulls = tuple(null for null in NULLS if any(_marks_missing(series, null) for series in raw)) if texts else ()
    if nulls:
        raw = raw.with_columns(pl.col(pl.String).replace(dict.fromkeys(nulls)))
    if texts:
        raw = raw.with_columns(pl.col(pl.String).replace({"": None}))
    parts = [_column(series) for series in raw]
    frame = pl.DataFrame([values for _, values in parts])
    return Table(name, frame, tuple(column for column, _ in parts), ("", *nulls) if texts else ())


def _marks_missing(series: pl.Series, null: str) -> bool:
    """Tell whether a text stands among numbers or times, where it can only mean that there is none."""
    if series.dtype != pl.String or not (series == null).any():
        return False
    others = series.filter(~series.is_in([*NULLS, ""])).drop_nulls()
    return others.len() > 0 and _typed(others)[0] != "text"


def _column(raw: pl.Series) -> tuple[Column, pl.Series]:
    kind, formats = _typed(raw.drop_nulls())
    try:
        parsed = convert.parse(raw, kind, formats)
    except TypeError as error:
        raise TypeError(f"column '{raw.name}' {error}") from None
    values = parsed.values.alias(raw.name)
    known = values.drop_nulls()
    counted = known.value_counts(sort=True, name="rows") if known.n_unique() <= LISTED else None
    listed = counted.sort("rows", raw.name, descending=[True, False]) if counted is not None else None
    unreadable = int(parsed.failed.sum())
    low, high = _ends(known) if kind in ("integer", "number") else (None, None)
    lengths = known.str.len_chars().to_numpy() if kind == "text" else np.empty(0)
    column = Column(
        name=raw.name,
        type=kind,
        rows=raw.len(),
        missing=values.null_count() - unreadable,
        unreadable=unreadable,
        distinct=known.n_unique(),
        formats=formats,
        values=tuple(listed[raw.name]) if listed is not None and kind in ("integer", "text") else (),
        counts=tuple(listed["rows"]) if listed is not None else (),
        low=low,
        high=high,
        length=float(lengths.mean()) if lengths.size else 0.0,
        pattern=_pattern(known) if kind == "text" else None,
        notation=_notation(known) if kind == "text" else None,
        looks_like=_looks_like(known) if kind == "text" else None,
    )
    return column, values


def _ends(known: pl.Series) -> tuple[float | None, float | None]:
    numbers = known.to_numpy()
    return (float(numbers.min()), float(numbers.max())) if numbers.size else (None, None)


def _typed(known: pl.Series) -> tuple[ColumnType, tuple[str, ...]]:
    """Return the narrowest type that all values but a few have, with the notations of its times."""
    if known.is_empty():
        return "text", ()
    if known.dtype == pl.String:
        return _typed_text(known)
    if known.dtype.is_numeric():
        kinds: Sequence[ColumnType] = ("boolean", "integer", "number")
        return _typed_number(known, next(kind for kind in kinds if kind == "number" or _is(known, kind)))
    return ("boolean" if known.dtype == pl.Boolean else "time" if known.dtype.is_temporal() else "text"), ()


def _typed_text(known: pl.Series) -> tuple[ColumnType, tuple[str, ...]]:
    sample = known.head(1000)
    if (
        sample.str.contains(_DIGITS).all()
        and "da" in known.name.lower()
        and _unreadable(known, "time", (_COMPACT,)) == 0
    ):
        return "time", (_COMPACT,)
    coded = known.str.contains(r"^[+-]?0\d").any()  # such as 00501, which loses its zeros as a number
    if not coded:
        for kind in ("boolean", "integer", "number"):
            if _is(known, kind):
                return _typed_number(known, kind)
    if not sample.str.contains(r"\d").mean():
        return "text", ()
    return _typed_time(known)


def _typed_number(known: pl.Series, kind: ColumnType) -> tuple[ColumnType, tuple[str, ...]]:
    """Return the type of numbers, which are times where their name and their size say so."""
    low, high = _ends(convert.parse(known, kind).values.drop_nulls())
    unit = epoch(low, high, known.name) if kind != "boolean" else None
    return ("time", (unit,)) if unit else (kind, ())


def epoch(low: float | None, high: float | None, name: str | None = None) -> str | None:
    """Return what numbers between two ends count since 1970; None where they, or the name, do not look like it."""
    if low is None or high is None:
        return None
    units = (
        unit
        for unit, (first, last, named) in _EPOCHS.items()
        if first <= low <= high <= last and (name is None or named.search(words(name)))
    )
    return next(units, None)


def _typed_time(known: pl.Series) -> tuple[ColumnType, tuple[str, ...]]:
    formats: tuple[str, ...] = ()
    left = _unreadable(known, "time", formats)
    while left > UNREADABLE * known.len() and len(formats) < _MOST_NOTATIONS:
        tried = {notation: _unreadable(known, "time", (*formats, notation)) for notation in _NOTATIONS}
        best = min(tried, key=lambda notation: tried[notation])
        if tried[best] >= left:
            break
        formats, left = (*formats, best), tried[best]
    return ("time", formats) if left <= UNREADABLE * known.len() else ("text", ())


def _is(known: pl.Series, kind: ColumnType) -> bool:
    """Tell whether values are of a type: all but a few, and as a boolean both true and false and nothing else."""
    if kind == "boolean":
        few = known.head(1000)
        return _unreadable(few, kind) == 0 and known.n_unique() > 1 and _unreadable(known, kind) == 0
    return _unreadable(known, kind) <= UNREADABLE * known.len()


def _unreadable(known: pl.Series, kind: ColumnType, formats: Sequence[str] = ()) -> int:
    return int(convert.parse(known, kind, formats).failed.sum())


def _notation(known: pl.Series) -> str | None:
    """Say of texts that are numbers to a person how they are written; None of others."""
    trimmed = known.str.strip_chars()
    plain = r"^[+-]?\d+(?:\.\d+)?$"
    if known.is_empty() or not trimmed.str.contains(f"{_NOTATED}|{plain}").mean() >= 1 - UNREADABLE:  # type: ignore[operator]
        return None
    notated = trimmed.filter(trimmed.str.contains(_NOTATED))
    if notated.is_empty():
        return None
    return f"its numbers are written such as '{notated[0]}': write them as 1234.5 in the source, or read them as text"


def _looks_like(known: pl.Series) -> str | None:
    """Say which personal values most texts of a column are; None of others."""
    sample = known.head(1000).str.strip_chars()
    shares = {kind: sample.str.contains(pattern).mean() or 0.0 for kind, pattern in _PERSONAL.items()}
    return next((kind for kind, share in shares.items() if share > _MOSTLY), None)  # type: ignore[operator]


def _pattern(known: pl.Series) -> str | None:
    """Return a regular expression of short codes that all values match: letters, digits or both, of some lengths."""
    if known.is_empty():
        return None
    lengths = known.str.len_chars().to_numpy()
    low, high = int(lengths.min()), int(lengths.max())
    times = f"{{{low}}}" if low == high else f"{{{low},{high}}}"
    if not 1 <= low <= high <= 12:
        return None
    shapes = (f"{letters}{times}" for letters in ("[0-9]", "[A-Z]", "[0-9A-Z]"))
    return next((shape for shape in shapes if known.str.contains(f"^(?:{shape})$").all()), None)
