"""The command line as a user meets it, each time in a process of its own."""

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from trunkline import __version__
from trunkline.cli import COMMANDS

HEAVY = ("sklearn", "mlflow", "polars", "duckdb", "hydra", "numpy", "pandas", "pydantic", "rich", "dvc")
GROUPS = {"data": "flights", "model": "gbm", "evaluation": "binary", "tracking": "mlflow"}


def trunkline(*arguments, cwd, before=""):
    code = f"{before}\nfrom trunkline.cli import main\nmain()"
    return subprocess.run(
        [sys.executable, "-c", code, *arguments], cwd=cwd, capture_output=True, text=True, check=False, timeout=60
    )


@pytest.fixture
def project(tmp_path, root):
    """A folder with the files that a finished run leaves."""
    groups = {key: yaml.safe_load((root / f"conf/{key}/{name}.yaml").read_text()) for key, name in GROUPS.items()}
    (tmp_path / "params.yaml").write_text(yaml.safe_dump({"name": "flight-delay", "seed": 1} | groups))
    (tmp_path / "reports").mkdir()
    reports = json.loads((root / "tests/golden/report/reports.json").read_text())
    metrics = {"holdout": {"roc_auc": 0.7632, "n": 28301}}
    for name, content in {"metrics": metrics, **reports}.items():
        (tmp_path / f"reports/{name}.json").write_text(json.dumps(content))
    return tmp_path


IMPORTED = "import atexit, sys; atexit.register(lambda: print(*sys.modules, file=sys.stderr))"


def test_help_names_every_command_and_exit_code_and_imports_nothing_heavy(tmp_path):
    done = trunkline("--help", cwd=tmp_path, before=IMPORTED)
    assert done.returncode == 0
    for name in COMMANDS:
        assert re.search(rf"^  {name} +\S", done.stdout, re.MULTILINE), name
    for code in range(4):
        assert re.search(rf"^ +{code}  \w", done.stdout, re.MULTILINE), code
    imported = {module.partition(".")[0] for module in done.stderr.split()}
    assert "trunkline" in imported
    assert not imported & set(HEAVY)


def test_a_plan_without_prices_imports_nothing_that_measures_costs(root):
    done = trunkline("plan", cwd=root, before=IMPORTED)
    assert done.returncode == 0
    imported = set(done.stderr.split())
    assert "trunkline.pipeline.plan.reasons" in imported
    assert "trunkline.review.spending" not in imported


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_has_help(tmp_path, name):
    done = trunkline(name, "--help", cwd=tmp_path)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith(f"Usage: trunkline {name}")


def test_the_installed_command_says_its_version(tmp_path):
    command = Path(sys.executable).with_name("trunkline")
    done = subprocess.run([command, "--version"], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (0, f"trunkline {__version__}\n")


def test_a_command_that_has_used_every_engine_says_nothing_on_its_way_out():
    code = "import sys, duckdb, polars, pyarrow; from trunkline.cli import main; sys.argv[1:] = ['--version']; main()"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (0, f"trunkline {__version__}\n", "")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["reprot"], "no command 'reprot'; did you mean 'report'?"),
        (["report", "--jsn"], "--json"),
        (["report", "extra"], "extra"),
    ],
)
def test_a_mistake_on_the_command_line_exits_2_and_says_what_was_meant(tmp_path, arguments, message):
    done = trunkline(*arguments, cwd=tmp_path)
    assert (done.returncode, done.stdout) == (2, "")
    assert message in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize(
    ("raised", "code", "said"),
    [
        ("errors.UserError('conf/x.yaml: key: is wrong')", 2, "error: conf/x.yaml: key: is wrong\n"),
        ("errors.OutsideError('the server is away')", 3, "error: the server is away\n"),
        (
            "PermissionError(13, 'no', 'f')",
            3,
            "error: f: Permission denied; give yourself the permission and run again\n",
        ),
        ("KeyboardInterrupt()", 130, "\n"),
    ],
)
def test_an_error_is_one_line_and_its_exit_code(tmp_path, raised, code, said):
    done = trunkline("report", cwd=tmp_path, before=replaced(raised))
    assert (done.returncode, done.stdout, done.stderr) == (code, "", said)


def test_a_bug_is_a_traceback_and_never_the_answer_no(tmp_path):
    done = trunkline("report", cwd=tmp_path, before=replaced("ZeroDivisionError('bug')"))
    assert done.returncode == 3
    assert done.stderr.endswith("ZeroDivisionError: bug\n")


def replaced(error):
    """Python that makes `trunkline report` raise an error."""
    return (
        "import trunkline.pipeline.reports as module\nfrom trunkline.core import errors\n"
        f"def fail(*_): raise {error}\nmodule.read = fail"
    )


def test_report_shows_the_last_run(project):
    done = trunkline("report", cwd=project)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith("flight-delay: HistGradientBoostingClassifier\ntrained on 2013-01..2013-06 (160,123")
    for line in (
        "  roc_auc                   0.7632   0.7509 to 0.7755   larger is better",
        "  hour 6        0.7001   0.6878 to 0.7124    9,000",
        "  flights   336,776            22   0.007%   columns.tailnum.pattern 22",
        "  mlflow ui --backend-store-uri sqlite:///mlflow.db   every run that was logged",
    ):
        assert line in done.stdout.splitlines()


def test_report_as_json_is_the_files_in_canonical_form(project):
    done = trunkline("report", "--json", cwd=project)
    assert (done.returncode, done.stderr) == (0, "")
    assert json.loads(done.stdout)["metrics"] == {"holdout": {"n": 28301, "roc_auc": 0.7632}}
    assert list(json.loads(done.stdout)) == ["bundle", "dataset", "gates", "metrics", "slices", "validation"]


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("metrics", None, "reports/metrics.json: is missing; run: dvc repro"),
        ("slices", "{", "reports/slices.json: is not JSON"),
        ("dataset", '{"source_rows": 1}', "reports/dataset.json: unlabelled: Field required; run: dvc repro"),
        ("slices", '{"origin": {}}', "reports/slices.json: the whole holdout is missing (all.all)"),
    ],
)
def test_report_names_the_file_that_is_missing_or_broken(project, name, content, said):
    path = project / f"reports/{name}.json"
    path.unlink() if content is None else path.write_text(content)
    done = trunkline("report", cwd=project)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith(f"error: {said}")
    assert done.stderr.count("\n") == 1
