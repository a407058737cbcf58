"""What the tests of pull requests share: a forge with the project on it, edits, and what one sees afterwards."""

import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path

import yaml

from tests.e2e.conftest import Checkout
from tests.rig import forking, packages
from tests.rig.dispatcher import Environment
from tests.rig.repository import git
from tests.rig.rig import Rig, rigged
from tests.rig.state import Pull
from trunkline.review.post import MARKER

GATES, MODEL = "conf/gates/flights.yaml", "conf/model/boosting_small.yaml"


Change = Callable[[Checkout, Rig], None]


@contextmanager
def hosted(
    small: Checkout, folder: Path, prepare: Change | None = None, history: Change | None = None, *, forked: bool = True
) -> Iterator[Rig]:
    """A forge with the project, whose outputs are in a remote that asks for credentials; its trunk is protected.

    `prepare` changes the project, and what is set up at the forge, before the first commit, and `history` adds commits
    before the first push; `forked` says whether the verbs and stages of jobs come from the fork server.
    """
    with rigged(folder / "rig") as made:
        if forked:
            made.dispatcher.python = forking.python(folder / "rig/python", packages.environment())
        project = small.copy(folder / "project")
        # It would run the whole suite, for what is no declared state.
        (project.root / ".github/workflows/framework.yml").unlink()
        if prepare is not None:
            prepare(project, made)
        remote = made.remote_s3
        project.run("dvc", "remote", "add", "--default", "store", remote.url)
        project.run("dvc", "remote", "modify", "store", "endpointurl", remote.endpoint)
        pushed(project, made, "a remote")
        if history is not None:
            history(project, made)
        made.dispatcher.environments["reproduce"] = Environment(secrets=remote.environment)
        for environment in ("release", "record"):
            made.dispatcher.environments.setdefault(environment, Environment(secrets=remote.environment))
        made.import_(project.root)
        made.protect("trunkline")
        yield made


def pushed(project: Checkout, rig: Rig, message: str, when: datetime | None = None) -> None:
    """Reproduce the project, push its outputs to the remote, and commit; `when` is the commit's time."""
    project.repro()
    project.run("dvc", "push", "--run-cache", env=rig.remote_s3.environment)
    project.commit(message, when)


def edit(path: str, old: str, new: str) -> Callable[[Path], None]:
    def change(folder: Path) -> None:
        text = (folder / path).read_text(encoding="utf-8")
        assert text.count(old) == 1, f"{old!r} stands {text.count(old)} times in {path}"
        (folder / path).write_text(text.replace(old, new), encoding="utf-8")

    return change


def iterations(number: int) -> Callable[[Path], None]:
    def change(folder: Path) -> None:
        text = (folder / MODEL).read_text(encoding="utf-8")
        (folder / MODEL).write_text(re.sub(r"max_iter: \d+", f"max_iter: {number}", text), encoding="utf-8")

    return change


def ran(rig: Rig, workflow: str, job: str) -> list[str]:
    return re.findall(r"^Running stage '(\w+)':$", rig.job(workflow, job).log, re.MULTILINE)


def comment(rig: Rig, pull: Pull) -> str:
    """Return the text of the one comment that a pull request has."""
    (found,) = rig.comments(pull.number)
    assert str(found.content["body"]).startswith(f"{MARKER}\n## ")
    return str(found.content["body"])


def at(rig: Rig, sha: str, path: str) -> str:
    return git(rig.upstream.path, "show", f"{sha}:{path}")


def outputs(rig: Rig, sha: str) -> set[str]:
    """Return where the remote has the outputs that a commit's dvc.lock names."""
    stages = yaml.safe_load(at(rig, sha, "dvc.lock"))["stages"].values()
    hashes = {
        out["md5"] for stage in stages for out in stage.get("outs", ()) if out["path"].startswith(("data", "models"))
    }
    return {f"dvc/files/md5/{md5[:2]}/{md5[2:]}" for md5 in hashes}
