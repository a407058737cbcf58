"""The two arms of a rollout: the version that is served, and the candidate, with the share of rows that it is given."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

from trunkline.core.errors import UserError
from trunkline.serve.asked import Asked
from trunkline.serve.model import Model, Rollout
from trunkline.serve.rollout.sticky import Share


@dataclass(frozen=True)
class Arms:
    """What is served, and the candidate of a rollout beside it; raises UserError for one with other scores."""

    current: Model
    candidate: Model
    declared: Rollout

    def __post_init__(self) -> None:
        ours, theirs = _meaning(self.current), _meaning(self.candidate)
        if ours != theirs:
            raise UserError(
                f"{self.candidate.version.version}: gives {_words(*theirs)}, and what is served {_words(*ours)}; "
                "clients could not read both: deliver it without a rollout"
            )

    @cached_property
    def share(self) -> Share:
        """The share of rows that the candidate is given."""
        return Share(self.candidate.version.digest, self.declared.share, tuple(self.declared.key))

    def answered(self, asked: Asked) -> list[int]:
        """Return the numbers of the rows that the candidate answers: none where it cannot explain what is to be."""
        if self.declared.kind != "canary" or asked.pinned:
            return []
        rows = self.current.decoder.limited(asked.rows)
        if asked.explained and not self.candidate.explains(len(rows)):
            return []
        return [number for number, row in enumerate(rows) if self.share.has(row)]

    def shadowed(self, asked: Asked, request: str) -> list[int]:
        """Return the numbers of the rows that the candidate scores beside: without a whole key, by the request's id."""
        return [
            number for number, row in enumerate(asked.rows) if isinstance(row, Mapping) and self.share.has(row, request)
        ]


def _meaning(model: Model) -> tuple[tuple[str, ...], str, str]:
    """Return what the scores of a model are: their names in order, the label that they are of, and the task."""
    contract = model.bundle.contract
    return contract.scores, contract.label, model.bundle.manifest.task


def _words(scores: Sequence[str], label: str, task: str) -> str:
    return f"{', '.join(scores)} of {label} ({task})"
