"""What is logged, against a real SQLite store and a real MLflow server."""

import dataclasses
import json
import os
import shutil
import sqlite3
import subprocess
import time
from pathlib import Path

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from tests.forkserver import commands
from trunkline.adapters import mlflow
from trunkline.conf.tracking import URI, Tracking, look
from trunkline.core import paths
from trunkline.core.errors import OutsideError, UserError
from trunkline.core.params import Params
from trunkline.pipeline.track import runs as track_runs
from trunkline.pipeline.track.runs import FinishedRun, log_run

# MLflow 3.17 with SQLAlchemy 2.1, when its store is first used.
pytestmark = pytest.mark.filterwarnings(
    "ignore:The ``noload`` loader strategy is deprecated:sqlalchemy.exc.SADeprecationWarning"
)

STAGE = Path(__file__).parents[3] / "stages/track.py"
PARAMS = {
    "name": "flight-delay",
    "seed": 7,
    "data": {"window": {"train": "2013-01..2013-06", "holdout": "2013-07"}},
    "model": {"_target_": "sklearn.ensemble.RandomForestClassifier", "max_depth": None},
    "evaluation": {"metrics": ["roc_auc", "brier"], "slices": {}},
    "tracking": {"uri": "sqlite:///mlflow.db", "experiment": "flights"},
}
REPORTS = {
    "metrics.json": {"holdout": {"roc_auc": 0.7634, "brier": 0.15, "empty": None, "n": 100}},
    "slices.json": {
        "all": {
            "all": {
                "n": 100,
                "metrics": {
                    "roc_auc": {"value": 0.7634, "interval": [0.75, 0.78]},
                    "brier": {"value": 0.15, "interval": None},
                },
            }
        }
    },
    "curves/roc.json": [{"false": 0.0, "true": 0.0}],
    "bundle.json": {"digest": "ab" * 32},
    "ingest.json": {
        "flights": {
            "kind": "sql",
            "address": "postgresql://bob:s3cret@host/db?password=s3cret",
            "pin": "2013-08-01",
            "files": [],
            "table": {"rows": 100, "columns": 19, "sha256": "cd" * 32},
        }
    },
}
METRICS = {
    "holdout.roc_auc": 0.7634,
    "holdout.roc_auc.low": 0.75,
    "holdout.roc_auc.high": 0.78,
    "holdout.brier": 0.15,
    "holdout.n": 100.0,
}
DATASETS = [
    {
        "name": "flights",
        "digest": "cd" * 18,
        "source_type": "sql",
        "source": json.dumps({"address": "postgresql://host/db", "pin": "2013-08-01", "sha256": "cd" * 32}),
        "schema": None,
        "profile": '{"columns": 19, "rows": 100}',
    }
]
LOGGED_FILES = {"params.yaml", *(f"reports/{name}" for name in REPORTS)}


@pytest.fixture
def project(tmp_path):
    return write_project(tmp_path / "a project")


@pytest.fixture(scope="module")
def without_runs(tmp_path_factory):
    """The file of a store, whose making is dozens of migrations."""
    file = tmp_path_factory.mktemp("store") / "mlflow.db"
    client(f"sqlite:///{file}").search_experiments()
    return file


@pytest.fixture
def stored(project, without_runs):
    """A project whose store is there."""
    shutil.copy(without_runs, project)
    return project


def write_project(root, **model):
    params = PARAMS | {"model": PARAMS["model"] | model}
    files = {f"reports/{name}": json.dumps(content) for name, content in REPORTS.items()}
    files |= {
        "params.yaml": yaml.safe_dump(params),
        "models/model.skops": "model",
        "reports/.gitignore": "/curves",
    }
    for name, text in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text)
    return root


def log(root, uri="sqlite:///mlflow.db", tags=None, **changes):
    run = dataclasses.replace(FinishedRun.read(root, Params.read(root), tags=tags or {}), **changes)
    return log_run(run, Tracking(uri=uri, experiment="flights"), paths.home(root))


def client(uri):
    from mlflow import MlflowClient

    return MlflowClient(tracking_uri=uri)


def store(root):
    return client(f"sqlite:///{root}/mlflow.db")


def runs(of):
    return of.search_runs([of.get_experiment_by_name("flights").experiment_id])


def files_of(of, run, folder=None):
    for item in of.list_artifacts(run.info.run_id, folder):
        yield from files_of(of, run, item.path) if item.is_dir else [item.path]


def test_a_run_whose_first_metric_is_undefined_is_logged(stored):
    content = {"holdout": REPORTS["metrics.json"]["holdout"] | {"roc_auc": None}}
    (stored / "reports/metrics.json").write_text(json.dumps(content))
    log(stored)
    (run,) = runs(store(stored))
    assert run.info.run_name == "RandomForestClassifier 2013-07 roc_auc undefined"
    assert "holdout.roc_auc" not in run.data.metrics


def test_a_run_is_logged_once_and_completely(project):
    first = log(project, tags={"mlflow.source.git.commit": "abc"})
    again = log(project, tags={"mlflow.source.git.commit": "def"})

    assert (first.new, again.new) == (True, False)
    assert first.run_id == again.run_id
    (run,) = runs(store(project))
    assert run.info.status == "FINISHED"
    assert run.info.run_name == "RandomForestClassifier 2013-07 roc_auc 0.763"
    assert run.data.metrics == METRICS
    assert run.data.params == {
        "name": "flight-delay",
        "seed": "7",
        "data.window.train": "2013-01..2013-06",
        "data.window.holdout": "2013-07",
        "model._target_": "sklearn.ensemble.RandomForestClassifier",
        "model.max_depth": "null",
        "evaluation.metrics": '["roc_auc", "brier"]',
        "evaluation.slices": "{}",
    }
    assert run.data.tags["mlflow.source.git.commit"] == "abc"
    assert run.data.tags[track_runs.DIGEST] == "ab" * 32
    assert [of.dataset.to_dictionary() for of in run.inputs.dataset_inputs] == DATASETS
    assert set(files_of(store(project), run)) == LOGGED_FILES
    copied = project / "mlartifacts" / run.info.run_id / "artifacts/reports/metrics.json"
    assert copied.read_bytes() == (project / "reports/metrics.json").read_bytes()


@pytest.mark.parametrize(
    ("name", "old", "new"),
    [
        ("params.yaml", "seed: 7", "seed: 8"),
        ("reports/metrics.json", "0.7634", "0.7635"),
        ("reports/curves/roc.json", "0.0", "0.1"),
        ("models/model.skops", "model", "another"),
    ],
)
def test_a_result_is_everything_that_is_logged_and_the_model(project, name, old, new):
    before = FinishedRun.read(project, Params.read(project), tags={}).result
    text = (project / name).read_text()
    assert old in text
    (project / name).write_text(text.replace(old, new))
    assert FinishedRun.read(project, Params.read(project), tags={}).result != before


def test_where_and_when_a_run_is_logged_is_no_part_of_its_result(project):
    before = FinishedRun.read(project, Params.read(project), tags={}).result
    elsewhere = PARAMS | {"tracking": {"uri": "http://127.0.0.1:1", "experiment": "other"}}
    (project / "params.yaml").write_text("# moved\n" + yaml.safe_dump(elsewhere))
    assert FinishedRun.read(project, Params.read(project), tags={"mlflow.source.git.commit": "abc"}).result == before


@pytest.mark.parametrize("step", ["log_batch", "log_inputs", "log_artifact", "set_terminated"])
def test_an_attempt_that_was_killed_is_finished_by_the_next(stored, monkeypatch, step):
    from mlflow import MlflowClient

    with monkeypatch.context() as killed:
        killed.setattr(MlflowClient, step, kill)
        with pytest.raises(KeyboardInterrupt):
            log(stored)
    (left,) = runs(store(stored))
    assert left.info.status == "RUNNING"

    assert log(stored).new
    assert not log(stored).new
    (run,) = runs(store(stored))
    assert (run.info.run_id, run.info.status) == (left.info.run_id, "FINISHED")
    assert run.data.metrics == METRICS
    assert len(store(stored).get_metric_history(run.info.run_id, "holdout.roc_auc")) == 1
    assert [of.dataset.to_dictionary() for of in run.inputs.dataset_inputs] == DATASETS
    assert set(files_of(store(stored), run)) == LOGGED_FILES


def kill(*_arguments, **_named):
    raise KeyboardInterrupt


def test_a_failed_attempt_is_finished_too(stored):
    failed = log(stored).run_id
    store(stored).set_terminated(failed, "FAILED")
    assert log(stored) == track_runs.Logged(failed, new=True)


def test_runs_of_temporary_workspaces_are_logged_in_the_project_at_the_same_time(project):
    workspaces = [write_project(project / f".dvc/tmp/exps/{depth}", max_depth=depth) for depth in (3, 4)]
    processes = [
        subprocess.Popen(
            [commands() / "python", STAGE],
            cwd=root,
            env=os.environ | {track_runs.EXPERIMENT: root.name},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for root in (project, *workspaces)
    ]
    outputs = [process.communicate(timeout=120) for process in processes]
    assert [process.returncode for process in processes] == [0, 0, 0], outputs
    shutil.rmtree(project / ".dvc")

    seen = "mlflow ui --backend-store-uri sqlite:///mlflow.db"
    line = f"RandomForestClassifier 2013-07 roc_auc 0.763: logged ({seen})\n"
    assert outputs == [(line, "")] * 3
    logged = {run.data.tags[track_runs.EXPERIMENT]: run for run in runs(store(project))}
    assert {name: run.data.params["model.max_depth"] for name, run in logged.items()} == {
        project.name: "null",
        "3": "3",
        "4": "4",
    }
    for run in logged.values():
        assert set(files_of(store(project), run)) == LOGGED_FILES


def test_a_server_gets_the_same(project, mlflow_address, monkeypatch):
    monkeypatch.setenv(URI, mlflow_address)
    assert [log(project, uri="sqlite:///unused.db").new for _ in range(2)] == [True, False]
    (run,) = runs(client(mlflow_address))
    assert run.data.metrics == METRICS
    assert set(files_of(client(mlflow_address), run)) == LOGGED_FILES
    assert not list(project.glob("*.db"))
    assert not (project / "mlartifacts").exists()


def test_limits_of_mlflow_are_kept(project, mlflow_address):
    wide = {f"{place:03d}": {"a/b": "x" * 9000, "ключ": "й" * 600, "k" * 300: 1, "": None} for place in range(60)}
    params = dict(track_runs.flatten({"wide": wide}))
    assert len(params) == 240
    assert log(project, uri=mlflow_address, params=params).new
    assert [run.data.params for run in runs(client(mlflow_address)) if len(run.data.params) == 240] == [params]


KEYS = st.text(max_size=5) | st.sampled_from(["a", "b", "a.b", "a_b", "k" * 260])
TREES = st.dictionaries(KEYS, st.integers() | st.text(max_size=600) | st.dictionaries(KEYS, st.none(), max_size=3))


@given(TREES)
def test_flattening_keeps_every_leaf_within_the_limits(tree):
    leaves = list(track_runs.flatten(tree)) if tree else []
    assert len(leaves) == sum(len(value) or 1 if isinstance(value, dict) else 1 for value in tree.values())
    assert len(dict(leaves)) == len(leaves)
    for key, value in leaves:
        assert 0 < len(key) <= 250
        assert not track_runs._NOT_IN_A_KEY.search(key.replace(".", ""))
        assert len(value) <= 500


@pytest.mark.parametrize(
    "uri",
    [
        "http://bob:s3cret@127.0.0.1:1",
        "http://s3cret@127.0.0.1:1",
        "sqlite:////dev/null/s.db",
    ],
)
def test_an_unreachable_store_is_one_message_without_the_secret_in_seconds(project, monkeypatch, uri):
    monkeypatch.setenv(URI, uri)
    began = time.monotonic()
    with pytest.raises(OutsideError) as caught:
        log(project)
    assert time.monotonic() - began < 30
    message = str(caught.value)
    assert "s3cret" not in message
    assert "\n" not in message
    assert message.endswith("(tracking.uri in conf/tracking, or MLFLOW_TRACKING_URI); then: dvc repro")


def test_a_server_that_is_no_mlflow_is_not_believed(project, mlflow_address, monkeypatch):
    monkeypatch.setenv(URI, f"{mlflow_address}/elsewhere".replace("//", "//bob:s3cret@"))
    with pytest.raises(OutsideError, match=f"MLflow at {mlflow_address}/elsewhere: .*404") as caught:
        log(project)
    assert "s3cret" not in str(caught.value)


def test_a_store_of_a_later_mlflow_is_not_touched(stored, tmp_path):
    log(stored)
    other = write_project(tmp_path / "other")  # MLflow keeps a store that it has opened
    shutil.copy(stored / "mlflow.db", other)
    with sqlite3.connect(other / "mlflow.db") as database:
        database.execute("UPDATE alembic_version SET version_num = 'later'")
    with pytest.raises(OutsideError, match=r"other/mlflow\.db: .*later"):
        log(other)


def test_a_deleted_experiment_says_how_to_get_it_back(stored):
    log(stored)
    experiment = store(stored).get_experiment_by_name("flights").experiment_id
    store(stored).delete_experiment(experiment)
    with pytest.raises(UserError, match=f"'flights' was deleted in MLflow; .* -x {experiment}"):
        log(stored)


@pytest.mark.parametrize(
    ("uri", "message"),
    [
        ("http://bob:s3cret@host", "holds a secret"),
        ("https://s3cret@host", "holds a secret"),
        ("postgresql://host/db?password=s3cret", "holds a secret"),
        ("bob:s3cret@host", "is not an address"),
        ("htp://host", "did you mean 'http'"),
        ("sqlite://", "in memory"),
        ("sqlite:///:memory:", "in memory"),
    ],
)
def test_an_address_that_cannot_stand_in_git_is_refused(uri, message):
    with pytest.raises(ValidationError, match=message) as caught:
        Tracking.parse({"uri": uri, "experiment": "flights"})
    assert "s3cret" not in caught.value.errors()[0]["msg"]


@pytest.mark.parametrize("uri", ["sqlite:///var/mlflow.db", "postgresql+psycopg2://bob@host/db", "https://host:5000"])
def test_an_address_without_a_secret_is_taken(uri):
    assert Tracking.parse({"uri": uri, "experiment": "flights"}).address({}) == uri


@pytest.mark.parametrize(
    ("uri", "place"),
    [
        ("sqlite:///mlflow.db", "mlflow ui --backend-store-uri sqlite:///mlflow.db"),
        ("postgresql://bob:s3cret@host/db", 'mlflow ui --backend-store-uri "$MLFLOW_TRACKING_URI"'),
        ("https://bob:s3cret@host/", "https://host"),
    ],
)
def test_where_to_look_names_no_secret(uri, place):
    assert look(uri) == place


@pytest.mark.parametrize(
    ("text", "uri"),
    [
        ("password p@ss refused", "postgresql://bob:p%40ss@host/db"),
        ("no host at https://token@host/api", "https://token@host"),
        ("connecting with p&w=1 x", "postgresql://host/db?password=1&sslkey=x"),
    ],
)
def test_a_reason_holds_no_secret_in_any_form(text, uri):
    secrets = ("p@ss", "p%40ss", "token", "=1", " x")
    assert not any(secret in mlflow.without_secrets(text, uri) for secret in secrets)


def test_origin_is_told_as_far_as_it_is_known():
    assert track_runs.tags("abc", True, {"DVC_EXP_NAME": "wet-newt"}) == {
        "mlflow.source.git.commit": "abc",
        "mlflow.source.git.dirty": "true",
        "DVC_EXP_NAME": "wet-newt",
    }
    assert track_runs.tags(None, False, {}) == {}


def test_slices_by_personal_columns_stay_out_of_mlflow(project, monkeypatch):
    slices = REPORTS["slices.json"] | {
        "sex": {"female": {"n": 50, "metrics": {}}},
        "origin": {"EWR": {"n": 100, "metrics": {}}},
    }
    (project / "reports/slices.json").write_text(json.dumps(slices))
    columns = {"sex": {"privacy": "personal"}, "origin": {}}
    params = PARAMS | {
        "contract": {"tables": {"flights": {"privacy": "public", "columns": columns}}},
        "evaluation": PARAMS["evaluation"] | {"slices": {"sex": "sex", "origin": "origin"}},
    }
    (project / "params.yaml").write_text(yaml.safe_dump(params))
    run = FinishedRun.read(project, Params.read(project), tags={})
    assert run.hidden == {"sex"}
    written = {}

    class Recorder:
        def __getattr__(self, name):
            return lambda *arguments, **_: written.setdefault(arguments[-1], arguments) if name == "log_text" else None

    monkeypatch.setattr(mlflow, "log_datasets", lambda *_: None)
    attempt = type("Run", (), {"info": type("Info", (), {"start_time": 0, "run_id": "1"})})
    track_runs._write(Recorder(), attempt, run)
    assert set(written) == {"reports/slices.json"}
    assert set(json.loads(written["reports/slices.json"][1])) == {"all", "origin"}
