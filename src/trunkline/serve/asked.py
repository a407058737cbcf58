"""What every protocol reads of a request, and what it is given to answer with, whoever scores the rows."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from trunkline.bundle.contract import FieldError
from trunkline.core.arrays import Floats
from trunkline.serve.decode import Columns, Rows
from trunkline.serve.http import is_request_id
from trunkline.serve.model import Given, Model, Version
from trunkline.serve.online.join import Joined


@dataclass(frozen=True)
class Asked:
    """The rows of a request as it gives them, unchecked; `one`: they came as one row, not as a list.

    `whole`, if there is one, checks all of them at once, and faster. Where `sets_aside`, the contract decides whether
    rows that are refused are left out, or refuse the request. `id` is what the client itself gave in the body.
    `pinned`: it asks for the version that is served, and no other may answer.
    """

    read: Callable[[], Sequence[Any]]
    whole: Callable[[], Given] | None = None
    one: bool = False
    sets_aside: bool = False
    explained: bool = False
    id: str | None = None
    pinned: bool = False

    @cached_property
    def rows(self) -> Sequence[Any]:
        """The rows."""
        return self.read()

    @property
    def is_read(self) -> bool:
        """Whether the rows are read already, which may take long."""
        return "rows" in vars(self)

    @property
    def own_id(self) -> str | None:
        """The client's id, if the log can bear it."""
        return self.id if self.id and is_request_id(self.id) else None

    def given(self, model: Model) -> Given:
        """Return all rows, checked by a model; raises ProblemError as `Model.given` does."""
        return self.whole() if self.whole else model.given(self.rows, self.one)

    def accepted(self, model: Model, given: Given) -> Rows | Columns:
        """Return the rows that are scored: without those that are refused, where they are set aside."""
        return model.accepted(given.rows) if self.sets_aside else given.rows


@dataclass(frozen=True, slots=True)
class Answered:
    """The scores of a request's rows in order, and their explanations, where these were asked for.

    `refused` says what is wrong with the rows that have none, by number, and `joined` how those were joined that were.
    `id` is what the client gave in the body.
    `versions` are which version answered each scored row, where it was not the same for all; else it was `version`.
    """

    version: Version
    scores: Floats
    one: bool = False
    refused: Mapping[int, FieldError] = field(default_factory=dict)
    joined: Mapping[int, Joined] = field(default_factory=dict)
    explanations: Sequence[Any] | None = None
    versions: Sequence[Version] | None = None
    id: str | None = None

    @classmethod
    def by(cls, model: Model, given: Given, scores: Floats, **more: Any) -> "Answered":
        """Return what one model answers."""
        joined = given.requested.joined if given.requested else {}
        return cls(model.version, scores, given.rows.one, given.rows.refused or {}, joined, **more)

    @property
    def numbers(self) -> list[int]:
        """The numbers of the scored rows."""
        return [number for number in range(len(self.scores) + len(self.refused)) if number not in self.refused]

    def in_place(self, values: Sequence[Any]) -> list[Any]:
        """Return the values of all rows, of which those that are refused have None."""
        each = iter(values)
        rows = len(self.scores) + len(self.refused)
        return [None if number in self.refused else next(each) for number in range(rows)]
