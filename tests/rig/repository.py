"""Bare git repositories as a forge keeps them: branches, and for each pull request its head and its merge.

The merge refs are real commits, made as the forge makes them, because workflows check them out and gate them.
"""

import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

WHO = {"NAME": "Forge", "EMAIL": "forge@example.org"}
IDENTITY = {f"GIT_{role}_{key}": value for role in ("AUTHOR", "COMMITTER") for key, value in WHO.items()}
FOREIGN = ("CI_", "DVC_", "GIT", "MLFLOW_", "TRUNKLINE_")
ISOLATED = {"GIT_CONFIG_GLOBAL": "/dev/null", "GIT_CONFIG_NOSYSTEM": "1", "GIT_TERMINAL_PROMPT": "0"}

PROTECT = """#!/bin/sh
# A tag of a rule stays where it is, whoever asks.
case $1 in refs/tags/*)
    case $2 in *[!0]*) git config --get-all rig.tags | while read -r glob; do
        case ${1#refs/tags/} in $glob)
            echo "Cannot update this protected ref." >&2
            exit 1
        esac
    done || exit 1
    esac
    exit 0
esac
# A protected branch moves through a pull request only, or by an administrator's hand.
[ "$RIG_ADMIN" = yes ] || ! git config --get-all rig.protected | grep -qxF "$1" || {
    echo "Changes must be made through a pull request." >&2
    exit 1
}
"""


def environment(**variables: str) -> dict[str, str]:
    """Return the environment of a process: no token, and no setting of whoever runs the tests."""
    own = {name: value for name, value in os.environ.items() if not name.startswith(FOREIGN)}
    return own | ISOLATED | IDENTITY | variables


def attempt(
    folder: Path, *arguments: str, stdin: str | None = None, **variables: str
) -> subprocess.CompletedProcess[str]:
    """Run git with this machine's own configuration out of the way."""
    command, environ = ["git", *arguments], environment(**variables)
    return subprocess.run(command, cwd=folder, env=environ, input=stdin, capture_output=True, text=True, check=False)


def git(folder: Path, *arguments: str, stdin: str | None = None, **variables: str) -> str:
    """Return what git prints; a failure of git is a failure of the test."""
    done = attempt(folder, *arguments, stdin=stdin, **variables)
    assert done.returncode == 0, f"git {' '.join(arguments)}: {done.stderr.strip()}"
    return done.stdout.strip()


@dataclass(frozen=True)
class Repository:
    """A bare repository, by its owner/name."""

    name: str
    path: Path

    @classmethod
    def create(cls, folder: Path, name: str) -> "Repository":
        """Make an empty one, which keeps pull requests' refs to itself as a forge does."""
        path = folder / f"{name}.git"
        path.mkdir(parents=True)
        git(path, "init", "--quiet", "--bare", "--initial-branch=main")
        git(path, "config", "http.receivepack", "true")
        git(path, "config", "uploadpack.allowAnySHA1InWant", "true")
        git(path, "config", "receive.hideRefs", "refs/pull")
        hook = path / "hooks/update"
        hook.parent.mkdir(exist_ok=True)
        hook.write_text(PROTECT)
        hook.chmod(0o755)
        return cls(name, path)

    def fork(self, folder: Path, name: str) -> "Repository":
        """Copy the branches to a repository of another owner."""
        fork = Repository.create(folder, name)
        git(fork.path, "fetch", "--quiet", str(self.path), "+refs/heads/*:refs/heads/*")
        return fork

    def sha(self, revision: str) -> str | None:
        """Return the commit that a revision names, or None."""
        return attempt(self.path, "rev-parse", "--verify", "--quiet", f"{revision}^{{commit}}").stdout.strip() or None

    def refs(self) -> dict[str, str]:
        """Return every branch and tag with what it points to."""
        lines = git(self.path, "for-each-ref", "--format=%(refname) %(objectname)", "refs/heads", "refs/tags")
        return dict(line.split() for line in lines.splitlines())

    def take(self, other: Path, sha: str) -> None:
        """Copy a commit with its history from another repository."""
        git(self.path, "fetch", "--quiet", "--no-tags", "--no-write-fetch-head", str(other), sha)

    def point(self, ref: str, sha: str | None) -> None:
        """Set a ref, or remove it."""
        git(self.path, "update-ref", *(["-d", ref] if sha is None else [ref, sha]))

    def text(self, revision: str, path: str) -> str:
        """Return a file's text at a revision."""
        return git(self.path, "show", f"{revision}:{path}")

    def files(self, revision: str, folder: str) -> list[str]:
        """Return the paths in a folder at a revision."""
        return git(self.path, "ls-tree", "-r", "--name-only", revision, "--", folder).splitlines()

    def changed(self, before: str, after: str) -> list[str]:
        """Return the paths that differ."""
        return git(self.path, "diff", "--name-only", before, after).splitlines()

    def contains(self, descendant: str, ancestor: str) -> bool:
        """Tell whether one commit is in the history of another."""
        return attempt(self.path, "merge-base", "--is-ancestor", ancestor, descendant).returncode == 0

    def base_of(self, one: str, other: str) -> str:
        """Return the commit where two histories parted."""
        return git(self.path, "merge-base", one, other)

    def merge(self, base: str, head: str, message: str) -> str | None:
        """Return a merge commit of two commits, or None where they conflict."""
        tree = attempt(self.path, "merge-tree", "--write-tree", base, head)
        if tree.returncode:
            return None
        return git(self.path, "commit-tree", tree.stdout.strip(), "-p", base, "-p", head, "-m", message)

    @contextmanager
    def checkout(self, revision: str | None) -> Iterator[Path]:
        """Give a clone at a revision, or an empty one, whose objects are this repository's."""
        with TemporaryDirectory() as temporary:
            folder = Path(temporary) / "clone"
            git(self.path, "clone", "--quiet", "--shared", "--no-checkout", str(self.path), str(folder))
            git(folder, "checkout", "--quiet", *(["--detach", revision] if revision else ["--orphan", "work"]))
            yield folder
