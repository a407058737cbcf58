"""Why sensitive values may be where they are, and what looks personal is public: only a person can judge that."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from trunkline.core.params import dig
from trunkline.show.markdown import code, table, text

NEW = "Declared reasons why a column may be where its privacy class has it refused. Nothing can check them; read them:"


@dataclass(frozen=True)
class Reason:
    """A declared reason why a column, `table.column`, may be in a place such as a feature."""

    column: str
    privacy: str
    place: str
    because: str


def changes(before: Mapping[str, Any], now: Mapping[str, Any]) -> tuple[Reason, ...]:
    """Return the reasons of a params.yaml that an earlier one has not, or has for a column of another class."""
    known = set(_all(before))
    return tuple(each for each in _all(now) if each not in known)


def markdown(reasons: Sequence[Reason]) -> str:
    """Return new reasons as Markdown; nothing where there are none."""
    if not reasons:
        return ""
    rows = ((code(each.column), text(each.privacy), text(each.place), text(each.because)) for each in reasons)
    return f"{NEW}\n\n{table(('column', 'class', 'place', 'because'), rows)}"


def _all(params: Mapping[str, Any]) -> Iterator[Reason]:
    for name, of in _items(dig(params, "contract", "tables")):
        for column_name, column in _items(dig(of, "columns")):
            privacy = dig(column, "privacy") or dig(of, "privacy")
            for place, because in _items(dig(column, "privacy_because")):
                yield Reason(f"{name}.{column_name}", str(privacy), place, str(because))


def _items(value: Any) -> Iterator[tuple[str, Any]]:
    """Yield the entries of a mapping, and nothing of anything else: an old commit may hold that."""
    yield from ((str(key), value[key]) for key in sorted(value, key=str)) if isinstance(value, Mapping) else ()
