"""The step that a rollout is in: which version is tried beside which one, how, since when, and by which rules."""

from dataclasses import dataclass
from datetime import datetime

from trunkline.conf.rollout import ArmKind, Rollout, RolloutRules, RolloutStep
from trunkline.core.errors import UserError


@dataclass(frozen=True)
class Step:
    """A step of an environment's rollout. Versions are as the log has them, such as v5; `since` is UTC.

    `number` is its place among the declared steps, from 0.
    """

    environment: str
    candidate: str
    current: str
    since: datetime
    rollout: Rollout
    number: int

    @property
    def declared(self) -> RolloutStep:
        """What conf/deploy says of it."""
        return self.rollout.steps[self.number]

    @property
    def kind(self) -> ArmKind:
        """What the candidate does in it."""
        return self.declared.kind

    @property
    def rules(self) -> RolloutRules:
        """What it is judged by."""
        return self.rollout.rules_of(self.declared)

    @property
    def is_last(self) -> bool:
        """Whether the candidate is the version that runs once this step is passed."""
        return self.number == len(self.rollout.steps) - 1

    @property
    def error_rate(self) -> float:
        """Share of steps like this, of a candidate that is no worse, that may be taken back."""
        return self.rollout.wrongly / len(self.rollout.steps)


def place(rollout: Rollout, environment: str, kind: ArmKind, share: float | None) -> int:
    """Return the number of the step of a kind, and of a canary's share in percent; raises UserError for no such one."""
    for number, step in enumerate(rollout.steps):
        if step.kind == kind and share in (None, step.share):
            return number
    listed = ", ".join(f"{step.kind} {step.share:g}" for step in rollout.steps)
    wanted = kind if share is None else f"{kind} {share:g}"
    raise UserError(
        f"deploy.environments.{environment}.rollout.steps: has no {wanted}, only {listed}; write one of these into "
        "models/registry.yaml, or declare this one"
    )
