"""What git says of a repository; `remote` is what changes one, or talks to another."""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from trunkline.adapters.git.process import output, stdout
from trunkline.core.errors import UserError

# What git never takes for a branch, with what may follow such a name: a full hash, HEAD~1, @{upstream}, FETCH_HEAD.
_NO_BRANCH = re.compile(r"([0-9a-f]{40}|[0-9a-f]{64}|[A-Z_]*HEAD|@)?([~^:].*|@\{.*)?", re.DOTALL)
EXCLUDE = ":(exclude)"  # before a path that git is to leave out

# The rooms above the pipeline: no stage can reach what is in them, so that nothing in them decides a result.
ABOVE = tuple(
    f"src/trunkline/{room}"
    for room in ("cli", "deploy", "doctor", "init", "lineage", "release", "retrain", "review", "serve")
)
# What decides a result: the declaration, the code, and how they are run.
INPUTS = ("conf", "params.yaml", "src", "stages", "dvc.yaml", "locks", *(f"{EXCLUDE}{room}" for room in ABOVE))


def head(folder: Path) -> str | None:
    """Return the commit that is checked out in a folder; None outside a repository and before a commit."""
    return stdout(folder, "rev-parse", "--verify", "HEAD")


def is_dirty(folder: Path, paths: tuple[str, ...] = INPUTS) -> bool:
    """Tell whether files under `paths`, relative to the folder, differ from the commit or are new to git."""
    return bool(stdout(folder, "status", "--porcelain", "--untracked-files=normal", "--", *paths))


def changed(folder: Path, paths: Sequence[str]) -> tuple[str, ...]:
    """Return the files among the paths that differ from the commit or are new, sorted, relative to the folder."""
    words = ("--no-renames", "--relative", "-z", "HEAD", "--", *paths)
    tracked = output(folder, "diff", "--name-only", *words).decode(errors="surrogateescape")
    listed = ("--others", "--exclude-standard", "-z", "--", *paths)
    new = output(folder, "ls-files", *listed).decode(errors="surrogateescape")
    return tuple(sorted({*filter(None, (tracked + new).split("\0"))}))


@dataclass(frozen=True)
class Fork:
    """Where the checked-out branch left another one: the tip of that one, and the last of its own commits in both.

    A branch's own commits are those of its first-parent line: what a merge has brought, nobody has judged one by one.
    """

    tip: str
    base: str


def fork(folder: Path, ref: str, of: str = "HEAD") -> Fork:
    """Return where a commit, or else the checked-out branch, left `ref`, which may be a branch of the remote origin.

    Raises UserError that says what to fetch: for a ref that is not here, or a clone whose history ends too early.
    """
    there = tip(folder, ref)
    if there is None:
        raise UserError(f"--base: there is no '{ref}' here; {_way_to(folder, ref)}")
    since = stdout(folder, "log", "--first-parent", "--format=%H %P", there, f"^{of}")
    if since is not None:
        oldest = since.splitlines()[-1].split() if since else []
        if not oldest:
            return Fork(there, there)
        if len(oldest) > 1:
            return Fork(there, oldest[1])
    if is_shallow(folder):
        raise UserError(
            f"--base: this clone is shallow: its history ends before it meets {ref}; run: git fetch --unshallow"
        )
    raise UserError(f"--base: {ref} and this branch have no commit in common; name the branch that this one left")


def _way_to(folder: Path, ref: str) -> str:
    """Say how to get what a name stands for: a branch can be fetched by it, and what starts at HEAD cannot."""
    if is_shallow(folder):
        return "this clone is shallow; run: git fetch --unshallow"
    if re.search(r"[~^:\s]|@\{|^-", ref) or _NO_BRANCH.fullmatch(ref):
        return "name a branch, a tag or a commit of this clone; git log shows them"
    return f"run: git fetch origin {ref}:refs/remotes/origin/{ref}"


def merge_base(folder: Path, ref: str, of: str = "HEAD") -> str:
    """Return the commit where a commit, or else the checked-out branch, left `ref`; raises UserError as `fork` does."""
    return fork(folder, ref, of).base


def tip(folder: Path, ref: str) -> str | None:
    """Return the commit of a branch here, or of the remote origin, or of anything else; None if there is none.

    In that order, since whoever may push could push a tag that is called as the trunk is. A full hash is only itself,
    and so is what starts at HEAD.
    """
    branches = (f"refs/heads/{ref}", f"refs/remotes/{ref}", f"refs/remotes/origin/{ref}")
    names = (ref,) if _NO_BRANCH.fullmatch(ref) else (*branches, ref)
    return next(filter(None, (resolve(folder, name) for name in names)), None)


def is_ancestor(folder: Path, commit: str, other: str) -> bool:
    """Tell whether a commit is another one or in its history."""
    return stdout(folder, "merge-base", "--is-ancestor", commit, other) is not None


def behind(folder: Path, commit: str) -> int:
    """Return how many commits of another one's history the checked-out one does not have."""
    return int(stdout(folder, "rev-list", "--count", f"HEAD..{commit}") or 0)


def last_commit(folder: Path, path: Path) -> str | None:
    """Return the last commit that changed a file."""
    return stdout(folder, "log", "-1", "--format=%H", "--", path.as_posix()) or None


def changed_between(folder: Path, base: str, head: str) -> tuple[str, ...]:
    """Return the files that differ between two commits, relative to the folder and only those in it, sorted."""
    listed = output(folder, "diff", "--name-only", "--no-renames", "--relative", "-z", base, head)
    return tuple(sorted(filter(None, listed.decode(errors="surrogateescape").split("\0"))))


def within(name: str, paths: Iterable[str]) -> bool:
    """Tell whether a file is one of the paths or in one, as INPUTS are: `:(exclude)` is before what is left out."""
    inside = [path for path in paths if Path(name).is_relative_to(path.removeprefix(EXCLUDE))]
    return bool(inside) and not any(path.startswith(EXCLUDE) for path in inside)


def prefix(folder: Path) -> str:
    """Return where a folder is in its repository; empty for its root."""
    return stdout(folder, "rev-parse", "--show-prefix") or ""


def resolve(folder: Path, name: str) -> str | None:
    """Return the commit that a name stands for; None if it stands for none."""
    return stdout(folder, "rev-parse", "--verify", "--quiet", "--end-of-options", f"{name}^{{commit}}")


def blob(folder: Path, commit: str, path: str) -> str | None:
    """Return the id of a file's content in a commit; None if the commit has no such file."""
    return stdout(folder, "rev-parse", "--verify", "--quiet", "--end-of-options", f"{commit}:{prefix(folder)}{path}")


def is_repository(folder: Path) -> bool:
    """Tell whether a folder is in a repository that git can read."""
    return stdout(folder, "rev-parse", "--git-dir") is not None


def is_shallow(folder: Path) -> bool:
    """Tell whether the clone holds the end of a longer history only."""
    return stdout(folder, "rev-parse", "--is-shallow-repository") == "true"


def names_at(folder: Path, commit: str) -> tuple[str, ...]:
    """Return the names of all files that a commit has in the folder."""
    return tuple(filter(None, output(folder, "ls-tree", "-r", "-z", "--name-only", commit).decode().split("\0")))


def files_at(
    folder: Path, commits: Iterable[str], paths: Sequence[Path], where: str | None = None
) -> dict[str, dict[Path, bytes]]:
    """Return the files that each commit has among the paths, all read by one process.

    `where` is where the folder is in its repository, for a caller that knows it.
    """
    wanted = [(commit, path) for commit in commits for path in paths]
    where = prefix(folder) if where is None else where  # a bare repository knows no `./`
    lines = "".join(f"{commit}:{where}{path.as_posix()}\n" for commit, path in wanted)
    listed = output(folder, "cat-file", "--batch", given=lines.encode())
    contents: dict[str, dict[Path, bytes]] = {commit: {} for commit, _ in wanted}
    at = 0
    for commit, path in wanted:
        end = listed.index(b"\n", at)
        heading, start = listed[at:end].split(b" "), end + 1
        if len(heading) != 3:  # `<name> missing`, without a content
            at = start
            continue
        at = start + int(heading[2]) + 1
        if heading[1] == b"blob":
            contents[commit][path] = listed[start : at - 1]
    return contents


def setting(folder: Path, key: str) -> str | None:
    """Return a setting of the folder's own repository; None if it is not set there."""
    return stdout(folder, "config", "--local", "--get", key)


def set_setting(folder: Path, key: str, value: str) -> bool:
    """Set a setting of the folder's own repository; tell whether git did it."""
    return stdout(folder, "config", "--local", key, value) is not None
