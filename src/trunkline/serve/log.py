"""What a prediction log is: a table with a row per prediction, of which two columns are certain (docs/lineage.md)."""

from collections.abc import Mapping
from dataclasses import dataclass

REQUEST, DIGEST = "request_id", "digest"  # whose row it is, and of the bundle that scored it
TIME, SCORE = "time", "score"  # when, and what it said; any other column is an input
INPUTS = "inputs"  # in the logs that Trunkline writes, a struct of them


@dataclass(frozen=True)
class Outcome:
    """What came of a prediction, when that arrived, and when it was imported; times are ISO 8601."""

    value: str | float | bool
    arrived: str
    imported: str


@dataclass(frozen=True)
class Prediction:
    """A row of a prediction log: whose bundle scored it, in which file it is; `inputs` are its other columns.

    `outcomes` are what has arrived of it, the last first: those before were corrected. While a rollout runs, `arm` is
    whose row it is, `problem` why it has no score, and `beside` what the other arm said of it.
    """

    request: str
    digest: str
    time: str | None
    score: float | None
    log: str
    inputs: Mapping[str, str | float | bool | None]
    outcomes: tuple[Outcome, ...] = ()
    arm: str | None = None
    problem: str | None = None
    beside: tuple[str, ...] = ()
