"""What is predicted: the task, the expression and the classes, by the rows that have a label."""

from dataclasses import dataclass

import polars as pl

from trunkline.core import expressions
from trunkline.core.errors import UserError, nearest
from trunkline.core.tables import rows
from trunkline.core.tasks import Task
from trunkline.init import names
from trunkline.init.guess import Guess
from trunkline.init.profile import Column, Table

FEWEST = 10  # rows of a class without which it is left out
MOST_CLASSES = 20
MOST_GRADES = 10  # different whole numbers that are taken for classes
_POSITIVE = {"yes", "y", "true", "t", "1", "ja", "si", "oui", "positive", "fail", "failed", "bad", "churned", "fraud"}


@dataclass(frozen=True)
class Target:
    """What is predicted; `read` are the columns that the label is made of."""

    name: str
    task: Task
    expression: str
    classes: tuple[str | int, ...]
    read: tuple[str, ...]


def target(table: Table, text: str) -> tuple[Target, list[Guess]]:
    """Return what a person means by a column or an expression, such as `ArrDelay > 15`.

    Raises UserError for an unknown column, or a label that nothing can learn.
    """
    types: dict[str, expressions.Type] = {column.name: column.type for column in table.columns}
    expression = names.reference(text) if text in types else text
    try:
        parsed = expressions.parse(expression)
        kind = expressions.infer(parsed, types)
    except ValueError as error:
        raise UserError(f"--target: {error}") from None
    name = names.slug("target", types, "target")
    read = tuple(dict.fromkeys(expressions.columns(parsed)))
    if kind == "boolean":
        return Target(name, "binary", expression, (), read), []
    if kind not in ("text", "integer", "number"):
        raise UserError(f"--target: '{text}' is {kind or 'always missing'}; name a text, a number, or a comparison")
    if isinstance(parsed, expressions.Column):
        return _of_column(table.column(parsed.name), name, expression)
    if kind == "text":
        raise UserError(f"--target: '{text}' is a text; compare it, such as {text} == 'yes', or name a column")
    return Target(name, "regression", expression, (), read), []


def _of_column(column: Column, name: str, expression: str) -> tuple[Target, list[Guess]]:
    if column.type == "number" or (column.type == "integer" and not 2 < column.distinct <= MOST_GRADES):
        return Target(name, "regression", expression, (), (column.name,)), []
    if column.notation and column.distinct > MOST_CLASSES:
        raise UserError(f"--target: '{column.name}' is no number: {column.notation}")
    counts = dict(zip(column.values, column.counts, strict=True))
    frequent = sorted(
        (value for value in counts if counts[value] >= FEWEST), key=lambda value: (str(type(value)), value)
    )
    if len(frequent) < 2 or column.distinct > MOST_CLASSES:
        raise UserError(
            f"--target: '{column.name}' has {column.distinct} different values, of which {len(frequent)} have at least "
            f"{FEWEST} rows; name an expression that is true or false, such as {expression} == 'yes'"
        )
    key = ("target", "classes")
    if len(frequent) == 2:
        yes = next((each for each in frequent if str(each).lower() in _POSITIVE), min(frequent, key=counts.__getitem__))
        listed = ", ".join(map(_literal, frequent))
        wanted = f"{expression} == {_literal(yes)}"
        left_out = len(frequent) < column.distinct
        whole = f"{wanted} if {expression} in ({listed}) else None" if left_out else wanted
        why = f"of {listed}, it is the one that is asked for, or the rarer one"
        return Target(name, "binary", whole, (), (column.name,)), [Guess(f"true is {wanted}", why, "data", ("target",))]
    guesses = [Guess(f"the task is one of {len(frequent)} classes", f"'{column.name}' has few values", "data", key)]
    if len(frequent) < column.distinct:
        listed = ", ".join(map(_literal, frequent))
        expression = f"{expression} if {expression} in ({listed}) else None"
        lost = column.present - sum(counts[value] for value in frequent)
        guesses.append(Guess(f"{lost} rows have no label", f"their class has under {FEWEST} rows", "data", key))
    return Target(name, "multiclass", expression, tuple(frequent), (column.name,)), guesses


def _literal(value: str | int) -> str:
    return names.literal(value) if isinstance(value, str) else str(value)


def labels(table: Table, of: Target) -> pl.Series:
    """Return the label of each row: a number, or the place of its class; missing where there is none.

    Raises UserError for labels that are all alike, or nearly none.
    """
    values = rows.evaluate(table.frame, {of.name: of.expression}, "UTC")[of.name]
    if of.task == "multiclass":
        places = {str(name): place for place, name in enumerate(of.classes)}
        values = values.cast(pl.String).replace_strict(places, default=None, return_dtype=pl.Float64)
    values = values.cast(pl.Float64).alias(of.name)
    known = values.drop_nulls()
    rarest = min(known.value_counts()["count"], default=0) if of.task != "regression" else known.len()
    if known.n_unique() == 1:
        raise UserError(
            f"--target: all {known.len()} labels of '{of.expression}' are the same; name what differs by row"
        )
    if known.n_unique() < 2 or rarest < FEWEST:
        raise UserError(
            f"--target: '{of.expression}' has {known.len()} labels, {known.n_unique()} different ones, the rarest "
            f"{rarest} times; at least two must have {FEWEST} rows each"
        )
    return values


def check_column(table: Table, name: str, option: str) -> None:
    """Refuse a column that a table has not got; `option` is what named it."""
    known = [column.name for column in table.columns]
    if name not in known:
        raise UserError(f"{option}: table {table.name} has no column '{name}'{nearest(name, known)}")
