"""The one module that calls git, so that everything else can be run and tested without a repository."""

import subprocess
from pathlib import Path

# What decides a result: the declaration, the code, and how they are run.
INPUTS = ("conf", "params.yaml", "src", "stages", "dvc.yaml", "locks")


def head(folder: Path) -> str | None:
    """Return the commit that is checked out in a folder; None outside a repository and before a commit."""
    return _git(folder, "rev-parse", "--verify", "HEAD")


def is_dirty(folder: Path, paths: tuple[str, ...] = INPUTS) -> bool:
    """Tell whether files under `paths`, relative to the folder, differ from the commit or are new to git."""
    return bool(_git(folder, "status", "--porcelain", "--untracked-files=normal", "--", *paths))


def annotated_tag(folder: Path, name: str) -> str | None:
    """Return the commit of an annotated tag; None if there is no such tag, or a lightweight one, which can be moved."""
    kind = _git(folder, "cat-file", "-t", f"refs/tags/{name}")
    return _git(folder, "rev-parse", "--verify", f"refs/tags/{name}^{{commit}}") if kind == "tag" else None


def file_at(folder: Path, commit: str, path: Path) -> str | None:
    """Return the text of a file of a commit; None if the commit has no such file."""
    return _git(folder, "show", f"{commit}:./{path.as_posix()}")


def setting(folder: Path, key: str) -> str | None:
    """Return a setting of the folder's own repository; None if it is not set there."""
    return _git(folder, "config", "--local", "--get", key)


def set_setting(folder: Path, key: str, value: str) -> bool:
    """Set a setting of the folder's own repository; tell whether git did it."""
    return _git(folder, "config", "--local", key, value) is not None


def _git(folder: Path, *arguments: str) -> str | None:
    # Without optional locks, so that reading never gets in the way of the user's own git command.
    command = ("git", "--no-optional-locks", "-C", str(folder), *arguments)
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False)  # noqa: S603  no shell
    except FileNotFoundError:
        return None
    return done.stdout.strip() if done.returncode == 0 else None
