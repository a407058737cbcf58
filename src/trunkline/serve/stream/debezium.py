"""Reads rows out of Debezium's change events in JSON, with their schema or without it."""

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

from trunkline.serve.problems import malformed, refused_row

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_UNITS = {
    "io.debezium.time.Date": timedelta(days=1),
    "io.debezium.time.Timestamp": timedelta(milliseconds=1),
    "io.debezium.time.MicroTimestamp": timedelta(microseconds=1),
    "org.apache.kafka.connect.data.Date": timedelta(days=1),
    "org.apache.kafka.connect.data.Timestamp": timedelta(milliseconds=1),
}
_NANOS = "io.debezium.time.NanoTimestamp"
_STATES = ("c", "r", "u")  # created, read by a snapshot, updated


def row(content: Any) -> dict[str, Any]:
    """Return the row that a change leaves; times that the schema says are numbers become ISO 8601.

    Raises ProblemError for what is no change event, and for a deletion, since the store forgets no event.
    """
    payload = content.get("payload", content) if isinstance(content, dict) else None
    if not isinstance(payload, dict) or "op" not in payload:
        raise malformed("the body is no change event of Debezium: it has no op")
    change = payload["op"]
    if change == "d":
        raise refused_row("op d: a row was deleted, and the store of online features forgets none", field="op")
    if change not in _STATES:
        raise refused_row(f"op {str(change)[:20]!r}: is none that leaves a row: c, r, u", field="op")
    after = payload.get("after")
    if not isinstance(after, dict):
        raise malformed("the body is no change event of Debezium: after is no row")
    names = _names(content) if payload is not content else {}
    return {name: _plain(value, names.get(name)) for name, value in after.items()}


def happened(content: Any) -> float | None:
    """Return when a change was made in its database, in seconds since 1970, if it says so."""
    payload = content.get("payload", content) if isinstance(content, dict) else {}
    source = payload.get("source") if isinstance(payload, dict) else None
    at = source.get("ts_ms") if isinstance(source, dict) else None
    return at / 1000 if isinstance(at, int | float) else None


def _names(content: Mapping[str, Any]) -> dict[str, str]:
    """Return the types of the columns of `after`, by the schema beside the payload."""
    schema = content.get("schema")
    fields = schema.get("fields", []) if isinstance(schema, dict) else []
    after = next((each for each in fields if isinstance(each, dict) and each.get("field") == "after"), {})
    columns = after.get("fields", [])
    return {
        each["field"]: each["name"] for each in columns if isinstance(each, dict) and {"field", "name"} <= each.keys()
    }


def _plain(value: Any, type_: str | None) -> Any:
    if not isinstance(value, int) or isinstance(value, bool):
        return value
    try:
        if type_ == _NANOS:
            return (_EPOCH + timedelta(microseconds=value // 1000)).isoformat()
        return (_EPOCH + value * _UNITS[type_]).isoformat() if type_ in _UNITS else value
    except OverflowError:
        return value  # which the contract refuses
