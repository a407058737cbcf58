"""conf/gates: the rules that a model must meet before it may be merged, and what they are judged against."""

from typing import Annotated, ClassVar, Literal, NamedTuple, Self

from pydantic import Field, model_validator

from trunkline.conf.model import Model
from trunkline.core.values import Group, Metric, Name, Strict, Tuple

Finite = Annotated[float, Field(allow_inf_nan=False)]
Reason = Annotated[str, Field(pattern=r"\w+\s+\w+")]  # a word alone explains nothing


class Limits(NamedTuple):
    """The smallest and the largest allowed value; None where there is none."""

    minimum: float | None
    maximum: float | None


class Rule(Strict):
    """What every rule has."""

    advisory: bool = Field(False, description="true: is reported, but blocks nothing.")


class Limited(Rule):
    """A rule with a limit on either side, or on both."""

    minimum: Finite | None = Field(None, description="Smallest allowed value.")
    maximum: Finite | None = Field(None, description="Largest allowed value.")

    @property
    def limits(self) -> Limits:
        """Both limits."""
        return Limits(self.minimum, self.maximum)

    @model_validator(mode="after")
    def _has_a_limit(self) -> Self:
        if self.minimum is None and self.maximum is None:
            raise ValueError("needs a minimum or a maximum: without one it could not fail")
        if self.minimum is not None and self.maximum is not None and self.minimum > self.maximum:
            raise ValueError(f"minimum {self.minimum:g} is above maximum {self.maximum:g}")
        return self


class Threshold(Limited):
    """A metric of conf/evaluation is on the right side of a limit."""

    kind: Literal["threshold"] = Field(description="Selects this kind of rule.")
    metric: Metric = Field(description="A metric of conf/evaluation.")
    slice: Name | None = Field(None, description="A slice of conf/evaluation: each of its measured values must pass.")
    tested: Literal["point", "interval"] = Field(
        "interval", description="interval: its end on the side of the limit must pass, not only the value."
    )


class OverOrigins(Limited):
    """A metric of the backtest is on the right side of a limit."""

    kind: Literal["backtest"] = Field(description="Selects this kind of rule.")
    metric: Metric = Field(description="A metric of conf/evaluation, whose `backtest` must be declared.")
    tested: Literal["every", "interval"] = Field(
        "every", description="every: at each origin; interval: the end of the interval of their mean must pass."
    )


class Champion(Rule):
    """The model is not worse, or is better, than the one in production, on the same rows."""

    kind: Literal["champion"] = Field(description="Selects this kind of rule.")
    metric: Metric = Field(description="A metric that says which end is the better one.")
    slice: Name | None = Field(None, description="A slice of conf/evaluation: each of its measured values must pass.")
    test: Literal["non_inferiority", "superiority"] = Field(
        "non_inferiority", description="At most `margin` worse, or better by more than `margin`."
    )
    margin: float = Field(ge=0, allow_inf_nan=False, description="In units of the metric.")

    @model_validator(mode="after")
    def _non_inferiority_needs_room(self) -> Self:
        if self.test == "non_inferiority" and not self.margin:
            raise ValueError("margin: must be above 0 for non_inferiority: an equal model could not pass")
        return self


class NoiseFloor(Rule):
    """The difference to production is larger than what another training seed makes."""

    kind: Literal["noise_floor"] = Field(description="Selects this kind of rule.")
    metric: Metric = Field(description="A metric that says which end is the better one.")


class Simplicity(Rule):
    """The model is better than a simple one by a margin, with the declared confidence."""

    kind: Literal["simplicity"] = Field(description="Selects this kind of rule.")
    metric: Metric = Field(description="A metric that says which end is the better one.")
    than: Literal["baseline", "base_rate", "naive"] = Field(
        "baseline",
        description="gates.baseline, the training rows' base rate as every row's score, or the feature of "
        "data.target.naive as the score, on the rows that have it.",
    )
    margin: float = Field(ge=0, allow_inf_nan=False, description="In units of the metric.")


class Fairness(Limited):
    """Groups are treated alike, by the difference or the ratio of a rate."""

    kind: Literal["fairness"] = Field(description="Selects this kind of rule.")
    group: Name = Field(description="A slice of conf/evaluation, whose values are the groups.")
    measure: Literal["selection_rate", "true_positive_rate", "false_positive_rate", "calibration"] = Field(
        description="What is compared between groups."
    )
    compared: Literal["difference", "ratio"] = Field(
        description="Largest minus smallest group, or smallest over largest."
    )
    selected_above: float = Field(0.5, ge=0, lt=1, description="Rows with a score above it are selected.")

    @model_validator(mode="after")
    def _a_rate_has_a_ratio(self) -> Self:
        if self.measure == "calibration" and self.compared == "ratio":
            raise ValueError("compared: calibration may be negative, so it has no ratio; use difference")
        return self


class DataShift(Limited):
    """The rows are like those before."""

    kind: Literal["data"] = Field(description="Selects this kind of rule.")
    measure: Literal["quarantined_share", "base_rate_ratio", "psi", "jensen_shannon"] = Field(
        description="Of any source table; holdout over training; or of the feature that shifted most between them."
    )


class Operational(Limited):
    """The bundle can be run as it must be."""

    kind: Literal["operational"] = Field(description="Selects this kind of rule.")
    measure: Literal["megabytes", "size_ratio", "latency_ratio", "throughput_ratio"] = Field(
        description="Size of the bundle; or this bundle's size, time of one prediction, or rows per second over the "
        "champion's. Times are measured by `trunkline gate`, and stand in no file."
    )


class Runtime(Rule):
    """The bundle runs without scikit-learn."""

    kind: Literal["runtime"] = Field(description="Selects this kind of rule.")
    required: Literal["onnx"] = Field(description="The runtime that the bundle must have.")


class Sanity(Rule):
    """Scores are probabilities that differ from row to row and mean about what they say."""

    kind: Literal["sanity"] = Field(description="Selects this kind of rule.")
    slope: Annotated[tuple[float, float], Tuple] = Field(
        description="Band of the calibration slope: the coefficient of the score's log-odds; 1 is perfect."
    )

    @model_validator(mode="after")
    def _is_a_band(self) -> Self:
        low, high = self.slope
        if not low < high < float("inf"):
            raise ValueError(f"slope: must be two numbers, the smaller one first, not {low:g} and {high:g}")
        return self


class Leak(Rule):
    """Nothing looks as if the label, or the future, or the holdout had leaked; what has a declared reason may."""

    kind: Literal["leak"] = Field(description="Selects this kind of rule.")
    alone: float = Field(
        0.9,
        gt=0.5,
        le=1,
        description="How well one feature may rank the labels by itself: ROC AUC, of a class against the others, or "
        "Spearman's coefficient of a number.",
    )
    importance: float = Field(
        0.7,
        gt=0,
        le=1,
        description="Largest share of one feature in the importance of all, by mean absolute SHAP value.",
    )
    jump: float = Field(
        0.05,
        gt=0,
        le=1,
        description="How much better than production's the model may rank: ROC AUC, or half of Spearman's coefficient.",
    )
    repeated: float = Field(
        0.1,
        ge=0,
        le=1,
        description="Share of the holdout's rows that may stand among the training rows, beyond chance.",
    )
    explained: dict[Name, Reason] = Field(
        default_factory=dict, description="Features that may rank so well or weigh so much, each with the reason."
    )
    explained_jump: dict[str, Reason] = Field(
        default_factory=dict,
        description="Versions than which the model may rank so much better, such as flight-delay@v3, with the reason.",
    )


class Monotonic(Rule):
    """The score moves only the declared way when a feature moves alone; asked of the bundle itself."""

    kind: Literal["monotonic"] = Field(description="Selects this kind of rule.")
    features: dict[Name, Literal[1, -1]] = Field(
        min_length=1,
        description="Numeric features; 1: the score never falls when the feature alone grows; -1: it never grows.",
    )
    rows: int = Field(500, ge=1, le=100_000, description="Rows of the holdout that are scored at each step.")
    steps: int = Field(
        50,
        ge=2,
        le=10_000,
        description="Values of a feature: so many quantiles of the training rows, and so many evenly over its range.",
    )
    tolerance: float = Field(
        1e-9, ge=0, allow_inf_nan=False, description="Largest move the wrong way, in units of the score."
    )


class Membership(Rule):
    """From the loss of a row's score, nobody can tell well whether the model was trained on the row."""

    kind: Literal["membership"] = Field(description="Selects this kind of rule.")
    maximum: float = Field(
        gt=0,
        lt=1,
        description="Largest advantage of who guesses: share of training rows called so, less that of the holdout's.",
    )
    than: Literal["chance", "baseline"] = Field(
        "chance",
        description="baseline: only what the guess has beyond one by the losses of gates.baseline, where training "
        "rows and holdout differ by more than that the model was trained on the former, as by their time.",
    )
    tested: Literal["point", "interval"] = Field(
        "interval", description="interval: its upper end must pass, not only the value."
    )
    rows: int = Field(20_000, ge=100, le=1_000_000, description="Rows of each side that are scored.")


class Evasion(Rule):
    """Few decisions flip when somebody moves a row a little within its contract; asked of the bundle itself."""

    kind: Literal["evasion"] = Field(description="Selects this kind of rule.")
    features: dict[Name, Annotated[float, Field(gt=0, allow_inf_nan=False)]] = Field(
        min_length=1,
        description="Numeric features that somebody can change, each with its spread: what counts as a move of 1.",
    )
    within: float = Field(1.0, gt=0, allow_inf_nan=False, description="How far each may move, in its spreads.")
    maximum: float = Field(ge=0, lt=1, description="Largest share of rows whose decision flips.")
    tested: Literal["point", "interval"] = Field(
        "interval", description="interval: its upper end must pass, not only the value."
    )
    decides_at: float | None = Field(
        None,
        gt=0,
        lt=1,
        description="Score from which on a row is taken for a positive one; without it, the one that "
        "evaluation.decision has chosen, or 0.5. Of several classes, the likeliest one is the decision.",
    )
    rows: int = Field(500, ge=10, le=100_000, description="Rows of the holdout that are moved.")
    steps: int = Field(10, ge=1, le=1000, description="Sizes of moves that are tried, evenly up to `within`.")


class Poisoning(Rule):
    """Who has flipped some labels of the training rows has not moved the model far; it is fitted to them once more."""

    kind: Literal["poisoning"] = Field(description="Selects this kind of rule.")
    metric: Metric = Field(description="A metric that says which end is the better one.")
    maximum: float = Field(
        ge=0, allow_inf_nan=False, description="Largest loss of the metric for each percent of the labels that flips."
    )
    tested: Literal["point", "interval"] = Field(
        "interval", description="interval: its upper end must pass, not only the value."
    )


AnyRule = Annotated[
    Threshold
    | OverOrigins
    | Champion
    | NoiseFloor
    | Simplicity
    | Fairness
    | DataShift
    | Operational
    | Runtime
    | Sanity
    | Leak
    | Monotonic
    | Membership
    | Evasion
    | Poisoning,
    Field(discriminator="kind"),
]


BASELINE, POISONED, SEED = "baseline", "poisoned", "seed_"  # names of rivals, the last one's with a number
TIMED = ("latency_ratio", "throughput_ratio")


def is_timed(rule: Rule) -> bool:
    """Whether a rule needs a clock."""
    return isinstance(rule, Operational) and rule.measure in TIMED


class Gates(Group):
    """The rules, and how sure a comparison must be."""

    key: ClassVar[str] = "gates"

    rules: dict[Name, AnyRule] = Field(description="The rules, by name.", min_length=1)
    confidence: float = Field(0.95, gt=0.5, lt=1, description="Of every one-sided test; families share it by Holm.")
    resamples: int = Field(2000, ge=500, le=100_000, description="Number of bootstrap resamples of a comparison.")
    seeds: int = Field(0, ge=0, le=20, description="How often the model is fitted again with another seed.")
    poisoned: float | None = Field(
        None, gt=0, lt=0.5, description="Share of the training labels that is flipped for rules of kind poisoning."
    )
    baseline: Model | None = Field(None, description="The simple model of `than: baseline`, as in conf/model.")

    @model_validator(mode="after")
    def _has_what_rules_need(self) -> Self:
        for name, rule in self.rules.items():
            if isinstance(rule, NoiseFloor) and self.seeds < 2:
                raise ValueError(f"rules.{name}: needs gates.seeds of at least 2")
            if isinstance(rule, Simplicity | Membership) and rule.than == "baseline" and self.baseline is None:
                raise ValueError(f"rules.{name}: needs gates.baseline")
            if isinstance(rule, Poisoning) and self.poisoned is None:
                raise ValueError(f"rules.{name}: needs gates.poisoned, the share of labels to flip, such as 0.05")
        if self.poisoned is not None and not any(isinstance(rule, Poisoning) for rule in self.rules.values()):
            raise ValueError("poisoned: no rule of kind poisoning reads it, and it costs a fit; remove it, or add one")
        return self
