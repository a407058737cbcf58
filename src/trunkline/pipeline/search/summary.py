"""The outcome of a search for people: one line, and the data of its pictures."""

import statistics
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, FiniteFloat, ValidationError

from trunkline.conf.model import DECLARED
from trunkline.core import paths
from trunkline.core.errors import UserError
from trunkline.core.files import parse_json
from trunkline.pipeline.train.choice import Choice

TRIALS = paths.SEARCH / "trials.json"
MOST = 2000  # trials of a picture

State = Literal["complete", "pruned", "failed"]


@dataclass(frozen=True)
class Tried:
    """A trial: the metric's mean over the folds that it was measured on, if any."""

    family: str
    state: State
    value: float | None


@dataclass(frozen=True)
class Searched:
    """A search in a line; its first `MOST` trials in order, and the share of each parameter in the best of them."""

    line: str
    metric: str
    trials: tuple[Tried, ...]
    importance: tuple[tuple[str, float], ...]


class _Trial(BaseModel):
    model_config = ConfigDict(frozen=True)

    family: str
    state: State
    scores: tuple[FiniteFloat, ...]


class _Trials(BaseModel):
    model_config = ConfigDict(frozen=True)

    trials: tuple[_Trial, ...]
    importance: dict[str, FiniteFloat]


def outcome(choice: Choice) -> str:
    """Return the outcome of a search in one line; nothing where there was none."""
    if choice.metric is None:
        return ""
    spared = [f"{count} {word}" for word, count in (("pruned", choice.pruned), ("failed", choice.failed)) if count]
    tried = f"{choice.trials} trials" + (f" ({', '.join(spared)})" if spared else "")
    over = f"{choice.metric} over {choice.folds} folds"
    if choice.model is None:
        return f"{tried}, none better than the declared model: {over} {choice.value:.5g}"
    estimator = str(choice.model.get("_target_")).rpartition(".")[2]
    name = estimator if choice.family == DECLARED else choice.family
    return f"{tried}, best {over} {choice.value:.5g} ({name}), was {choice.declared:.5g}"


def read(root: Path = Path()) -> Searched | None:
    """Read what a search left under a project's root, if there was one; raises UserError for what it did not write."""
    choice = Choice.read(root)
    if choice.metric is None:
        return None
    try:
        left = _Trials.model_validate(parse_json((root / TRIALS).read_text(encoding="utf-8")))
    except (OSError, ValidationError, ValueError):
        raise UserError(f"{TRIALS}: is not what the search stage writes; run: dvc repro") from None
    tried = (
        Tried(trial.family, trial.state, statistics.fmean(trial.scores) if trial.scores else None)
        for trial in left.trials
    )
    shares = sorted(left.importance.items(), key=lambda item: (-item[1], item[0]))
    return Searched(outcome(choice), choice.metric, tuple(tried)[:MOST], tuple(shares))
