"""What stands for types, literals and operations of conf/ in the SQL of Spark, Snowflake and BigQuery.

An operation that is not listed here is refused by its name: nothing is passed on in the hope that it means the same.
A duration is a whole number of microseconds, a time a timestamp without a zone, in UTC. In a template, {0} and {1} are
operands, {zone} the project's zone, and {local} the first operand in it.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from trunkline.core.expressions import OPERATIONS, Type

Name = Literal["spark", "snowflake", "bigquery"]

# A day and an hour: what is added to a local time to be past any clock change that repeats it.
_PAST = 90_000_000_000

_ONE = "CAST(1 AS {number})"
_PORTABLE = {
    name: OPERATIONS[name].sql
    for name in (
        "abs", "add", "and", "coalesce", "equal", "greater", "greater_equal", "if", "is_missing", "joined", "less",
        "less_equal", "multiply", "negate", "not", "or", "subtract", "unequal",
    )
} | {
    "divide": "({0} / NULLIF({1}, 0))",
    "log1p": (
        f"(CASE WHEN {{0}} > 1e16 THEN ln({{0}}) WHEN {{0}} > -1 AND {_ONE} + {{0}} = {_ONE} THEN {{0}} "
        f"WHEN {{0}} > -1 THEN ln({_ONE} + {{0}}) * ({{0}} / NULLIF(({_ONE} + {{0}}) - {_ONE}, 0)) END)"
    ),
    # Kinds of operands that conf/ writes alike: see `translate`.
    "span": "CAST(round({0} * {1}) AS {integer})",
    "span_whole": "({0} * {1})",
}  # fmt: skip


def _rounded_down(remainder: str, quotient: str) -> dict[str, str]:
    """Return `//` and `%` of Python by those that round to zero, whose divisor is never zero."""
    apart = f"{remainder} <> 0 AND ({{0}} < 0) <> ({{1}} < 0)"
    return {
        "floor_divide": f"({quotient} - CASE WHEN {apart} THEN 1 ELSE 0 END)",
        "modulo": f"(CASE WHEN {apart} THEN {remainder} + {{1}} ELSE {remainder} END)",
    }


def _calendar(template: str, weekday: str) -> dict[str, str]:
    parts = {part: template.replace("{part}", part) for part in ("year", "month", "hour", "minute")}
    return parts | {"weekday": weekday}


@dataclass(frozen=True)
class Dialect:
    """One engine's SQL: `error` fails with a text and a number that it is read from, wherever its row is looked at."""

    name: Name
    title: str
    quote: str
    types: Mapping[Type | Literal["decimal"], str]
    operations: Mapping[str, str]
    to_local: str
    to_utc: str
    civil: str
    error: str
    asof: str | None
    untried: bool

    def identifier(self, name: str) -> str:
        """Return a name as an identifier; it holds neither the quote nor a backslash."""
        return f"{self.quote}{name}{self.quote}"

    def literal(self, value: int | float | str | bool | None) -> str:
        """Return a value as a literal of its type."""
        if value is None:
            return "NULL"
        if isinstance(value, str):
            return self.text(value)
        if isinstance(value, float):
            return f"CAST('{value!r}' AS {self.types['number']})"
        return str(value).upper() if isinstance(value, bool) else f"CAST({value} AS {self.types['integer']})"

    @staticmethod
    def text(value: str) -> str:
        r"""Return a text as a literal: all three read \', \\ and \u0041."""
        escaped = value.replace("\\", "\\\\").replace("'", "\\'")
        return "'" + re.sub(r"[\x00-\x1f\x7f]", lambda control: f"\\u{ord(control[0]):04x}", escaped) + "'"

    def shifted(self, time: str, micros: str) -> str:
        """Return a time that many microseconds later."""
        return self.operations["shift"].format(time, micros)

    def local_time(self, parts: list[str], zone: str) -> str:
        """Return the instant of a local year, month, day and HHMM: the second of a repeated hour, midnight of 2400.

        Engines take the first; the second is the one that a time past the change is counted back to, if its local time
        is the one that is asked for.
        """
        midnight = self.shifted(self.civil.format(*parts[:3], "0"), "86400000000")
        civil = f"(CASE WHEN {parts[3]} = 2400 THEN {midnight} ELSE {self.civil.format(*parts)} END)"
        first = self.to_utc.format(civil, zone=zone)
        second = self.shifted(self.to_utc.format(self.shifted(civil, str(_PAST)), zone=zone), f"-{_PAST}")
        return f"(CASE WHEN {self.to_local.format(second, zone=zone)} = {civil} THEN {second} ELSE {first} END)"


SPARK = Dialect(
    name="spark",
    title="Spark 4.3, with spark.sql.join.asofJoin.enabled and spark.sql.ansi.enabled",
    quote="`",
    types={
        "integer": "BIGINT", "number": "DOUBLE", "text": "STRING", "boolean": "BOOLEAN", "time": "TIMESTAMP_NTZ",
        "duration": "BIGINT", "decimal": "DECIMAL(18, 6)",
    },
    operations=_PORTABLE
    | _rounded_down("({0} % NULLIF({1}, 0))", "({0} div NULLIF({1}, 0))")
    | _calendar("CAST(extract({part} FROM {local}) AS BIGINT)", "CAST(extract(DAYOFWEEK_ISO FROM {local}) AS BIGINT)")
    | {
        "date": "CAST(CAST({local} AS DATE) AS STRING)",
        "larger": "greatest({0}, {1})",
        "smaller": "least({0}, {1})",
        "shift": "timestampadd(MICROSECOND, {1}, {0})",
        "minutes_between": "(CAST(timestampdiff(MICROSECOND, {0}, {1}) AS DOUBLE) / 60000000)",
        # date_trunc would go by the session's zone.
        "truncate_hour": (
            "timestampadd(MICROSECOND, -pmod(timestampdiff(MICROSECOND, TIMESTAMP_NTZ '1970-01-01 00:00:00', {0}), "
            "3600000000), {0})"
        ),
    },
    to_local="convert_timezone('UTC', {zone}, {0})",
    to_utc="convert_timezone({zone}, 'UTC', {0})",
    civil=(
        "try_make_timestamp_ntz(try_cast({0} AS INT), try_cast({1} AS INT), try_cast({2} AS INT), "
        "try_cast({3} div 100 AS INT), try_cast({3} % 100 AS INT), 0)"
    ),
    error="raise_error(concat({0}, CAST({1} AS STRING)))",
    asof="LEFT ASOF JOIN",
    untried=False,
)  # fmt: skip

SNOWFLAKE = Dialect(
    name="snowflake",
    title="Snowflake",
    quote='"',
    types={
        "integer": "NUMBER(38, 0)", "number": "DOUBLE", "text": "VARCHAR", "boolean": "BOOLEAN",
        "time": "TIMESTAMP_NTZ", "duration": "NUMBER(38, 0)", "decimal": "NUMBER(18, 6)",
    },
    operations=_PORTABLE
    # Its division of whole numbers is a decimal of six places: exact of what is divisible.
    | _rounded_down(
        "MOD({0}, NULLIF({1}, 0))", "CAST(({0} - MOD({0}, NULLIF({1}, 0))) / NULLIF({1}, 0) AS NUMBER(38, 0))"
    )
    | _calendar("EXTRACT({part} FROM {local})", "DAYOFWEEKISO({local})")
    | {
        "date": "TO_CHAR({local}, 'YYYY-MM-DD')",
        "larger": "GREATEST_IGNORE_NULLS({0}, {1})",
        "smaller": "LEAST_IGNORE_NULLS({0}, {1})",
        "shift": "DATEADD(MICROSECOND, {1}, {0})",
        "minutes_between": "(CAST(DATEDIFF(MICROSECOND, {0}, {1}) AS DOUBLE) / 60000000)",
        "truncate_hour": "DATE_TRUNC('HOUR', {0})",
    },
    to_local="CONVERT_TIMEZONE('UTC', {zone}, {0})",
    to_utc="CONVERT_TIMEZONE({zone}, 'UTC', {0})",
    # TIMESTAMP_FROM_PARTS would make a day of the 13th month.
    civil=(
        "TRY_TO_TIMESTAMP_NTZ(LPAD({0}, 4, '0') || '-' || LPAD({1}, 2, '0') || '-' || LPAD({2}, 2, '0') || ' ' || "
        "LPAD(TRUNC({3} / 100), 2, '0') || ':' || LPAD(MOD({3}, 100), 2, '0'), 'YYYY-MM-DD HH24:MI')"
    ),
    error="TO_BOOLEAN({0} || CAST({1} AS VARCHAR))",
    asof="ASOF JOIN",
    untried=True,
)  # fmt: skip

BIGQUERY = Dialect(
    name="bigquery",
    title="BigQuery",
    quote="`",
    types={
        "integer": "INT64", "number": "FLOAT64", "text": "STRING", "boolean": "BOOL", "time": "DATETIME",
        "duration": "INT64", "decimal": "NUMERIC(18, 6)",
    },
    operations=_PORTABLE
    | _rounded_down("MOD({0}, NULLIF({1}, 0))", "DIV({0}, NULLIF({1}, 0))")
    | _calendar("EXTRACT({part} FROM {local})", "(MOD(EXTRACT(DAYOFWEEK FROM {local}) + 5, 7) + 1)")
    | {
        "date": "FORMAT_DATETIME('%Y-%m-%d', {local})",
        "larger": "COALESCE(GREATEST({0}, {1}), {0}, {1})",
        "smaller": "COALESCE(LEAST({0}, {1}), {0}, {1})",
        "shift": "DATETIME_ADD({0}, INTERVAL {1} MICROSECOND)",
        "minutes_between": "(DATETIME_DIFF({1}, {0}, MICROSECOND) / 60000000)",
        "truncate_hour": "DATETIME_TRUNC({0}, HOUR)",
    },
    to_local="DATETIME(TIMESTAMP({0}, 'UTC'), {zone})",
    to_utc="DATETIME(TIMESTAMP({0}, {zone}), 'UTC')",
    civil=(
        "SAFE_CAST(FORMAT('%04d-%02d-%02d %02d:%02d:00', {0}, {1}, {2}, DIV({3}, 100), MOD({3}, 100)) AS DATETIME)"
    ),
    error="ERROR(CONCAT({0}, CAST({1} AS STRING)))",
    asof=None,
    untried=True,
)  # fmt: skip

DIALECTS: dict[str, Dialect] = {dialect.name: dialect for dialect in (SPARK, SNOWFLAKE, BIGQUERY)}
