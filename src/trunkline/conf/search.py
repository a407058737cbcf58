"""conf/search: which models are tried on folds of the training rows before one of them is trained."""

import math
from typing import Annotated, Any, ClassVar, Self

from pydantic import AfterValidator, Field, WithJsonSchema, model_validator

from trunkline.conf.model import DECLARED, Model
from trunkline.core.values import Group, Metric, Strict, Tuple, Word


def _scalar(value: Any) -> Any:
    if value is None or isinstance(value, bool | int | str) or (isinstance(value, float) and math.isfinite(value)):
        return value
    raise ValueError(f"must be a number, a text, true, false or null, not {value!r}")


def _number(value: Any) -> Any:
    if isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value):
        return value
    raise ValueError(f"must be a number, not {value!r}")


# Not unions of types: of a wrong value, each of them would say what it misses.
Scalar = Annotated[
    Any,
    AfterValidator(_scalar),
    WithJsonSchema(
        {"type": ["number", "string", "boolean", "null"], "title": "number, text, `true`, `false` or `null`"}
    ),
]
Number = Annotated[Any, AfterValidator(_number), WithJsonSchema({"type": "number", "title": "number"})]


class Domain(Strict):
    """The values of a parameter: some named ones, or all from `low` to `high`."""

    choices: Annotated[tuple[Scalar, ...], Tuple] | None = Field(
        None, description="These values, in no order.", min_length=1
    )
    low: Number = Field(None, description="Smallest value; whole numbers only if both ends are written so.")
    high: Number = Field(None, description="Largest value.")
    log: bool = Field(False, description="true: as often from 1 to 10 as from 10 to 100.")

    @model_validator(mode="after")
    def _choices_or_ends(self) -> Self:
        ends = (self.low, self.high)
        if self.choices is not None and ends == (None, None):
            return self
        if self.choices is not None or None in ends:
            raise ValueError("needs either `choices`, or both `low` and `high`")
        if self.low > self.high:
            raise ValueError(f"low: {self.low} is above high, {self.high}; exchange them")
        if self.log and self.low <= 0:
            raise ValueError(f"low: must be above 0 with log, not {self.low}")
        return self

    @property
    def ends(self) -> tuple[Any, ...]:
        """Values by which the whole domain is judged: the ends of a range, or every choice."""
        return self.choices if self.choices is not None else (self.low, self.high)


Space = Annotated[dict[str, Domain], Field(default_factory=dict)]


class Family(Strict):
    """An estimator beside the declared one, with its own space."""

    model: Model
    space: Space = Field(description="What is varied of it, by key, such as preprocess.numeric.impute.")


class Search(Group):
    """Models are tried on folds of the training rows, never on the holdout; the best one is trained."""

    key: ClassVar[str] = "search"

    trials: int = Field(0, ge=0, le=100_000, description="How many models are tried at most; 0 is no search.")
    minutes: float | None = Field(
        None, gt=0, allow_inf_nan=False, description="Time after which no batch of trials is begun."
    )
    space: Space = Field(description="What is varied of conf/model, by key, such as max_depth.")
    families: dict[Word, Family] = Field(default_factory=dict, description="Other estimators to try.")
    metric: Metric | None = Field(
        None,
        description="What is improved; the first of conf/evaluation that says which end is better if none is named.",
    )
    folds: int = Field(3, ge=2, le=50, description="How many times a model is fitted and measured.")
    batch: int = Field(8, ge=1, le=1000, description="Trials that are begun together and learnt from together.")
    patience: int | None = Field(
        None, ge=1, description="Batches without a better model after which the search ends; null waits for all."
    )
    prune: bool = Field(True, description="true: a trial worse than most earlier ones is spared its other folds.")

    @model_validator(mode="after")
    def _something_to_search(self) -> Self:
        if self.trials and not self.space and not self.families:
            raise ValueError("space: is empty, and so is families: name what is varied, or set trials: 0")
        if DECLARED in self.families:
            raise ValueError(f"families.{DECLARED}: is the name of conf/model itself; choose another")
        return self
