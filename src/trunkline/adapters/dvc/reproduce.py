"""Runs the pipeline with the results that a remote has, and pushes the new ones to the remote and the branch."""

from collections.abc import Callable, Mapping, Sequence
from contextlib import chdir
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from trunkline.adapters.dvc import cache, private, project, survey
from trunkline.adapters.dvc.parses import kept_parses
from trunkline.adapters.dvc.private import Repo, StageCmdFailedError
from trunkline.adapters.git import remote as git_remote
from trunkline.adapters.git import repository
from trunkline.core import paths
from trunkline.core.errors import OutsideError, UserError, one_line

GATE = "gate"

Tell = Callable[[str], object]


@dataclass(frozen=True)
class Pushed:
    """Where the results are: the files that were committed now, the commit that holds all, and its branch."""

    files: tuple[str, ...]
    commit: str
    branch: git_remote.Branch


def reproduce(
    root: Path, base: str | None, tell: Tell, *, everything: bool = False, doubted: Sequence[str] | None = None
) -> None:
    """Run `dvc repro`, taking from the remote what a stage that runs needs, and what the gates and a review read.

    A review compares with the scores of `base`, a commit. With `everything`, all outputs are brought here. What is
    neither here nor on the remote is made again, which `tell` reports. `doubted` are stages whose results are computed
    again, whatever dvc.lock says; where it is given, the run cache, into which anybody may have written, is not asked,
    and every object of the cache is held against its name. Raises UserError where a stage refuses its input,
    OutsideError where a stage fails, or the remote has sent other bytes than it was asked for.
    """
    sound = set[str]()
    if doubted is not None and (broken := cache.sweep(root, sound)):
        tell(f"deleted from the cache, since they have other bytes than their names say: {', '.join(broken)}")
    with project.opened(root) as repo:
        remote = _is_readable(repo, tell)
        if remote:
            _fetch(repo, base, tell)
        if doubted:
            with private.modify_yaml(str(root / paths.LOCK)) as lock:
                # What is left of their entries is the command, so DVC runs them again.
                lock["stages"].update({name: {"cmd": lock["stages"][name]["cmd"]} for name in doubted})
    run_cache = doubted is None
    if not (remote and _with_remote(root, tell, everything=everything, run_cache=run_cache)):
        with project.opened(root) as repo:
            _bring(repo, remote=False, everything=True)
            repo.reproduce(run_cache=run_cache)
    if doubted is not None and (broken := cache.sweep(root, sound)):
        raise OutsideError(
            f"the remote has sent other bytes than it was asked for, now deleted here: {', '.join(broken)}"
        )


def uncommitted(root: Path) -> tuple[str, ...]:
    """Return the files that `dvc repro` writes into git and that differ from the commit."""
    return repository.changed(root, [str(paths.LOCK), *results(root)])


def results(root: Path) -> tuple[str, ...]:
    """Return the outputs of the pipeline that are in git."""
    with project.opened(root) as repo:
        return survey.uncached(repo.index.outs)


def send(root: Path, targets: Sequence[str]) -> None:
    """Push outputs to DVC's remote; raises UserError if there is none, OutsideError where it fails."""
    with project.opened(root) as repo:
        if not project.has_remote(repo):
            raise UserError(
                "there is no DVC remote, so that nobody else could have the bundle; run: dvc remote add --default …"
            )
        _send(repo, targets)


def push(root: Path, branch: str, environ: Mapping[str, str], *, create: bool = False) -> Pushed:
    """Push the results to DVC's remote, if there is one, then commit those that are in git, and push that.

    Whoever can read the commit finds its results, since they are pushed first. Nothing is committed where nothing has
    changed, so that a run which this push starts ends here; a commit that an earlier call was stopped before it could
    push is pushed. A branch that is not there is made with `create` only. Raises OutsideError where a remote fails.
    """
    share(root)
    files = commit(root)
    return Pushed(files, repository.head(root) or "", git_remote.push(root, branch, environ, create=create))


def commit(root: Path) -> tuple[str, ...]:
    """Commit the results that are in git, on what is checked out, and return which have changed; none: no commit."""
    files, before = uncommitted(root), repository.head(root) or ""
    if files:
        git_remote.commit(root, files, f"Results of {before[:10]}\n\nWhat dvc repro makes of it: {', '.join(files)}")
    return files


def share(root: Path) -> None:
    """Push all results to DVC's remote, if there is one; raises OutsideError where it fails."""
    with project.opened(root) as repo:
        if project.has_remote(repo):
            _send(repo)


def _is_readable(repo: Any, tell: Tell) -> bool:
    """Tell whether the remote can be read; a run of a fork may not, and a new remote is empty."""
    if not project.has_remote(repo):
        return False
    reason = project.unreadable(repo)
    if reason is not None:
        tell(f"the remote cannot be read, so that what is not here is made again: {reason}")
    return reason is None


def _with_remote(root: Path, tell: Tell, *, everything: bool, run_cache: bool) -> bool:
    """Run with what the remote has; False if it turns out to lack something, as where nobody has pushed it."""
    try:
        with chdir(root), kept_parses(), Repo() as repo:
            _bring(repo, remote=True, everything=everything)
            repo.reproduce(pull=True, allow_missing=True, run_cache=run_cache)
    except Exception as error:  # the library of every kind of storage has its own
        if isinstance(error.__cause__, StageCmdFailedError):
            raise project.explained(error) from None
        tell(f"the remote does not have all results, so that what is not here is made again: {one_line(error)}")
        return False
    return True


def _bring(repo: Any, *, remote: bool, everything: bool) -> None:
    """Bring outputs that are not here, from the cache or the remote: what the gates read, and what is read in parts.

    DVC would bring a part alone, and then take it for a change of the whole. What it brings itself is not brought here.
    """
    outs = [out for out in repo.index.outs if out.use_cache and out.hash_info and not out.exists]
    if not everything:
        deps = [(stage, Path(dep.fs_path)) for stage in repo.index.stages for dep in survey.files(stage)]
        whole = {path for stage, path in deps if getattr(stage, "name", None) == GATE}
        outs = [
            out
            for out in outs
            if Path(out.fs_path) in whole or any(Path(out.fs_path) in path.parents for _, path in deps)
        ]
    if outs:
        bring = repo.pull if remote else repo.checkout
        bring(targets=[str(out) for out in outs], allow_missing=True)
    absent = [str(out) for out in outs if not out.exists]  # DVC itself only warns of it
    if remote and absent:
        raise OutsideError(f"nobody has pushed {', '.join(absent)}")


def _fetch(repo: Any, base: str | None, tell: Tell) -> None:
    """Bring the scores of the base into the cache; one that was never pushed has none, which a review says."""
    if base is None:
        return
    try:
        repo.fetch(targets=[str(paths.PREDICTIONS)], revs=[base], workspace=False)
        with Repo(rev=base) as then:
            (out,) = (out for out in then.index.outs if out.def_path == str(paths.PREDICTIONS))
            why = "nobody has pushed them" if out.changed_cache() else None
    except Exception as error:  # the library of every kind of storage has its own
        why = one_line(error)
    if why:
        tell(f"the scores of {base[:10]} could not be fetched: {why}")


def _send(repo: Any, targets: Sequence[str] | None = None) -> None:
    try:
        repo.push(targets=targets, run_cache=targets is None)
    except Exception as error:  # the library of every kind of storage has its own
        raise OutsideError(f"the results cannot be pushed to the remote: {one_line(error)}") from None
