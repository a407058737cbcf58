"""What MLflow shows of a release, read from a real commit: all of it, or what can be read."""

import pytest

from tests.releases import DATA, Project
from trunkline.adapters.mlflow import Dataset
from trunkline.conf.versions import Version
from trunkline.deploy.mlflow import pictures, record
from trunkline.deploy.mlflow.record import PULL_REQUEST
from trunkline.deploy.mlflow.state import Release

ORIGIN = "https://ada:s3cret@host/team/flights.git"
POINTS = {
    "roc": [
        {"false_positive_rate": 0.0, "true_positive_rate": 0.0},
        {"false_positive_rate": 1, "true_positive_rate": 1},
    ],
    "calibration": [{"score": 0.2, "observed_rate": 0.25, "n": 9}],
    "confusion": [{"actual": "a", "predicted": "b", "n": 1}],
}
SOURCE = {"kind": "files", "address": f"{ORIGIN}?token=s3cret", "pin": "v1", "files": []}


@pytest.fixture
def project(tmp_path):
    made = Project(tmp_path / "project").create().build()
    made.git("remote", "add", "origin", ORIGIN)
    return made


def recorded(project, title="A change (#12)", review=None):
    commit = project.commit(title)
    return record.read(project.root, Release(Version(project.name, 1), "0" * 64, commit, "pass", review))


def test_a_record_says_how_a_model_was_made_and_measured(project):
    table = {"rows": 99, "columns": 5, "sha256": "ab" * 32}
    project.write("reports/ingest.json", {"flights": SOURCE | {"table": table}})
    project.write("reports/search/choice.json", {"model": {"_target_": "lightgbm.LGBMClassifier"}})
    for kind, points in POINTS.items():
        project.write(f"reports/curves/{kind}.json", points)
    found = recorded(project)

    assert found.params["model._target_"] == "lightgbm.LGBMClassifier"
    assert found.params["data.window.holdout"] == "2013-07"
    assert "model.max_iter" not in found.params
    assert found.metrics == {"holdout.roc_auc": 0.76, "holdout.n": 20.0,
                             "holdout.roc_auc.low": 0.75, "holdout.roc_auc.high": 0.77}  # fmt: skip
    home = "https://host/team/flights.git"
    source = {"address": home, "pin": "v1", "sha256": "ab" * 32}
    assert found.datasets[0] == Dataset("flights", "ab" * 32, "files", source, {"rows": 99, "columns": 5})
    assert {of.name: of.digest for of in found.datasets[1:]} == {path: f"{md5}.dir" for path, md5 in DATA.items()}
    assert found.datasets[1].source == {"repository": home, "path": "data/raw"}
    assert set(found.pictures) == {"roc.svg", "calibration.svg"}
    assert found.pictures["roc.svg"] == pictures.draw("roc", POINTS["roc"])
    assert found.pictures["roc.svg"].startswith("<?xml")
    assert found.origin == {
        "mlflow.user": "Ada",
        "mlflow.source.type": "PROJECT",
        "mlflow.source.name": home,
        "mlflow.source.git.repoURL": home,
        "mlflow.source.git.commit": project.git("rev-parse", "HEAD"),
        PULL_REQUEST: "#12",
    }
    assert found.use == "Tell who plans gates which flights will be late."
    assert "s3cret" not in repr(found)
    assert recorded(project, review="#12 by ada, approved by bo").origin[PULL_REQUEST] == "#12 by ada, approved by bo"


@pytest.mark.parametrize(
    "content", [None, "{", "[]", "[1]", '{"holdout": 1, "all": [], "stages": {"a": 1}}', '{"a": {}}']
)
def test_what_cannot_be_read_of_a_commit_is_left_out(project, content):
    names = ("metrics", "slices", "ingest", "search/choice", "curves/roc")
    for path in ("dvc.lock", "params.yaml", *(f"reports/{name}.json" for name in names)):
        if content is not None:
            project.write(path, content)
        elif (project.root / path).exists():
            (project.root / path).unlink()
    found = recorded(project, "A change")
    assert (found.metrics, found.datasets, found.pictures, found.use) == ({}, (), {}, "")
    assert bool(found.params) == str(content).startswith('{"'), "params.yaml is a mapping of something else"
    assert (found.origin["mlflow.user"], PULL_REQUEST in found.origin) == ("Ada", False)
