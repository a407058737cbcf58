"""`trunkline erase`: what is found, what is gone, what stays and until when, and that a killed run is finished."""

import json
import os
import shutil
from functools import cache
from pathlib import Path

import polars as pl
import pytest

from tests.conftest import ROOT
from tests.erasure import project as made
from tests.erasure.project import CSV, KEPT, KEY, OTHER, SOURCE, WHO, places, run, state
from tests.rig.repository import git
from trunkline.core.errors import UserError

BEFORE = {
    ("source", "flights"): (2, "merge"),
    ("working tree", "data/raw/flights.parquet"): (2, "merge"),
    ("log", "log"): (3, "here"),
    ("outcomes", "log"): (2, "here"),
    ("cache", "2 objects"): (2, "merge"),
    ("remote", "2 objects"): (2, "kept"),
    ("git", "incoming/flights.csv in 1 commits"): (None, "kept"),
    ("version", "flight-delay@v1"): (2, "kept"),
}
KEPT_FOR_EVER = {key: value for key, value in BEFORE.items() if value[1] == "kept"}


BOTH = pytest.mark.parametrize("kind", ["tracked", "beside git"])


@pytest.fixture(scope="module")
def repository(tmp_path_factory):
    @cache
    def create(kind):
        with pytest.MonkeyPatch.context() as environment:
            environment.setenv("LOG_KEY", KEY)
            return made.create(tmp_path_factory.mktemp("project"), ROOT, tracked=kind == "tracked")

    return create


@pytest.fixture
def kind():
    """Whether git has the source."""
    return "tracked"


@pytest.fixture
def project(repository, kind, tmp_path, monkeypatch):
    shutil.copytree(repository(kind), tmp_path / "project")
    monkeypatch.chdir(tmp_path / "project")
    monkeypatch.setenv("LOG_KEY", KEY)
    return tmp_path / "project"


def without_git(expected, kind):
    return {key: value for key, value in expected.items() if kind == "tracked" or key[0] != "git"}


def branch(folder):
    return git(folder, "for-each-ref", "--format=%(refname:short)", "refs/heads/erase")


@BOTH
def test_an_erasure_from_the_first_look_to_the_proof(project, kind):
    folder = project
    before = state(folder)
    assert places("--dry-run") == without_git(BEFORE, kind)
    assert places("--check", code=1) == without_git(BEFORE, kind)
    assert state(folder) == before
    done = places()
    assert done["log", "log"] == (3, "gone")
    assert done["outcomes", "log"] == (2, "gone")
    log = pl.concat(pl.read_parquet(path) for path in Path("log/v1").rglob("*.parquet"))
    assert log["request_id"].to_list() == ["b"]
    assert [*Path("log/v1").rglob("*.parquet")] == [next(Path("log/v1").glob("*T00/part-0.parquet"))]
    assert pl.read_parquet("log/labels/labels-1.parquet")["request_id"].to_list() == ["b"]
    source = git(folder, "show", f"{branch(folder)}:{SOURCE}") if kind == "tracked" else SOURCE.read_bytes().decode()
    assert source.replace("\r\n", "\n").strip() == KEPT.replace("\r\n", "\n").strip()
    assert SOURCE.read_bytes().decode() == (CSV if kind == "tracked" else KEPT)
    git(folder, "merge", "--quiet", "--no-edit", branch(folder))
    made.data(folder, [OTHER])
    made.commit(folder, "Reproduced without them")
    assert places("--check", code=1)["cache", "2 objects"] == (2, "here")
    assert places()["cache", "2 objects"] == (2, "gone")
    assert places("--check") == without_git(KEPT_FOR_EVER, kind)


def test_what_a_killed_server_left_is_deleted_once_nobody_writes_it_any_more(project):
    old, new = (Path("log/v1", next(Path("log/v1").iterdir()).name, f".part-{name}.parquet.x.part") for name in "ab")
    for path in (old, new):
        path.write_bytes(b"PAR1")
    os.utime(old, (0, 0))
    assert places("--dry-run")["log", "log: 1 unfinished files"] == (None, "here")
    assert old.exists()
    assert places()["log", "log: 1 unfinished files"] == (None, "gone")
    assert (old.exists(), new.exists()) == (False, True)


def test_no_output_and_no_commit_names_the_value(project):
    folder = project
    said = [run("--dry-run"), run(), run("--json"), run("--check", code=1, given=f"{WHO}\n")]
    said += [git(folder, "log", "--format=%B", branch(folder)), branch(folder)]
    assert [text for text in said if WHO in text] == []
    added = [line for line in git(folder, "diff", "main", branch(folder)).splitlines() if line.startswith("+")]
    assert [line for line in added if WHO in line] == []


def test_another_key_gives_another_digest(project, monkeypatch):
    first = run("--dry-run").splitlines()[0]
    assert run("--dry-run").splitlines()[0] == first
    monkeypatch.setenv("LOG_KEY", KEY[::-1])
    assert run("--dry-run").splitlines()[0] != first


def test_an_export_has_every_row_before_it_is_erased(project):
    run("--export", "them.json")
    rows = json.loads(Path("them.json").read_text())
    assert [row["place"] for row in rows] == ["source flights"] * 2 + ["log"] * 3 + ["outcomes"] * 2
    assert {row["tailnum"] for row in rows[:2]} == {WHO}
    assert [row["request_id"] for row in rows[2:]] == ["a", "c", "d", "a", None]


def test_the_declared_policy_says_what_follows_for_versions_and_the_remote(project):
    folder = project
    registry = Path("models/registry.yaml")
    registry.write_text(registry.read_text().replace("production: null", "production: v1"))
    made.commit(folder, "Promoted")
    assert places("--dry-run")["version", "flight-delay@v1"] == (2, "kept")
    params = Path("params.yaml")
    params.write_text(params.read_text().replace("deploy:\n", "deploy:\n  erasure: {retrain: now, remote: 30d}\n"))
    said = run("--dry-run")
    assert places("--dry-run")["version", "flight-delay@v1"] == (2, "owner")
    assert "by the rule that deploy.erasure.remote declares" in " ".join(said.split())


def test_what_is_neither_in_cache_nor_remote_is_not_said_to_be_without_them(project):
    shutil.rmtree("remote")
    shutil.rmtree(".dvc/cache")
    Path("remote").mkdir()
    found = places("--check", code=1)
    assert found["version", "flight-delay@v1"] == (None, "owner")
    assert found["remote", "the data of 1 commits, which is not here"] == (None, "kept")


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--subject", "tailnun=x"], "no column 'tailnun' in conf/contract; did you mean 'tailnum'"),
        (["--subject", "year=secret"], "the value of year is not an integer$"),
    ],
)
def test_what_cannot_be_a_subject_is_refused_without_its_value(project, words, message):
    with pytest.raises(UserError, match=message):
        run(*words)


def test_without_a_key_nothing_is_named(project, monkeypatch):
    monkeypatch.delenv("LOG_KEY")
    with pytest.raises(UserError, match=r"serving\.log\.key: the environment variable LOG_KEY has to hold a key"):
        run()
