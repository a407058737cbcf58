"""What a model can be asked for, and what its scores are called: known from the contract to the served answer."""

from collections.abc import Sequence
from typing import Literal

Task = Literal["binary", "multiclass", "regression", "count"]
NUMERIC: tuple[Task, ...] = ("regression", "count")  # whose labels and scores are numbers

SCORE = "score"


def score_columns(classes: Sequence[str]) -> tuple[str, ...]:
    """Return the names of a row's scores: `score`, or `score_<class>` for each of several classes."""
    return tuple(f"{SCORE}_{name}" for name in classes) or (SCORE,)
