"""MLflow's model registry, against real servers on SQLite and PostgreSQL, and a SQLite file without a server."""

import dataclasses
import hashlib
import socket
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

import pytest

from tests import bundles
from tests.servers import free_port, mlflow_server, postgres
from trunkline import manifest, mlflowstore
from trunkline.core.errors import OutsideError, UserError
from trunkline.modelregistry import COMMIT, DIGEST, VERDICT, VERSION, Entry, ModelRegistry, Registered, Release, adopted
from trunkline.params.tracking import URI, Tracking

# MLflow 3.17 with SQLAlchemy 2.1, when its store is first used.
pytestmark = pytest.mark.filterwarnings(
    "ignore:The ``noload`` loader strategy is deprecated:sqlalchemy.exc.SADeprecationWarning"
)

METRICS = {"holdout.roc_auc": 0.7634, "holdout.n": 100.0}


@pytest.fixture(scope="module", params=["server on SQLite", "server on PostgreSQL", "file"])
def address(request, tmp_path_factory):
    """The address of each kind of store."""
    folder = tmp_path_factory.mktemp("store")
    if request.param == "file":
        yield f"sqlite:///{folder}/mlflow.db"
    elif request.param == "server on SQLite":
        with mlflow_server(folder) as found:
            yield found
    else:
        with postgres(folder) as store, mlflow_server(folder, store) as found:
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
    return ModelRegistry.open(Tracking(uri=address, experiment="releases"), home, {})


def release(name, bundle, version="v4", commit="c" * 40):
    return Release(name, version, manifest.verify(bundle), commit, "pass", METRICS)


def client(registry):
    return mlflowstore.library().MlflowClient(tracking_uri=registry.store.uri, registry_uri=registry.store.uri)


def runs(registry, name):
    experiment = client(registry).get_experiment_by_name("releases").experiment_id
    return client(registry).search_runs([experiment], f"tags.`trunkline.name` = '{name}'")


def test_a_release_is_registered_once_and_completely(registry, name, bundle):
    assert registry.look(name) == Registered()
    wanted = release(name, bundle)
    assert registry.register(wanted, bundle) == registry.register(wanted, bundle) == "1"

    (entry,) = registry.look(name).entries
    assert entry.tags == {VERSION: "v4", DIGEST: wanted.digest, COMMIT: "c" * 40, VERDICT: "pass"}
    assert registry.look(name).find("v4", wanted.digest) == entry
    assert registry.look(name).find("v5", wanted.digest) is None
    (run,) = runs(registry, name)
    assert (run.info.run_id, run.info.status, run.data.metrics) == (entry.run, "FINISHED", METRICS)

    assert registry.register(dataclasses.replace(wanted, version="v5"), bundle) == "2"
    assert [entry.number for entry in registry.look(name).entries] == ["1", "2"]


def test_each_change_can_be_repeated(registry, name, bundle):
    number = registry.register(release(name, bundle), bundle)
    for _ in range(2):
        registry.alias(name, "production", number)
        registry.tag(name, number, "extra", "x")
    assert registry.look(name).aliases == {"production": number}
    assert registry.look(name).entries[0].tags["extra"] == "x"
    for _ in range(2):
        registry.unalias(name, "production")
        registry.untag(name, number, "extra")
    assert registry.look(name).aliases == {}
    assert "extra" not in registry.look(name).entries[0].tags
    registry.unalias("never-registered", "production")


def test_what_was_undone_by_hand_is_done_again(registry, name, bundle):
    wanted = release(name, bundle)
    number = registry.register(wanted, bundle)
    tags = registry.look(name).entries[0].tags
    registry.untag(name, number, DIGEST)
    registry.tag(name, number, VERSION, "v9")
    assert registry.register(wanted, bundle) == number
    assert registry.look(name).entries[0].tags == tags

    registry.alias(name, "production", number)
    client(registry).delete_model_version(name, number)
    assert registry.look(name) == Registered()
    again = registry.register(wanted, bundle)
    assert again == "2"
    assert registry.look(name).entries[0].tags == tags
    assert len(runs(registry, name)) == 1


def test_another_bundle_is_not_registered(registry, name, bundle):
    other = dataclasses.replace(release(name, bundle), digest="0" * 64)
    with pytest.raises(UserError, match=f"has the digest .* v4 was released with {'0' * 64}"):
        registry.register(other, bundle)
    (bundle / "card.md").write_text("changed")
    with pytest.raises(UserError, match=r"card\.md: was changed"):
        registry.register(dataclasses.replace(other, version="v5"), bundle)
    assert registry.look(name) == Registered()


class Killed(BaseException):
    """What no code of ours catches, as a kill."""


@contextmanager
def killed(monkeypatch, at, before):
    """Kill the process at its at-th request of MLflow: before it is sent, or when it had its effect."""
    from mlflow import MlflowClient

    count = 0
    steps = [
        name for name in ("get_experiment_by_name", "create_experiment", "search_runs", "create_run", "log_batch",
        "log_artifacts", "set_terminated", "get_registered_model", "search_model_versions",
        "create_registered_model", "create_model_version", "set_model_version_tag")
    ]  # fmt: skip

    def wrapped(name):
        real = getattr(MlflowClient, name)

        def step(*arguments, **named):
            nonlocal count
            count += 1
            if count == at and before:
                raise Killed
            found = real(*arguments, **named)
            if count == at:
                raise Killed
            return found

        return step

    with monkeypatch.context() as patch:
        for name in steps:
            patch.setattr(MlflowClient, name, wrapped(name))
        yield lambda: count


@pytest.mark.parametrize("before", [True, False], ids=["not sent", "no answer"])
def test_a_kill_at_any_request_leaves_what_the_next_attempt_finishes(registry, bundle, monkeypatch, before, name):
    """The attempts of one release are killed at the first request, then the second, and so on; then each of one."""
    at, done = 0, False
    while not done:
        at += 1
        wanted = release(f"{name}-{at}", bundle)
        with killed(monkeypatch, at, before):
            try:
                registry.register(wanted, bundle)
                done = True
            except Killed:
                pass
        assert registry.register(wanted, bundle) == "1"
        (entry,) = registry.look(wanted.name).entries
        assert entry.tags == wanted.tags
        (run,) = runs(registry, wanted.name)
        assert (run.info.status, run.data.metrics) == ("FINISHED", METRICS)
        assert len(client(registry).get_metric_history(run.info.run_id, "holdout.n")) == 1
    assert at > 10
