"""conf/evaluation: which metrics, on which slices, with which intervals and curves."""

from datetime import timedelta
from typing import Annotated, ClassVar, Self

from pydantic import Field, model_validator

from trunkline.core.values import Duration, Expression, Group, Metric, Name, Strict, Tuple

DAY = timedelta(days=1)
EXPECTED_COST = "expected_cost"  # the metric of a decision, which a threshold of conf/gates may name
WHOLE = "all"  # the slice that is the whole holdout, and its label
LABEL = "label"  # of multilabel: the slices that are one label each, on all rows


class Interval(Strict):
    """Bootstrap intervals: whole clusters are resampled, since rows of one cluster are not independent."""

    cluster: Expression | None = Field(
        None, description="Rows with the same value are resampled together; without it, each row by itself."
    )
    resamples: int = Field(1000, ge=100, le=100_000, description="Number of bootstrap resamples.")
    confidence: float = Field(0.95, gt=0.5, lt=1, description="Coverage of the interval.")
    undefined_limit: float = Field(
        0.05,
        ge=0,
        lt=1,
        description="No interval if a metric is undefined on a larger share of the resamples.",
    )


class Curves(Strict):
    """Size of the curves that are plotted."""

    points: int = Field(200, ge=10, le=2000, description="Most points of the ROC and precision-recall curve.")
    bins: int = Field(
        15, ge=2, le=100, description="Bins of equal count of the calibration curve, or of observed by predicted."
    )


class Backtest(Strict):
    """Rolling origins in the training window: the model is trained anew at each, and measured on what follows."""

    origins: int = Field(ge=2, le=100, description="How many; the last one's step ends with the training window.")
    step: Duration = Field(description="Days from one origin to the next, on which each is measured.")
    window: Duration | None = Field(
        None, description="Days before it that each origin learns from; without it, all since the window's start."
    )

    @model_validator(mode="after")
    def _whole_days(self) -> Self:
        for key, value in (("step", self.step), ("window", self.window)):
            if value is not None and (value % DAY or value < DAY):
                raise ValueError(f"{key}: must be whole days, such as 7d: an origin is a local midnight")
        return self


class Decision(Strict):
    """What wrong and right decisions cost, in one unit; a true negative costs nothing. Of a binary label."""

    false_positive: float = Field(gt=0, allow_inf_nan=False, description="Cost of taking a negative row for positive.")
    false_negative: float = Field(gt=0, allow_inf_nan=False, description="Cost of missing a positive row.")
    gain: float = Field(0.0, ge=0, allow_inf_nan=False, description="What a positive row brings that is not missed.")
    folds: int = Field(
        5, ge=2, le=50, description="Folds of the training rows on whose scores the threshold is chosen."
    )

    @property
    def costs(self) -> dict[str, float]:
        """The costs by their names."""
        return {"false_positive": self.false_positive, "false_negative": self.false_negative, "gain": self.gain}


class Evaluation(Group):
    """How the holdout is measured."""

    key: ClassVar[str] = "evaluation"

    metrics: Annotated[tuple[Metric, ...], Tuple] = Field(description="Names of metrics.", min_length=1)
    slices: dict[Name, Expression] = Field(default_factory=dict, description="One slice per value of each.")
    slice_min_rows: int = Field(100, ge=1, description="Smaller slices are counted but not measured.")
    interval: Interval = Interval()
    curves: Curves = Curves()
    backtest: Backtest | None = Field(
        None, description="Also measures the model as trained at earlier days; with data.window only."
    )

    decision: Decision | None = Field(
        None, description="Also chooses the score from which on a row is taken for a positive one, by costs."
    )

    @model_validator(mode="after")
    def _whole_is_reserved(self) -> Self:
        if WHOLE in self.slices:
            raise ValueError(f"slices.{WHOLE}: the name means the whole holdout; choose another")
        return self
