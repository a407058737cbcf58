"""conf/deploy, rollout: by which steps a version replaces another one, and what it may not be worse in meanwhile."""

from datetime import timedelta
from itertools import pairwise
from typing import Annotated, Literal, Self

from pydantic import Field, field_validator, model_validator

from trunkline.core.values import Columns, Duration, Metric, Strict, Tuple

ArmKind = Literal["shadow", "canary"]

Share = Annotated[float, Field(gt=0, le=100, allow_inf_nan=False)]  # of requests or keys, in percent
Amount = Annotated[float, Field(ge=0, le=1, allow_inf_nan=False)]  # a share, from 0 to 1
Ratio = Annotated[float, Field(ge=1, le=100, allow_inf_nan=False)]

_STEPS = [{"shadow": 100}, {"canary": 5}, {"canary": 25}]


class Performance(Strict):
    """How well the candidate predicts, by outcomes as they arrive, as a rule of conf/gates with a margin judges it."""

    metric: Metric = Field(description="A metric of the task that says which end is the better one, such as log_loss.")
    margin: float = Field(gt=0, allow_inf_nan=False, description="How much worse it may be, in units of the metric.")
    labels: int = Field(
        500, ge=20, description="Rows of the candidate with an outcome that have to be there before it is judged."
    )
    wait: Duration = Field(
        "14d",
        validate_default=True,
        description="Time after a step's `for` by which they have to be there; then the rollout says that they are "
        "late, and goes on waiting: a person decides.",
    )


class RolloutRules(Strict):
    """How much worse than the current version the candidate may be in a step; null: it is not judged by that."""

    errors: Amount | None = Field(
        0.01, description="By how much more of its rows may end in an exception: 0.01 is one row in a hundred."
    )
    refusals: Amount | None = Field(0.01, description="By how much more of its rows its contract may refuse.")
    latency_p50: Ratio | None = Field(
        2.0,
        description="The median time that its scoring takes, over the current version's; without what the server does.",
    )
    latency_p99: Ratio | None = Field(3.0, description="The same of the 99th percentile.")
    mean: float | None = Field(
        0.25,
        gt=0,
        allow_inf_nan=False,
        description="How far its mean score may lie from the current version's, in standard deviations of the latter's "
        "scores; of several classes, that of each.",
    )
    distance: Amount | None = Field(
        0.2,
        description="Largest distance between the distribution functions of both versions' scores (Kolmogorov and "
        "Smirnov's), measured at the deciles.",
    )
    disagreement: Amount | None = Field(
        0.1, description="Share of rows whose decision may change; in shadow only, where both decide the same rows."
    )
    threshold: float = Field(
        0.5,
        allow_inf_nan=False,
        description="Score above which the decision is yes; of several classes, it is the likeliest one instead.",
    )
    performance: Performance | None = Field(
        None, description="How well it predicts; null: outcomes are not waited for."
    )
    slices: Columns = Field(
        (), description="Columns of a request on each of whose values the same is judged, such as origin."
    )


class RolloutStep(Strict):
    """A step of a rollout, in which both versions score: a `shadow` or a `canary`, and its share in percent."""

    shadow: Share | None = Field(
        None, description="Percentage of requests that the candidate scores too, without being answered with."
    )
    canary: Share | None = Field(None, description="Percentage of keys that the candidate answers.")
    for_: Duration = Field("24h", alias="for", validate_default=True, description="How long it takes at least.")
    requests: int = Field(
        1000, ge=20, description="How many rows the candidate has to have scored, or failed on, before it is passed."
    )
    change: Literal["commit", "pull_request"] = Field(
        "commit", description="How it is passed. Going back is always a commit."
    )
    rules: RolloutRules | None = Field(None, description="Rules of this step instead of the rollout's; null: the same.")

    @property
    def kind(self) -> ArmKind:
        """What the candidate does in it."""
        return "shadow" if self.shadow is not None else "canary"

    @property
    def share(self) -> float:
        """The candidate's share, in percent."""
        return self.shadow or self.canary or 0.0

    @field_validator("for_")
    @classmethod
    def _not_zero(cls, value: timedelta) -> timedelta:
        if not value:
            raise ValueError("must be longer than 0s")
        return value

    @model_validator(mode="after")
    def _is_one_of_both(self) -> Self:
        if (self.shadow is None) == (self.canary is None):
            raise ValueError("must be either a shadow or a canary, such as {shadow: 100} or {canary: 5}")
        if self.canary is not None and self.canary >= 100:
            raise ValueError("canary: must be below 100; past the last step the candidate answers everything")
        if round(self.share, 2) != self.share:
            raise ValueError(f"{self.kind}: must have at most two decimals, not {self.share}")
        return self


class Rollout(Strict):
    """How a version replaces another one: step by step, judged by the log of predictions (docs/rollout.md)."""

    key: Columns = Field(
        min_length=1,
        description="Columns of a request, such as [carrier, flight]: the same values have the same version within "
        "a step, and their rows are not taken for independent.",
    )
    steps: Annotated[tuple[RolloutStep, ...], Tuple] = Field(
        _STEPS,
        validate_default=True,
        min_length=1,
        description="The steps in order: at most one shadow, then canaries, each with a larger share than before.",
    )
    rules: RolloutRules = Field(
        RolloutRules(), description="How much worse the candidate may be, in every step without rules of its own."
    )
    wrongly: float = Field(
        0.05,
        gt=0,
        le=0.5,
        description="Share of rollouts of a version that is no worse that may be taken back all the same: over all "
        "steps, rules and slices, however often one looks.",
    )

    @model_validator(mode="after")
    def _steps_grow(self) -> Self:
        for before, after in pairwise(self.steps):
            if (before.kind, after.kind) == ("canary", "shadow"):
                raise ValueError("steps: a shadow comes after a canary; put the shadow first")
            if (before.kind, after.kind) == ("shadow", "shadow"):
                raise ValueError("steps: has two shadows, and models/registry.yaml cannot say which; keep one")
            if before.kind == after.kind and after.share <= before.share:
                raise ValueError(
                    f"steps: {after.kind} {after.share:g} comes after {before.share:g}; each share must be larger"
                )
        return self

    def rules_of(self, step: RolloutStep) -> RolloutRules:
        """Return the rules of a step."""
        return step.rules or self.rules
