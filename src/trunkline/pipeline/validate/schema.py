"""A contract as pandera's schema, and its rules in words."""

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import pandera.polars as pa
import polars as pl
from pandera.api.polars.types import PolarsData

from trunkline.conf.contract import ColumnContract, Policy, RowCheck, TableContract
from trunkline.core.tables import convert
from trunkline.core.tables import rows as core_rows


@dataclass(frozen=True)
class RowRule:
    """One requirement on the rows of a table, in the words of messages."""

    key: str  # its place in the table's contract, such as columns.dep_delay.max
    subject: str  # what it is about, such as column dep_delay
    breach: str  # what an offending row is, such as above 3000
    reads: tuple[str, ...]  # the columns it is decided by
    policy: Policy


def rules(table: TableContract) -> Iterator[RowRule]:
    """Yield the rules of a table's contract, in the order in which they are declared."""
    for name, column in table.columns.items():
        for limit, breach in _breaches(column):
            yield RowRule(f"columns.{name}.{limit}", f"column {name}", breach, (name,), column.on_failure)
    together = f"column{'s' if len(table.unique) > 1 else ''} {', '.join(table.unique)}"
    yield RowRule("unique", together, "not unique", table.unique, table.on_duplicate)
    for name, rule in table.checks.items():
        breach = f"against the rule '{rule.description}'"
        yield RowRule(f"checks.{name}", f"check {name}", breach, rule.columns, rule.on_failure)


def _breaches(column: ColumnContract) -> Iterator[tuple[str, str]]:
    yield "type", f"not {convert.MEANING[column.type]}"
    if not column.nullable:
        yield "nullable", "missing"
    if column.min is not None:
        yield "min", f"below {_plain(column.min)}"
    if column.max is not None:
        yield "max", f"above {_plain(column.max)}"
    if column.allowed is not None:
        yield "allowed", f"not one of {', '.join(map(str, column.allowed))}"
    if column.pattern is not None:
        yield "pattern", f"not of the form {column.pattern}"


def _plain(number: float) -> str:
    return str(int(number)) if number == int(number) else str(number)


def schema(table: TableContract, zone: str, firsts: pl.Series) -> pa.DataFrameSchema:
    """Compile a contract to pandera; the name of a check is the key of the rule that it decides."""
    columns = {name: _column(name, column) for name, column in table.columns.items()}
    # On a column: pandera turns what a check of the whole frame finds into Python objects, row by row.
    columns[table.unique[0]].checks.append(pa.Check(lambda _: firsts.to_frame().lazy(), name="unique"))
    for name, rule in table.checks.items():
        columns[rule.columns[0]].checks.append(pa.Check(_holds(rule, zone), name=f"checks.{name}"))
    return pa.DataFrameSchema(columns, strict=True)


def _column(name: str, column: ColumnContract) -> pa.Column:
    whole = column.type == "integer"  # a float limit has no room for a large integer
    checks = []
    if column.min is not None:
        checks.append(pa.Check.ge(math.ceil(column.min) if whole else column.min, name=f"columns.{name}.min"))
    if column.max is not None:
        checks.append(pa.Check.le(math.floor(column.max) if whole else column.max, name=f"columns.{name}.max"))
    if column.allowed is not None:
        checks.append(pa.Check.isin(column.allowed, name=f"columns.{name}.allowed"))
    if column.pattern is not None:
        checks.append(pa.Check.str_matches(f"^(?:{column.pattern})$", name=f"columns.{name}.pattern"))
    return pa.Column(convert.DTYPES[column.type], checks, nullable=column.nullable)


def _holds(rule: RowCheck, zone: str) -> Callable[[PolarsData], pl.LazyFrame]:
    def holds(data: PolarsData) -> pl.LazyFrame:
        frame = data.lazyframe.select(rule.columns).collect()
        return core_rows.evaluate(frame, {"holds": rule.expression}, zone).lazy()

    return holds
