"""conf/monitoring: what of the prediction log is watched, over which windows, and when somebody is to be told."""

from collections.abc import Mapping
from datetime import timedelta
from typing import Annotated, Any, ClassVar, Literal, Self

from pydantic import Field, model_validator

from trunkline.conf.alerting import Alerting, Severity
from trunkline.core.errors import nearest
from trunkline.core.values import Columns, Duration, Group, Name, Strict

Action = Literal["record", "alert", "issue", "retrain", "rollback"]
Kind = Literal["feature", "score", "outcome", "performance", "estimate", "calibration", "system", "skew"]
Finite = Annotated[float, Field(allow_inf_nan=False)]
Positive = Annotated[float, Field(gt=0, allow_inf_nan=False)]

BOUNDS = ("above", "below", "below_share", "above_reference", "off_reference", "worse_by", "worse_by_share")
OF_METRICS = ("performance", "estimate")  # whose measures are metrics, which the task has
_DISTANCES = ("psi", "jensen_shannon", "ks", "wasserstein")
MEASURES: dict[Kind, tuple[str, ...]] = {
    "feature": (*_DISTANCES, "new", "vanished", "missing", "out_of_range", "frozen", "mean", "unit"),
    "score": (*_DISTANCES, "mean", "missing", "out_of_range"),
    "outcome": ("psi", "jensen_shannon", "mean", "share"),
    "calibration": ("in_the_large", "error"),
    "system": ("p50", "p99", "rate", "share", "seconds"),
    "skew": ("share",),
}
SLICED: tuple[Kind, ...] = ("performance", "calibration", "outcome")  # measured by slice as well
SYSTEM: dict[str, tuple[str, ...]] = {  # the parts of the system, and what is measured of each
    "requests": ("rate",), "rows": ("rate",), "refusals": ("share",), "errors": ("share",),
    "latency": ("p50", "p99"), "feature_age": ("p50", "p99"), "model_age": ("seconds",),
}  # fmt: skip
_RELATIVE = ("below_share", "above_reference", "off_reference")  # bounds that need a reference


class Rule(Strict):
    """One rule: what is measured, the bound, and how often it has to be beyond it before anybody is told."""

    of: Kind = Field(description="What the rule is of: the rows that the log has, what came of them, or the server.")
    measure: str | None = Field(
        None,
        description="What is measured, such as psi; of performance and estimate a metric of the task, null: the first "
        "of conf/evaluation.",
    )
    subject: str | None = Field(
        None, min_length=1, description="The feature, score or part of the system, such as latency; null: each of them."
    )
    apart_from: Columns = Field(
        (), description="Those that a rule of each of them leaves out, such as the weekday, of which a day has one."
    )
    slices: bool = Field(
        False,
        description="Whether each value of `monitoring.slices` is judged by itself as well; of performance, "
        "calibration and outcome.",
    )
    above: Finite | None = Field(None, description="The largest value that is in order.")
    below: Finite | None = Field(None, description="The smallest value that is in order.")
    below_share: Positive | None = Field(
        None,
        description="The smallest share that is in order of the value of the rows that the bundle was made of; of a "
        "rate, of its median over the windows that were read.",
    )
    above_reference: Positive | None = Field(
        None, description="How far the value may lie above that of the rows that the bundle was made of."
    )
    off_reference: Positive | None = Field(
        None, description="How far it may lie from that of the rows that the bundle was made of, on either side."
    )
    worse_by: Positive | None = Field(
        None, description="How much worse than on the holdout a metric may be, in its units."
    )
    worse_by_share: Positive | None = Field(
        None, description="How much worse a metric may be as a share of its value on the holdout: 0.1 is ten percent."
    )
    sure: bool = Field(
        False, description="Whether all of the value's interval has to lie beyond the bound, where it has one."
    )
    rows: int = Field(500, ge=0, description="Rows, or outcomes, that a window needs to be judged.")
    coverage: float = Field(
        0.0, ge=0, le=1, description="Share of a window's rows that need an outcome for the window to be judged."
    )
    windows: int = Field(1, ge=1, le=1000, description="Windows in a row that have to be beyond the bound.")
    severity: Severity = Field("warning", description="How bad it is.")
    then: Action = Field(
        "alert",
        description="What follows: record, it stands in the report; alert, somebody is told; issue, one is opened; "
        "retrain, a retraining is proposed; rollback, the previous version is, where it is measurably better.",
    )
    upstream: bool = Field(
        False,
        description="Whether it says that what the model is given is broken, and not that the world has changed: it "
        "then explains what else is seen, and no retraining is proposed.",
    )

    @property
    def bound(self) -> tuple[str, float]:
        """Which bound the rule has, and its value."""
        return next((name, value) for name in BOUNDS if (value := getattr(self, name)) is not None)

    @model_validator(mode="after")
    def _has_one_bound(self) -> Self:
        given = [name for name in BOUNDS if getattr(self, name) is not None]
        if len(given) != 1:
            what = f"has {' and '.join(given)}; keep one of them" if given else f"needs a bound: {', '.join(BOUNDS)}"
            raise ValueError(what)
        if given[0].startswith("worse_by") and self.of not in OF_METRICS:
            raise ValueError(f"{given[0]}: is of performance and estimate, not of {self.of}; use above_reference")
        return self

    @model_validator(mode="after")
    def _is_measured(self) -> Self:
        if self.of in OF_METRICS:
            return self
        if self.measure is None:
            raise ValueError(f"measure: is missing; of {self.of} there are: {', '.join(MEASURES[self.of])}")
        if self.measure not in MEASURES[self.of]:
            raise ValueError(f"measure: no '{self.measure}' of {self.of}{nearest(self.measure, MEASURES[self.of])}")
        return self

    @model_validator(mode="after")
    def _can_be_judged(self) -> Self:
        if self.slices and self.of not in SLICED:
            raise ValueError(f"slices: {self.of} is not measured by slice, only {', '.join(SLICED)} are; remove it")
        if self.apart_from and self.subject is not None:
            raise ValueError(f"apart_from: the rule is of {self.subject} alone; remove one of the keys")
        name = self.bound[0]
        if name in _RELATIVE and not self._has_reference():
            raise ValueError(
                f"{name}: {self.measure} of {self.of} has no reference to compare with; use above or below"
            )
        if self.of == "system" and self.subject is not None:
            if self.subject not in SYSTEM:
                raise ValueError(f"subject: the system has no '{self.subject}'{nearest(self.subject, SYSTEM)}")
            if self.measure not in SYSTEM[self.subject]:
                known = ", ".join(SYSTEM[self.subject])
                raise ValueError(f"measure: no {self.measure} of {self.subject}; there is: {known}")
        return self

    def _has_reference(self) -> bool:
        """Tell whether what is measured has a value to be compared with: a distance is one from it already."""
        if self.of == "system":
            return self.measure == "rate"
        return self.of != "skew" and self.measure not in _DISTANCES


# What is watched where nothing is declared: conf/monitoring/common.yaml says the same, with the reasons.
RULES: dict[str, dict[str, Any]] = {
    "missing": {
        "of": "feature", "measure": "missing", "above_reference": 0.1, "rows": 200, "severity": "critical",
        "then": "issue", "upstream": True,
    },
    "unit": {
        "of": "feature", "measure": "unit", "off_reference": 0.2, "rows": 500, "severity": "critical",
        "then": "issue", "upstream": True,
    },
    "frozen": {
        "of": "feature", "measure": "frozen", "above_reference": 0.5, "rows": 200, "severity": "critical",
        "then": "issue", "upstream": True,
    },
    "schema": {
        "of": "feature", "measure": "new", "above": 0.5, "rows": 200, "severity": "critical", "then": "issue",
        "upstream": True,
    },
    "refusals": {
        "of": "system", "subject": "refusals", "measure": "share", "above": 0.05, "rows": 200,
        "severity": "critical", "then": "issue", "upstream": True,
    },
    "silence": {
        "of": "system", "subject": "rows", "measure": "rate", "below_share": 0.3, "rows": 0, "severity": "critical",
        "then": "issue", "upstream": True,
    },
    "new_values": {"of": "feature", "measure": "new", "above": 0.05, "windows": 2, "then": "issue"},
    "out_of_range": {
        "of": "feature", "measure": "out_of_range", "above_reference": 0.05, "windows": 2, "then": "issue",
    },
    "input_drift": {"of": "feature", "measure": "psi", "above": 0.25, "windows": 3, "then": "issue"},
    "score_drift": {"of": "score", "measure": "psi", "above": 0.25, "windows": 3},
    "outcome_drift": {"of": "outcome", "measure": "psi", "above": 0.1, "coverage": 0.5, "windows": 3, "then": "issue"},
    "performance": {
        "of": "performance", "worse_by_share": 0.1, "sure": True, "coverage": 0.5, "windows": 2,
        "severity": "critical", "then": "retrain", "slices": True,
    },
    "estimate": {"of": "estimate", "worse_by_share": 0.1, "windows": 3},
    "errors": {"of": "system", "subject": "errors", "measure": "share", "above": 0.01, "severity": "critical"},
    "latency": {"of": "system", "subject": "latency", "measure": "p99", "above": 1.0, "windows": 2},
}  # fmt: skip


class Retraining(Strict):
    """When a retraining is proposed though no rule is broken, and which rows it learns from."""

    every: Duration | None = Field(
        None,
        description="How much later than the declared holdout the newest rows whose outcomes are all known have to end "
        "for a retraining to be proposed; null: only where a rule says retrain, or a person does.",
    )
    window: Literal["slide", "grow"] = Field(
        "slide", description="Whether the training window keeps its length as it moves on, or its beginning."
    )


class Monitoring(Group):
    """What is watched of a model that runs; no stage reads it, so that a change reruns nothing (docs/monitoring.md)."""

    key: ClassVar[str] = "monitoring"

    window: Duration = Field(
        "1d", validate_default=True, description="Length of a window; windows begin at its multiples since 1970, UTC."
    )
    read: Duration = Field("60d", validate_default=True, description="How far back the log is read.")
    matures: Duration | None = Field(
        None,
        description="How long after a window its outcomes are taken for complete; null: data.target.known_after, or at "
        "once.",
    )
    cooldown: Duration = Field(
        "7d", validate_default=True, description="After that an alert that goes on is told once more."
    )
    slices: Columns = Field(
        (), description="Columns of a request each of whose values is measured by itself, such as origin."
    )
    cluster: Columns = Field(
        (), description="Columns of a request whose rows are not independent, for intervals; none: each row is."
    )
    features: Columns | None = Field(None, description="The features that are watched; null: all of the bundle.")
    rules: dict[Name, Rule] | None = Field(
        None, description="The rules, by name; null: those of the framework's conf/monitoring/common.yaml."
    )
    retrain: Retraining = Retraining()
    alerting: Alerting = Alerting()

    @property
    def judged(self) -> Mapping[str, Rule]:
        """The rules that are judged, by name: those declared, or else what is watched of any model."""
        return {name: Rule.model_validate(rule) for name, rule in RULES.items()} if self.rules is None else self.rules

    @model_validator(mode="after")
    def _reads_enough(self) -> Self:
        if self.window < timedelta(minutes=1):
            raise ValueError("window: must be at least 1min")
        for name, rule in self.judged.items():
            if rule.windows * self.window > self.read:
                raise ValueError(
                    f"rules.{name}.windows: {rule.windows} of them are longer than monitoring.read; read more"
                )
        return self
