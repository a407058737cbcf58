"""What reruns when."""

import json

import pytest

from tests.e2e.conftest import Checkout

pytestmark = pytest.mark.e2e

# What the plan says of the edits below, one line of each.
WHY = {
    "evaluation.interval.resamples 200 → 250",
    "model.max_iter 40 → 20",
    "bundle.golden_rows 20 → 5",
    "tracking.experiment flight-delay → other",
    'contract.tables.planes.columns.tailnum.description "Tail number" → "The tail number"',
    "data.window.holdout 2013-06-01..2013-06-14 → 2013-06-01..2013-06-15",
    "gates.rules.small.maximum 50 → 60",
    "models/registry.yaml changed",
}
EDITS = [
    ("nothing", None, "", "", []),
    ("a comment", "conf/model/boosting_small.yaml", "learning_rate: 0.1", "learning_rate: 0.1 # slow", ["compose"]),
    (
        "evaluation",
        "conf/evaluation/binary.yaml",
        "resamples: 200",
        "resamples: 250",
        ["compose", "evaluate", "bundle", "gate", "track"],
    ),
    (
        "the model",
        "conf/model/boosting_small.yaml",
        "max_iter: 40",
        "max_iter: 20",
        ["compose", "search", "train", "evaluate", "bundle", "rivals", "gate", "track"],
    ),
    (
        "the model card",
        "conf/bundle/flights.yaml",
        "golden_rows: 20",
        "golden_rows: 5",
        ["compose", "bundle", "gate", "track"],
    ),
    (
        "tracking",
        "conf/tracking/mlflow.yaml",
        "experiment: flight-delay",
        "experiment: other",
        ["compose", "track"],
    ),
    (
        "a description in the contract",
        "conf/contract/flights.yaml",
        "description: Tail number}",
        "description: The tail number}",
        ["compose", "validate", "features", "bundle", "champion"],
    ),
    (
        "the window",
        "conf/data/flights.yaml",
        "holdout: 2013-06-01..2013-06-14",
        "holdout: 2013-06-01..2013-06-15",
        ["compose", "validate", "features", "evaluate", "bundle", "rivals", "champion", "gate", "track"],
    ),
    (
        "a rule",
        "conf/gates/flights.yaml",
        "{kind: operational, measure: megabytes, maximum: 50}",
        "{kind: operational, measure: megabytes, maximum: 60}",
        ["compose", "gate", "track"],
    ),
    ("the registry file", "models/registry.yaml", "staging: latest", "staging: v1", ["compose", "champion"]),
    ("the readme", "README.md", "# Trunkline", "# Trunk line", []),
]


@pytest.mark.parametrize(("file", "old", "new", "ran"), [edit[1:] for edit in EDITS], ids=[edit[0] for edit in EDITS])
def test_an_edit_reruns_only_what_it_touches(
    project: Checkout, file: str | None, old: str, new: str, ran: list[str]
) -> None:
    if file:
        project.edit(file, old, new)
    planned = project.run("trunkline", "plan", "--json", env={"PYTHONWARNINGS": "ignore"})  # those of DVC's packages
    foretold = {stage["name"]: stage for stage in json.loads(planned)["stages"]}
    assert project.repro() == ran
    for name, stage in foretold.items():
        assert (name in ran) == (stage["action"] == "runs") or stage["action"] in {"changed", "follows", "restored"}
        assert bool(stage["reasons"]) == (stage["action"] != "unchanged"), stage
    if file and ran and ran != ["compose"]:
        assert any(reason in WHY for stage in foretold.values() for reason in stage["reasons"]), foretold
    project.run("trunkline", "compose", "--check")


def test_undoing_an_edit_reruns_nothing_but_restores(project: Checkout) -> None:
    before = project.read("reports/metrics.json")
    project.edit("conf/model/boosting_small.yaml", "max_iter: 40", "max_iter: 20")
    project.repro("evaluate")
    assert project.read("reports/metrics.json") != before
    project.edit("conf/model/boosting_small.yaml", "max_iter: 20", "max_iter: 40")
    # Reports are in git and not in the cache, so the stage that writes them runs; the model comes from the cache.
    assert "train" not in project.repro()
    assert project.read("reports/metrics.json") == before
