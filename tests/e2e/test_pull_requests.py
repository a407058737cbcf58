"""The workflows as they are, run end to end: what a person sees of a pull request."""

import re
from collections.abc import Iterator

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
        project.run("dvc", "push", "--run-cache", env=remote.environment)
        project.commit("a remote")
        made.dispatcher.environments["reproduce"] = Environment(secrets=remote.environment)
        made.import_(project.root)
        made.protect("trunkline")
        yield made


def edit(path: str, old: str, new: str):
    def change(folder):
        text = (folder / path).read_text(encoding="utf-8")
        assert text.count(old) == 1
        (folder / path).write_text(text.replace(old, new), encoding="utf-8")

    return change


def ran(log: str) -> list[str]:
    return re.findall(r"^Running stage '(\w+)':$", log, re.MULTILINE)


def test_main(rig: Rig) -> None:
    job = rig.job("main", "trunk")
    print(job.log)
    print(job.seconds, [(s.name, s) for s in job.steps] if hasattr(job, "steps") else "")
    assert job.conclusion == "success"


def test_pr(rig: Rig) -> None:
    rig.push("gates", edit("conf/gates/flights.yaml", "confidence: 0.95", "confidence: 0.9"))
    pull = rig.open_pull_request("gates")
    for live in rig.runs():
        for job in live.jobs.values():
            print("=====", live.workflow.name, job.conclusion, job.seconds)
            print(job.log)
    print(rig.checks(pull.head_sha), rig.comments(1))
    assert 0
