"""MLflow's model registry, against real servers on SQLite and PostgreSQL, and a SQLite file without a server."""

import dataclasses
import hashlib
import multiprocessing
import os
import socket
import threading
import time
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import pytest
import requests

from tests import bundles
from tests.servers import mlflow_server, nobody, postgres
from trunkline.adapters import mlflow
from trunkline.bundle import manifest
from trunkline.conf.tracking import URI, Tracking
from trunkline.conf.versions import Version
from trunkline.core.errors import OutsideError, UserError
from trunkline.deploy.mlflow.record import PULL_REQUEST, Record
from trunkline.deploy.mlflow.registry import ModelRegistry
from trunkline.deploy.mlflow.state import COMMIT, DIGEST, VERDICT, VERSION, Registered, Release

# MLflow 3.17 with SQLAlchemy 2.1, when its store is first used.
pytestmark = pytest.mark.filterwarnings(
    "ignore:The ``noload`` loader strategy is deprecated:sqlalchemy.exc.SADeprecationWarning"
)

METRICS = {"holdout.roc_auc": 0.7634, "holdout.n": 100.0}
FLIGHTS = mlflow.Dataset("flights", "ab" * 32, "files", {"address": "https://host/flights.csv"}, {"rows": 100})
RECORD = Record(
    params={"model.max_iter": "100", "seed": "7"},
    metrics=METRICS,
    datasets=(FLIGHTS, mlflow.Dataset("data/raw", f"{'cd' * 16}.dir", "dvc", {"path": "data/raw"}, {"files": 3})),
    pictures={"roc.svg": "<svg/>\n"},
    origin={"mlflow.user": "Ada", "mlflow.source.name": "https://host/flights.git", PULL_REQUEST: "#12 by ada"},
    use="Tell who plans gates which flights will be late.",
)


@pytest.fixture(scope="module", params=["server on SQLite", "server on PostgreSQL", "file"])
def address(request, tmp_path_factory):
    """The address of each kind of store."""
    folder = tmp_path_factory.mktemp("store")
    if request.param == "file":
        yield f"sqlite:///{folder}/mlflow.db"
    elif request.param == "server on SQLite":
        yield request.getfixturevalue("mlflow_address")
    else:
        with postgres() as store, mlflow_server(folder, store) as found:
            yield found


@pytest.fixture
def bundle(tmp_path):
    return bundles.make(tmp_path / "bundle")


@pytest.fixture
def name(request):
    """A model of the test's own."""
    return f"m{hashlib.sha256(request.node.nodeid.encode()).hexdigest()[:12]}"


@pytest.fixture
def registry(address, tmp_path):
    return opened(address, tmp_path)


def opened(address, home):
    return ModelRegistry.open(Tracking(experiment="releases"), home, {URI: address})


def release(name, bundle, number=4, commit="c" * 40):
    return Release(Version(name, number), manifest.verify(bundle), commit, "pass")


def client(registry):
    return mlflow.library().MlflowClient(tracking_uri=registry.store.uri, registry_uri=registry.store.uri)


def runs(registry, name):
    experiment = client(registry).get_experiment_by_name(registry.experiment).experiment_id
    return client(registry).search_runs([experiment], f"tags.`trunkline.name` = '{name}'")


def test_a_release_is_registered_once_and_completely(registry, name, bundle):
    assert registry.look(name) == Registered()
    wanted = release(name, bundle)
    assert registry.register(wanted, bundle, RECORD) == registry.register(wanted, bundle, RECORD) == "1"

    (entry,) = registry.look(name).entries
    owned = {VERSION: "v4", DIGEST: wanted.digest, COMMIT: "c" * 40, VERDICT: "pass"}
    assert entry.tags == owned | {PULL_REQUEST: "#12 by ada"}
    assert registry.look(name).find("v4", wanted.digest) == entry
    assert registry.look(name).find("v5", wanted.digest) is None
    (run,) = runs(registry, name)
    assert_logged(registry, run, entry)
    assert {key: run.data.tags[key] for key in RECORD.origin} == RECORD.origin
    assert run.info.user_id == "Ada"
    model = client(registry).get_registered_model(name)
    assert (model.description, client(registry).get_model_version(name, "1").description) == (RECORD.use, "# Sums\n")

    assert registry.register(dataclasses.replace(wanted, version=Version(name, 5)), bundle, RECORD) == "2"
    assert [entry.number for entry in registry.look(name).entries] == ["1", "2"]


def assert_logged(registry, run, entry):
    """A version's run has all of the record, each once."""
    assert (run.info.run_id, run.info.status, run.data.metrics) == (entry.run, "FINISHED", METRICS)
    assert run.data.params == RECORD.params
    logged = {(of.dataset.name, of.dataset.digest, of.dataset.source_type) for of in run.inputs.dataset_inputs}
    assert logged == {("flights", "ab" * 18, "files"), ("data/raw", f"{'cd' * 16}.dir", "dvc")}
    assert len(run.inputs.dataset_inputs) == 2
    assert len(client(registry).get_metric_history(run.info.run_id, "holdout.n")) == 1
    artifacts = {item.path for folder in (None, "curves") for item in files_of(registry, run, folder)}
    assert artifacts == {"card.md", "curves", "curves/roc.svg", "model"}


def files_of(registry, run, folder):
    return client(registry).list_artifacts(run.info.run_id, folder)


def test_a_release_names_the_run_of_the_pipeline_that_made_its_bundle(registry, name, bundle):
    (bundle / "card.md").write_text(f"# {name}\n" + f"{'A line of the card.' * 5}\n" * 100)
    bundles.seal(bundle)
    wanted = release(name, bundle)
    with registry.store.client("") as to:
        experiment = mlflow.experiment(to, registry.experiment, registry.store.artifacts)
        begun, first, _ = (to.create_run(experiment, 0, {DIGEST: wanted.digest, "trunkline.result": "x"}).info.run_id
                           for _ in range(3))  # fmt: skip
        for run in (first, _):
            to.set_terminated(run)
    registry.register(wanted, bundle, RECORD)
    (entry,) = registry.look(name).entries
    (run,) = runs(registry, name)
    assert entry.tags["trunkline.run"] == run.data.tags["trunkline.run"] != begun
    text = client(registry).get_model_version(name, "1").description
    assert len(text) <= 5000
    assert text.endswith("card.\n\nThe rest of it is in card.md, among the artifacts of the run.")


def test_what_people_change_of_the_record_stays_as_they_want_it(registry, name, bundle):
    wanted = release(name, bundle)
    number = registry.register(wanted, bundle, RECORD)
    registry.tag(name, number, PULL_REQUEST, "ours")
    client(registry).update_model_version(name, number, "ours")
    client(registry).update_registered_model(name, "ours")
    registry.register(wanted, bundle, RECORD)
    registry.register(dataclasses.replace(wanted, version=Version(name, 5)), bundle, RECORD)
    assert registry.look(name).entries[0].tags[PULL_REQUEST] == "ours"
    assert client(registry).get_model_version(name, number).description == "ours"
    assert client(registry).get_registered_model(name).description == "ours"


def test_each_change_can_be_repeated(registry, name, bundle):
    number = registry.register(release(name, bundle), bundle, RECORD)
    for _ in range(2):
        registry.alias(name, "production", number)
        registry.tag(name, number, "extra", "x")
    assert registry.look(name).aliases == {"production": number}
    assert registry.look(name).entries[0].tags["extra"] == "x"
    for _ in range(2):
        registry.unalias(name, "production")
    assert registry.look(name).aliases == {}
    registry.unalias("never-registered", "production")


def test_what_was_undone_by_hand_is_done_again(registry, name, bundle):
    wanted = release(name, bundle)
    number = registry.register(wanted, bundle, RECORD)
    tags = registry.look(name).entries[0].tags
    client(registry).delete_model_version_tag(name, number, DIGEST)
    registry.tag(name, number, VERSION, "v9")
    assert registry.register(wanted, bundle, RECORD) == number
    assert registry.look(name).entries[0].tags == tags

    registry.alias(name, "production", number)
    client(registry).delete_model_version(name, number)
    assert registry.look(name) == Registered()
    again = registry.register(wanted, bundle, RECORD)
    assert again == "2"
    assert registry.look(name).entries[0].tags == tags
    assert len(runs(registry, name)) == 1


def test_another_bundle_is_not_registered(registry, name, bundle):
    other = dataclasses.replace(release(name, bundle), digest="0" * 64)
    with pytest.raises(UserError, match=f"has the digest .*@v4 was released with {'0' * 64}"):
        registry.register(other, bundle, RECORD)
    (bundle / "card.md").write_text("changed")
    with pytest.raises(UserError, match=r"card\.md: was changed"):
        registry.register(dataclasses.replace(other, version=Version(name, 5)), bundle, RECORD)
    assert registry.look(name) == Registered()


class Killed(BaseException):
    """What no code of ours catches, as a kill."""


STEPS = (
    "get_experiment_by_name", "create_experiment", "search_runs", "create_run", "log_batch", "log_inputs",
    "log_artifacts", "set_terminated", "get_registered_model", "search_model_versions", "create_registered_model",
    "create_model_version",
)  # fmt: skip


@contextmanager
def killed(monkeypatch, registry, at):
    """Kill the process when its at-th request of MLflow has had its effect, which is before the next one is sent.

    A request of a server is one over HTTP; of the files that are uploaded, only the first three count.
    """
    from mlflow import MlflowClient

    count = uploads = 0

    def wrap(real, counts):
        def step(*arguments, **named):
            nonlocal count
            count += (own := counts(arguments))
            number = count
            try:
                return real(*arguments, **named)
            finally:
                if own and number == at:
                    raise Killed

        return step

    def is_counted(arguments):
        nonlocal uploads
        uploads += (is_upload := arguments[1].method == "PUT")
        return not is_upload or uploads <= 3

    with monkeypatch.context() as patch:
        if registry.store.uri.startswith("http"):
            patch.setattr(requests.Session, "send", wrap(requests.Session.send, is_counted))
        else:
            for name in STEPS:
                patch.setattr(MlflowClient, name, wrap(getattr(MlflowClient, name), lambda _: True))
        yield


@pytest.mark.parametrize("address", ["server on SQLite", "file"], indirect=True)
def test_a_kill_after_any_request_leaves_what_the_next_attempt_finishes(registry, bundle, monkeypatch, name):
    """A first release is killed after its first request, a second one after its second, until one is not killed."""
    for at in range(1, 100):
        wanted = release(f"{name}-{at}", bundle)
        attempt = dataclasses.replace(registry, experiment=f"killed after {at}")
        with killed(monkeypatch, registry, at):
            try:
                attempt.register(wanted, bundle, RECORD)
                break
            except Killed:
                pass
        assert attempt.register(wanted, bundle, RECORD) == "1"
        (entry,) = registry.look(wanted.version.name).entries
        assert entry.tags == wanted.tags | {PULL_REQUEST: "#12 by ada"}
        (run,) = runs(attempt, wanted.version.name)
        assert_logged(attempt, run, entry)
        assert client(registry).get_model_version(wanted.version.name, "1").description == "# Sums\n"
    assert at > 14


@pytest.mark.parametrize("address", ["server on PostgreSQL"], indirect=True)
def test_two_that_register_at_once_agree(registry, name, bundle):
    wanted = release(name, bundle)
    with ProcessPoolExecutor(2, multiprocessing.get_context("spawn")) as pool:
        numbers = [job.result() for job in [pool.submit(registry.register, wanted, bundle, RECORD) for _ in range(2)]]
    assert (
        registry.register(wanted, bundle, RECORD) == min(entry.number for entry in registry.look(name).entries) == "1"
    )
    assert set(numbers) == {"1"}


def test_many_versions_are_all_seen(registry, name, bundle):
    first = release(name, bundle)
    registry.register(first, bundle, RECORD)
    source, run = client(registry).get_model_version(name, "1").source, registry.look(name).entries[0].run
    for number in range(2, 13):
        client(registry).create_model_version(name, source, run, await_creation_for=0)
        registry.alias(name, f"a{number}", str(number))
    found = registry.look(name)
    assert [entry.number for entry in found.entries] == [str(number) for number in range(1, 13)]
    assert found.aliases["a11"] == "11"
    assert registry.register(first, bundle, RECORD) == "1"


@pytest.mark.parametrize("call", ["look", "register"])
def test_a_registry_that_is_gone_or_slow_is_an_error_in_seconds_and_asked_once(tmp_path, bundle, monkeypatch, call):
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_TIMEOUT", "1")
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "5")
    mlflow.library()  # whose import, where no other test has done it, is no part of the time that is asserted
    with silent() as (slow, asked), nobody() as port:
        for place in (f"http://bob:s3cret@127.0.0.1:{port}", slow.replace("//", "//bob:s3cret@")):
            registry = ModelRegistry.open(Tracking(experiment="e"), tmp_path, {URI: place})
            began = time.monotonic()
            with pytest.raises(OutsideError, match="MLflow at http://127") as caught:
                registry.look("m") if call == "look" else registry.register(release("m", bundle), bundle, RECORD)
            assert time.monotonic() - began < 5
            assert "s3cret" not in str(caught.value)
        assert len(asked) == 1
    assert os.environ["MLFLOW_HTTP_REQUEST_MAX_RETRIES"] == "5"


@contextmanager
def silent():
    """A server that takes connections and never answers; yields its address, and the connections it has taken."""
    asked = []
    with socket.create_server(("127.0.0.1", 0)) as server:

        def take():
            while True:
                try:
                    asked.append(server.accept()[0])
                except OSError:
                    return

        thread = threading.Thread(target=take)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.getsockname()[1]}", asked
        finally:
            server.shutdown(socket.SHUT_RDWR)
            thread.join()
            for connection in asked:
                connection.close()


def test_a_relative_home_is_the_working_directory(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for address in ("sqlite:///mlflow.db", f"sqlite:///{tmp_path}/mlflow.db"):
        store = mlflow.MlflowStore(address, Path())
        assert store.uri == f"sqlite:///{tmp_path}/mlflow.db"
        assert store.artifacts == tmp_path / "mlartifacts"
