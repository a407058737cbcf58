"""Where a commit is in the trunk's history, and what every tag says; a few processes of git, however long it is."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from trunkline.adapters.git import repository
from trunkline.adapters.git.process import output, told
from trunkline.adapters.git.repository import Landed
from trunkline.core.errors import UserError


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
class Tagged:
    """A tag of a commit: its name, and if it is annotated, who made it when (ISO 8601), and its message."""

    name: str
    commit: str
    annotated: bool
    tagger: str
    date: str
    message: str


def tags(folder: Path) -> tuple[Tagged, ...]:
    """Return all tags of commits."""
    of = ("objecttype", "objectname", "*objecttype", "*objectname")
    fields = (*of, "refname:strip=2", "taggername", "taggerdate:iso-strict", "contents")
    layout = "".join(f"%({field})%00" for field in fields)
    words = output(folder, "for-each-ref", f"--format={layout}", "refs/tags").decode(errors="replace").split("\0")
    rows = [words[place : place + len(fields)] for place in range(0, len(words) - 1, len(fields))]
    found = []
    for kind, commit, of_kind, of_commit, name, tagger, date, message in rows:
        kinds = (kind.strip(), of_kind)
        if kinds == ("tag", "commit"):
            found.append(Tagged(name, of_commit, True, tagger, date, message.removesuffix("\n")))
        elif kinds[0] == "commit":
            found.append(Tagged(name, commit, False, "", "", ""))
    return tuple(found)


def commits(folder: Path, hashes: Iterable[str]) -> dict[str, Landed]:
    """Return commits by their hashes."""
    wanted = "".join(f"{one}\n" for one in hashes).encode()
    if not wanted:
        return {}
    fields = ("-z", "--format=%H%x00%an%x00%cI%x00%B")
    chosen = ("--stdin", "--no-walk=unsorted", "--no-show-signature", "--encoding=UTF-8")
    words = output(folder, "log", *chosen, *fields, given=wanted).decode(errors="replace").split("\0")
    rows = [Landed(*words[place : place + 4]) for place in range(0, len(words) - 3, 4)]
    return {row.hash: row for row in rows}


def landing(folder: Path, commit: str, found: Trunk) -> str | None:
    """Return the commit of the trunk's line that brought a commit to the trunk; None for one that is not on it."""
    if commit in found.line:
        return commit
    path = told(folder, "rev-list", "--ancestry-path", f"{commit}..{found.tip}") or ""
    after = set(path.split())
    return next((one for one in reversed(found.line) if one in after), None)


def beginning(folder: Path, prefix: str) -> tuple[str, ...]:
    """Return the commits whose hashes begin with these digits."""
    objects = told(folder, "rev-parse", f"--disambiguate={prefix}") or ""
    if not objects:
        return ()
    kinds = output(folder, "cat-file", "--batch-check", given=f"{objects}\n".encode()).decode().splitlines()
    return tuple(sorted(line.split(" ")[0] for line in kinds if line.split(" ")[1:2] == ["commit"]))


def dropped(folder: Path, found: Trunk) -> tuple[str, ...]:
    """Return commits that the trunk had when this clone fetched it, and has no more: its history was rewritten."""
    ref = f"refs/remotes/{found.ref}"
    tips = (told(folder, "rev-list", "--walk-reflogs", ref) or "").split()
    oldest = repository.resolve(folder, f"{ref}@{{{len(tips)}}}") if tips else None  # what the first entry replaced
    return strangers(folder, tuple(dict.fromkeys(filter(None, (*tips, oldest)))), found.tip)


def strangers(folder: Path, hashes: Sequence[str], tip: str) -> tuple[str, ...]:
    """Return the commits among these that are not in the history of another one."""
    if not hashes:
        return ()
    given = "".join(f"{one}\n" for one in (*hashes, f"^{tip}")).encode()
    beyond = set(output(folder, "rev-list", "--stdin", given=given).decode().split())
    return tuple(one for one in hashes if one in beyond)
