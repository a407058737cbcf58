"""What a commit of the trunk brought, by its message: the pull request, as each forge writes it. Pure."""

import re
from dataclasses import dataclass

_GITHUB_MERGE = re.compile(r"Merge pull request #(\d{1,9}) from ")
_GITHUB_SQUASH = re.compile(r"(.*\S)\s+\(#(\d{1,9})\)")
_GITLAB = re.compile(r"^See merge request \S*!(\d{1,9})$", re.MULTILINE)
_GITLAB_MERGE = "Merge branch '"


@dataclass(frozen=True)
class Brought:
    """A commit of the trunk, its title, and the reference of its pull request, if it has one: #12, or !12 on GitLab."""

    commit: str
    title: str
    reference: str | None

    @property
    def number(self) -> int | None:
        """Number of the pull request."""
        return int(self.reference[1:]) if self.reference else None


def brought(commit: str, message: str) -> Brought:
    """Read a commit's message; the title of a merge is that of its pull request, where the message has it."""
    subject, *rest = message.strip().splitlines() or [""]
    body = next((line.strip() for line in rest if line.strip()), subject)
    found = _GITHUB_MERGE.match(subject)
    if found:
        return Brought(commit, body, f"#{found[1]}")
    found = _GITLAB.search(message)
    if found:
        return Brought(commit, body if subject.startswith(_GITLAB_MERGE) else subject, f"!{found[1]}")
    found = _GITHUB_SQUASH.fullmatch(subject)
    return Brought(commit, found[1], f"#{found[2]}") if found else Brought(commit, subject, None)
