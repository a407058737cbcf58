"""Workflows in the rig, without what takes long in them: which jobs wait, and which steps run for which change."""

from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from tests.rig.dispatcher import Environment
from tests.rig.rig import Rig, rigged

WORKFLOWS = Path(__file__).parent.parent / ".github/workflows"


@pytest.fixture
def rig(tmp_path: Path) -> Iterator[Rig]:
    with rigged(tmp_path) as made:
        yield made


def emptied(name: str) -> dict[str, str]:
    """Return a workflow whose jobs declare what they do, and do nothing."""
    path = WORKFLOWS / name
    content = yaml.safe_load(path.read_text(encoding="utf-8"))
    content["on"] = content.pop(True)  # what `on` means in YAML 1.1
    for job in content["jobs"].values():
        job["steps"] = [{"run": "true"}]
    return {f".github/workflows/{name}": yaml.safe_dump(content)}


def test_a_release_that_waits_for_an_approval_holds_up_no_later_merge(rig: Rig) -> None:
    rig.dispatcher.environments["release"] = Environment(waits=True)
    for edit in (emptied("main.yml"), {"a": "1"}, {"a": "2"}):
        rig.push("main", edit)
    first, second, third = rig.runs("main")
    assert [live.jobs["trunk"].conclusion for live in (first, second, third)] == ["success"] * 3
    rig.dispatcher.wait_for(lambda: second.over)
    assert (first.run.status, second.run.conclusion, third.run.status) == ("waiting", "cancelled", "pending")
    rig.approve(first, "release")
    assert (first.run.conclusion, third.run.status) == ("success", "waiting"), "releases are made in their order"
    rig.approve(third, "release")
    assert third.jobs["release"].conclusion == "success"


@pytest.mark.parametrize(
    ("edit", "suite"),
    [
        ({"conf/model/gbm.yaml": "a: 2\n", "params.yaml": "a: 2\n", "reports/metrics.json": "{}\n"}, False),
        ({"conf/model/gbm.yaml": "a: 2\n", "src/trunkline/cli.py": "a = 2\n"}, True),
    ],
    ids=["declared", "framework"],
)
def test_the_suite_runs_where_more_than_declared_state_changes(rig: Rig, edit: dict[str, str], suite: bool) -> None:
    name = ".github/workflows/framework.yml"
    makefile = "test:\n\t@echo the suite runs\n"
    rig.push("main", {name: (WORKFLOWS / "framework.yml").read_text(encoding="utf-8"), "Makefile": makefile})
    assert "the suite runs" in rig.job("framework", "framework").log
    rig.push("work", edit)
    pull = rig.open_pull_request("work")
    assert rig.checks(pull.head_sha) == {"framework": "success"}
    assert ("the suite runs" in rig.job("framework", "framework").log) is suite
