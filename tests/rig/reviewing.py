"""Who must agree before a merge: reviews of people who may push, and owners of what changes."""

import re
from collections.abc import Iterator
from typing import TYPE_CHECKING

from tests.rig.workflow import pattern

if TYPE_CHECKING:
    from tests.rig.state import Pull, State

WRITERS = ("admin", "maintain", "write")
PLACES = (".github/CODEOWNERS", "CODEOWNERS", "docs/CODEOWNERS")


def standing(state: "State", pull: "Pull") -> dict[str, str]:
    """Return the last word of each person who may push and is not the author; a comment is no word."""
    last = {
        record.user: record.content["state"] for record in state.of("review", pull.number) if spoken(record.content)
    }
    return {user: word for user, word in last.items() if state.permissions.get(user) in WRITERS and user != pull.user}


def spoken(content: dict[str, str]) -> bool:
    """Tell whether a review says yes or no."""
    return content["state"] not in ("COMMENTED", "PENDING")


def unreviewed(state: "State", pull: "Pull") -> Iterator[str]:
    """Yield what a pull request misses in reviews."""
    protection = state.protections.get(pull.base_ref)
    if protection is None:
        return
    words = standing(state, pull)
    yes = {user for user, word in words.items() if word == "APPROVED"}
    if len(yes) < protection.approvals:
        yield f"At least {protection.approvals} approving review is required by reviewers with write access."
    if protection.approvals and "CHANGES_REQUESTED" in words.values():
        yield "A review that requests changes is not answered."
    changed = state.upstream.changed(state.upstream.base_of(pull.base_sha, pull.head_sha), pull.head_sha)
    for path in changed if protection.code_owners else ():
        owning = owners(declared(state, pull.base_sha), path)
        if owning and not owning & yes:
            yield f"Waiting on code owner review from {', '.join(sorted(owning))}."


def declared(state: "State", sha: str) -> str:
    """Return the file that names owners; the base's own, so that a pull request does not choose its reviewers."""
    found = (place for place in PLACES if state.upstream.files(sha, place))
    return next((state.upstream.text(sha, place) for place in found), "")


def owners(text: str, path: str) -> set[str]:
    """Return who owns a path: the last line that matches decides, and one that names nobody takes it from all."""
    found: set[str] = set()
    for line in text.splitlines():
        glob, *names = line.partition("#")[0].split() or [""]
        if glob and owned(glob, path):
            found = {name.removeprefix("@") for name in names}
    return found


def owned(glob: str, path: str) -> bool:
    """Tell whether a pattern of CODEOWNERS is about a path: as in .gitignore, a folder stands for all in it."""
    anchored = glob if "/" in glob.rstrip("/") else f"**/{glob}"
    stem = anchored.strip("/")
    below = f"{stem}/**"
    whole = () if glob.endswith("/") else (stem,)
    last = stem.rpartition("/")[2]
    # `docs/*` is about the files of a folder and not those further down.
    globs = whole if last == "*" and anchored == glob else (*whole, below)
    return any(re.fullmatch(pattern(each), path) for each in globs)
