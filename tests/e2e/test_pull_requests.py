"""The workflows as they are, run end to end: what a person sees of a pull request."""

import re
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.e2e.conftest import Checkout
from tests.rig.dispatcher import Environment
from tests.rig.rig import Rig, rigged

pytestmark = pytest.mark.e2e


@pytest.fixture(scope="module")
def rig(small: Checkout, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Rig]:
    """A forge with the project, whose outputs are in a remote that asks for credentials."""
    with rigged(tmp_path_factory.mktemp("rig")) as made:
        project = small.copy(tmp_path_factory.mktemp("trunk") / "project")
        remote = made.remote_s3
        project.run("dvc", "remote", "add", "--default", "store", remote.url)
        project.run("dvc", "remote", "modify", "store", "endpointurl", remote.endpoint)
        # A model of so short a window is not worth more than the baseline.
        project.edit(
            "conf/gates/flights.yaml",
            "metric: log_loss, margin: 0.002}",
            "metric: log_loss, margin: 0.002, advisory: true}",
        )
        project.repro()
        project.run("dvc", "push", "--run-cache", env=remote.environment)
        project.commit("a remote")
        made.dispatcher.environments["reproduce"] = Environment(secrets=remote.environment)
        made.import_(project.root)
        made.protect("trunkline")
        yield made


def edit(path: str, old: str, new: str) -> Callable[[Path], None]:
    def change(folder: Path) -> None:
        text = (folder / path).read_text(encoding="utf-8")
        assert text.count(old) == 1
        (folder / path).write_text(text.replace(old, new), encoding="utf-8")

    return change


def ran(log: str) -> list[str]:
    return re.findall(r"^Running stage '(\w+)':$", log, re.MULTILINE)


def test_pr(rig: Rig) -> None:
    job = rig.job("main", "trunk")
    print("main", job.conclusion, job.seconds, [(s.name, round(s.seconds, 1)) for s in job.steps])
    rig.push("gates", edit("conf/gates/flights.yaml", "confidence: 0.95", "confidence: 0.9"))
    pull = rig.open_pull_request("gates")
    for live in rig.runs():
        for job in live.jobs.values():
            print(
                "=====",
                live.workflow.name,
                job.conclusion,
                job.seconds,
                [(s.name, s.conclusion, round(s.seconds, 1)) for s in job.steps],
            )
            for step in job.steps:
                if "setup" not in step.name:
                    print("---", step.name)
                    print(step.log)
    print(pull.head_sha, rig.checks(pull.head_sha), [c.content["body"] for c in rig.comments(1)])
    print(rig.merge(1))
    assert 0
