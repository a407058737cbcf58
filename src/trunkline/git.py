"""The one module that calls git, so that everything else can be run and tested without a repository."""

import subprocess
from dataclasses import dataclass
from pathlib import Path

from trunkline.core.errors import UserError

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


def merge_base(folder: Path, ref: str) -> str:
    """Return the commit where the checked-out branch left `ref`, which may be a branch of the remote origin.

    Raises UserError that says what to fetch: for a ref that is not here, or a clone whose history ends too early.
    """
    found = next(filter(None, (_commit(folder, name) for name in (ref, f"origin/{ref}"))), None)
    if found is None:
        raise UserError(f"--base: there is no '{ref}' here; run: git fetch origin {ref}:refs/remotes/origin/{ref}")
    base = _git(folder, "merge-base", found, "HEAD")
    if base:
        return base
    if _git(folder, "rev-parse", "--is-shallow-repository") == "true":
        raise UserError(
            f"--base: this clone is shallow: its history ends before it meets {ref}; run: git fetch --unshallow"
        )
    raise UserError(f"--base: {ref} and this branch have no commit in common; name the branch that this one left")


def last_commit(folder: Path, path: Path) -> str | None:
    """Return the last commit that changed a file."""
    return _git(folder, "log", "-1", "--format=%H", "--", path.as_posix()) or None


@dataclass(frozen=True)
class Since:
    """What has changed in the working tree since a commit; without a commit, nothing is known."""

    folder: Path
    commit: str | None

    def text(self, path: str) -> str | None:
        """Return the text of a file as it was; None if there was none."""
        return self.commit and file_at(self.folder, self.commit, Path(path))

    def current(self, path: str) -> str | None:
        """Return the text of a file as it is; None if there is none."""
        place = self.folder / path
        return place.read_text(encoding="utf-8", errors="replace") if place.is_file() else None

    def changed(self, folder: str) -> list[str]:
        """Return the files that have changed since, or are new, in a folder, or the file itself."""
        if self.commit is None:
            return []
        tracked = _git(self.folder, "diff", "--name-only", "--relative", self.commit, "--", folder) or ""
        new = _git(self.folder, "ls-files", "--others", "--exclude-standard", "--", folder) or ""
        return sorted({*tracked.splitlines(), *new.splitlines()})


def _commit(folder: Path, ref: str) -> str | None:
    return None if ref.startswith("-") else _git(folder, "rev-parse", "--verify", "--quiet", f"{ref}^{{commit}}")


def _git(folder: Path, *arguments: str) -> str | None:
    # Without optional locks, so that reading never gets in the way of the user's own git command.
    command = ("git", "--no-optional-locks", "-C", str(folder), *arguments)
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False)  # noqa: S603  no shell
    except FileNotFoundError:
        return None
    return done.stdout.strip() if done.returncode == 0 else None
