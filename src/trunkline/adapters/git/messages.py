"""What a commit of the trunk brought, by its message: the pull request, as each forge writes it. Pure."""

import re
from dataclasses import dataclass

_GITHUB_MERGE = re.compile(r"Merge pull request #(\d{1,9}) from ")
_GITHUB_SQUASH = re.compile(r"(.*\S)\s+\(#(\d{1,9})\)")
_GITLAB = re.compile(r"^See merge request \S*!(\d{1,9})$", re.MULTILINE)
_GITLAB_MERGE = "Merge branch '"


@dataclass(frozen=True)
class LandedCommit:
    """A commit of the trunk, its title, and the reference of its pull request, if it has one: #12, or !12 on GitLab."""

    commit: str
    title: str
    reference: str | None

    @property
    def number(self) -> int | None:
        """Number of the pull request."""
        return int(self.reference[1:]) if self.reference else None


def landed(commit: str, message: str) -> LandedCommit:
    """Read a commit's message; the title of a merge is that of its pull request, where the message has it."""
    subject, *rest = message.strip().splitlines() or [""]
    body = next((line.strip() for line in rest if line.strip()), subject)
    match = _GITHUB_MERGE.match(subject)
    if match:
        return LandedCommit(commit, body, f"#{match[1]}")
    match = _GITLAB.search(message)
    if match:
        return LandedCommit(commit, body if subject.startswith(_GITLAB_MERGE) else subject, f"!{match[1]}")
    match = _GITHUB_SQUASH.fullmatch(subject)
    return LandedCommit(commit, match[1], f"#{match[2]}") if match else LandedCommit(commit, subject, None)
