"""Derived columns of conf/data against their declaration in conf/contract: their types, and when they are known."""

from collections.abc import Iterator, Mapping

from trunkline.conf.contract import ColumnContract, Contract
from trunkline.conf.data import Data
from trunkline.core import expressions
from trunkline.core.errors import UserError, nearest
from trunkline.core.expressions import Expression, Type


def verify(data: Data, contract: Contract) -> None:
    """Refuse a derived column that the contract lacks, or that it gives another type or an earlier time of knowing.

    A column is known when the last of those that it is derived from is. Raises UserError with a line per mistake.
    """
    mistakes: list[str] = []
    for table, declared in contract.tables.items():
        derived = data.derivations(table) if table in data.sources else {}
        mistakes += _mismatches(table, declared.columns, derived)
        mistakes += _known_too_early(table, declared.columns, data.derive.get(table, {}))
    if mistakes:
        raise UserError("\n".join(mistakes))


def _mismatches(table: str, columns: Mapping[str, ColumnContract], derived: Mapping[str, Expression]) -> Iterator[str]:
    stored: dict[str, Type] = {name: column.type for name, column in columns.items() if name not in derived}
    for name, expression in derived.items():
        if name not in columns:
            undeclared = f"column '{name}' is not in conf/contract{nearest(name, columns)}"
            yield f"data.derive.{table}.{name}: {undeclared}; declare it there, as any other"
            continue
        try:
            inferred = expressions.infer(expression, stored)
        except ValueError as error:
            yield f"data.derive.{table}.{name}: {error}"
            continue
        if next(expressions.columns(expression), None) is None:
            yield f"data.derive.{table}.{name}: reads no column of {table}; derive it from one"
        key, column = f"contract.tables.{table}.columns.{name}", columns[name]
        if inferred != column.type and (inferred, column.type) != ("integer", "number"):
            yield f"{key}.type: must be {inferred}, as what data.derive computes, not {column.type}"
        if column.formats:
            yield f"{key}.formats: is for what a source writes, and this column is derived; remove it"


def _known_too_early(table: str, columns: Mapping[str, ColumnContract], sources: Mapping[str, str]) -> Iterator[str]:
    for name, column in columns.items():
        key, of_outcomes = f"contract.tables.{table}.columns.{name}", outcomes(name, columns, sources)
        if of_outcomes and column.known == "request" and column.known_because is None:
            yield (
                f"{key}.known: is derived from {', '.join(of_outcomes)}, known only after the prediction: write known: "
                "outcome, or say by known_because why it is known at request all the same"
            )
        if column.known_because is not None and not of_outcomes:
            yield f"{key}.known_because: is for columns that are derived from outcomes; remove it"


def outcomes(name: str, columns: Mapping[str, ColumnContract], sources: Mapping[str, str]) -> tuple[str, ...]:
    """Return the outcomes that a column is derived from by its expression, each once, in order."""
    read = expressions.columns(expressions.parse(sources[name])) if name in sources else ()
    return tuple(dict.fromkeys(part for part in read if part in columns and columns[part].known == "outcome"))
