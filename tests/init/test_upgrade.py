"""A project of an older version becomes one of this version, and keeps what a person has edited."""

import shutil
import subprocess
from pathlib import Path

import pytest
from click.testing import CliRunner

from trunkline import __version__
from trunkline.cli.upgrade import upgrade as verb
from trunkline.core.errors import UserError
from trunkline.core.paths import REGISTRY
from trunkline.init import framework_files, template, upgrade
from trunkline.init import write as writing
from trunkline.init.framework_files import TEMPLATE, Setup

PROJECTS = Path(__file__).with_name("projects")
STAGE = Path("stages/train.py")


def git(folder: Path, *arguments: str) -> str:
    command = ("git", "-c", "user.name=a", "-c", "user.email=a@b", "-C", str(folder), *arguments)
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout


def commit(folder: Path) -> None:
    git(folder, "add", "--all", "--force")
    git(folder, "commit", "-qm", "change")


def write(folder: Path, path: Path, text: str) -> None:
    (folder / path).parent.mkdir(parents=True, exist_ok=True)
    (folder / path).write_text(text, encoding="utf-8", newline="\n")


@pytest.fixture(params=sorted(path.name for path in PROJECTS.iterdir()))
def project(request, tmp_path):
    """A project that `trunkline init` of a version has made, committed; its largest generated files are left out."""
    for file in (PROJECTS / request.param).iterdir():
        write(tmp_path, Path(file.name[1:].replace("+", "/")), file.read_text(encoding="utf-8"))
    git(tmp_path, "init", "-q")
    commit(tmp_path)
    return tmp_path


def outdate(project: Path) -> None:
    """Make a project look as an older version would have left it."""
    config = project / "conf/config.yaml"
    lines = config.read_text().splitlines(keepends=True)
    shutil.rmtree(project / "conf/serving")
    text = "".join(line for line in lines if "- serving:" not in line)
    for old, new in (("serving", "bundle"), ("promotion", "deploy")):
        (project / "conf" / new).rename(project / "conf" / old)
        text = text.replace(f"- {new}:", f"- {old}:")
    config.write_text(text)
    stage = (project / STAGE).read_text()
    older = stage.replace('"""\n', '"""\n\n# of an older version\n', 1)
    listed = (project / TEMPLATE).read_text()
    (project / STAGE).write_text(older)
    (project / TEMPLATE).write_text(listed.replace(framework_files.blob(stage), framework_files.blob(older)))
    commit(project)


def test_a_project_becomes_what_init_writes_today(project):
    changed = upgrade.changes(project)
    assert not [change for change in changed if change.conflict]
    upgrade.write(project, changed)
    assert upgrade.changes(project) == ()
    setup = Setup("penguins", "Predicts species of a row of penguins.", frozenset({"files"}), "none", ("data/in",))
    for path, text in framework_files.texts(setup).items():
        assert (project / path).read_text(encoding="utf-8") == text
    declared = [path for path in (project / "conf").rglob("*") if path.is_file()] + [project / REGISTRY]
    writing.check({path.relative_to(project): path.read_text(encoding="utf-8") for path in declared})


def test_an_older_project_gets_the_new_names_and_keeps_its_edits(project):
    outdate(project)
    stage = project / STAGE
    stage.write_text(f"{stage.read_text()}\n# of ours\n")
    commit(project)
    changed = {change.path: change for change in upgrade.changes(project)}
    assert changed[STAGE].what == "is merged with your edits"
    upgrade.write(project, tuple(changed.values()))
    assert stage.read_text() == f"{template.text(STAGE.as_posix())}\n# of ours\n"
    declared = [path for path in (project / "conf").rglob("*") if path.is_file()] + [project / REGISTRY]
    writing.check({path.relative_to(project): path.read_text(encoding="utf-8") for path in declared})
    assert "R100\tconf/promotion/penguins.yaml\tconf/deploy/penguins.yaml" in _renames(project)


def _renames(project: Path) -> str:
    git(project, "add", "--all")
    return git(project, "diff", "--cached", "--name-status", "-M", "HEAD")


def test_a_conflict_is_named_and_marked_as_git_does(project, monkeypatch):
    outdate(project)
    stage = project / STAGE
    stage.write_text(stage.read_text().replace("# of an older version", "# of ours"))
    commit(project)
    monkeypatch.chdir(project)
    done = CliRunner().invoke(verb)
    assert done.exit_code == 1
    assert f"CONFLICT {STAGE}: was edited here and changed in the framework" in done.output
    assert "<<<<<<< this project\n# of ours\n" in stage.read_text()
    assert f">>>>>>> trunkline {__version__}\n" in stage.read_text()


def test_a_file_that_was_edited_before_its_first_commit_is_a_conflict_of_the_lines_that_differ(project):
    """What the framework wrote of it is in no commit: nothing of either side is lost, or taken without a person."""
    stage, other = project / STAGE, project / "stages/gate.py"
    today, listed = stage.read_text(), (project / TEMPLATE).read_text()
    older = today.replace('"""\n', '"""\n\n# of an older version\n', 1)
    (project / TEMPLATE).write_text(listed.replace(framework_files.blob(today), framework_files.blob(older)))
    stage.write_text(older.replace("# of an older version", "# of ours"))
    other.write_text(f"{other.read_text()}# of ours\n")
    shutil.rmtree(project / ".git")
    git(project, "init", "-q")
    commit(project)  # the first one
    changed = {change.path: change for change in upgrade.changes(project)}
    assert [path for path, change in changed.items() if change.conflict] == [STAGE]  # the other has not changed since
    assert "was edited before its first commit, so that git cannot tell what of it is yours," in changed[STAGE].what
    upgrade.write(project, tuple(changed.values()))
    marked = stage.read_text()
    assert marked.count("<<<<<<< this project\n") == marked.count(">>>>>>> trunkline ") == 1
    assert "# of ours\n" in marked
    assert all(marked.count(line) == 1 for line in set(today.splitlines()) if line.startswith("from"))
    assert other.read_text().endswith("# of ours\n")
    stage.write_text(f"{today}# of ours\n")  # a person resolves it
    commit(project)
    assert upgrade.changes(project) == ()


def test_check_says_what_would_change_and_writes_nothing(project, monkeypatch):
    outdate(project)
    monkeypatch.chdir(project)
    done = CliRunner().invoke(verb, ["--check"])
    assert done.exit_code == 1
    assert (
        "conf/deploy/penguins.yaml: conf/serving is conf/bundle since 0.1.0; conf/promotion is conf/deploy"
        in done.output
    )
    assert git(project, "status", "--porcelain") == ""


def test_what_is_not_committed_is_not_touched(project):
    outdate(project)
    (project / STAGE).write_text("# not committed\n")
    with pytest.raises(UserError, match=r"^stages/train.py: not committed; commit it first"):
        upgrade.write(project, upgrade.changes(project))
    assert (project / STAGE).read_text() == "# not committed\n"
    assert (project / "conf/promotion/penguins.yaml").is_file()


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("trunkline==99.0\n", "the project is of 99.0, and"),
        ("trunkline>=0.1\n", "'trunkline>=0.1': write trunkline=="),
        ("", "'': write trunkline=="),
    ],
)
def test_a_version_that_cannot_be_upgraded_from_is_refused(project, line, message):
    (project / "locks/trunkline.txt").write_text(line)
    with pytest.raises(UserError, match=r"^locks/trunkline.txt: ") as refused:
        upgrade.changes(project)
    assert message in str(refused.value)


def test_lines_of_ours_stay_in_a_list_of_lines(project):
    template_of = (project / ".gitignore").read_text()
    (project / ".gitignore").write_text(f"*.log\n{template_of.partition(chr(10))[2]}")
    listed = (project / TEMPLATE).read_text()
    (project / TEMPLATE).write_text(listed.replace(framework_files.blob(template_of), "0" * 40))
    changed = {change.path.as_posix(): change for change in upgrade.changes(project)}
    first = template_of.splitlines()[0]
    assert not changed[".gitignore"].conflict
    assert {"*.log", first} <= set((changed[".gitignore"].text or "").splitlines())


def test_the_address_of_the_framework_stays(project):
    address = "trunkline @ git+https://host/trunkline@0123456\n"
    (project / "locks/trunkline.txt").write_text(address)
    assert Path("locks/trunkline.txt") not in {change.path for change in upgrade.changes(project)}
