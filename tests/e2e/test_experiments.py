"""`dvc exp run` with Hydra overrides: the parameters asked for, judged, and a way to keep them."""

import json

import pytest

from tests.e2e.conftest import Checkout
from trunkline.core.safe_yaml import parse_yaml

pytestmark = pytest.mark.e2e


def shown(project: Checkout) -> dict[str, dict[str, object]]:
    """Parameters of the model of each experiment, by estimator."""
    listed = json.loads(project.run("dvc", "exp", "show", "--json"))
    found = {}
    for baseline in listed:
        for experiment in baseline.get("experiments") or []:
            for revision in experiment["revs"]:
                model = revision["data"]["params"]["params.yaml"]["data"]["model"]
                found[model["_target_"].rpartition(".")[2]] = model
    return found


def test_an_experiment_has_the_parameters_asked_for_and_can_be_kept(project: Checkout) -> None:
    printed = project.run(
        "dvc", "exp", "run", "-S", "model=forest", "-S", "model.n_estimators=7", "-S", "model.max_depth=9"
    )
    assert "Running stage 'train'" in printed
    assert "Running stage 'features'" not in printed
    model = parse_yaml(project.read("params.yaml"))["model"]
    assert (model["_target_"], model["n_estimators"], model["max_depth"]) == (
        "sklearn.ensemble.RandomForestClassifier",
        7,
        9,
    )

    answer = project.run("trunkline", "compose", "--check", check=False)
    assert "params.yaml is not what conf/ composes to" in answer
    start = answer.index("    # @package _global_")
    suggested = [line.removeprefix("    ") for line in answer[start:].splitlines() if line.startswith("    ")]
    (project.root / "conf/experiment/kept.yaml").write_text("\n".join(suggested) + "\n", encoding="utf-8")
    project.edit("conf/config.yaml", "experiment: null", "experiment: kept")
    assert "is what conf/ composes to" in project.run("trunkline", "compose", "--check")
    assert project.repro() == ["compose"]


@pytest.mark.long
def test_queued_experiments_run_in_checkouts_of_their_own(project: Checkout) -> None:
    project.edit("conf/model/forest.yaml", "n_estimators: 200", "n_estimators: 5")
    project.repro()
    project.commit("a small forest")
    project.run("dvc", "exp", "run", "--queue", "-S", "model=forest,logistic")
    project.run("dvc", "exp", "run", "--run-all")
    found = shown(project)
    assert found["RandomForestClassifier"]["n_estimators"] == 5
    assert found["LogisticRegression"]["C"] == 0.1
    assert parse_yaml(project.read("params.yaml"))["model"]["_target_"].endswith("HistGradientBoostingClassifier")


def test_a_queued_experiment_runs_its_own_code(project: Checkout) -> None:
    """The environment's editable install points to another checkout; the stage must use the one it runs in."""
    project.edit(
        "src/trunkline/pipeline/train/fit.py",
        '"""Fits the declared model',
        'print("this very tree")\n"""Fits the declared model',
    )
    printed = project.run("dvc", "exp", "run", "--temp", "-S", "model.max_iter=3", "train", forked=False)
    assert "this very tree" in printed


def test_a_wrong_override_is_refused_before_anything_runs(project: Checkout) -> None:
    printed = project.run("dvc", "exp", "run", "-S", "+model.max_dept=9", check=False)
    assert "params.yaml: model.max_dept: " in printed
    assert "did you mean 'max_depth'?" in printed
    assert "Running stage 'train'" not in printed
