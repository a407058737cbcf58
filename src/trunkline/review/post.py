"""The one comment of a pull request, recognized by its hidden marker and its author, and kept up to date.

The marker alone proves nothing, since anybody can write it. The comments are read first, so that repeating the call
after a failure changes nothing that is already done.
"""

from dataclasses import dataclass
from typing import Literal

from trunkline.adapters.forge.api import Comment, Forge
from trunkline.show.text import address

MARKER = "<!-- trunkline:report -->"  # of what is posted alone: a copy of the text that others post is not ours
PREVIEW = "<!-- trunkline:preview -->"  # a line of its own, which no text of others can be; the foot ends it
_NO_REVIEW = "## ⚠️ No review"


@dataclass(frozen=True)
class Posted:
    """What happened to the comment, its address, and how many more of ours there are, which there should not be.

    stale: the commit is not, or no longer, the head of a pull request, so nothing is posted.
    """

    what: Literal["created", "updated", "unchanged", "stale"]
    url: str = ""
    more: int = 0


def post(forge: Forge, sha: str, body: str, *, write: bool = True) -> Posted:
    """Put the comment on the pull request whose head is this commit; without `write`, say what would be done.

    To be called again after a ForgeError. The head is looked up each time: it moves while one waits.
    """
    pull = forge.pull_request(sha)
    return Posted("stale") if pull is None else upsert(forge, pull.number, pull.url, body, write=write)


def post_notice(forge: Forge, sha: str, url: str | None, *, write: bool = True) -> Posted:
    """Post that a run has left no review, unless the comment is a review of the same commit already."""
    pull = forge.pull_request(sha)
    if pull is None:
        return Posted("stale")
    ours = mine(forge.comments(pull.number), forge.me())
    if ours and f"\n---\n{_foot(sha)}" in ours[0].body.replace("\r\n", "\n") and _NO_REVIEW not in ours[0].body:
        return Posted("unchanged", pull.url, len(ours) - 1)
    return upsert(forge, pull.number, pull.url, notice(sha, url), write=write)


def attach(forge: Forge, sha: str, section: str, *, write: bool = True) -> Posted:
    """Put a section, or another one in its place, at the end of the comment that a commit has.

    A commit that is no pull request's head any more, or whose comment is of another one, is left alone.
    """
    pull = forge.pull_request(sha)
    if pull is None:
        return Posted("stale")
    ours = mine(forge.comments(pull.number), forge.me())
    above, foot, rest = ours[0].body.replace("\r\n", "\n").rpartition(f"\n---\n{_foot(sha)}") if ours else ("", "", "")
    if not foot:
        return Posted("stale")
    above = above.partition(f"\n{PREVIEW}\n")[0].rstrip()
    return upsert(forge, pull.number, pull.url, f"{above}\n\n{PREVIEW}\n{section}\n{foot}{rest}", write=write)


def upsert(forge: Forge, number: int, url: str, body: str, *, write: bool) -> Posted:
    """Update our comment if its text differs, or create it."""
    ours = mine(forge.comments(number), forge.me())
    if not ours:
        if write:
            forge.create_comment(number, body)
        return Posted("created", url)
    if _text(ours[0].body) == _text(body):
        return Posted("unchanged", url, len(ours) - 1)
    if write:
        forge.update_comment(number, ours[0].id, body)
    return Posted("updated", url, len(ours) - 1)


def mine(comments: tuple[Comment, ...], me: str) -> tuple[Comment, ...]:
    """Return the comments that begin with the marker and that we have written."""
    return tuple(comment for comment in comments if comment.author == me and comment.body.startswith(MARKER))


def signed(markdown: str, sha: str, url: str | None) -> str:
    """Return a comment with its marker and its foot: the commit and the run that it is of."""
    run = "" if url is None else f", from [this run]({address(url)})"
    return f"{MARKER}\n{markdown}\n---\n{_foot(sha)}{run}.\n"


def _foot(sha: str) -> str:
    return f"Of commit {sha}"


def notice(sha: str, url: str | None) -> str:
    """Return the comment for a run whose review cannot be read; nothing in it is of that run."""
    text = "The run left no review that can be read: see the run's log."
    return signed(f"{_NO_REVIEW}\n\n{text}\n", sha, url)


def _text(body: str) -> str:
    return body.replace("\r\n", "\n").strip()  # forges keep neither line ends nor what is at the ends
