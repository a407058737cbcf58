"""Who changed what an environment is to run, when, and by which pull request: the registry file along the trunk."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from trunkline.adapters.git import ancestry, messages, repository
from trunkline.conf import registry
from trunkline.conf.registry import NOTHING, Declaration
from trunkline.core import paths
from trunkline.core.errors import UserError


@dataclass(frozen=True)
class DeclaredChange:
    """A commit of the trunk that changed what an environment is to run.

    `date` is the commit's, ISO 8601; `pull_request` is the one that its message names, as `changelog` tells it, None if
    it names none; what an environment is declared to run before its first declaration is nothing, as where it is null.
    """

    commit: str
    date: str
    author: str
    pull_request: str | None
    environment: str
    before: Declaration
    after: Declaration


def changes(folder: Path, tip: str, name: str) -> tuple[DeclaredChange, ...]:
    """Return every change along the first-parent line of a commit, newest first.

    A commit whose registry file is broken or gone declares nothing: it changes nothing, as reconcile applies nothing of
    it. In a shallow clone, what its oldest commit declares is no change.
    """
    commits = ancestry.first_parents(folder, tip, [paths.REGISTRY])
    texts = repository.files_at(folder, [commit.hash for commit in commits], [paths.REGISTRY])
    shallow = repository.is_shallow(folder)
    changed: list[DeclaredChange] = []
    before: Mapping[str, Declaration] = {}
    for number, commit in enumerate(reversed(commits)):
        try:
            text = texts[commit.hash].get(paths.REGISTRY, b"").decode()
            after = registry.parse(text, name, paths.REGISTRY).environments
        except (UserError, UnicodeDecodeError):
            continue
        if not (shallow and number == 0):
            reference = messages.landed(commit.hash, commit.message).reference
            changed += [
                DeclaredChange(commit.hash, commit.date, commit.author, reference, key, *sides)
                for key in sorted({*before, *after}, reverse=True)
                if (sides := (before.get(key, NOTHING), after.get(key, NOTHING)))[0] != sides[1]
            ]
        before = after
    return tuple(reversed(changed))


def since(changes: Sequence[DeclaredChange], environment: str) -> DeclaredChange | None:
    """Return the change that brought the version that an environment is to run now; changes are newest first."""
    return _last(changes, environment, lambda declaration: declaration.version)


def rollout_since(changes: Sequence[DeclaredChange], environment: str) -> DeclaredChange | None:
    """Return the change that brought an environment's rollout to where it is now; changes are newest first."""
    return _last(changes, environment, lambda declaration: declaration.candidate)


def _last(
    changes: Sequence[DeclaredChange], environment: str, part: Callable[[Declaration], object]
) -> DeclaredChange | None:
    ours = (change for change in changes if change.environment == environment)
    return next((change for change in ours if part(change.before) != part(change.after)), None)
