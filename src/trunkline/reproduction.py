"""Runs the pipeline with what a remote has of it, and hands the results on: to the remote, and to the branch."""

import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import chdir, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dvc.exceptions import DvcException
from dvc.repo import Repo

from trunkline import git, pipeline
from trunkline.core import paths
from trunkline.core.errors import OutsideError, TrunklineError, UserError

GATE = "gate"

Tell = Callable[[str], object]


@dataclass(frozen=True)
class Pushed:
    """What became of the results: the files of git that hold them, and the commit; None where the branch moved on."""

    files: tuple[str, ...]
    commit: str | None


def reproduce(root: Path, base: str | None, tell: Tell, *, everything: bool = False) -> None:
    """Run `dvc repro`, taking from the remote what a stage that runs needs, and what the gates and a review read.

    A review compares with the scores of `base`, a commit. With `everything`, all outputs are brought here. Without a
    remote that can be read, of which `tell` is told, what is not here is made again. Raises UserError where a stage
    refuses its input, OutsideError where a stage fails, or the remote does while it is read.
    """
    with _dvc(root) as repo:
        remote = _is_readable(repo, tell)
        if remote:
            _fetch(repo, base, tell)
        _bring(repo, remote=remote, everything=everything or not remote)
    with _dvc(root) as repo:
        repo.reproduce(pull=remote, allow_missing=remote)


def uncommitted(root: Path) -> tuple[str, ...]:
    """Return the files that `dvc repro` writes into git and that differ from the commit."""
    with _dvc(root) as repo:
        written = [str(paths.LOCK), *(out.def_path for out in repo.index.outs if not out.use_cache)]
    return git.changed(root, written)


def push(root: Path, branch: str, environ: Mapping[str, str]) -> Pushed:
    """Push the results to DVC's remote, if there is one, then commit those that are in git, and push that.

    Whoever can read the commit finds its results, since they are pushed first. Nothing is committed where nothing has
    changed, so that a run which this push starts ends here. Raises OutsideError where a remote fails.
    """
    with _dvc(root) as repo:
        if _has_remote(repo):
            repo.push(run_cache=True)
    files = uncommitted(root)
    if not files:
        return Pushed((), git.head(root))
    before = git.head(root) or ""
    git.commit(root, files, f"Results of {before[:10]}\n\nWhat dvc repro makes of it: {', '.join(files)}")
    return Pushed(files, git.head(root) if git.push(root, branch, environ) else None)


def _is_readable(repo: Any, tell: Tell) -> bool:
    """Read the run cache of the remote, which is small; a run of a fork, say, has no right to."""
    if not _has_remote(repo):
        return False
    try:
        repo.stage_cache.pull(None)
    except Exception as error:  # the library of every kind of storage has its own
        tell(f"the remote cannot be read, so that what is not here is made again: {_line(error)}")
        return False
    return True


def _bring(repo: Any, *, remote: bool, everything: bool) -> None:
    """Bring outputs that are not here, from the cache or the remote: what the gates read, and what is read in parts.

    DVC would bring a part alone, and then take it for a change of the whole. What it brings itself is not brought here.
    """
    outs = [out for out in repo.index.outs if out.use_cache and not out.exists]
    if not everything:
        deps = [(stage, Path(dep.fs_path)) for stage in repo.index.stages for dep in pipeline.files(stage)]
        outs = [out for out in outs if any(_is_read(Path(out.fs_path), stage, path) for stage, path in deps)]
    if outs:
        bring = repo.pull if remote else repo.checkout
        bring(targets=[str(out) for out in outs], allow_missing=True)


def _is_read(out: Path, stage: Any, path: Path) -> bool:
    return path.is_relative_to(out) and (path != out or getattr(stage, "name", None) == GATE)


def _fetch(repo: Any, base: str | None, tell: Tell) -> None:
    """Bring the scores of the base into the cache; one that was never pushed has none, which a review says."""
    if base is None:
        return
    try:
        repo.fetch(targets=[str(paths.PREDICTIONS)], revs=[base], workspace=False)
    except DvcException as error:
        tell(f"the scores of {base[:10]} cannot be had: {_line(error)}")


def _has_remote(repo: Any) -> bool:
    return bool(repo.config["core"].get("remote"))


@contextmanager
def _dvc(root: Path) -> Iterator[Any]:
    try:
        with chdir(root), Repo() as repo:
            yield repo
    except DvcException as error:
        raise _explained(error) from None


def _explained(error: DvcException) -> TrunklineError:
    """Return the error with the exit code of the stage that failed; it has said why itself."""
    told = _line(error.__cause__ or error)
    status = re.search(r"exited with (\d+)$", told)
    message = f"{_line(error)}: {told}" if error.__cause__ else told
    return UserError(message) if status and status[1] == str(UserError.exit_code) else OutsideError(message)


def _line(error: BaseException) -> str:
    return " ".join(str(error).split())
