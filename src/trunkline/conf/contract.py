"""conf/contract: what each table must look like, and what happens to what does not."""

import re
from typing import Annotated, ClassVar, Literal, Self

from pydantic import AfterValidator, Field, StringConstraints, WithJsonSchema, model_validator

from trunkline.core import expressions
from trunkline.core.errors import nearest, one_line
from trunkline.core.values import Column, Columns, Expression, Group, Name, Strict, Tuple

Policy = Literal["fail", "quarantine"]
Privacy = Literal["public", "internal", "personal", "sensitive", "identifier"]  # the stricter later
Place = Literal["feature", "slice", "log", "report", "public"]  # where a reason is needed
ColumnType = Literal["integer", "number", "text", "boolean", "time"]

REASONS = "reasons"  # the column that quarantined rows carry besides their own


def _pattern(text: str) -> str:
    """Refuse what Python or polars cannot match: requests are checked by the one, tables by the other."""
    import polars as pl  # noqa: PLC0415  few contracts are read where no table is

    try:
        re.compile(text)
        pl.Series([""]).str.contains(f"^(?:{text})$")
    except (re.error, OverflowError, RecursionError) as error:
        raise ValueError(f"'{text[:100]}' is not a regular expression: {error}") from None
    except pl.exceptions.ComputeError as error:
        why = one_line(error).partition(" This error")[0].rpartition("error: ")[2]
        raise ValueError(f"'{text[:100]}' is a regular expression by which no table can be checked: {why}") from None
    return text


Pattern = Annotated[
    str,
    AfterValidator(_pattern),
    WithJsonSchema({"type": "string", "title": "regular expression, such as [A-Z]{3}", "format": "regex"}),
]


class ColumnContract(Strict):
    """One column: its type, its limits and its meaning."""

    type: ColumnType = Field(
        description="integer (7.0 is one), number, text (a stored whole number is its digits), "
        "boolean (true, false, 1, 0) or time (ISO 8601, kept as UTC)."
    )
    description: str = Field(description="What the value means, with its unit.", min_length=3)
    privacy: Privacy | None = Field(None, description="Who may see the values, if not as for the table.")
    privacy_because: dict[Place, Annotated[str, StringConstraints(min_length=10)]] = Field(
        default_factory=dict,
        description="Why a sensitive value or an identifier may be in a feature, a slice, the log, or a report of "
        "monitoring; public: why what looks personal is public. Each by its place.",
    )
    known: Literal["request", "outcome"] = Field(
        "request", description="outcome: known only after the prediction, so no feature may read it directly."
    )
    known_because: Annotated[str, StringConstraints(min_length=10)] | None = Field(
        None, description="Why a column that conf/data derives from outcomes is known at request all the same."
    )
    nullable: bool = Field(False, description="Whether the value may be missing.")
    min: float | None = Field(None, allow_inf_nan=False, description="Smallest allowed value.")
    max: float | None = Field(None, allow_inf_nan=False, description="Largest allowed value.")
    allowed: Annotated[tuple[str | int, ...], Tuple] | None = Field(
        None, description="The allowed values.", min_length=1
    )
    pattern: Pattern | None = Field(None, description="Regular expression that a text matches in full.")
    formats: Annotated[tuple[str, ...], Tuple] = Field(
        (),
        description="Of a time: other notations than ISO 8601, such as '%d.%m.%y', or epoch days, epoch seconds, epoch "
        "milliseconds; the first that fits is taken. Of a boolean: its words, such as yes/no or Y/N, instead of "
        "true/false and 1/0.",
    )
    on_failure: Policy = Field("fail", description="fail the run, or quarantine the offending rows.")

    @model_validator(mode="after")
    def _limits_fit_the_type(self) -> Self:
        if self.type not in ("integer", "number") and (self.min is not None or self.max is not None):
            raise ValueError(f"min and max are for integer and number, not for {self.type}")
        if self.min is not None and self.max is not None and self.min > self.max:
            raise ValueError(f"min {self.min:g} is above max {self.max:g}")
        if self.pattern is not None and self.type != "text":
            raise ValueError(f"pattern is for text, not for {self.type}")
        if self.formats and self.type not in ("time", "boolean"):
            raise ValueError(f"formats is for time and boolean, not for {self.type}")
        if self.known_because is not None and self.known == "outcome":
            raise ValueError("known_because is for what is known at request, not for an outcome")
        for value in self.allowed or ():
            if self.type not in (("text",) if isinstance(value, str) else ("integer", "number")):
                raise ValueError(f"allowed: {value!r} is no value of a column of type {self.type}")
        return self


class RowCheck(Strict):
    """A rule over several columns of a row; a missing operand passes."""

    expression: Expression = Field(description="True where the row is right.")
    description: str = Field(description="The rule in words.", min_length=3)
    on_failure: Policy = Field("fail", description="fail the run, or quarantine the offending rows.")

    @property
    def columns(self) -> tuple[str, ...]:
        """The columns that the expression reads, each once, in order."""
        return tuple(dict.fromkeys(expressions.columns(expressions.parse(self.expression))))


class TableContract(Strict):
    """One table: its columns, its keys and the rules over its rows."""

    privacy: Privacy = Field(description="Who may see the values of columns that say nothing else.")
    columns: dict[Column, ColumnContract] = Field(description="The columns, by name.")
    unique: Columns = Field(description="Columns that together are unique; missing values are equal.", min_length=1)
    on_duplicate: Policy = Field("fail", description="fail the run, or quarantine all but the first row.")
    checks: dict[Name, RowCheck] = Field(default_factory=dict, description="Rules over several columns.")
    quarantine_limit: float = Field(
        0.0, ge=0, lt=1, description="Largest share of rows that may be quarantined before the run fails."
    )
    every_month: Column | None = Field(
        None, description="Time column that must have rows in every month of the windows."
    )

    def privacy_of(self, column: str) -> Privacy:
        """Return who may see a column's values."""
        return self.columns[column].privacy or self.privacy

    @model_validator(mode="after")
    def _columns_fit(self) -> Self:
        for name in (*self.unique, *([self.every_month] if self.every_month else [])):
            if name not in self.columns:
                raise ValueError(f"no column '{name}'{nearest(name, self.columns)}")
        if self.every_month and self.columns[self.every_month].type != "time":
            raise ValueError(f"every_month: column '{self.every_month}' is not of type time")
        if REASONS in self.columns:
            raise ValueError(f"columns: '{REASONS}' is the name of the column that quarantine adds; rename it")
        return self

    @model_validator(mode="after")
    def _checks_fit(self) -> Self:
        types: dict[str, expressions.Type] = {name: column.type for name, column in self.columns.items()}
        for name, check in self.checks.items():
            try:
                result = expressions.infer(expressions.parse(check.expression), types)
            except ValueError as error:
                raise ValueError(f"checks.{name}.expression: {error}") from None
            if result != "boolean" or not check.columns:
                raise ValueError(f"checks.{name}.expression: must be true or false by the row's columns")
        return self


class Contract(Group):
    """The declared schema of what comes in."""

    key: ClassVar[str] = "contract"

    tables: dict[Name, TableContract] = Field(description="The tables of conf/data, by name.")
