"""The grammar of versions: the tag `<name>@v<N>`, and its short form `v<N>`."""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Self

from trunkline.core.errors import UserError

_NAME = r"[a-z][a-z0-9-]{0,59}"
_LABEL = re.compile(r"v([1-9]\d{0,8})", re.ASCII)
_TAG = re.compile(rf"({_NAME})@v([1-9]\d{{0,8}})", re.ASCII)


@dataclass(frozen=True, order=True)
class Version:
    """A release of a model: its name, and its number, which counts up from 1."""

    name: str
    number: int

    @classmethod
    def of_tag(cls, tag: str) -> Self | None:
        """Return the version that a tag is of; None for any other tag."""
        match = _TAG.fullmatch(tag)
        return cls(match[1], int(match[2])) if match else None

    @property
    def tag(self) -> str:
        """Name of its tag."""
        return f"{self.name}@{self.label}"

    @property
    def semantic(self) -> str:
        """Name of a second tag, under which GTO lists it: GTO knows versions of three numbers only."""
        return f"{self.tag}.0.0"

    @property
    def label(self) -> str:
        """Its number as it is written in the registry file."""
        return f"v{self.number}"

    def __str__(self) -> str:
        """Write the tag."""
        return self.tag


def number(label: str) -> int | None:
    """Return the number of `v<N>`; None for any other text."""
    match = _LABEL.fullmatch(label)
    return int(match[1]) if match else None


def named(text: str, name: str) -> Version:
    """Return the version that a person means by `v3` or `<name>@v3`; raises UserError for any other text."""
    label = text.removeprefix(f"{name}@")
    count = number(label)
    if count is None:
        raise UserError(f"'{text}' is no version of {name}; name one such as v3 or {name}@v3")
    return Version(name, count)


def of(name: str, tags: Iterable[str]) -> tuple[Version, ...]:
    """Return the versions of a model among tags, oldest first."""
    versions = filter(None, map(Version.of_tag, tags))
    return tuple(sorted(version for version in versions if version.name == name))
