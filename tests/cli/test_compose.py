"""`trunkline compose` with Hydra's overrides: it prints and writes nothing."""

import shutil
from pathlib import Path

import pytest
import yaml
from click.testing import CliRunner, Result

from trunkline.cli.compose import compose
from trunkline.core.errors import UserError


@pytest.fixture
def project(root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    shutil.copytree(root / "conf", tmp_path / "conf")
    (tmp_path / "models").mkdir()
    shutil.copy(root / "models/registry.yaml", tmp_path / "models")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def run(*arguments: str) -> Result:
    return CliRunner().invoke(compose, arguments, catch_exceptions=False)


def test_overrides_are_printed_as_hydra_composes_them_and_nothing_is_written(project: Path) -> None:
    printed = run("model=forest", "seed=3", "--cfg", "job")
    content = yaml.safe_load(printed.stdout)
    assert (printed.exit_code, content["seed"]) == (0, 3)
    assert content["model"]["_target_"].endswith("RandomForestClassifier")
    assert run("model=forest", "seed=3").stdout == printed.stdout
    assert set(yaml.safe_load(run("--cfg", "hydra").stdout)) == {"hydra"}
    assert {"hydra", "model"} < set(yaml.safe_load(run("--cfg", "all").stdout))
    assert sorted(path.name for path in project.iterdir()) == ["conf", "models"]


@pytest.mark.usefixtures("project")
def test_several_values_are_a_sweep_which_dvc_runs() -> None:
    with pytest.raises(UserError, match=r"dvc exp run --queue -S 'model=forest,logistic'"):
        run("model=forest,logistic")


@pytest.mark.usefixtures("project")
def test_a_wrong_override_is_told_and_none_is_checked() -> None:
    with pytest.raises(UserError, match=r"there is no option 'forrest' in conf/model; did you mean 'forest'"):
        run("model=forrest")
    assert run("seed=3", "--check").exit_code == 2
