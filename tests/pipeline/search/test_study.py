"""A search: the same for any number of cores and after any kill, on folds that know no more than training does."""

import json
import random
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import replace
from datetime import datetime, timedelta
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import optuna
import polars as pl
import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from tests.reviews import HOSTILE, REVIEW
from tests.searches import FOREST, LOGISTIC, SEARCH, laid, results
from trunkline.conf.data import Data
from trunkline.conf.model import Model
from trunkline.conf.project import Project
from trunkline.conf.search import Domain, Search
from trunkline.core import paths
from trunkline.core.dataset import Dataset, Schema
from trunkline.core.errors import UserError
from trunkline.core.params import Params
from trunkline.lineage import facts
from trunkline.pipeline.compose.compose import compose, render
from trunkline.pipeline.compose.judge import check
from trunkline.pipeline.search import score, spaces, study, summary, trials
from trunkline.pipeline.search.score import FoldJob, Journal, Score
from trunkline.pipeline.search.summary import Searched, Tried
from trunkline.pipeline.search.trials import SearchResult, Study
from trunkline.pipeline.train import choice, folds
from trunkline.pipeline.train.choice import Choice
from trunkline.review import comment, page

ROOT = Path(__file__).parents[3]


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(laid(tmp_path))
    return tmp_path


def test_what_was_measured_is_not_measured_again(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    measured: list[int] = []
    measure = score.measure

    def counted(*arguments: Any) -> float:
        if len(measured) == stop:
            raise KeyboardInterrupt
        measured.append(0)
        return measure(*arguments)

    monkeypatch.setattr(score, "measure", counted)
    params = Params({**Params.read().content, "search": {**SEARCH, "trials": 6}})
    stop = -1
    whole = study.run(params, 1)
    count = len(measured)
    measured.clear()
    stop = 11
    with pytest.raises(KeyboardInterrupt):
        study.run(params, 1)
    stop = -1
    assert study.run(params, 1) == whole
    assert len(measured) == count


def test_a_journal_believes_whole_lines_only(tmp_path: Path) -> None:
    jobs = [FoldJob(number, 0, {"n": number}) for number in range(4)]
    refused = {jobs[0].key: Score(None, "refused")}
    with suppress(KeyboardInterrupt), Journal(tmp_path / "own.jsonl") as journal:
        for place, one in enumerate(jobs[:3]):
            journal.add(one, Score(0.1 * place) if place else Score(None, "refused"), place)
        raise KeyboardInterrupt
    lines = journal.path.read_bytes().splitlines(keepends=True)
    journal.path.write_bytes(lines[0] + lines[1].replace(b"0.1", b"0.2") + lines[2][:-1])
    (tmp_path / "other.jsonl").write_text("of rows that are no more")
    with suppress(KeyboardInterrupt), Journal(journal.path) as again:
        assert again.scores == refused
        again.add(jobs[3], Score(0.5), 7)
        raise KeyboardInterrupt
    with Journal(journal.path) as third:
        assert (third.scores, third.spent) == ({**refused, jobs[3].key: Score(0.5)}, 7)
    assert list(tmp_path.iterdir()) == []


def bowl(job: FoldJob) -> Score:
    """A metric that is smallest at C = 0.1, and worse by a little on later folds."""
    if "C" not in job.model:
        return Score(5.0)
    return Score(abs(np.log10(job.model["C"]) + 1) + 0.1 * job.fold)


def searched(search: dict[str, Any], order: int = 0, measure: Any = bowl, larger: bool = False) -> SearchResult:
    """Search by a measure, whose jobs are done in an order that depends on a number."""
    declared, shuffled = Search.parse({**SEARCH, **search}), random.Random(order)

    def measuring(jobs: Sequence[FoldJob]) -> Iterator[tuple[FoldJob, Score]]:
        yield from ((job, measure(job)) for job in shuffled.sample(jobs, len(jobs)))

    found = Study(declared, spaces.families(declared, Model.parse(LOGISTIC)), larger, 7)
    return found.run(measuring, lambda: len(found.trials) < 1000)


def test_the_order_in_which_trials_are_done_changes_nothing() -> None:
    found = searched({"trials": 40})
    assert len(found.trials) == 40
    assert {trial.state for trial in found.trials} == {"complete", "pruned"}
    assert found.best.mean() < 0.5 * found.trials[0].mean()
    assert found.importance
    assert [searched({"trials": 40}, order) for order in (1, 2)] == [found, found]
    assert searched({"trials": 38}).trials == found.trials[:38]  # a pinned number of trials is the beginning of more


def test_what_is_pruned_is_worse_than_the_median_of_earlier_batches() -> None:
    found = searched({"trials": 40})
    assert sum(trial.state == "pruned" for trial in found.trials) > 5
    for trial in found.trials:
        if trial.state == "pruned":
            begun = 2 + (trial.number - 2) // 4 * 4
            earlier = [one for one in found.trials[:begun] if one.state == "complete"]
            count = len(trial.scores)
            assert count < 3
            assert trial.mean() > np.median([one.mean(count) for one in earlier])
    assert all(trial.state == "complete" for trial in searched({"trials": 40, "prune": False}).trials)


def test_a_search_ends_by_trials_patience_or_time() -> None:
    flat = {"measure": lambda _: Score(1.0)}
    assert (searched({}).stopped, len(searched({}).trials)) == ("trials", 14)
    patient = searched({"patience": 2}, **flat)
    assert (patient.stopped, len(patient.trials)) == ("patience", 2 + 2 * 4)
    assert patient.best.number == 0  # of equal ones the declared
    hurried = searched({"trials": 5000}, **flat)
    assert (hurried.stopped, hurried.trials[-1].number) == ("minutes", 1001)


def test_auto_tries_every_family_whatever_the_time() -> None:
    project = check(compose(ROOT / "conf", ["search=auto"]), ROOT / "conf")
    families = spaces.families(project.search, project.model)
    found = Study(project.search, families, larger=True, seed=1).run(
        lambda jobs: [(job, Score(float(job.trial))) for job in jobs], lambda: False
    )
    assert [trial.family for trial in found.trials] == [
        "declared",
        "catboost",
        "forest",
        "gbm",
        "lightgbm",
        "logistic",
        "xgboost",
    ]
    assert (found.best.family, found.stopped) == ("xgboost", "minutes")
    shipped = {path.stem for path in (ROOT / "conf/model").glob("*.yaml")}
    untried = shipped - {trial.family for trial in found.trials}
    assert untried == {
        "boosting_small",
        "forest_small",
        "forecast",
        "gbm_regression",
        "labels",
        "quantiles",
        "ranker",
        "ridge",
    }  # or regressors, or of several labels


@pytest.mark.parametrize(
    ("chosen", "told"),
    [
        (
            ["search=auto", "experiment=diabetes"],
            "conf/search/auto.yaml:19: search.families: catboost, forest, gbm, lightgbm, "
            "logistic, xgboost are no regressors, which data.target.task: regression needs; pick another search, "
            "such as auto_regression",
        ),
        (
            ["search=auto_regression"],
            "conf/search/auto_regression.yaml:14: search.families: catboost, forest, gbm, lightgbm, ridge, xgboost "
            "are no classifiers, which data.target.task: binary needs; pick another search, such as auto",
        ),
    ],
)
def test_a_search_for_another_task_is_one_line(chosen: list[str], told: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    with pytest.raises(UserError) as caught:
        check(compose(Path("conf"), chosen), Path("conf"))
    assert str(caught.value) == told


def test_without_optuna_a_search_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(UserError, match=r"search: optuna is not installed; run: pip install 'trunkline\[search\]'$"):
        spaces.verify(Search.parse(SEARCH), Model.parse(LOGISTIC), "binary")


def test_what_a_search_left_is_read_with_care(project: Path) -> None:
    assert summary.read(project) is None
    (project / paths.SEARCH).mkdir(parents=True)
    (project / paths.CHOICE).write_text(json.dumps({"metric": "log_loss", "value": 0.4, "declared": 0.4}))
    row = {"family": "a", "state": "complete", "scores": [0.25, 0.75]}
    left = {"trials": [row, {**row, "state": "failed", "scores": []}], "importance": {"x": 0.1, "y": 0.9}}
    (project / summary.TRIALS).write_text(json.dumps(left))
    found = summary.read(project)
    assert found is not None
    assert found.trials == (Tried("a", "complete", 0.5), Tried("a", "failed", None))
    assert found.importance == (("y", 0.9), ("x", 0.1))
    for text in ("", "[]", '{"trials": []}', json.dumps(left).replace("0.25", "NaN")):
        (project / summary.TRIALS).write_text(text)
        with pytest.raises(UserError, match=r"trials\.json: is not what the search stage writes; run: dvc repro"):
            summary.read(project)


def test_a_trial_that_fails_is_told_and_the_declared_model_must_not(project: Path) -> None:
    def moody(job: FoldJob) -> Score:
        return Score(None, "no forest") if "C" not in job.model else bowl(job)

    found = searched({}, measure=moody)
    failed = [trial for trial in found.trials if trial.state == "failed"]
    assert {(trial.family, trial.reason) for trial in failed} == {("forest", "no forest")}
    assert found.best.family == "declared"
    with pytest.raises(UserError, match="no model"):
        searched({}, measure=lambda _: Score(None, "no model"))


FINITE = st.floats(1e-6, 1e6, allow_nan=False)
RANGES = st.tuples(FINITE, FINITE, st.booleans()).map(
    lambda it: {"low": min(it[:2]), "high": max(it[:2]), "log": it[2]}
)
WHOLE = st.tuples(st.integers(1, 10**6), st.integers(1, 10**6), st.booleans()).map(
    lambda it: {"low": min(it[:2]), "high": max(it[:2]), "log": it[2]}
)
CHOICES = st.lists(st.none() | st.booleans() | st.integers(-9, 9) | FINITE | st.text(max_size=5), min_size=1).map(
    lambda items: {"choices": items}
)


@given(content=RANGES | WHOLE | CHOICES, seed=st.integers(0, 2**32 - 1))
def test_what_is_drawn_is_in_the_declared_domain(content: dict[str, Any], seed: int) -> None:
    domain = Domain.model_validate(content)
    family = spaces.ModelSpace("declared", Model.parse(LOGISTIC), {"C": domain}, "search.space")
    trial = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed)).ask()
    value = family.at({"C": trials.suggest(trial, "C", domain)}).parameters["C"]
    if domain.choices is not None:
        assert any(value == one and type(value) is type(one) for one in domain.choices)
    else:
        assert domain.low <= value <= domain.high
        assert isinstance(value, type(domain.low))


@given(
    hours=st.lists(st.integers(0, 24 * 60), min_size=40, max_size=200),
    known=st.integers(0, 72),
    count=st.integers(2, 4),
)
def test_a_fold_learns_from_what_is_known_when_it_is_measured(hours: list[int], known: int, count: int) -> None:
    content = yaml.safe_load((ROOT / "conf/data/flights.yaml").read_text())
    content["target"]["known_after"] = f"{known}h"
    times = pl.Series("event_time", [datetime(2013, 2, 1) + timedelta(hours=hour) for hour in sorted(hours)])
    dataset = Dataset(pl.DataFrame([times.cast(pl.Datetime("us"))]), Schema((), "late", "America/New_York"))
    try:
        found = folds.split(dataset, study.cut_of(Data.parse(content)), count, 0)
    except UserError as error:
        assert "has no rows; declare fewer" in str(error)  # noqa: PT017
        return
    for fold in found:
        begin = times[int(fold.validate[0])]
        assert times[int(fold.train[-1])] + timedelta(hours=known) <= begin
    for one, two in pairwise(found):
        assert set(one.train) <= set(two.train)
        assert int(one.validate[-1]) + 1 == int(two.validate[0])
    assert int(found[-1].validate[-1]) == len(times) - 1


@given(
    groups=st.lists(st.integers(0, 60), min_size=150, max_size=300).filter(lambda found: len(set(found)) > 20),
    seed=st.integers(0, 5),
)
def test_rows_that_belong_together_are_in_one_fold(groups: list[int], seed: int) -> None:
    source = {"package": "p", "version": "1", "path": "t.csv"}
    target = {"name": "y", "expression": "y > 0"}
    content = {"sources": {"t": source}, "observations": "t", "unique_key": ["nr"], "target": target}
    data = Data.parse({**content, "split": {"holdout": 0.3, "by": ["who"], "seed": seed}})
    frame = pl.DataFrame({"who": groups})
    found = folds.split(Dataset(frame, Schema((), "y", "UTC")), study.cut_of(data), 3, 0)
    assert sorted(np.concatenate([fold.validate for fold in found])) == list(range(len(groups)))
    for fold in found:
        assert not set(frame["who"][fold.train]) & set(frame["who"][fold.validate])
        assert len(fold.train) + len(fold.validate) == len(groups)


def test_without_a_search_the_stage_loads_nothing_heavy_and_chooses_nothing(project: Path) -> None:
    content = yaml.safe_load((project / paths.PARAMS).read_text()) | {"search": {"trials": 0}}
    (project / paths.PARAMS).write_text(render(content))
    code = "import runpy, sys; runpy.run_path(sys.argv[1], run_name='__main__'); print(sorted(sys.modules))"
    command = [sys.executable, "-c", code, str(ROOT / "stages/search.py")]
    loaded = subprocess.run(command, capture_output=True, text=True, check=True, cwd=project).stdout
    assert not [name for name in ("sklearn", "optuna", "polars", "pandas", "matplotlib") if f"'{name}'" in loaded]
    assert results(project) == {"choice.json": b"{}\n"}
    assert choice.trained(Params.read(project).group(Model), project).parameters["C"] == LOGISTIC["C"]
    assert summary.outcome(Choice.read(project)) == ""


@pytest.mark.parametrize("text", ["", "[]", '{"model": 3}', '{"modle": null}'])
def test_a_choice_that_no_search_wrote_is_refused(project: Path, text: str) -> None:
    (project / paths.SEARCH).mkdir(parents=True)
    (project / paths.CHOICE).write_text(text)
    with pytest.raises(UserError, match=r"choice\.json: is not what the search stage writes; run: dvc repro"):
        choice.trained(Params.read(project).group(Model), project)


def test_folds_that_the_rows_do_not_give_are_one_message(project: Path) -> None:
    content = yaml.safe_load((project / paths.PARAMS).read_text())
    (project / paths.PARAMS).write_text(render(content | {"search": {**SEARCH, "folds": 50}}))
    frame = pl.read_parquet(project / paths.FEATURES / "train.parquet").head(30)
    frame.write_parquet(project / paths.FEATURES / "train.parquet")
    with pytest.raises(UserError, match=r"search\.folds: fold 1 of 50 has no rows; declare fewer, or more to train on"):
        study.run(Params.read(), 1)


def test_every_row_of_the_artifact_says_what_was_tried(project: Path) -> None:
    study.run(Params.read(), 1)
    found = json.loads((project / paths.SEARCH / "trials.json").read_text())
    assert [trial["number"] for trial in found["trials"]] == list(range(14))
    assert found["trials"][0]["values"] == {"C": 1e-4, "preprocess.numeric.impute": "median"}
    assert abs(sum(found["importance"].values()) - 1) < 1e-4
    assert Project.model_fields["search"].is_required()


def test_what_a_search_came_to_is_told_where_the_model_is(project: Path) -> None:
    found = Choice(
        model=FOREST, metric="log_loss", family="forest", value=0.41, declared=0.4257, folds=3, trials=40, pruned=9
    )
    told = summary.outcome(found)
    assert told == "40 trials (9 pruned), best log_loss over 3 folds 0.41 (forest), was 0.4257"
    assert summary.outcome(found.model_copy(update={"family": "declared"})).endswith(
        "(RandomForestClassifier), was 0.4257"
    )
    none_better = summary.outcome(found.model_copy(update={"model": None, "value": 0.4257}))
    assert none_better == "40 trials (9 pruned), none better than the declared model: log_loss over 3 folds 0.4257"
    review = replace(REVIEW, search=Searched(told, "log_loss", (Tried("forest", "complete", 0.41),), ()))
    assert f"\n\nSearch: {told}.\n" in comment.render(review)
    assert f"<p>{told}.</p>" in page.render(review)
    assert "<script>" not in comment.render(replace(review, search=replace(review.search, line=HOSTILE)))
    parameters = json.dumps(found.model_dump()).encode()
    params = (project / paths.PARAMS).read_bytes()
    for chosen, estimator in ((parameters, "RandomForestClassifier"), (b"{}", "LogisticRegression")):
        told_of = facts.declared({paths.PARAMS: params, paths.CHOICE: chosen}, None, None)
        assert told_of is not None
        assert told_of.values["model._target_"].endswith(estimator)
