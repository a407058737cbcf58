"""A place that holds somebody's rows, or what was made of them, and what is to become of it."""

from dataclasses import dataclass
from typing import Literal

Kind = Literal[
    "source", "working tree", "cache", "remote", "git", "log", "outcomes", "online store", "version"
]  # fmt: skip
# here: `trunkline erase` does it. merge: the branch does, once it is merged. owner: somebody else has to. kept: what
# nobody erases, by declaration or by nature. gone: nothing is there any more.
State = Literal["here", "merge", "owner", "kept", "gone"]
HERE: State = "here"
GONE: State = "gone"
_OPEN: tuple[State, ...] = ("here", "merge", "owner")


@dataclass(frozen=True)
class Place:
    """A place by name, how many rows of the subject it holds, None where they cannot be counted, and what follows."""

    kind: Kind
    name: str
    rows: int | None
    state: State
    then: str

    @property
    def is_open(self) -> bool:
        """Whether it keeps the erasure from being done."""
        return self.state in _OPEN
