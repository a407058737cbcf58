"""Checks tables against their contracts, and splits each into rows that are as declared and the others.

A contract is compiled to a pandera schema in which every check bears the key that declares it, so that what
fails leads back to one line of conf/contract. What pandera cannot see, a text that is no value of its
column's type, is found while the columns are converted; the other checks then leave that value alone.

A table is checked a piece at a time, and what is done with waits packed, so that many years need little more memory
than one. No result depends on the size of a piece.
"""

import re
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from functools import reduce
from operator import add, or_
from pathlib import Path
from types import MappingProxyType
from typing import Any

import pandera.polars as pa
import polars as pl
from pandera.config import ValidationDepth, config_context
from pandera.errors import SchemaError, SchemaErrors

from trunkline.conf.contract import REASONS, Contract, TableContract
from trunkline.core.errors import UserError, nearest, one_line
from trunkline.core.expressions import Expression, columns
from trunkline.core.paths import RAW
from trunkline.core.progress import Bar
from trunkline.core.tables import convert, parquet
from trunkline.core.tables.rows import UnfitError, add_derived
from trunkline.pipeline.validate.schema import RowRule, rules, schema

SHOWN = 3  # offending rows in a message
PIECE = 2**19  # rows

_Masks = dict[str, pl.Series]  # which rows break a rule, by the key of the rule


@dataclass(frozen=True)
class CheckReport:
    """What became of a table's rows; `checks` counts the offending rows of each broken rule, by its key."""

    rows: int
    valid: int
    quarantined: int
    share: float
    checks: Mapping[str, int]


@dataclass(frozen=True)
class CheckedTable:
    """A table's rows, in order: those as declared, in the declared types, and the others as they came."""

    valid: pl.LazyFrame
    rejected: pl.LazyFrame
    report: CheckReport


@dataclass(frozen=True)
class _Place:
    """Where a table and its contract are, for messages."""

    path: Path
    key: str


@dataclass(frozen=True)
class _Breach:
    """The rows that break a rule: how many, and the first of them in words."""

    count: int
    first: tuple[str, ...]

    def __add__(self, later: "_Breach") -> "_Breach":
        return _Breach(self.count + later.count, (*self.first, *later.first)[:SHOWN])


@dataclass(frozen=True)
class _Piece:
    """Rows of a table that follow each other, the first of which is `start`, counted from 0."""

    raw: pl.DataFrame
    start: int
    firsts: pl.Series  # whether a row is the first of all with its key
    whole: bool  # whether these are all rows

    def breach(self, rule: RowRule, mask: pl.Series) -> _Breach:
        return _Breach(int(mask.sum()), tuple(self._row(index, rule.reads) for index in mask.arg_true().head(SHOWN)))

    def _row(self, index: int, columns: Sequence[str]) -> str:
        values = [self.raw[column][index] for column in columns]
        return f"{self.start + index + 1} ({', '.join(map(_shown, values))})"


@dataclass(frozen=True)
class _Result:
    """What was found in a piece."""

    valid: pl.LazyFrame
    rejected: pl.LazyFrame
    quarantined: int
    broken: Mapping[RowRule, _Breach]
    undecided: Sequence[str]


Derived = Mapping[str, Expression]  # columns that are computed, by name

_NONE: Derived = MappingProxyType({})


def check_tables(
    raw: Mapping[str, pl.LazyFrame],
    contract: Contract,
    zone: str,
    months: Sequence[str],
    derived: Mapping[str, Derived] = MappingProxyType({}),
) -> dict[str, CheckedTable]:
    """Check every table, with the columns that are derived by table, against its contract.

    Raises UserError with one line for each problem in any table, or for a table without a contract or source.
    """
    _same_tables(raw, contract)
    checked, problems = {}, []
    for name, frame in raw.items():
        try:
            checked[name] = check(name, frame, contract.tables[name], zone, months, derived.get(name, _NONE))
        except UserError as error:
            problems.append(str(error))
    if problems:
        raise UserError("\n".join(problems))
    return checked


def check(  # noqa: PLR0913, PLR0917  what a table is checked by is declared in several places
    name: str,
    raw: pl.LazyFrame,
    table: TableContract,
    zone: str,
    months: Sequence[str],
    derived: Derived = _NONE,
) -> CheckedTable:
    """Add a table's derived columns, convert all to their declared types and split its rows by the contract.

    `zone` is the project's time zone and `months` (YYYY-MM, local) are those that `every_month` asks for.
    Times come out as UTC without a zone, in microseconds. Raises UserError with one line for each column that
    is missing, unknown or of a wrong type; else for each rule of policy fail that is broken, for too many
    rows in quarantine and for empty months.
    """
    where = _Place(RAW / f"{name}.parquet", f"tables.{name}")
    _parse(where, raw.head(0).collect(), table, derived)
    height = int(raw.select(pl.len()).collect().item())
    results = []
    try:
        with Bar(f"checking {name}", height, "rows") as bar:
            for piece in _pieces(raw, table, zone, derived, height):
                results.append(_checked(where, piece, table, zone, derived))
                bar.advance(piece.raw.height)
    except UnfitError as error:
        raise UserError(f"{where.path}: data.derive.{name}.{error}") from error
    valid, rejected = pl.concat(each.valid for each in results), pl.concat(each.rejected for each in results)
    broken = {
        rule: reduce(add, breaches)
        for rule in rules(table)
        if (breaches := [each.broken[rule] for each in results if rule in each.broken])
    }
    report = _report(height, sum(each.quarantined for each in results), broken)
    problems = list(dict.fromkeys(line for each in results for line in each.undecided))
    problems += [_line(where, rule, breach) for rule, breach in broken.items() if rule.policy == "fail"]
    problems += _over_limit(where, table, report, broken)
    problems += _empty_months(where, table, valid, zone, months)
    if problems:
        raise UserError("\n".join(problems))
    return CheckedTable(valid, rejected, report)


def _pieces(raw: pl.LazyFrame, table: TableContract, zone: str, derived: Derived, height: int) -> Iterator[_Piece]:
    """Yield the table's rows with their derived columns, at least one piece, be it without rows."""
    starts = range(0, max(height, 1), PIECE)
    of_key = {name: derived[name] for name in table.unique if name in derived}
    read = {*table.unique, *(name for expression in of_key.values() for name in columns(expression))} - of_key.keys()

    def keys() -> Iterator[pl.DataFrame]:
        for start in starts:
            piece = raw.slice(start, PIECE).select(sorted(read)).collect()
            yield _keys(add_derived(piece, table.columns, of_key, zone), table)

    for start, firsts in zip(starts, parquet.firsts(keys), strict=True):
        piece = add_derived(raw.slice(start, PIECE).collect(), table.columns, derived, zone)
        yield _Piece(piece, start, firsts, whole=len(starts) == 1)


def _keys(raw: pl.DataFrame, table: TableContract) -> pl.DataFrame:
    declared = {name: table.columns[name] for name in table.unique}
    return pl.DataFrame({name: convert.parse(raw[name], of.type, of.formats).values for name, of in declared.items()})


def _checked(where: _Place, piece: _Piece, table: TableContract, zone: str, derived: Derived) -> _Result:
    raw, declared = piece.raw, tuple(rules(table))
    parsed = _parse(where, raw, table)
    frame = pl.DataFrame({column: result.values for column, result in parsed.items()})
    unparsed = {f"columns.{column}.type": result.failed for column, result in parsed.items()}
    masks, undecided = _found(where, frame, schema(table, zone, piece.firsts), {rule.key for rule in declared})
    broken = _broken(declared, unparsed, masks, derived)
    rejected = _any([mask for rule, mask in broken.items() if rule.policy == "quarantine"], raw.height)
    kept = pl.DataFrame.lazy if piece.whole else parquet.packed
    return _Result(
        kept(frame.filter(~rejected)),
        kept(_with_reasons(raw.select(list(table.columns)), rejected, broken)),
        int(rejected.sum()),
        {rule: piece.breach(rule, mask) for rule, mask in broken.items()},
        undecided,
    )


def _same_tables(raw: Mapping[str, pl.LazyFrame], contract: Contract) -> None:
    without = [name for name in raw if name not in contract.tables]
    unused = [name for name in contract.tables if name not in raw]
    problems = [
        f"conf/contract: tables.{name}: has a source but no contract; declare it"
        f"{nearest(name, unused) if unused else ''}"
        for name in without
    ]
    problems += [
        f"conf/contract: tables.{name}: is not in data.sources; remove it or add a source{nearest(name, raw)}"
        for name in unused
    ]
    if problems:
        raise UserError("\n".join(problems))


def _parse(
    where: _Place, raw: pl.DataFrame, table: TableContract, absent: Collection[str] = ()
) -> dict[str, convert.Parsed]:
    """Convert the columns, in the order of the contract; those that are yet to be derived must be `absent`."""
    problems, parsed = _misnamed(where, raw, table, absent), {}
    for name in filter(raw.columns.__contains__, table.columns):
        try:
            parsed[name] = convert.parse(raw[name], table.columns[name].type, table.columns[name].formats)
        except TypeError as error:
            problems.append(f"{where.path}: column {name}: {error}; correct {where.key}.columns.{name}.type")
    if problems:
        raise UserError("\n".join(problems))
    return parsed


def _misnamed(where: _Place, raw: pl.DataFrame, table: TableContract, absent: Collection[str]) -> list[str]:
    missing = [name for name in table.columns if name not in raw.columns and name not in absent]
    unknown = [name for name in raw.columns if name not in table.columns]
    return (
        [
            f"{where.path}: column {name}: is derived by data.derive, but the source has it; rename one of them"
            for name in raw.columns
            if name in absent
        ]
        + [
            f"{where.path}: column {name}: is missing; supply it, or remove it from {where.key}.columns"
            for name in missing
        ]
        + [
            f"{where.path}: column {name}: is not declared; declare it in {where.key}.columns"
            f"{nearest(name, missing) if missing else ''}"
            for name in unknown
        ]
    )


def _found(
    where: _Place, frame: pl.DataFrame, schema: pa.DataFrameSchema, keys: Collection[str]
) -> tuple[_Masks, list[str]]:
    """Return which rows break each rule, by its key, and one line for each rule that could not be decided."""
    masks, undecided = {}, []
    for error in _failures(frame, schema):
        key = _key(error)
        if isinstance(error.check_output, pl.DataFrame) and key in keys:
            masks[key] = ~error.check_output.to_series()
        else:
            what = f"{where.key}.{key}: cannot be decided for {where.path}"
            undecided.append(f"conf/contract: {what}: {one_line(error)}; correct it or the data")
    return masks, undecided


def _failures(frame: pl.DataFrame, schema: pa.DataFrameSchema) -> list[SchemaError]:
    # Explicit, because pandera's environment variables could switch validation off.
    with config_context(validation_enabled=True, validation_depth=ValidationDepth.SCHEMA_AND_DATA):
        try:
            schema.validate(frame, lazy=True)
        except SchemaErrors as errors:
            return errors.schema_errors
    return []


def _key(error: SchemaError) -> str:
    if error.check == "not_nullable":
        return f"columns.{error.schema.name}.nullable"
    return str(getattr(error.check, "name", error.check))


def _broken(
    declared: Iterable[RowRule], unparsed: _Masks, failed: _Masks, derived: Derived
) -> dict[RowRule, pl.Series]:
    """Return the rows that break each broken rule; a value that was not converted breaks no other rule.

    Nor does what is derived from such a value.
    """
    masks = {**failed, **unparsed}
    broken: dict[RowRule, pl.Series] = {}
    for rule in declared:
        if rule.key not in masks:
            continue
        mask = masks[rule.key]
        parts = (part for name in rule.reads if name in derived for part in columns(derived[name]))
        for column in (*rule.reads, *parts):
            key = f"columns.{column}.type"
            mask = mask if key == rule.key else mask & ~unparsed[key]
        if mask.any():
            broken[rule] = mask
    return broken


def _any(masks: Sequence[pl.Series], height: int) -> pl.Series:
    return reduce(or_, masks, pl.repeat(False, height, eager=True))


def _report(height: int, quarantined: int, broken: Mapping[RowRule, _Breach]) -> CheckReport:
    counts = {rule.key: breach.count for rule, breach in broken.items()}
    return CheckReport(height, height - quarantined, quarantined, quarantined / height if height else 0.0, counts)


def _line(where: _Place, rule: RowRule, breach: _Breach) -> str:
    what, which = (f"{breach.count:,} rows are", "first rows") if breach.count > 1 else ("1 row is", "row")
    return (
        f"{where.path}: {rule.subject}: {what} {rule.breach}; {which} {', '.join(breach.first)}, "
        f"counted from 1 below the header; correct the data, or {where.key}.{rule.key} in conf/contract"
    )


def _shown(value: Any) -> str:
    """Write a value on one line; quotes show where a text that could be misread begins and ends."""
    if value is None:
        return "missing"
    text = value.isoformat() if isinstance(value, date) else str(value)
    if re.fullmatch(r"[\w.:+-]{1,40}", text):
        return text
    return repr(text if len(text) <= 40 else f"{text[:40]}…")


def _over_limit(
    where: _Place, table: TableContract, report: CheckReport, broken: Mapping[RowRule, _Breach]
) -> list[str]:
    if report.share <= table.quarantine_limit:
        return []
    counts = {rule: breach.count for rule, breach in broken.items() if rule.policy == "quarantine"}
    top = sorted(counts, key=lambda rule: -counts[rule])[:SHOWN]
    reasons = ", ".join(f"{counts[rule]:,} for {rule.subject} {rule.breach}" for rule in top)
    return [
        f"{where.path}: {report.quarantined:,} of {report.rows:,} rows ({report.share:.2%}) would go to "
        f"quarantine, more than {table.quarantine_limit:.2%}: {reasons}; correct the data, or "
        f"{where.key}.quarantine_limit in conf/contract"
    ]


def _empty_months(
    where: _Place, table: TableContract, valid: pl.LazyFrame, zone: str, months: Sequence[str]
) -> list[str]:
    if table.every_month is None:
        return []
    local = pl.col(table.every_month).dt.replace_time_zone("UTC").dt.convert_time_zone(zone)
    present = set(valid.select(local.dt.strftime("%Y-%m").unique()).collect().to_series())
    empty = [month for month in dict.fromkeys(months) if month not in present]  # windows share one
    if not empty:
        return []
    return [
        f"{where.path}: column {table.every_month}: no valid rows in {', '.join(empty)} ({zone}); "
        "supply them, or move data.window"
    ]


def _with_reasons(raw: pl.DataFrame, rejected: pl.Series, broken: Mapping[RowRule, pl.Series]) -> pl.DataFrame:
    reasons = [
        pl.select(pl.when(mask).then(pl.lit(f"{rule.subject}: {rule.breach}"))).to_series().filter(rejected)
        for rule, mask in broken.items()
    ]
    none = pl.lit(None, dtype=pl.String)
    joined = pl.concat_str([none, *reasons], separator="; ", ignore_nulls=True)
    return raw.filter(rejected).with_columns(joined.alias(REASONS))
