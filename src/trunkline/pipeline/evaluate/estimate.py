"""What is measured of a part of the holdout: values of metrics, and the intervals that they lie in."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Estimate:
    """A metric's value and its interval; None where it is not defined, and `undefined` says why there is no value."""

    value: float | None
    interval: tuple[float, float] | None
    undefined: str | None = None


@dataclass(frozen=True)
class Slice:
    """A part of the holdout: its number of rows, and its metrics unless it is too small to be measured."""

    n: int
    metrics: dict[str, Estimate]


@dataclass(frozen=True)
class Chosen:
    """The score from which on a row is taken for a positive one, and what it cost per row where it was chosen.

    That were `rows` of `folds` folds of the training rows, scored by models that had not seen them.
    """

    threshold: float
    folds: int
    rows: int
    cost: float


@dataclass(frozen=True)
class Confusion:
    """Rows by what they were taken for and what they are."""

    true_positives: int
    false_positives: int
    false_negatives: int
    true_negatives: int


@dataclass(frozen=True)
class Decided:
    """What deciding by a threshold costs on the holdout.

    `costs` are those of conf/evaluation; `always` and `never` the cost per row of taking every row for a positive one,
    or none.
    """

    chosen: Chosen
    costs: dict[str, float]
    confusion: Confusion
    expected_cost: Estimate
    always: float
    never: float


def words(estimate: Estimate | None) -> str:
    """Return the value as people read it, or that it is undefined, and why."""
    if estimate is None:
        return "not measured"
    if estimate.value is None:
        return f"undefined: {estimate.undefined}" if estimate.undefined else "undefined"
    return f"{estimate.value:.4f}"
