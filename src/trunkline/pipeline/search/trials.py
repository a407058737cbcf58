"""Looks for a better model by Optuna, such that the same number of trials gives the same model on any number of cores.

Trials are asked for in batches, measured in any order, and told in the order of asking; what is pruned is decided by
earlier batches only. So nothing depends on which of them was done first, and a killed search, which asks for the same
models again, finds most of them measured.
"""

import statistics
import warnings
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, NamedTuple

import optuna

from trunkline.conf.model import Model
from trunkline.conf.search import Domain, Search
from trunkline.core.errors import UserError
from trunkline.core.params import dig
from trunkline.pipeline.search.score import FoldJob, Score
from trunkline.pipeline.search.spaces import ModelSpace
from trunkline.pipeline.search.summary import State

FAMILY = "family"
WARM = 4  # trials that must be complete before one is pruned by their median

Stop = Literal["trials", "patience", "minutes"]
Measure = Callable[[Sequence[FoldJob]], Iterable[tuple[FoldJob, Score]]]


@dataclass(frozen=True)
class Trial:
    """A model that was tried: its scores by fold, fewer than all if it was pruned or failed, and why it failed."""

    number: int
    family: str
    values: dict[str, Any]
    model: Model
    scores: tuple[float, ...]
    state: State
    reason: str = ""

    def mean(self, folds: int | None = None) -> float:
        """Return the mean over all of its folds, or the first ones."""
        return statistics.fmean(self.scores[:folds])


@dataclass(frozen=True)
class SearchResult:
    """All trials in order, what ended the search, the best one, and the importance of each parameter, if known."""

    trials: tuple[Trial, ...]
    stopped: Stop
    best: Trial
    importance: dict[str, float]


class Point(NamedTuple):
    """A trial that is not measured yet; Optuna has not asked for the declared models."""

    family: ModelSpace
    values: dict[str, Any]
    model: Model | None
    reason: str
    asked: optuna.trial.Trial | None


@dataclass
class Study:
    """A search in progress."""

    search: Search
    families: Sequence[ModelSpace]
    larger: bool
    seed: int
    trials: list[Trial] = field(default_factory=list)

    def __post_init__(self) -> None:
        """Begin with Optuna's sampler at its seed."""
        optuna.logging.set_verbosity(optuna.logging.ERROR)
        sampler = optuna.samplers.TPESampler(seed=self.seed, n_startup_trials=self.search.batch)
        self._optuna = optuna.create_study(sampler=sampler, direction="maximize" if self.larger else "minimize")
        self._searched = [family for family in self.families if family.space]

    def run(self, measure: Measure, in_time: Callable[[], bool]) -> SearchResult:
        """Try every family as it is declared, then batches until the search ends.

        `measure` may yield its jobs in any order; `in_time` is asked before each batch. Raises UserError where the
        declared model itself cannot be measured.
        """
        self._batch([Point(family, {}, family.model, "", None) for family in self.families], measure)
        if self.trials[0].state == "failed":
            raise UserError(self.trials[0].reason)
        stopped: Stop = "trials"
        stale = 0
        while self._searched and len(self.trials) < self.search.trials:
            if not in_time():
                stopped = "minutes"
                break
            before = self.best.number
            count = min(self.search.batch, self.search.trials - len(self.trials))
            self._batch([self._ask() for _ in range(count)], measure)
            stale = stale + 1 if self.best.number == before else 0
            if stale == self.search.patience:
                stopped = "patience"
                break
        return SearchResult(tuple(self.trials), stopped, self.best, self._importance())

    @property
    def complete(self) -> list[Trial]:
        """Trials with a score on every fold."""
        return [trial for trial in self.trials if trial.state == "complete"]

    @property
    def best(self) -> Trial:
        """The best trial; of equal ones the first."""
        return min(self.complete, key=lambda trial: (self._worse(trial.mean()), trial.number))

    def _worse(self, value: float) -> float:
        return -value if self.larger else value

    def _ask(self) -> Point:
        asked = self._optuna.ask()
        names = [family.name for family in self._searched]
        name = asked.suggest_categorical(FAMILY, names) if len(names) > 1 else names[0]
        family = next(family for family in self._searched if family.name == name)
        values = {key: suggest(asked, self._name(family, key), domain) for key, domain in sorted(family.space.items())}
        try:
            return Point(family, values, family.at(values), "", asked)
        except UserError as error:
            return Point(family, values, None, str(error), asked)

    def _name(self, family: ModelSpace, key: str) -> str:
        return f"{family.name}.{key}" if len(self._searched) > 1 else key

    def _batch(self, points: Sequence[Point], measure: Measure) -> None:
        """Measure points fold by fold, without those that are pruned, and tell Optuna in the order of asking."""
        scores: list[list[Score]] = [[] for _ in points]
        earlier, folds = self.complete, self.search.folds
        prune = self.search.prune and len(earlier) >= WARM
        for steps in [[fold] for fold in range(folds)] if prune else [list(range(folds))]:
            alive = [
                number for number, result in enumerate(scores) if self._goes_on(points[number], result, earlier, prune)
            ]
            jobs = [FoldJob(number, fold, _content(points[number])) for number in alive for fold in steps]
            measured = {(job.trial, job.fold): score for job, score in measure(jobs)}
            for job in jobs:
                scores[job.trial].append(measured[job.trial, job.fold])
        for point, result in zip(points, scores, strict=True):
            self._tell(point, result)

    def _goes_on(self, point: Point, scores: Sequence[Score], earlier: Sequence[Trial], prune: bool) -> bool:
        if point.model is None or any(score.value is None for score in scores):
            return False
        if not prune or not scores:
            return True
        median = statistics.median(self._worse(trial.mean(len(scores))) for trial in earlier)
        return self._worse(statistics.fmean(_values(scores))) <= median

    def _tell(self, point: Point, scores: Sequence[Score]) -> None:
        reason = next((score.reason for score in scores if score.value is None), point.reason)
        values = tuple(_values(scores))
        state: State = "failed" if reason else "complete" if len(values) == self.search.folds else "pruned"
        model = point.model or point.family.model
        shown = point.values
        if point.model:
            content = model.model_dump(by_alias=True, mode="json")
            shown = {key: dig(content, *key.split(".")) for key in sorted(point.family.space)}
        trial = Trial(len(self.trials), point.family.name, shown, model, values, state, reason)
        self.trials.append(trial)
        if point.asked is None:
            self._add(point.family, trial)
            return
        for step in range(len(values)):
            point.asked.report(trial.mean(step + 1), step)
        states = optuna.trial.TrialState
        outcome = {"complete": states.COMPLETE, "pruned": states.PRUNED, "failed": states.FAIL}[state]
        self._optuna.tell(point.asked, trial.mean() if state == "complete" else None, outcome)

    def _add(self, family: ModelSpace, trial: Trial) -> None:
        """Add a declared model to Optuna's trials, if its parameters are in the space."""
        if not family.space or trial.state != "complete":
            return
        kinds = {self._name(family, key): distribution(domain) for key, domain in sorted(family.space.items())}
        values = {self._name(family, key): value for key, value in trial.values.items()}
        if len(self._searched) > 1:
            kinds[FAMILY] = optuna.distributions.CategoricalDistribution([searched.name for searched in self._searched])
            values[FAMILY] = family.name
        if all(_holds(kind, values[name]) for name, kind in kinds.items()):
            self._optuna.add_trial(optuna.trial.create_trial(params=values, distributions=kinds, value=trial.mean()))

    def _importance(self) -> dict[str, float]:
        """Return the importance of each parameter for the metric, the largest first."""
        states = [trial.state for trial in self._optuna.trials if trial.state == optuna.trial.TrialState.COMPLETE]
        if len(states) < 2 * WARM:
            return {}
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of parameters that never varied
            importance = optuna.importance.get_param_importances(self._optuna)
        return dict(sorted(importance.items(), key=lambda item: (-item[1], item[0])))


def suggest(trial: optuna.trial.Trial, name: str, domain: Domain) -> Any:
    """Draw a value of a domain."""
    low, high = domain.low, domain.high
    if domain.choices is not None or low is None or high is None:
        return trial.suggest_categorical(name, domain.choices or ())
    if isinstance(low, int) and isinstance(high, int):
        return trial.suggest_int(name, low, high, log=domain.log)
    return trial.suggest_float(name, low, high, log=domain.log)


def distribution(domain: Domain) -> optuna.distributions.BaseDistribution:
    """Return a domain as Optuna knows it."""
    low, high = domain.low, domain.high
    if domain.choices is not None or low is None or high is None:
        return optuna.distributions.CategoricalDistribution(domain.choices or ())
    if isinstance(low, int) and isinstance(high, int):
        return optuna.distributions.IntDistribution(low, high, log=domain.log)
    return optuna.distributions.FloatDistribution(low, high, log=domain.log)


def _content(point: Point) -> dict[str, Any]:
    assert point.model is not None  # noqa: S101  one that goes on has a model
    return point.model.model_dump(by_alias=True, mode="json")


def _values(scores: Iterable[Score]) -> Iterator[float]:
    return (score.value for score in scores if score.value is not None)


def _holds(kind: optuna.distributions.BaseDistribution, value: Any) -> bool:
    try:
        return bool(kind._contains(kind.to_internal_repr(value)))
    except (TypeError, ValueError):
        return False
