"""YAML as people write it: a key a line, short mappings in one, with comments. What is written reads back the same."""

import textwrap
from typing import Any

import yaml

_WIDE = 1_000_000
_LONGEST = 120  # characters of a line of a comment


def flow(value: Any) -> str:
    """Return a value in one line."""
    text = yaml.safe_dump(value, default_flow_style=True, allow_unicode=True, sort_keys=False, width=_WIDE)
    return text.removesuffix("...\n").strip()


def scalar(value: Any) -> str:
    """Return a text, a number or a truth value; a text with line breaks or without letters in quotes."""
    return flow([value])[1:-1]


def entry(key: str, value: Any, indent: int = 0, comment: str = "") -> str:
    """Return a line of a key and its value."""
    line = f"{' ' * indent}{scalar(key)}: {flow(value)}"
    return f"{line} # {' '.join(comment.split())}" if comment else line


def block(key: str, value: Any, indent: int = 0) -> list[str]:
    """Return a key and, in the lines below it, the entries of its mapping, each in a line."""
    return [f"{' ' * indent}{scalar(key)}:", *(entry(name, each, indent + 2) for name, each in value.items())]


def comment(text: str, indent: int = 0) -> list[str]:
    """Return a text as the lines of a comment; a word that is longer than a line stays whole."""
    start = f"{' ' * indent}# "
    return textwrap.wrap(
        text, _LONGEST, initial_indent=start, subsequent_indent=start, break_long_words=False, break_on_hyphens=False
    )
