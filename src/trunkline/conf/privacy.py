"""The classes of conf/contract that say who may see a value, and the names that are personal by them. Pure."""

import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from trunkline.core import expressions
from trunkline.core.params import dig

CLASSES = ("public", "internal", "personal", "sensitive", "identifier")  # the stricter later
PERSONAL = CLASSES[2:]  # left out, hashed or replaced wherever values are shown
RESTRICTED = CLASSES[3:]  # need a reason wherever they appear besides
SMALLEST_CELL = 10  # rows that share what is shown of a personal column

_NAMED = {
    "e-mail addresses": r"e_?mails?",
    "phone numbers": r"(tele)?phones?|mobile|fax",
    "names of people": r"(first|last|full|sur|user|customer|patient|nick|maiden)_?name|name|passenger|employee",
    "what tells who somebody is": r"ssn|passport|iban|address|street|birth_?(date|day)|dob|ip|tax_?id",
    "coordinates": r"lat|latitude|lon|lng|long|longitude|coordinates?|gps|geo(hash|point)?",
    "free text": r"comments?|notes?|remarks?|messages?|feedback|free_?text|complaints?|narrative",
}
_PERSONAL = {kind: re.compile(rf"(^|_)({words})(_|$)") for kind, words in _NAMED.items()}
_SENSITIVE = re.compile(r"(^|_)(sex|gender|race|ethnic\w*|religion|nationality|disab\w*|marital\w*|pregnan\w*)(_|$)")
_OF_NUMBERS = ("coordinates",)  # the others are of texts, times and whole numbers


def words(name: str) -> str:
    """Return a column's name in lower case with _ between its words."""
    return re.sub(r"[^a-z0-9]+", "_", re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", name).lower())


def looks(name: str, kind: str) -> tuple[str, str] | None:
    """Return the class that a column's name suggests, and what its values seem to be; None of most.

    `kind` is the column's type in conf/contract.
    """
    text = words(name)
    for meaning, pattern in _PERSONAL.items():
        fits = kind == "number" if meaning in _OF_NUMBERS else kind in ("text", "time", "integer")
        if fits and pattern.search(text):
            return "personal", meaning
    return ("sensitive", "what nobody may be judged by") if _SENSITIVE.search(text) else None


def personal_names(params: Mapping[str, Any]) -> frozenset[str]:
    """Return the names that are personal in any table of params.yaml, and of what is computed from these.

    By names alone, as a log has them: whoever writes one is to leave out too much rather than too little.
    """
    names = set(_marked(dig(params, "contract", "tables")))
    sources = [*_derived(dig(params, "data", "derive")), *_features(dig(params, "features", "views"))]
    parts = [(name, {*expressions.columns(expressions.parse(source))}) for name, source in sources]
    while more := {name for name, columns in parts if name not in names and columns & names}:
        names |= more
    return frozenset(names)


def personal_slices(params: Mapping[str, Any]) -> frozenset[str]:
    """Return the slices of conf/evaluation whose expressions read a name of `personal_names`."""
    slices, personal = dig(params, "evaluation", "slices") or {}, personal_names(params)
    return frozenset(
        name for name, source in slices.items() if personal.intersection(expressions.columns(expressions.parse(source)))
    )


def _marked(tables: Any) -> Iterator[str]:
    for table in _values(tables):
        for name, column in (dig(table, "columns") or {}).items():
            if (dig(column, "privacy") or dig(table, "privacy")) in PERSONAL:
                yield name


def _derived(tables: Any) -> Iterator[tuple[str, str]]:
    for columns in _values(tables):
        yield from columns.items()


def _features(views: Any) -> Iterator[tuple[str, str]]:
    for view in _values(views):
        for name, feature in (dig(view, "features") or {}).items():
            source = feature if isinstance(feature, str) else dig(feature, "of")
            if source is not None:
                yield name, source


def _values(mapping: Any) -> Iterable[Any]:
    return mapping.values() if isinstance(mapping, Mapping) else ()
