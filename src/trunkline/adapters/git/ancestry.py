"""Where a commit is in the trunk's history, and what every tag says; a few processes of git, however long it is."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from trunkline.adapters.git import repository
from trunkline.adapters.git.process import output, stdout
from trunkline.core.errors import OutsideError, UserError


@dataclass(frozen=True)
class Trunk:
    """The ref that was read for the trunk, its tip, and the commits of its first-parent line, newest first."""

    ref: str
    tip: str
    line: tuple[str, ...]


def trunk(folder: Path, name: str) -> Trunk:
    """Return the trunk as origin had it when it was last fetched, or the branch here if there is no such remote's.

    Raises UserError where there is neither, or where the clone's history ends too early to say anything.
    """
    for ref in (f"refs/remotes/origin/{name}", f"refs/heads/{name}"):
        tip = repository.resolve(folder, ref)
        if tip:
            break
    else:
        if not repository.is_repository(folder):
            raise UserError("this folder is in no repository that git can read; run it in a project's clone")
        fetch = f"git fetch origin {name}:refs/remotes/origin/{name}"
        raise UserError(f"--trunk: there is no branch '{name}' here; run: {fetch}")
    if repository.is_shallow(folder):
        raise UserError("this clone is shallow: it does not hold the history that is asked for; git fetch --unshallow")
    return Trunk(ref.split("/", 2)[2], tip, line(folder, tip))


def line(folder: Path, tip: str) -> tuple[str, ...]:
    """Return the commits of the first-parent line of one, newest first."""
    return tuple(output(folder, "rev-list", "--first-parent", tip).decode().split())


@dataclass(frozen=True)
class Commit:
    """A commit: its hash, in short too, its author, when it was made (ISO 8601), its subject, its whole message."""

    hash: str
    short: str
    author: str
    date: str
    subject: str
    message: str

    @property
    def day(self) -> str:
        """The day on which it was made, YYYY-MM-DD."""
        return self.date[:10]


def first_parents(
    folder: Path, tip: str, paths: Iterable[Path] = (), *, since: str | None = None, limit: int | None = None
) -> tuple[Commit, ...]:
    """Return commits of the first-parent line of one, newest first: those that changed one of the paths, if any.

    A merge counts by what it brings to the line. Commits that `since` has are left out, and those beyond the `limit`.
    Raises OutsideError where git cannot read its own history.
    """
    chosen = ["--first-parent", *([] if limit is None else [f"--max-count={limit}"])]
    ends = [tip, *([] if since is None else [f"^{since}"])]
    return _log(folder, *chosen, *ends, "--", *(path.as_posix() for path in paths))


def that_changed(folder: Path, path: Path) -> tuple[str, ...]:
    """Return the commits of all branches and tags that changed a file, oldest first."""
    words = ("--all", "HEAD", "--reverse", "--full-history", "--", path.as_posix())
    return tuple(output(folder, "rev-list", *words).decode().split())


def commits(folder: Path, hashes: Iterable[str]) -> dict[str, Commit]:
    """Return commits by their hashes."""
    wanted = "".join(f"{name}\n" for name in hashes).encode()
    if not wanted:
        return {}
    return {commit.hash: commit for commit in _log(folder, "--stdin", "--no-walk=unsorted", given=wanted)}


def _log(folder: Path, *chosen: str, given: bytes = b"") -> tuple[Commit, ...]:
    layout = ("--no-show-signature", "--encoding=UTF-8", "-z", "--format=%H%x00%h%x00%an%x00%cI%x00%s%x00%B")
    words = output(folder, "log", *layout, *chosen, given=given).decode(errors="replace").split("\0")
    return tuple(Commit(*words[start : start + 6]) for start in range(0, len(words) - 5, 6))


@dataclass(frozen=True)
class GitTag:
    """A tag of a commit: its name, and if it is annotated, who made it when (ISO 8601), and its message."""

    name: str
    commit: str
    annotated: bool
    tagger: str
    email: str
    date: str
    message: str


def tags(folder: Path, name: str = "") -> tuple[GitTag, ...]:
    """Return all tags of commits, or those of one name."""
    of = ("objecttype", "objectname", "*objecttype", "*objectname")
    fields = (*of, "refname:strip=2", "taggername", "taggeremail", "taggerdate:iso-strict", "contents")
    layout = "".join(f"%({field})%00" for field in fields)
    listed = output(folder, "for-each-ref", f"--format={layout}", f"refs/tags/{name}").decode(errors="replace")
    words = listed.split("\0")
    rows = (words[start : start + len(fields)] for start in range(0, len(words) - 1, len(fields)))
    return tuple(tag for row in rows if (tag := _tag(*row)))


def _tag(kind: str, own: str, of_kind: str, of: str, name: str, *more: str) -> GitTag | None:
    """Return a tag of a commit; None for one of something else."""
    kind = kind.strip()  # the end of the line before
    if (kind, of_kind) == ("tag", "commit"):
        return GitTag(name, of, True, *more)
    return GitTag(name, own, False, "", "", "", "") if kind == "commit" else None


def annotated(folder: Path) -> tuple[GitTag, ...]:
    """Return the annotated tags of commits; a lightweight one can be moved, and counts for nothing."""
    return tuple(tag for tag in tags(folder) if tag.annotated)


def tag(folder: Path, name: str) -> GitTag | None:
    """Return an annotated tag of a commit; None if there is no such tag, or a lightweight one, or no repository."""
    try:
        return next((tag for tag in tags(folder, name) if tag.name == name and tag.annotated), None)
    except (OutsideError, FileNotFoundError):  # git is not installed
        return None


def landing(folder: Path, commit: str, branch: Trunk) -> str | None:
    """Return the commit of the trunk's line that brought a commit to the trunk; None for one that is not on it."""
    if commit in branch.line:
        return commit
    path = stdout(folder, "rev-list", "--ancestry-path", f"{commit}..{branch.tip}") or ""
    after = set(path.split())
    return next((candidate for candidate in reversed(branch.line) if candidate in after), None)


def with_prefix(folder: Path, prefix: str) -> tuple[str, ...]:
    """Return the commits whose hashes begin with these digits."""
    objects = stdout(folder, "rev-parse", f"--disambiguate={prefix}") or ""
    if not objects:
        return ()
    kinds = output(folder, "cat-file", "--batch-check", given=f"{objects}\n".encode()).decode().splitlines()
    return tuple(sorted(line.split(" ")[0] for line in kinds if line.split(" ")[1:2] == ["commit"]))


def dropped(folder: Path, branch: Trunk) -> tuple[str, ...]:
    """Return commits that the trunk had when this clone fetched it, and has no more: its history was rewritten."""
    ref = f"refs/remotes/{branch.ref}"
    tips = (stdout(folder, "rev-list", "--walk-reflogs", ref) or "").split()
    oldest = repository.resolve(folder, f"{ref}@{{{len(tips)}}}") if tips else None  # what the first entry replaced
    return outside(folder, tuple(dict.fromkeys(filter(None, (*tips, oldest)))), branch.tip)


def outside(folder: Path, hashes: Sequence[str], tip: str) -> tuple[str, ...]:
    """Return the commits among these that are not in the history of another one."""
    if not hashes:
        return ()
    given = "".join(f"{name}\n" for name in (*hashes, f"^{tip}")).encode()
    beyond = set(output(folder, "rev-list", "--stdin", given=given).decode().split())
    return tuple(name for name in hashes if name in beyond)
