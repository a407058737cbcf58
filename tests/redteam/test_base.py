"""What a change is compared with, and what it says of itself: a base of the author's choice, and code among texts."""

from contextlib import chdir
from pathlib import Path

import pytest
from dvc.repo import Repo

from tests.pipelines import Clone, create
from tests.rig.repository import git
from trunkline.adapters.forge import owners
from trunkline.adapters.git import repository
from trunkline.adapters.git.snapshot import Since, Snapshot
from trunkline.core.errors import UserError
from trunkline.pipeline import claims
from trunkline.review import kind

# pygtrie, which DVC uses.
pytestmark = pytest.mark.filterwarnings("ignore:_NoneStep.value will soon raise:DeprecationWarning")

ROOT = Path(__file__).parents[2]


def committed(folder: Path, message: str) -> str:
    (folder / "file").write_text(message)
    git(folder, "add", "--all")
    git(folder, "commit", "--quiet", "--message", message)
    return git(folder, "rev-parse", "HEAD")


@pytest.fixture
def origin(tmp_path: Path) -> Path:
    folder = tmp_path / "origin"
    folder.mkdir()
    git(folder, "init", "--quiet", "--initial-branch=main")
    committed(folder, "the trunk")
    return folder


def checked(origin: Path, commit: str) -> Path:
    """A clone as the check has it: every branch and tag of origin, and the author's commit, of no branch."""
    clone = origin.parent / "check"
    git(origin.parent, "clone", "--quiet", "--branch", "main", str(origin), str(clone))
    git(clone, "checkout", "--quiet", "--detach", commit)
    git(clone, "branch", "--quiet", "--delete", "--force", "main")
    return clone


@pytest.mark.parametrize("name", ["refs/tags/main", "refs/heads/origin/main", "refs/heads/heads/main"])
def test_nothing_that_is_called_as_the_trunk_takes_its_place(origin: Path, name: str) -> None:
    trunk = git(origin, "rev-parse", "HEAD")
    git(origin, "checkout", "--quiet", "-b", "work")
    forged = committed(origin, "forged")
    head = committed(origin, "built on what is forged")
    git(origin, "update-ref", name, forged)
    clone = checked(origin, head)
    assert repository.merge_base(clone, "main") == repository.merge_base(clone, "origin/main") == trunk


@pytest.mark.parametrize("name", ["HEAD~1", "HEAD^", "@~1", "HEAD^{commit}~1", "FETCH_HEAD"])
def test_what_starts_at_head_is_of_this_clone_and_not_of_the_remote(origin: Path, name: str) -> None:
    committed(origin, "the trunk, further on")
    first = git(origin, "rev-parse", "HEAD")
    clone = checked(origin, first)
    committed(clone, "work")
    git(clone, "fetch", "--quiet", "origin", first)
    assert repository.tip(clone, name) == repository.merge_base(clone, name) == first


def test_a_commit_inside_a_merged_branch_is_no_base(origin: Path) -> None:
    """It was never judged by itself: its branch was, when the forgery was gone again."""
    trunk = git(origin, "rev-parse", "HEAD")
    git(origin, "checkout", "--quiet", "-b", "first")
    forged = committed(origin, "forged")
    committed(origin, "honest again")
    git(origin, "checkout", "--quiet", "main")
    git(origin, "merge", "--quiet", "--no-ff", "--message", "Merge first", "first")
    merge = git(origin, "rev-parse", "HEAD")
    git(origin, "checkout", "--quiet", "-b", "second", forged)
    clone = checked(origin, committed(origin, "built on what is forged"))
    assert git(clone, "merge-base", "origin/main", "HEAD") == forged, "the attack"
    assert repository.merge_base(clone, "main") == trunk
    git(clone, "checkout", "--quiet", "--detach", "origin/main")
    assert repository.merge_base(clone, "main") == merge


LOCKS = {
    "more than a reader of ours takes": "schema: '2.0'\nstages:\n  x:\n    cmd: '" + "x" * 30_000 + "'\n",
    "a key twice": "schema: '2.0'\nstages: {}\nstages:\n  x: {cmd: x}\n",
    "no mapping": "- x\n",
    "stages that are none": "schema: '2.0'\nstages: [x]\n",
    "a stage without a command": "schema: '2.0'\nstages:\n  x: {outs: [{path: x, md5: x}]}\n",
}


@pytest.mark.parametrize("text", LOCKS.values(), ids=LOCKS)
def test_a_lock_that_is_not_understood_is_not_taken_for_one_without_claims(tmp_path: Path, text: str) -> None:
    (tmp_path / "dvc.lock").write_text(text)
    with pytest.raises(UserError, match=r"dvc\.lock: cannot be understood"):
        claims.read(tmp_path)


def test_a_stage_beside_a_text_runs_and_is_told_to_be_code(tmp_path: Path) -> None:
    """DVC reads dvc.yaml and *.dvc in every folder, and runs what makes an input of the pipeline."""
    clone = Clone(create(tmp_path) / "author").linked()
    clone.git("checkout", "--quiet", "-b", "work")
    base = Snapshot(clone.root, clone.tip())
    clone.git("rm", "--quiet", "source.txt")
    (clone.root / "docs").mkdir()
    stage = "{cmd: 'echo 1 > ../source.txt; touch ../owned', outs: [../source.txt: {cache: false}]}"
    (clone.root / "docs/dvc.yaml").write_text(f"stages: {{text: {stage}}}\n")
    clone.commit("A word in the docs")
    with chdir(clone.root), Repo() as repo:
        repo.reproduce()
    assert (clone.root / "owned").exists(), "the attack"
    assert "docs/dvc.yaml" in kind.code(Since(clone.root, base), base).files


JUDGES = (
    ".dvc/config", ".github/workflows/main.yml", ".gitlab-ci.yml", "ci/jenkins/Jenkinsfile", "conf/contract/x.yaml",
    "conf/deploy/x.yaml", "conf/evaluation/x.yaml", "conf/gates/x.yaml", "dvc.yaml", "locks/ci.txt",
    "models/registry.yaml", "pyproject.toml", "src/trunkline/x.py", "stages/train.py",
)  # fmt: skip


@pytest.mark.parametrize("name", [*JUDGES, *(f"docs/{pattern.replace('*', 'x')}" for pattern in kind.HEEDED)])
def test_what_computes_or_judges_has_an_owner(name: str) -> None:
    """A `.gitmodules` had none, nor had the pipelines of GitLab and Jenkins."""
    assert owners.shared((ROOT / ".github/CODEOWNERS").read_text(encoding="utf-8"), [name])


TEXTS = (
    "README.md", "conf/README.md", "conf/model/gbm.yaml", "docs/a.md", "dvc.lock", "models/registry.yaml",
    "params.yaml", "reports/curves/roc.json", "tests/test_x.py",
)  # fmt: skip
CODE = (
    ".dvc/config", "a", "conf/.dvcignore", "conf/dvc.yaml", "conf/x.dvc", "conf/x.py", "docs/x.dvc", "models/x",
    "reports/dvc.lock", "reports/x.py", "tests/.gitattributes",
)  # fmt: skip


@pytest.mark.parametrize("name", [*TEXTS, *CODE])
def test_what_is_not_known_to_be_harmless_is_code(tmp_path: Path, name: str) -> None:
    git(tmp_path, "init", "--quiet", "--initial-branch=main")
    head = committed(tmp_path, "the trunk")
    (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
    (tmp_path / name).write_text("x")
    base = Snapshot(tmp_path, head)
    assert kind.code(Since(tmp_path, base), base).files == ((name,) if name in CODE else ())
