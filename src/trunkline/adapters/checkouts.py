"""Runs DVC in temporary checkouts of other commits, which share the project's cache and leave no trace in it."""

import os
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from trunkline.adapters.git import repository
from trunkline.core.errors import OutsideError, one_line

INSTALL = "locks/install"
PRESENT = Path(sys.executable)
PATIENCE = 10  # seconds that what was interrupted has to end by itself

# They would lead git to the repository of a hook that has started us, and a stage to an experiment's parameters.
_FOREIGN = ("GIT_DIR", "GIT_WORK_TREE", "GIT_INDEX_FILE", "GIT_PREFIX", "DVC_EXP", "DVC_ROOT")

# Whoever has no name and no address in git's configuration can have a merge planned too.
_MERGER = ("-c", "user.name=trunkline", "-c", "user.email=trunkline@localhost", "-c", f"core.hooksPath={os.devnull}")
_REPRODUCE = "from trunkline.cli import main; import sys; sys.argv[1:] = ['ci', 'reproduce', 'run']; main()"
_PLAN = "from trunkline.cli import main; import sys; sys.argv[1:] = ['plan', '--json']; main()"


@dataclass(frozen=True)
class CommitTree:
    """A commit, with some paths as another commit has them, and texts that are written after that."""

    commit: str
    source: str
    paths: tuple[str, ...]
    texts: Mapping[str, str]


@dataclass(frozen=True)
class CheckoutRun:
    """How a run of DVC ended, all that it printed, and the report that was asked for, if it ended well."""

    succeeded: bool
    log: str
    report: str | None


def cache_folder(root: Path) -> Path:
    """Return the folder of the project's DVC cache, wherever it is configured. Raises as `project.opened` does."""
    from trunkline.adapters.dvc import project

    with project.opened(root) as repo:
        return Path(repo.cache.local_cache_dir)


@contextmanager
def tree(root: Path, commit: str) -> Iterator[Path]:
    """Yield the project's folder in a checkout of a commit, without DVC's outputs; it is removed afterwards."""
    with _checkout(root, commit) as (folder, _):
        yield folder


@contextmanager
def results(root: Path, commit: str, cache: Path, tell: Callable[[str], None]) -> Iterator[Path]:
    """Yield a checkout of a commit in which the whole pipeline has run as a workflow runs it; it is removed afterwards.

    `tell` hears each line that the run prints. Raises OutsideError where the pipeline fails.
    """
    with _checkout(root, commit) as (folder, state):
        own = _aside(folder, cache, state) | _path(PRESENT)
        _started(folder, _dvc("checkout", "--quiet", "--allow-missing"), own)
        done = _started(folder, [sys.executable, "-u", "-c", _REPRODUCE], own, together=True, tell=tell)
        if done.code:
            raise OutsideError(f"dvc repro failed on {commit[:12]}: {one_line(done.printed)[-300:]}")
        yield folder


@contextmanager
def environment(root: Path, commit: str) -> Iterator[Path]:
    """Yield the Python of the environment that a commit's lock names, installed in a checkout that is removed after.

    Raises OutsideError where it cannot be installed, and for a commit that has no locks/install.
    """
    with _checkout(root, commit) as (folder, state):
        if not (folder / INSTALL).is_file():
            raise OutsideError(f"{commit[:12]}:{INSTALL}: is not there, so that its environment cannot be made again")
        own = {"PYTHON": sys.executable, "TMPDIR": str(state)}
        done = _started(folder, ["sh", INSTALL, "pipeline"], own, together=True)
        if done.code:
            reason = one_line(done.printed)[-300:]
            raise OutsideError(f"{commit[:12]}:locks/pipeline.txt: cannot be installed: {reason}")
        yield folder / ".venv/bin/python"


def reproduce(  # noqa: PLR0913  where, what, and with which Python
    root: Path, tree: CommitTree, cache: Path, stage: str, report: Path, *, python: Path = PRESENT
) -> CheckoutRun:
    """Run `dvc repro` up to a stage on a tree, in a checkout that is removed afterwards, also on Ctrl-C."""
    with _checkout(root, tree.commit) as (folder, state):
        own = _aside(folder, cache, state) | _path(python)
        # What the commit's dvc.lock names and the cache has: DVC's run cache alone leaves out every stage that writes
        # a file into git. A commit without all of it is run.
        checkout = _dvc("checkout", "--allow-missing", "--with-deps", stage, python=python)
        fetched = _started(folder, checkout, own, together=True)
        if tree.paths:
            listed = "".join(f"{path}\0" for path in tree.paths)
            where = (
                f"--source={tree.source}",
                "--staged",
                "--worktree",
                "--pathspec-from-file=-",
                "--pathspec-file-nul",
            )
            _git(folder, "--literal-pathspecs", "restore", *where, given=listed)
        for path, text in tree.texts.items():
            (folder / path).write_text(text, encoding="utf-8", errors="surrogateescape", newline="")
        done = _started(folder, _dvc("repro", stage, python=python), own, together=True)
        written = folder / report
        content = written.read_text(encoding="utf-8") if done.code == 0 and written.is_file() else None
    return CheckoutRun(done.code == 0, fetched.printed + done.printed, content)


@contextmanager
def stored(root: Path, commit: str, paths: Sequence[str]) -> Iterator[Path]:
    """Yield a checkout of a commit, with what DVC's cache has of the paths; it is removed afterwards.

    Raises OutsideError where DVC fails; what the cache does not have is not there.
    """
    cache = cache_folder(root)
    with _checkout(root, commit) as (folder, state):
        absent = [path for path in paths if not (folder / path).exists()]
        done = _started(folder, _dvc("checkout", "--quiet", "--allow-missing", *absent), _aside(folder, cache, state))
        if done.code:
            raise OutsideError(f"{commit[:12]}: dvc checkout failed: {one_line(done.complaint)}")
        yield folder


def plan_merged(root: Path, target: str, cache: Path, settings: Mapping[str, str]) -> tuple[str, tuple[str, ...]]:
    """Merge a commit into the checked-out one and return what `trunkline plan --json` prints there.

    git merges with the `settings`, in a checkout that is removed afterwards. Where it cannot, the paths in conflict are
    returned beside an empty text. Raises OutsideError where git or the plan fails in another way.
    """
    chosen = [word for key, value in settings.items() for word in ("-c", f"{key}={value}")]
    with _checkout(root, "HEAD") as (folder, state):
        own = _aside(folder, cache, state) | _path(PRESENT)
        words = ("merge", "--quiet", "--no-commit", "--no-ff", "--no-verify", target)
        done = _started(folder, ["git", *chosen, *_MERGER, *words], own, together=True)
        listed = _started(folder, ["git", "diff", "--name-only", "--diff-filter=U", "-z"]).printed
        conflicts = tuple(filter(None, listed.split("\0")))
        if conflicts:
            return "", conflicts
        fetched = _started(folder, _dvc("checkout", "--quiet", "--allow-missing"), own)
        planned = _started(folder, [sys.executable, "-c", _PLAN], own)
        for step in (done, fetched, planned):
            if step.code:
                raise OutsideError(f"the merge with {target[:12]}: {one_line(step.complaint or step.printed)}")
        return planned.printed, ()


def _aside(folder: Path, cache: Path, state: Path) -> dict[str, str]:
    """Give a checkout the project's cache, and a place of its own for everything else."""
    (folder / ".dvc/config.local").write_text(f'[cache]\n    dir = "{cache}"\n', encoding="utf-8")
    return {"DVC_SITE_CACHE_DIR": str(state), "TMPDIR": str(state)}


@contextmanager
def _checkout(root: Path, commit: str) -> Iterator[tuple[Path, Path]]:
    """Yield the project's folder in a new worktree, and a folder for what DVC and the stages put aside."""
    with tempfile.TemporaryDirectory(prefix="trunkline-", ignore_cleanup_errors=True) as temporary:
        worktree = Path(temporary).resolve() / "tree"
        try:
            # Without hooks: the one that `dvc install` sets would fetch what the commit's dvc.lock names.
            quietly = ("-c", f"core.hooksPath={os.devnull}", "worktree", "add", "--quiet", "--detach")
            _git(root, *quietly, str(worktree), commit)
            state = Path(temporary) / "state"
            state.mkdir()
            yield worktree / repository.prefix(root), state
        finally:
            try:
                _git(root, "worktree", "remove", "--force", str(worktree))
            except OutsideError:  # git is to forget it all the same
                shutil.rmtree(worktree, ignore_errors=True)
                # Last, because it forgets the user's own worktrees too, if their folders are away.
                _git(root, "worktree", "prune")


def _dvc(*arguments: str, python: Path = PRESENT) -> list[str]:
    return [str(python), "-m", "dvc", *arguments]


def _git(folder: Path, *arguments: str, given: str = "") -> None:
    done = _started(folder, ["git", *arguments], given=given)
    if done.code:
        raise OutsideError(f"git {' '.join(arguments)} failed: {one_line(done.complaint)}")


@dataclass(frozen=True)
class _Done:
    code: int
    printed: str
    complaint: str


def _started(  # noqa: PLR0913  what, where, and what is heard of it
    folder: Path,
    command: Sequence[str],
    settings: Mapping[str, str] | None = None,
    *,
    given: str = "",
    together: bool = False,
    tell: Callable[[str], None] | None = None,
) -> _Done:
    """Run a command in a folder; what it prints is kept, `together` in one order; Ctrl-C ends all that it started.

    `tell` hears each line as it is printed.
    """
    environ = {key: value for key, value in os.environ.items() if not key.startswith(_FOREIGN)}
    with subprocess.Popen(  # noqa: S603  no shell
        command,
        cwd=folder,
        env=environ | dict(settings or {}),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT if together else subprocess.PIPE,
        text=True,
        errors="replace",
        start_new_session=True,
    ) as process:
        try:
            printed, complaint = process.communicate(given) if tell is None else (_heard(process, tell), "")
        except BaseException:
            _end(process)
            raise
    return _Done(process.returncode, printed, complaint or "")


def _heard(process: "subprocess.Popen[str]", tell: Callable[[str], None]) -> str:
    """Return all that a process prints until it ends; `tell` hears each line at once."""
    lines = []
    if process.stdin is not None:
        process.stdin.close()
    for line in process.stdout or ():
        tell(line.rstrip("\n"))
        lines.append(line)
    process.wait()
    return "".join(lines)


def _end(process: "subprocess.Popen[str]") -> None:
    """End a process and what it has started, which would go on writing into a folder that is being removed."""
    if sys.platform == "win32":  # knows no groups of processes, but who started whom
        subprocess.run(["taskkill", "/T", "/F", "/PID", str(process.pid)], check=False, capture_output=True)  # noqa: S603, S607
        process.wait(PATIENCE)
        return
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGKILL):
        with suppress(ProcessLookupError):
            os.killpg(process.pid, number)
        with suppress(subprocess.TimeoutExpired):
            process.wait(PATIENCE)


def _path(python: Path) -> dict[str, str]:
    """Put an interpreter's folder first, as in an activated environment."""
    return {"PATH": os.pathsep.join([str(python.parent), *filter(None, [os.environ.get("PATH", "")])])}
