"""Reconciling with real parts: bare git remotes, a DVC remote, an MLflow server, and processes that serve."""

import dataclasses
import hashlib
import json
import os
import subprocess
import sys
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from datetime import timedelta
from pathlib import Path

import pytest
import requests
import yaml
from click.testing import CliRunner

from tests import endpoint
from tests.deploy.rollout import logs
from tests.deploy.rollout.logs import Fault, Traffic
from tests.releases import REGISTRY, START, Project, signers
from tests.rig.repository import environment
from tests.servers import mlflow_server, nobody, postgres
from trunkline.adapters.git import process as git_process
from trunkline.adapters.git import remote as git_remote
from trunkline.bundle import manifest
from trunkline.cli import trunkline
from trunkline.conf.tracking import Tracking
from trunkline.core.errors import OutsideError, UserError
from trunkline.deploy.mlflow.registry import ModelRegistry
from trunkline.deploy.mlflow.state import CHAMPION, COMMIT, VERSION
from trunkline.deploy.reconcile import once, status
from trunkline.deploy.reconcile.once import Site
from trunkline.deploy.reconcile.store import BundleStore

# MLflow 3.17 with SQLAlchemy 2.1, when its store is first used.
pytestmark = pytest.mark.filterwarnings(
    "ignore:The ``noload`` loader strategy is deprecated:sqlalchemy.exc.SADeprecationWarning"
)


@pytest.fixture
def project(mlflow_address, tmp_path, request):
    """A project of the test's own, whose model has a name of its own in MLflow."""
    return released(tmp_path, mlflow_address, request.node.name)


def released(folder, server, test):
    """A project with two releases, the second of which staging runs."""
    name = f"m{hashlib.sha256(test.encode()).hexdigest()[:10]}"
    project = Project(folder / "project", name, folder / "remote", folder / "origin.git").create()
    project.params(tracking={"uri": server, "experiment": "releases"})
    for trees in (100, 200):
        project.params(model__max_iter=trees).build().push()
        project.release()
    project.declare(staging="latest", production="v1").push()
    return project


class Reconciler:
    """A place where reconcile runs: a bare clone and a store."""

    def __init__(self, project, name="site", **more):
        self.told = []
        clone, store = (project.root.with_name(f"{name}{end}") for end in (".git", "-store"))
        project.clone(clone, "--bare")
        self.place = Site(clone, "main", BundleStore(store), environment())
        self.place = dataclasses.replace(self.place, **more)

    @property
    def store(self):
        return self.place.store

    def reconcile(self, write=True):
        self.told.clear()
        return once.reconcile(self.place, self.told.append, write=write)

    def states(self, write=True):
        return {one.environment: one.state for one in self.reconcile(write).outcomes}

    def delivered(self):
        found = {name: self.store.delivered(name) for name in ("staging", "production")}
        return {name: one and one.version for name, one in found.items()}


def mlflow(project):
    return ModelRegistry.open(Tracking(**yaml.safe_load(project.read("params.yaml"))["tracking"]), project.root, {})


def aliases(project):
    """The version that each alias stands for."""
    found = mlflow(project).look(project.name)
    labels = {entry.number: entry.tags.get(VERSION) for entry in found.entries}
    return {alias: labels[number] for alias, number in found.aliases.items()}


IN_SYNC = {"production": "in-sync", "staging": "in-sync"}
RIGHT = {"production": "v1", CHAMPION: "v1", "staging": "v2"}


def test_environments_follow_the_trunk(project):
    site = Reconciler(project)
    assert site.states(write=False) == {"production": "progressing", "staging": "progressing"}
    assert site.told == []
    assert not site.store.folder.exists(), "a dry run writes nothing"
    assert site.states() == IN_SYNC
    assert (aliases(project), site.delivered()) == (RIGHT, {"production": "v1", "staging": "v2"})
    assert site.states() == IN_SYNC
    assert site.told == []
    with mlflow(project).store.client("") as client:
        first = client.get_model_version_by_alias(project.name, "production")
        run = client.get_run(first.run_id)
    assert first.description == (site.store.bundle(project.digest(1)) / "card.md").read_text()
    assert (run.data.params["model.max_iter"], run.data.metrics["holdout.roc_auc.low"]) == ("100", 0.75)
    assert run.data.tags["mlflow.source.name"] == str(project.origin)
    assert {of.dataset.name for of in run.inputs.dataset_inputs} == {"data/raw", "data/valid", "data/features"}

    project.declare(staging="latest", production="v2").push()
    assert site.states() == IN_SYNC
    assert [line.partition(": ")[2].partition(" of ")[0] for line in site.told] == (
        ["point the alias production", "point the alias champion", f"deliver {project.name}@v2 to production"]
    )
    project.declare(staging=None, production="v1").push()
    assert site.states() == IN_SYNC
    assert (aliases(project), site.delivered()) == (
        {"production": "v1", CHAMPION: "v1"},
        {"production": "v1", "staging": None},
    )
    assert len(mlflow(project).look(project.name).entries) == 2, "a version is never deleted"


def test_nothing_to_do_is_one_fetch_and_one_look(project, monkeypatch):
    site = Reconciler(project)
    site.reconcile()
    calls = Counter()
    remote, send = git_process.attempt, requests.Session.send

    def attempt(folder, environ, *arguments):
        calls[next(word for word in arguments if word in ("fetch", "push", "ls-remote"))] += 1
        return remote(folder, environ, *arguments)

    def sent(session, request, **options):
        calls[f"{request.method} {request.path_url.partition('?')[0].rpartition('/2.0/mlflow/')[2]}"] += 1
        return send(session, request, **options)

    monkeypatch.setattr(git_remote, "attempt", attempt)
    monkeypatch.setattr(requests.Session, "send", sent)
    assert site.reconcile().code == 0
    assert calls == {"fetch": 1, "GET registered-models/get": 1, "GET model-versions/search": 1}


@pytest.mark.parametrize(
    ("environments", "said"),
    [
        ({"staging": "latest", "production": "v9"}, r"main:models/registry\.yaml: .*production: v9 was never released"),
        ({"staging": "latest", "production": "v1", "canary": "v1"}, r"canary: no such environment in conf/deploy"),
        ({"staging": "lates", "production": "v2"}, r"staging: must be a version such as v3, latest or null"),
        ({"production": "v2"}, r"lacks staging"),
    ],
    ids=["version", "environment", "typo", "missing"],
)
def test_a_wrong_declaration_changes_nothing(project, environments, said):
    site = Reconciler(project)
    site.reconcile()
    project.write(REGISTRY, {project.name: environments}).push()
    with pytest.raises(UserError, match=said):
        site.reconcile()
    assert (aliases(project), site.delivered()) == (RIGHT, {"production": "v1", "staging": "v2"})
    project.write(REGISTRY, {project.name: {"staging": "latest", "production": "v2"}}).push()
    assert site.states() == IN_SYNC


def test_a_tag_that_was_moved_stops_those_that_use_it(project):
    site = Reconciler(project)
    site.reconcile()
    project.release(number=1)  # on what is checked out: another commit
    project.declare(staging="v1", production="v2").push()
    found = {one.environment: one for one in site.reconcile().outcomes}
    assert found["staging"].why == (f"{project.name}@v1: origin has another tag of this name: it was moved; "
                                    "a version never changes",)  # fmt: skip
    assert (found["staging"].state, found["staging"].code, found["production"].state) == ("degraded", 1, "in-sync")
    assert site.delivered() == {"production": "v2", "staging": "v2"}


def test_a_version_that_must_not_run_is_not_run(project, monkeypatch):
    site = Reconciler(project)
    site.reconcile()
    project.build(0.5).push()
    project.release()
    production, staging = site.reconcile().outcomes
    assert (production.state, staging.state, staging.code) == ("in-sync", "degraded", 1)
    assert "the version's gates did not pass" in staging.why[0]
    assert (aliases(project), site.delivered()) == (RIGHT, {"production": "v1", "staging": "v2"})

    project.params(deploy__signers=signers("other")).declare(staging=None, production="v2").push()
    production, staging = site.reconcile().outcomes
    assert (production.state, production.code, staging.state) == ("degraded", 1, "in-sync"), "its key was taken out"
    monkeypatch.setattr("trunkline.release.signing.find_spec", lambda name: None)
    production = site.reconcile().outcomes[0]
    assert (production.state, production.code) == ("degraded", 2), "nothing is refused where nothing can be verified"
    assert site.delivered() == {"production": "v1", "staging": None}


def test_a_change_by_hand_in_mlflow_is_undone(project):
    site, registry = Reconciler(project), mlflow(project)
    site.reconcile()
    first, second = registry.look(project.name).entries
    registry.alias(project.name, "production", second.number)
    registry.unalias(project.name, CHAMPION)
    registry.tag(project.name, first.number, COMMIT, "another")
    registry.alias(project.name, "somebody", second.number)
    with registry.store.client("") as client:
        client.delete_model_version(project.name, second.number)
    assert site.states(write=False) == {"production": "progressing", "staging": "progressing"}
    assert site.states() == IN_SYNC
    assert aliases(project) == RIGHT
    assert registry.look(project.name).entries[0] == first
    assert site.states() == IN_SYNC
    assert site.told == []


def test_a_change_by_hand_is_only_told_where_that_is_declared(project):
    project.params(deploy__mlflow="report").push()
    site, registry = Reconciler(project), mlflow(project)
    assert site.states() == IN_SYNC
    _, second = registry.look(project.name).entries
    registry.alias(project.name, "production", second.number)
    found = site.reconcile()
    assert [(one.state, one.code) for one in found.outcomes] == [("degraded", 1), ("in-sync", 0)]
    why = f"changed by hand in MLflow; not undone: point the alias production of MLflow at {project.name}@v1"
    assert found.outcomes[0].why == (why,)
    assert aliases(project)["production"] == "v2"
    project.declare(staging="latest", production="v2").push()
    assert site.states() == IN_SYNC, "a declaration is not a change by hand"
    assert aliases(project) == dict.fromkeys(RIGHT, "v2")


def test_without_mlflow_the_rest_goes_on(project, mlflow_address):
    site = Reconciler(project)
    site.reconcile()
    with nobody() as port:
        project.params(tracking__uri=f"http://127.0.0.1:{port}").declare(staging="latest", production="v2").push()
        found = site.reconcile()
    assert [(one.state, one.code) for one in found.outcomes] == [("degraded", 3)] * 2
    assert site.delivered() == {"production": "v2", "staging": "v2"}
    project.params(tracking__uri=mlflow_address).push()
    assert site.states() == IN_SYNC
    assert aliases(project) == dict.fromkeys(RIGHT, "v2")


def test_a_bundle_that_cannot_be_had_stops_its_environment_only(project):
    site = Reconciler(project)
    files, away = project.store / "files", project.store / "away"
    site.place = dataclasses.replace(site.place, only=("staging",))
    site.reconcile()
    site.place = dataclasses.replace(site.place, only=())
    files.rename(away)
    try:
        found = site.reconcile()
    finally:
        away.rename(files)
    assert [(one.environment, one.state, one.code) for one in found.outcomes] == (
        [("production", "degraded", 3), ("staging", "in-sync", 0)]
    )
    assert "its bundle could not be fetched" in found.outcomes[0].why[0]
    assert aliases(project) == {"staging": "v2"}, "nothing points at what cannot be run"
    assert site.states() == IN_SYNC
    assert aliases(project) == RIGHT


def test_a_bundle_of_the_store_that_broke_is_fetched_again(project):
    site = Reconciler(project)
    site.reconcile()
    (site.store.bundle(project.digest(1)) / "card.md").write_text("changed")
    assert site.states() == IN_SYNC
    assert [line for line in site.told if "fetch" in line] == site.told
    assert manifest.verify(site.store.bundle(project.digest(1))) == project.digest(1)
    with pytest.raises(UserError, match="--environment producton: no such environment; did you mean 'production'"):
        Reconciler(project, "typo", only=("producton",)).reconcile()


def test_manifests_are_rendered_at_the_tip(project):
    template = "deploy/app.yaml.j2"
    project.write(template, "{{ environment }} {{ name }} {{ version }} {{ digest }} {{ commit }}\n")
    targets = {name: {"manifests": [template]} for name in ("staging", "production")}
    project.params(deploy__environments=targets).declare(staging="v1", production=None).push()
    site = Reconciler(project)
    assert site.states() == IN_SYNC
    rendered = site.store.folder / "manifests/staging/app.yaml"
    commit = project.git("rev-parse", f"{project.name}@v1^{{commit}}")
    assert rendered.read_text() == f"staging {project.name} v1 {project.digest(1)} {commit}\n"
    assert not (site.store.folder / "manifests/production").exists()
    rendered.write_text("by hand")
    assert site.states() == IN_SYNC
    assert rendered.read_text().startswith("staging ")

    project.write(template, "{{ envronment }}").declare(staging="v2", production=None).push()
    found = site.reconcile().outcomes[1]
    assert (found.state, found.code) == ("degraded", 2)
    assert found.why[0].startswith("deploy/app.yaml.j2: 'envronment' is undefined; it may use commit, digest, env")
    assert site.delivered()["staging"] == "v1"
    project.declare(staging=None, production=None).push()
    assert site.states() == IN_SYNC
    assert not rendered.exists()


def test_what_serves_follows_and_a_rollback_brings_the_old_bundle_back(project):
    site = Reconciler(project)
    site.store.folder.mkdir()
    request = {"hour": 3, "origin": "EWR"}
    with endpoint.endpoint(site.store.folder, "production", project.name) as address:
        project.params(deploy__environments={"staging": {}, "production": {"endpoints": [address]}})
        for version, state in (("v2", "progressing"), ("v2", "in-sync"), ("v1", "progressing"), ("v1", "in-sync")):
            project.declare(staging=None, production=version).push()
            assert site.states()["production"] == state
            digest = project.digest(int(version[1:]))
            endpoint.until(lambda digest=digest: endpoint.get(address).get("digest") == digest)
            answer = endpoint.predict(address, request)
            assert (answer["digest"], answer["score"] > 0) == (digest, True)
            assert answer["request_id"]
    found = site.reconcile().outcomes[0]
    assert (found.state, found.code) == ("degraded", 3)
    assert found.why == (f"{address}/version: no answer (NewConnectionError)",)


def test_a_server_that_loads_nothing_is_waited_for_but_not_for_ever(project, tmp_path):
    site = Reconciler(project)
    with endpoint.endpoint(tmp_path / "another", "production", project.name) as address:
        project.params(deploy__environments={"staging": {}, "production": {"endpoints": [address]}})
        project.declare(staging=None, production="v1").push()
        assert site.states(write=False)["production"] == "degraded", "nothing was delivered"
        found = site.reconcile().outcomes[0]
        why = f"{address}/version: answers 503, and may still be loading"
        assert (found.state, found.code, found.why) == ("progressing", 1, (why,))
        pointer = site.store.folder / "production.json"
        for seconds, state in ((100, "progressing"), (125, "degraded"), (-60, "degraded")):
            os.utime(pointer, times=(time.time() - seconds,) * 2)
            assert site.states()["production"] == state


STEPS = {"staging": {}, "production": {"rollout": {"key": ["origin"]}}}
TRIED = {"version": "v1", "shadow": "v2"}


def candidate(site):
    """What the pointer of production has beside its version: how, which, its share."""
    rollout = site.store.delivered("production").rollout
    return rollout and (rollout.kind, rollout.candidate.version, rollout.share)


def shown(site, monkeypatch, *options):
    """What `trunkline status` prints."""
    monkeypatch.chdir(site.place.clone)
    done = CliRunner().invoke(trunkline, ["status", "--store", str(site.store.folder), *options])
    assert done.exit_code in (0, 1), done.output
    return done.stdout


def test_a_candidate_is_delivered_beside_the_version_and_taken_away_again(project, monkeypatch):
    site = Reconciler(project)
    project.params(deploy__environments=STEPS).declare(staging=None, production=TRIED).push("Begin (#5)")
    assert site.states() == {"production": "in-sync", "staging": "in-sync"}
    assert candidate(site) == ("shadow", "v2", 100)
    assert site.store.has(project.digest(2))
    assert (site.delivered()["production"], aliases(project)) == ("v1", {"production": "v1", CHAMPION: "v1"})
    comparison = site.reconcile()
    assert site.told == []
    standing = status.standings(site.place.clone, comparison)[0]
    since = standing.rollout.since.replace("T", " ")[:16]
    assert standing.pull_request is None, "which brought the version"
    assert f"production: {standing.rollout}\n" in shown(site, monkeypatch)
    rollout = json.loads(shown(site, monkeypatch, "--json"))["production"]["rollout"]
    assert (rollout["version"], rollout["share"], rollout["step"], rollout["delivered"]) == ("v2", 100.0, 1, True)
    assert str(standing.rollout) == f"v2 is tried as a shadow of 100 %, step 1 of 3, since {since}, by #5 Ada"
    assert rollout["verdict"] == {"answer": "?", "reason": "no prediction log is declared: serving.log in conf/serving"}

    project.declare(staging=None, production={"version": "v1", "canary": {"version": "v2", "share": 7.5}}).push()
    standing = status.standings(site.place.clone, site.reconcile(write=False))[0]
    assert "v2 answers 7.5 %, no step of the 3 declared ones, since " in str(standing.rollout)
    assert str(standing.rollout).endswith(", not delivered")
    assert site.states()["production"] == "in-sync"
    assert candidate(site) == ("canary", "v2", 7.5)
    project.declare(staging=None, production={"version": "v1", "hold": ["v2"]}).push()
    comparison = site.reconcile()
    assert (site.delivered()["production"], candidate(site)) == ("v1", None)
    standing = status.standings(site.place.clone, comparison)[0]
    assert (standing.rollout, standing.held) == (None, ("v2",))
    told = shown(site, monkeypatch)
    assert "production: v2 held: taken back here\n" in told
    assert "verdict" not in told


def test_status_says_what_the_log_says_of_a_rollout(project, tmp_path, monkeypatch):
    site, log = Reconciler(project), tmp_path / "log"
    data = yaml.safe_load((Path(__file__).parents[3] / "params.yaml").read_text(encoding="utf-8"))["data"]
    steps = {"staging": {}, "production": {"rollout": {"key": logs.KEY}}}
    project.params(deploy__environments=steps, data=data, serving={"log": {"to": str(log)}})
    project.declare(staging=None, production=TRIED).push()
    since = START + timedelta(hours=project.hours)
    monkeypatch.setattr(logs, "CURRENT", "v1")
    monkeypatch.setattr(logs, "CANDIDATE", "v2")
    site.reconcile()
    assert f"production: verdict ?: {log}: no prediction log is there; " in shown(site, monkeypatch)
    logs.write(log, Traffic("shadow", 100, hours=1), Fault(failing=0.3), start=since)
    told = shown(site, monkeypatch)
    assert "production: verdict go back: errors: 30." in told
    assert told.count("verdict") == 1
    verdict = json.loads(shown(site, monkeypatch, "--json"))["production"]["rollout"]["verdict"]
    assert f"production: verdict {verdict['answer']}: {verdict['reason']}\n" in told
    project.declare(staging=None, production={"version": "v1", "canary": {"version": "v2", "share": 7.5}}).push()
    assert "verdict ?: deploy.environments.production.rollout.steps: has no canary 7.5, only" in shown(
        site, monkeypatch
    )


def test_a_candidate_that_must_not_run_does_not_stop_the_version(project):
    site = Reconciler(project)
    project.params(deploy__environments=STEPS)
    for trees, roc_auc in ((300, 0.78), (400, 0.5)):
        project.params(model__max_iter=trees).build(roc_auc).push()
        project.release()
    project.declare(staging=None, production={"version": "v2", "shadow": "v4"}).push()
    production, staging = site.reconcile().outcomes
    assert (production.state, production.code, staging.state) == ("degraded", 1, "in-sync")
    assert "the version's gates did not pass" in production.why[0]
    assert (site.delivered()["production"], candidate(site)) == ("v2", None)
    project.declare(staging=None, production={"version": "v2", "shadow": "v1"}).push()
    assert site.states()["production"] == "in-sync"
    assert candidate(site) == ("shadow", "v1", 100)

    files, away = project.store / "files", project.store / "away"
    project.declare(staging=None, production={"version": "v2", "shadow": "v3"}).push()
    files.rename(away)
    try:
        production = site.reconcile().outcomes[0]
    finally:
        away.rename(files)
    assert (production.state, production.code) == ("degraded", 3)
    assert (site.delivered()["production"], candidate(site)) == ("v2", None), "nor is the one before tried any more"
    assert site.states()["production"] == "in-sync"
    assert candidate(site) == ("shadow", "v3", 100)


@contextmanager
def killing(site):
    """Yield a function that reconciles in a process which is killed before its so-many-th effect."""
    command = [sys.executable, "-m", "tests.killing", str(site.place.clone), str(site.store.folder)]
    root, environ = Path(__file__).parents[3], environment()
    pipe = subprocess.PIPE
    with subprocess.Popen(command, stdin=pipe, stdout=pipe, text=True, env=environ, cwd=root) as process:

        def run(effect):
            process.stdin.write(f"{effect}\n")
            process.stdin.flush()
            return process.stdout.readline().strip()

        yield run
        process.stdin.close()


def test_a_process_that_is_killed_anywhere_does_no_harm(project):
    site = Reconciler(project)
    project.params(deploy__environments=STEPS).declare(staging="latest", production=TRIED).push()
    with killing(site) as run:
        kills = 1
        while run(kills) == "killed":  # from nothing, each getting two effects further than the one before
            kills += 2
        assert kills > 5
        assert (aliases(project), site.delivered()) == (RIGHT, {"production": "v1", "staging": "v2"})
        assert candidate(site) == ("shadow", "v2", 100)
        assert len(mlflow(project).look(project.name).entries) == 2
        bundles = sorted(path.name for path in (site.store.folder / "bundles").iterdir())
        assert bundles == sorted([project.digest(1), project.digest(2)])

        effect, ended = 0, "killed"
        while ended == "killed":  # a rollout that is finished, or begun again, killed before each of its effects
            effect += 1
            label, rollout = ("v2", None) if effect % 2 else ("v1", ("shadow", "v2", 100))
            project.declare(staging="latest", production=TRIED if rollout else label).push()
            ended = run(effect)
            for name, pointer in site.delivered().items():
                digest = site.store.delivered(name).digest
                assert site.store.has(digest), f"{pointer} is delivered, but not whole"
            assert run(0) == "0"
            assert aliases(project)["production"] == aliases(project)[CHAMPION] == label
            assert (site.delivered(), candidate(site)) == ({"production": label, "staging": "v2"}, rollout)
        assert effect > 5


def test_reconcilers_at_once_agree(project):
    one, other, same = Reconciler(project, "one"), Reconciler(project, "other"), Reconciler(project, "third")
    same.place = dataclasses.replace(same.place, store=one.store)
    with ExitStack() as stack, ThreadPoolExecutor(3) as threads:
        runs = [stack.enter_context(killing(site)) for site in (one, other, same)]
        assert list(threads.map(lambda run: run(0), runs)) == ["0"] * 3
    assert aliases(project) == RIGHT
    assert one.delivered() == other.delivered() == {"production": "v1", "staging": "v2"}
    assert one.states() == other.states() == IN_SYNC


def test_a_store_that_is_held_is_waited_for(project, monkeypatch):
    from trunkline.deploy.reconcile import store as reconcile_store

    monkeypatch.setattr(reconcile_store, "_LOCK_SECONDS", 0.1)
    site = Reconciler(project)
    with site.store.alone(), pytest.raises(OutsideError, match="another reconcile has held it for"):
        Reconciler(project, "second", store=BundleStore(site.store.folder)).reconcile()


def test_postgresql(tmp_path):
    with postgres() as store, mlflow_server(tmp_path / "mlflow", store) as address:
        project = released(tmp_path, address, "postgresql")
        site = Reconciler(project)
        assert site.states() == IN_SYNC
        assert aliases(project) == RIGHT
        project.declare(staging="v1", production="v2").push()
        assert site.states() == IN_SYNC
        assert aliases(project) == {"production": "v2", CHAMPION: "v2", "staging": "v1"}
