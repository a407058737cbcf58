"""A change of the trunk as one branch and its pull request: whoever asks again, or was killed, ends with the same."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from trunkline.adapters.forge import api
from trunkline.adapters.forge.api import Forge, PullRequest
from trunkline.adapters.git import ancestry, remote, repository
from trunkline.core import paths
from trunkline.core.errors import OutsideError, UserError

FOLLOW = (str(paths.LOCK), str(paths.PARAMS), "reports/")  # what `dvc repro` makes of another declaration


@dataclass(frozen=True)
class Origin:
    """A clone, the forge that its origin is on, and who hears of what goes on."""

    root: Path
    environ: Mapping[str, str]
    forge: Forge
    tell: Callable[[str], None]


@dataclass(frozen=True)
class Wanted:
    """A pull request as it is to be: its branch, the one it is for, and its texts, the body in Markdown."""

    branch: str
    base: str
    title: str
    body: str


def holds(root: Path, tip: str, commit: str, blobs: Mapping[Path, str]) -> bool:
    """Tell whether a commit is the trunk's tip with these files, and nothing else but what `dvc repro` makes of it."""
    if not repository.is_ancestor(root, tip, commit):
        return False
    names = {path.as_posix(): blob for path, blob in blobs.items()}
    return all(repository.blob(root, commit, name) == blob for name, blob in names.items()) and _only(
        root, tip, commit, names
    )


def committed(root: Path, tip: str, there: str | None, blobs: Mapping[Path, str], message: str) -> str:
    """Return the commit that a branch has, `there`, if it is this change, or else a new one, which no branch has yet.

    Raises UserError where somebody has changed something on the branch, in a commit of their own: that is not to be
    lost. The branch's first commit is what was proposed; whoever rewrites that one is not noticed.
    """
    if there is not None and holds(root, tip, there, blobs):
        return there
    if there is not None and not repository.is_ancestor(root, there, tip):
        own, base = {path.as_posix() for path in blobs}, repository.merge_base(root, tip, there)
        proposed = ancestry.first_parents(root, there, blobs, since=base)
        if len(proposed) > 1 or not _only(root, base, there, own):
            raise UserError(
                f"{there[:10]}: somebody has changed more on this branch than is proposed; merge it, or delete it"
            )
    return remote.commit_files(root, tip, blobs, message)


def publish(origin: Origin, commit: str, wanted: Wanted, seen: str | None = None) -> PullRequest:
    """Push a commit as the branch and open its pull request, or bring the open one up to date.

    `seen` is what origin's branch had when it was looked at, "" where there was none. Raises OutsideError where the
    remote or the forge fails, or somebody else pushes meanwhile; it may be called again.
    """
    pushed = remote.push(
        origin.root, wanted.branch, origin.environ, commit=commit, create=True, replace=True, seen=seen
    )
    if pushed == "moved":
        raise OutsideError(f"git push origin {wanted.branch}: somebody else pushed to it meanwhile; run it again")
    return describe(origin, wanted)


def describe(origin: Origin, wanted: Wanted) -> PullRequest:
    """Open the pull request of a branch that origin has, or bring the texts of the open one up to date."""
    words = wanted.branch, wanted.base, wanted.title, wanted.body
    return api.retried(partial(origin.forge.open_pull_request, *words), origin.tell)


def _only(root: Path, base: str, commit: str, own: Mapping[str, str] | set[str]) -> bool:
    changed = repository.changed_between(root, base, commit)
    return all(path in own or path.startswith(FOLLOW) for path in changed)
