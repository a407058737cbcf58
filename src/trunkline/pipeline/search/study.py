"""Runs a declared search in a project: what it reads, what it keeps while it runs, what it leaves in reports/search."""

import time
from collections.abc import Iterator, Sequence
from pathlib import Path

from trunkline.conf.data import Data
from trunkline.conf.evaluation import Evaluation
from trunkline.conf.model import Model
from trunkline.conf.search import Search
from trunkline.core import files, paths
from trunkline.core.dataset import Schema
from trunkline.core.params import Params
from trunkline.core.progress import Bar
from trunkline.pipeline.evaluate.metrics import registry
from trunkline.pipeline.search import plots, spaces
from trunkline.pipeline.search import score as search_score
from trunkline.pipeline.search.score import FoldJob, Ground, Journal, Score
from trunkline.pipeline.search.summary import TRIALS, Tried
from trunkline.pipeline.search.trials import SearchResult, Study
from trunkline.pipeline.train.choice import Choice
from trunkline.pipeline.train.folds import Cut


def run(params: Params, workers: int, folder: Path = paths.FEATURES) -> Choice:
    """Search, write reports/search, and return what was chosen; what a killed run had measured is not measured again.

    Raises UserError where folds or the declared model do not fit the rows.
    """
    declared, ground = params.group(Search), _ground(params, folder)
    search_score.check(ground)
    study = Study(
        declared,
        spaces.families(declared, params.group(Model)),
        registry.better(ground.metric) == "larger",
        ground.seed,
    )
    ends = float("inf") if declared.minutes is None else declared.minutes * 60
    journal = Journal(paths.home(Path.cwd()) / paths.SEARCHING / f"{ground.key[:32]}.jsonl")
    fits = max(declared.trials, len(study.families)) * ground.count
    with journal as kept, Bar("searching", fits, "fits") as bar:
        measuring = _Measuring(ground, kept, workers, bar)
        result = study.run(measuring, lambda: measuring.goes_on(study, ends))
        chosen = choice(result, ground.metric, declared.folds)
        write(result, chosen)
    return chosen


def _ground(params: Params, folder: Path) -> Ground:
    task, declared = Schema.read(folder).task, params.group(Search)
    judging = (name for name in params.group(Evaluation).metrics if registry.named(name, task).better)
    any_judging = (name for name, metric in registry.REGISTRY[task].items() if metric.better)
    metric = declared.metric or next(judging, None) or next(any_judging)
    cut = cut_of(params.group(Data))
    return Ground(folder, declared.folds, metric, params.seed, search_score.digest(folder), cut)


def cut_of(data: Data) -> Cut:
    """Return all that folds depend on of conf/data."""
    return Cut(data.timezone, data.target.known_after, data.split_by, data.split.seed if data.split else 0)


class _Measuring:
    """Measures jobs that the journal does not know, writes them down, and shows how far the search is."""

    def __init__(self, ground: Ground, kept: Journal, workers: int, bar: Bar) -> None:
        self._ground, self._kept, self._workers, self._bar = ground, kept, workers, bar
        self._began = time.monotonic() - kept.spent

    def spent(self) -> float:
        """Return the seconds that the search has taken, with those of runs that were killed."""
        return time.monotonic() - self._began

    def __call__(self, jobs: Sequence[FoldJob]) -> Iterator[tuple[FoldJob, Score]]:
        new = {job.key: job for job in jobs if job.key not in self._kept.scores}
        self._bar.advance(len(jobs) - len(new))
        for job, score in search_score.run(self._ground, list(new.values()), self._workers):
            self._kept.add(job, score, self.spent())
            self._bar.advance()
        yield from ((job, self._kept.scores[job.key]) for job in jobs)

    def goes_on(self, study: Study, ends: float) -> bool:
        """Show how far the search is, what was pruned counted as done, and tell whether there is time left."""
        best = f"best {self._ground.metric} {study.best.mean():.5g} ({study.best.family})"
        self._bar.update(len(study.trials) * self._ground.count, note=best)
        return self.spent() < ends


def choice(result: SearchResult, metric: str, count: int) -> Choice:
    """Return what a search came to."""
    best, states = result.best, [trial.state for trial in result.trials]
    model = best.model.model_dump(by_alias=True, mode="json") if best.number else None
    value, declared = (float(files.rounded(trial.mean())) for trial in (best, result.trials[0]))
    return Choice(
        model=model,
        metric=metric,
        family=best.family,
        value=value,
        declared=declared,
        folds=count,
        trials=len(states),
        pruned=states.count("pruned"),
        failed=states.count("failed"),
        stopped=result.stopped,
    )


def write(result: SearchResult, chosen: Choice) -> None:
    """Write the choice, all trials and the pictures into reports/search, the choice last."""
    metric, shares = str(chosen.metric), list(result.importance.items())
    trials = [
        {
            "number": trial.number,
            "family": trial.family,
            "values": trial.values,
            "state": trial.state,
            "scores": list(trial.scores),
            **({"reason": trial.reason} if trial.reason else {}),
        }
        for trial in result.trials
    ]
    tried = [Tried(trial.family, trial.state, trial.mean() if trial.scores else None) for trial in result.trials]
    files.write_json(TRIALS, {"trials": trials, "importance": result.importance})
    files.write_text(paths.SEARCH / "history.svg", plots.history_svg(tried, metric))
    if shares:
        files.write_text(paths.SEARCH / "importance.svg", plots.importance_svg(shares, metric))
    files.write_json(paths.CHOICE, chosen.model_dump(), digits=None)
