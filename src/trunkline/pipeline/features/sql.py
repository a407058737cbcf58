"""Pieces of the engine's SQL: keys, conditions, and literals of texts, moments and lengths of time."""

from collections.abc import Iterable
from datetime import datetime, timedelta

from trunkline.core.features import EVENT_TIME
from trunkline.core.tables.rows import share_sql
from trunkline.core.tables.sql import identifier
from trunkline.pipeline.features.plan import Part, RequestShare, Span

TIME = identifier(EVENT_TIME)


def columns(names: Iterable[str]) -> str:
    """Return the names of columns, in order."""
    return ", ".join(map(identifier, names))


def joined(names: Iterable[str], other: str = "event") -> str:
    """Return the condition that a request and another row have the same keys."""
    return " AND ".join(f"request.{identifier(name)} = {other}.{identifier(name)}" for name in names)


def literal(value: str) -> str:
    """Return a text as a literal."""
    return "'" + value.replace("'", "''") + "'"


def interval(value: timedelta) -> str:
    """Return a length of time."""
    return f"to_microseconds({value // timedelta(microseconds=1)})"


def in_part(part: Part | None) -> str:
    """Return the condition that a request is in a part of the data; of any for None."""
    match part:
        case Span():
            return f"{TIME} >= {timestamp(part.start)} AND {TIME} < {timestamp(part.end)}"
        case RequestShare():
            share = share_sql(part.by, part.seed)
            return f"{share} >= {part.low!r} AND {share} < {part.high!r}"
        case None:
            return "true"


def timestamp(value: datetime) -> str:
    """Return a moment as a literal."""
    return f"TIMESTAMP '{value.isoformat(sep=' ')}'"


def instant(text: str | None) -> str:
    """Return a moment that is written as text; null for None."""
    return f"CAST({'NULL' if text is None else literal(text)} AS TIMESTAMP)"
