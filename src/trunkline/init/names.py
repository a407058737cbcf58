"""Names that conf/ takes, made of the names that tables have."""

import json
import keyword
import re
import unicodedata
from collections.abc import Collection

MOST = 50  # characters


def slug(text: str, taken: Collection[str], fallback: str) -> str:
    """Return a name of lower-case Latin letters, digits and _, near to a text, that is not taken yet."""
    plain = unicodedata.normalize("NFKD", re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", text))
    latin = plain.encode("ascii", "ignore").decode().lower()
    base = re.sub(r"[^a-z0-9]+", "_", latin).strip("_")[:MOST].strip("_")
    base = base if re.match("[a-z]", base) else f"{fallback}_{base}".strip("_")
    return next(name for name in (base, *(f"{base}_{number}" for number in range(2, 10_000))) if name not in taken)


def project(text: str) -> str:
    """Return a name for a model: as `slug`, with - in the place of _."""
    return slug(text, (), "model").replace("_", "-")


def reference(column: str) -> str:
    """Return how an expression names a column: as it is, or in quotes."""
    plain = column.isidentifier() and column.isascii() and not keyword.iskeyword(column)
    return column if plain else f"column({literal(column)})"


def literal(text: str) -> str:
    """Return a text as an expression writes it."""
    return json.dumps(text, ensure_ascii=False) if text.isprintable() else repr(text)
