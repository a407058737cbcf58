"""trunkline ci preview: which bundles are loaded, which are refused, and what a pull request's comment then says."""

import hashlib
import json
import shutil
from datetime import UTC, datetime
from pathlib import Path

import pytest
import yaml
from click.testing import CliRunner
from dvc.fs import LocalFileSystem
from dvc.repo import Repo

from tests import bundles
from tests.deploy.rollout.test_preview import INPUTS, flights, write
from tests.forgeserver import TOKEN, running
from tests.releases import private, signers
from tests.rig.repository import git
from trunkline.adapters.dvc.remote_files import RemoteFiles
from trunkline.bundle import manifest
from trunkline.bundle.runtime import Bundle
from trunkline.cli.ci.preview import preview as verb
from trunkline.release import records, signing
from trunkline.release.records import StageRecord
from trunkline.review import post
from trunkline.serve.prediction_log.place import Place

# pygtrie, which DVC uses.
pytestmark = pytest.mark.filterwarnings("ignore:_NoneStep.value will soon raise:DeprecationWarning")

PARAMS = Path(__file__).parents[2] / "params.yaml"
NOTHING = "Of `staging`, nothing: "


def md5(content: bytes) -> str:
    return hashlib.md5(content, usedforsecurity=False).hexdigest()


class Project:
    """A trunk that declares previews, and the branch `work` with another bundle; a folder is DVC's remote."""

    def __init__(self, folder: Path) -> None:
        self.root, self.remote, self.log = folder / "project", folder / "remote", Place(str(folder / "log"))
        self.current, self.candidate = folder / "current", folder / "candidate"

    def create(self) -> None:
        self.root.mkdir()
        git(self.root, "init", "--quiet", "--initial-branch=main")
        with Repo.init(str(self.root)):
            pass
        (self.root / ".dvc/config").write_text('[core]\n    remote = there\n[remote "there"]\n    url = ../../remote\n')
        self.declare(signers("recorder"), {"slices": ["origin"], "threshold": 25.0})
        bundles.make(self.current, INPUTS)
        self.claim(self.current, seed=1)
        self.commit()
        git(self.root, "checkout", "--quiet", "-b", "work")
        with pytest.MonkeyPatch.context() as patch:
            patch.setitem(bundles.WEIGHTS, "JFK", bundles.WEIGHTS["JFK"] + 7)
            bundles.make(self.candidate, INPUTS)
        write(self.log, Bundle.load(self.current), flights(60))

    def declare(self, recorders, previews):
        params = yaml.safe_load(PARAMS.read_text(encoding="utf-8"))
        params["deploy"]["recorders"] = recorders
        params["deploy"]["environments"]["staging"]["previews"] = previews
        (self.root / "params.yaml").write_text(yaml.safe_dump(params, sort_keys=False), encoding="utf-8")

    def claim(self, folder: Path, seed: int, **replaced: str) -> StageRecord:
        """Write what a run leaves of a bundle: objects in the remote, dvc.lock and the report."""
        report = {"digest": manifest.digest(folder), "runtime": "onnx"} | replaced
        content = json.dumps(report).encode()
        listed = [{"md5": self.stored(each.read_bytes()), "relpath": each.name} for each in sorted(folder.iterdir())]
        outs = [
            {"path": "models/bundle", "md5": self.stored(json.dumps(listed).encode(), ".dir")},
            {"path": "reports/bundle.json", "md5": md5(content)},
        ]
        entry = {"cmd": "build", "deps": [], "params": {"params.yaml": {"seed": seed}}, "outs": outs}
        (self.root / "dvc.lock").write_text(yaml.safe_dump({"schema": "2.0", "stages": {"bundle": entry}}))
        (self.root / "reports").mkdir(exist_ok=True)
        (self.root / "reports/bundle.json").write_bytes(content)
        return StageRecord("bundle", entry, "https://example.org/runs/1")

    def stored(self, content: bytes, suffix: str = "") -> str:
        name = md5(content) + suffix
        path = self.remote / "files/md5" / name[:2] / name[2:]
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
        return name

    def commit(self) -> str:
        git(self.root, "add", "--all")
        git(self.root, "commit", "--quiet", "--message", "change")
        return git(self.root, "rev-parse", "HEAD").strip()

    def record(self, record: StageRecord, who: str = "recorder") -> None:
        remote = RemoteFiles(LocalFileSystem(), str(self.remote))
        remote.write(record.path, signing.sign(records.encode(record), {signing.KEY: private(who)}).encode())

    def proposed(self, record: StageRecord, who: str | None = "recorder") -> str:
        """Commit the branch, have it recorded, and check out the trunk, as the workflow does."""
        sha = self.commit()
        if who is not None:
            self.record(record, who)
        git(self.root, "checkout", "--quiet", "main")
        return sha

    def run(self, sha: str, *options: str) -> str:
        done = CliRunner().invoke(verb, ["--sha", sha, "--log", self.log._root, *options], catch_exceptions=False)
        assert done.exit_code == 0
        return done.output


@pytest.fixture(scope="module")
def created(tmp_path_factory):
    folder = tmp_path_factory.mktemp("created")
    Project(folder).create()
    return folder


@pytest.fixture
def project(created, tmp_path, monkeypatch):
    shutil.copytree(created, tmp_path, dirs_exist_ok=True)
    made = Project(tmp_path)
    monkeypatch.chdir(made.root)
    now = datetime(2026, 11, 2, 12, 30, tzinfo=UTC)

    class Now(datetime):
        @classmethod
        def now(cls, zone):
            return now

    monkeypatch.setattr("trunkline.cli.ci.preview.datetime", Now)
    return made


def test_a_recorded_bundle_is_shown_beside_what_was_answered(project):
    sha = project.proposed(project.claim(project.candidate, seed=2))
    said = project.run(sha)
    assert "60 rows of 60 requests of the last 6 h in `staging`, answered by `v1`" in said
    assert "**16.67%** of decisions at 25 change" in said
    assert "| `origin=JFK` | 20 | 50.00% | +7.0000 |" in said


def test_what_is_not_declared_or_no_other_bundle_is_not_shown(project):
    sha = project.proposed(project.claim(project.current, seed=2))
    assert "has no bundle but the trunk's" in project.run(sha)
    project.declare(signers("recorder"), None)
    assert project.run(sha) == "conf/deploy declares no previews\n"


def refused(project, sha, monkeypatch, *options):
    """Run it where nothing may be loaded, and return what is said."""
    monkeypatch.setattr(Bundle, "load", lambda folder: pytest.fail("loaded"))
    said = project.run(sha, *options)
    assert NOTHING in said
    return said


@pytest.mark.parametrize("who", [None, "mallory", "newcomer"])
def test_a_bundle_that_nobody_trusted_has_recorded_is_not_loaded(project, monkeypatch, who):
    record = project.claim(project.candidate, seed=2)
    project.declare(
        signers("recorder") | signers("newcomer"), {}
    )  # by the branch itself, whose word counts for nothing
    said = refused(project, project.proposed(record, who), monkeypatch)
    assert "no recorder has signed what has built its bundle" in said


def test_a_record_of_another_bundle_is_not_enough(project, monkeypatch):
    project.record(project.claim(project.current, seed=2))
    sha = project.proposed(project.claim(project.candidate, seed=2), None)
    assert "no recorder has signed" in refused(project, sha, monkeypatch)


def test_objects_and_reports_that_are_not_those_recorded_are_not_loaded(project, monkeypatch):
    record = project.claim(project.candidate, seed=2)
    (project.root / "reports/bundle.json").write_text(json.dumps({"digest": "0" * 64, "runtime": "onnx"}))
    sha = project.proposed(record)
    assert "reports/bundle.json is not the one that is recorded" in refused(project, sha, monkeypatch)


def test_an_object_with_other_bytes_is_not_loaded_and_no_address_is_posted(project, monkeypatch):
    sha = project.proposed(project.claim(project.candidate, seed=2))
    name = md5((project.candidate / "model.onnx").read_bytes())
    (project.remote / "files/md5" / name[:2] / name[2:]).write_bytes((project.current / "model.onnx").read_bytes())
    said = refused(project, sha, monkeypatch)
    assert "could not be read: see the log of the run" in said
    assert f"object {name} has other bytes than its name says" in said  # on the terminal
    assert name not in said.partition("### ")[2]


def test_only_graphs_are_loaded_and_a_recorder_has_to_be_declared(project, monkeypatch):
    sha = project.proposed(project.claim(project.candidate, seed=2, runtime="sklearn"))
    assert "its bundle runs on sklearn, and only graphs are loaded here" in refused(project, sha, monkeypatch)
    project.declare({}, {})
    assert "declares no recorders" in refused(project, sha, monkeypatch)


def test_a_record_is_waited_for_unless_code_is_changed(project, monkeypatch):
    slept = []

    def recorded(seconds):
        slept.append(seconds)
        project.record(record)

    monkeypatch.setattr("time.sleep", recorded)
    record = project.claim(project.candidate, seed=2)
    sha = project.proposed(record, None)
    assert "answered by `v1`" in project.run(sha, "--wait", "5min")
    assert len(slept) == 1
    git(project.root, "checkout", "--quiet", "work")
    record = project.claim(project.candidate, seed=3)
    (project.root / "step.py").write_text("print()\n")
    assert "no recorder has signed" in refused(project, project.proposed(record, None), monkeypatch, "--wait", "5min")
    assert len(slept) == 1


def test_it_is_the_end_of_the_comment_of_its_commit_and_of_no_other(project):
    sha = project.proposed(project.claim(project.candidate, seed=2))
    above, foot = "## answer\n\n| `---` | Of commit x |", f"Of commit {sha}, from [this run](https://forge.example)."
    with running() as server:
        server.pull(1, sha)

        def posted() -> str:
            environment = {"GITHUB_API_URL": server.url, "GITHUB_REPOSITORY": "o/r", "GITHUB_TOKEN": TOKEN}
            with pytest.MonkeyPatch.context() as patch:
                for name, value in environment.items():
                    patch.setenv(name, value)
                return project.run(sha, "--post")

        assert "has no comment: nothing posted" in posted()
        server.comment(server.me, post.signed(f"{above}\n", "0" * 40, None))
        assert "has no comment: nothing posted" in posted()
        server.comments.clear()
        server.comment(server.me, post.signed(f"{above}\n", sha, "https://forge.example"))
        assert posted().endswith("comment updated\n")
        assert posted().endswith("comment unchanged\n")
        (body,) = server.bodies()
    assert body.startswith(f"{post.MARKER}\n{above}\n\n{post.PREVIEW}\n### What it would have answered\n\n60 rows")
    assert body.endswith(f"+0.0000 |\n\n---\n{foot}\n")
