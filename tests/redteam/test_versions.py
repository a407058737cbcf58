"""A tag that anybody with a branch may push, and what its commit would have a machine with keys do."""

import os
import stat
from contextlib import suppress
from pathlib import Path

import pytest
from dvc.api import DVCFileSystem

from tests.releases import NAME, REGISTRY, Project, registry
from trunkline.adapters.dvc import fetch, remote_files
from trunkline.adapters.git.snapshot import Since, Snapshot
from trunkline.conf.versions import Version
from trunkline.core.errors import OutsideError, UserError
from trunkline.review import kind

# pygtrie, which DVC uses.
pytestmark = pytest.mark.filterwarnings("ignore:_NoneStep.value will soon raise:DeprecationWarning")

REMOTE = "[core]\nremote = store\n['remote \"store\"']\nurl = s3://bucket/prefix\nendpointurl = http://127.0.0.1:9\n"


@pytest.fixture
def trunk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Project:
    """A trunk with a release, and environments whose registry and remote are real."""
    for name in ("AWS_CONFIG_FILE", "AWS_ACCESS_KEY_ID"):
        monkeypatch.setenv(name, "")
        monkeypatch.delenv(name)  # what DVC sets itself goes when the test ends
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    project = Project(tmp_path / "clone").create()
    project.write(".dvc/config", REMOTE).write("src/code.py", "print()\n")
    project.build().commit("The first model")
    project.release()
    project.git("checkout", "--quiet", "-b", "work")
    return project


def code(project: Project) -> tuple[str, ...]:
    return kind.of_commit(project.root, "main", project.git("rev-parse", "HEAD"))


def poisoned(project: Project, folder: Path) -> Path:
    """Tag a commit as a version, whose configuration of DVC names a command that makes keys; return what it makes."""
    owned, profile = folder / "owned", folder / "profile"
    profile.write_text(f"[profile evil]\ncredential_process = touch {owned}\n")
    project.git("checkout", "--quiet", "-b", "aside")
    project.write(".dvc/config", f"{REMOTE}configpath = {profile}\nprofile = evil\n").commit("Aside")
    project.tag(f"{NAME}@v99", "Version 99\n")
    project.git("checkout", "--quiet", "work")
    return owned


def test_the_configuration_of_a_tagged_commit_runs_no_command(trunk: Project, tmp_path: Path) -> None:
    """The stage champion had DVC fetch what models/registry.yaml names, with the configuration of that very commit."""
    owned = poisoned(trunk, tmp_path)
    with pytest.raises(OutsideError, match=r"^flight-delay@v99: its bundle could not be fetched "):
        fetch.fetch(trunk.root, Version(NAME, 99), tmp_path / "bundle")
    assert not owned.exists()
    with suppress(Exception):
        DVCFileSystem(str(trunk.root), rev=f"{NAME}@v99").find("models/bundle")
    assert owned.exists(), "the attack"


@pytest.mark.parametrize(
    "name", ["configpath", "credentialpath", "profile", "keyfile", "ssl_verify", "gdrive_x", "user"]
)
def test_the_project_of_others_says_where_its_remote_is_and_no_more(tmp_path: Path, name: str) -> None:
    """A site that conf/model names: `trunkline federate` clones it, and DVC opens its configuration."""
    (tmp_path / ".dvc").mkdir()
    (tmp_path / ".dvc/config").write_text(REMOTE)
    remote_files.refuse_foreign(tmp_path)
    (tmp_path / ".dvc/config").write_text(f"{REMOTE}{name} = x\n")
    with pytest.raises(UserError, match=f"has remote.{name}; have it say where its remote is, alone"):
        remote_files.refuse_foreign(tmp_path)
    (tmp_path / ".dvc/config").write_text(f"{REMOTE}[cache]\ndir = /etc\n")
    with pytest.raises(UserError, match="has cache; have it"):
        remote_files.refuse_foreign(tmp_path)


def test_a_version_that_nobody_of_the_trunk_has_signed_is_fetched_beside_no_key(trunk: Project, tmp_path: Path) -> None:
    """Only what is declared changes: production is to run what the tag of somebody calls a version."""
    trunk.declare(production="v1").commit("Promote v1")
    assert code(trunk) == ()
    poisoned(trunk, tmp_path)
    trunk.declare(production="v99").commit("Promote v99")
    assert code(trunk) == (REGISTRY,)
    trunk.release(signer="mallory", number=98)
    trunk.declare(production="v98").commit("Promote v98")
    assert code(trunk) == (REGISTRY,)
    trunk.declare(production="v97").commit("Promote nothing")
    assert code(trunk) == (REGISTRY,)


@pytest.mark.parametrize(
    "text", [f"{registry(NAME, production=None)}other: {{production: v1}}\n", "x: 1\n", "[x]\n", "x: &a [*a]\n"]
)
def test_a_registry_file_of_another_model_or_of_none_proves_nothing(trunk: Project, text: str) -> None:
    """The same commit may change the name of the model, by which a stage reads the file."""
    trunk.tag("other@v1", "Version 1\n")
    trunk.write(REGISTRY, text).commit("Another model")
    assert code(trunk) == (REGISTRY,)


def test_a_branch_of_the_code_before_a_hole_was_closed_runs_beside_no_key(trunk: Project) -> None:
    """It changes what is declared only, since where it left the trunk: the code there may do what it says."""
    trunk.params(seed=8).commit("Another seed")
    assert code(trunk) == ()
    trunk.git("checkout", "--quiet", "main")
    trunk.write("src/code.py", "print('closed')\n").commit("A hole is closed")
    trunk.git("checkout", "--quiet", "work")
    assert code(trunk) == ("src/code.py",)
    trunk.git("merge", "--quiet", "--no-edit", "main")
    assert code(trunk) == ()


def test_a_branch_that_has_machines_of_its_own_compute_runs_beside_no_key(trunk: Project) -> None:
    """What they say that a stage gave would be recorded as what the trunk's code gave; Ray runs what they send."""
    local, far = "executor: local\n", "executor: ray\naddress: ray.example.org:6379\n"
    trunk.write("conf/config.yaml", "defaults: [_self_, engine: local]\n").write("conf/engine/local.yaml", local)
    trunk.write("conf/engine/far.yaml", far).params(engine={"executor": "local"}).commit("Where it runs")
    trunk.git("branch", "--force", "main")
    trunk.write("conf/search/x.yaml", "x: 1\n").params(seed=8).commit("Something else")
    assert code(trunk) == ()
    for path, text in (
        ("conf/config.yaml", "defaults: [_self_, engine: far]\n"),
        ("conf/engine/local.yaml", far),
        ("conf/config.yaml", "defaults: [_self_, engine: local]\nengine: {address: 'ray.example.org:6379'}\n"),
        ("conf/config.yaml", "defaults: [engine: local, experiment: far, _self_]\n"),
        ("conf/config.yaml", "defaults: [engine: nowhere]\n"),
    ):
        trunk.git("checkout", "--quiet", "main", "--", "conf")
        trunk.write(
            "conf/experiment/far.yaml", f"# @package _global_\nengine: {{{far.strip().replace(chr(10), ', ')}}}\n"
        )
        trunk.write(path, text).commit("Only what is declared")
        assert code(trunk) == ("conf/engine",), text


def test_a_link_with_a_name_that_is_no_text_is_code(trunk: Project) -> None:
    """The comment said *declared state only*: the name that it looked at was another one."""
    name = os.fsdecode(b"conf/\xff.yaml")
    (trunk.root / "conf").mkdir(exist_ok=True)
    (trunk.root / name).symlink_to("/tmp/sitecustomize.py")
    trunk.commit("Only what is declared")
    assert stat.S_ISLNK((trunk.root / name).lstat().st_mode)
    base = Snapshot(trunk.root, "main")
    assert kind.code(Since(trunk.root, base), base).files == code(trunk) == ("conf/\N{REPLACEMENT CHARACTER}.yaml",)


def test_what_git_replaces_or_grafts_is_not_fetched(trunk: Project, tmp_path: Path) -> None:
    """`refs/replace/` and notes are refs as others, which anybody may push, and which a clone does not take: held."""
    base = trunk.git("rev-parse", "main")
    trunk.params(seed=8).commit("Another seed")
    head = trunk.git("rev-parse", "HEAD")
    trunk.git("update-ref", f"refs/replace/{base}", head)
    trunk.git("notes", "add", "-m", "approved", base)
    clone = trunk.clone(tmp_path / "check")
    assert clone.git("rev-parse", f"{base}^{{tree}}") != clone.git("rev-parse", f"{head}^{{tree}}")
    assert clone.git("for-each-ref", "refs/replace", "refs/notes") == ""
