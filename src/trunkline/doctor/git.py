"""Whether git is there, knows who commits, and holds the history that verbs compare with."""

from collections.abc import Iterator

from trunkline.adapters.git import ancestry, repository
from trunkline.adapters.git.process import stdout
from trunkline.core.addresses import shown
from trunkline.core.errors import UserError
from trunkline.doctor.findings import Finding, Setup, absent, fails, refused, works
from trunkline.pipeline import merge


def check(setup: Setup) -> Iterator[Finding]:
    """Look at git itself, and at the repository of the project."""
    version = stdout(setup.root, "--version")
    if version is None:
        yield fails("git", "is not installed", "install git, and make sure that it is on PATH")
        return
    yield works("git", version.removeprefix("git version "))
    yield _person(setup)
    if not repository.is_repository(setup.root):
        advice = "change to a project's clone; or git init, if this is to become one"
        yield fails("repository", f"{setup.root} is in no repository that git can read", advice)
        return
    yield works("repository", stdout(setup.root, "rev-parse", "--show-toplevel") or str(setup.root))
    yield _origin(setup)
    yield _trunk(setup)
    yield _merge_driver(setup)


def _person(setup: Setup) -> Finding:
    variables = {"user.name": "GIT_AUTHOR_NAME", "user.email": "GIT_AUTHOR_EMAIL"}
    given = {key: setup.environ.get(name) or stdout(setup.root, "config", key) for key, name in variables.items()}
    missing = [key for key, value in given.items() if not value]
    if missing:
        advice = " and ".join(f"git config --global {key} …" for key in missing)
        return fails("author of commits", f"{' and '.join(missing)}: not set", f"run: {advice}")
    return works("author of commits", f"{given['user.name']} <{given['user.email']}>")


def _origin(setup: Setup) -> Finding:
    url = repository.setting(setup.root, "remote.origin.url")
    if url is None:
        detail = "there is no remote of this name: no pull request, no release"
        return absent("origin", detail, "run: git remote add origin ADDRESS")
    return works("origin", shown(url))


def _trunk(setup: Setup) -> Finding:
    try:
        trunk = ancestry.trunk(setup.root, setup.trunk)
    except UserError as error:
        return refused("trunk", error, "name the branch that production follows: --trunk")
    return works("trunk", f"{trunk.ref}, at {trunk.tip[:10]}, with its whole history")


def _merge_driver(setup: Setup) -> Finding:
    missing = [key for key, value in merge.SETTINGS.items() if repository.setting(setup.root, key) != value]
    if missing:
        detail = "git merges dvc.lock by lines, which conflict"
        return absent("merge driver", detail, "run once in this clone: trunkline ci merge-driver --install")
    return works("merge driver", "git merges dvc.lock by stage")
