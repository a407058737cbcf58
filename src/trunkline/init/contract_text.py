"""conf/contract of a problem, as text: every column with its type, its limits, and in a comment what was seen of it."""

import math
import re
from typing import Any

from trunkline.init import names, roles, yaml_text
from trunkline.init.problem import Problem, ProfiledTable
from trunkline.init.profile import Column

GUESSED = "guessed: a person has to say why, or to leave it out"
SPARE = 0.01  # share of the rows that may be set aside beyond those that are today
_HEADER = """\
# yaml-language-server: $schema=../../docs/schemas/contract.json
# What each table must look like. Limits are wider than what was seen; rows beyond them are set aside, and too many of
# those stop the run. `known: outcome` marks what is known only after the prediction: no feature may read it.
tables:"""
_ALLOWED = 12  # values of a text that are listed as all that there may be
_LARGEST = 1e15


def text(problem: Problem) -> str:
    """Return the file."""
    lines = [_HEADER]
    for table in problem.tables:
        lines += _table(problem, table)
    return "\n".join(lines) + "\n"


def quarantine_limit(table: ProfiledTable) -> float:
    """Return the share of a table's rows that may be set aside: those that are today, and a few."""
    unreadable = sum(column.unreadable for column in table.table.columns) / max(1, table.table.frame.height)
    return min(0.99, math.ceil((table.unique.repeated + unreadable + SPARE) * 100) / 100)


def _table(problem: Problem, table: ProfiledTable) -> list[str]:
    observed = table is problem.observed
    repeated = [yaml_text.entry("on_duplicate", "quarantine", 4)] if table.unique.repeated else []
    return [
        f"  {table.named.name}: # {table.table.frame.height:,} rows were looked at",
        yaml_text.entry("privacy", "internal", 4),
        yaml_text.entry("unique", list(table.unique.columns), 4),
        *repeated,
        yaml_text.entry("quarantine_limit", quarantine_limit(table), 4),
        "    columns:",
        *(_column(column, problem if observed else None) for column in table.table.columns),
    ]


def _column(column: Column, problem: Problem | None) -> str:
    content: dict[str, Any] = {"type": column.type}
    if column.missing or not column.present:
        content["nullable"] = True
    role = problem.roles[column.name] if problem else None
    content |= _limits(column) if role is None or role.role != "identifier" else {}  # new rows have new ones
    if column.formats:
        content["formats"] = list(column.formats)
    if role and role.role in ("label", "outcome"):
        content["known"] = "outcome"
    if {"min", "allowed", "pattern"} & content.keys() or column.unreadable:
        content["on_failure"] = "quarantine"
    if privacy := roles.privacy(column):
        content["privacy"] = privacy
        because = _because(column, privacy, problem)
        if because:
            content["privacy_because"] = because
    content["description"] = description(column.name)
    return yaml_text.entry(column.name, content, 6, _seen(column, role))


def _because(column: Column, privacy: str, problem: Problem | None) -> dict[str, str]:
    """Return why a sensitive column may be where it was put: a person has to say it."""
    if privacy != "sensitive" or problem is None:
        return {}
    reference = names.reference(column.name)
    places = {"feature": problem.features.values(), "slice": problem.slices.values()}
    return {place: GUESSED for place, sources in places.items() if reference in sources}


def description(name: str) -> str:
    """Return a column's name as words; a person has to write what it means."""
    plain = re.sub(r"[\W_]+", " ", name).strip()
    return plain.capitalize() if len(plain) >= 3 else f"Column {plain}".strip()


def _seen(column: Column, role: roles.ColumnRole | None) -> str:
    missing = f"{column.missing / max(1, column.rows):.1%} missing" if column.missing else ""
    wrong = f"{column.unreadable} of another type" if column.unreadable else ""
    why = f"{role.role}: {role.why}" if role and role.why else ""
    return "; ".join(filter(None, [f"{column.distinct:,} values", missing, wrong, why]))


def _limits(column: Column) -> dict[str, Any]:
    if column.low is not None and column.high is not None and max(abs(column.low), abs(column.high)) < _LARGEST:
        low, high = widened(column.low, column.high)
        whole = column.type == "integer"
        return {"min": int(low) if whole else low, "max": int(high) if whole else high}
    if column.type != "text":
        return {}
    if 0 < len(column.values) <= _ALLOWED and column.present >= 10 * column.distinct:
        return {"allowed": sorted(column.values, key=str)}
    return {"pattern": column.pattern} if column.pattern else {}


def widened(low: float, high: float) -> tuple[float, float]:
    """Return limits around some values, half as wide again on either side; what is never below 0 stays so."""
    room = (high - low) / 2 or abs(high) or 1.0
    below = 0.0 if low >= 0 else low - room
    return _rounded(below, math.floor), _rounded(high + room, math.ceil)


def _rounded(value: float, towards: Any) -> float:
    if not value:
        return 0.0
    step = 10.0 ** (math.floor(math.log10(abs(value))) - 1)
    if step < 1e-300:
        return value
    rounded = towards(value / step) * step
    return float(f"{rounded:.12g}")
