"""What a forge remembers: pull requests, comments, checks, runs and artifacts, in memory and for one test.

Time is a counter, so that a test sees the same bytes each time it runs.
"""

import secrets
import threading
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from typing import Any

from tests.rig.repository import Repository
from tests.rig.reviewing import unreviewed

LEVELS = ("none", "read", "write")
GREEN = ("success", "neutral", "skipped")


@dataclass(frozen=True)
class Token:
    """Who calls and what they may do. A job's token belongs to a run; a person's does not."""

    user: str
    permissions: Mapping[str, str]
    run: int | None = None
    everything: bool = False

    def allows(self, scope: str) -> bool:
        """Tell whether `issues:write`, say, is among the permissions."""
        name, _, level = scope.partition(":")
        held = self.permissions.get(name, "read" if name == "metadata" else "none")
        return self.everything or LEVELS.index(held) >= LEVELS.index(level)


@dataclass
class Pull:
    """A pull request; its head may be in a fork. `auto` is with whose rights it is merged when it is ready."""

    number: int
    title: str
    head: Repository
    head_ref: str
    base_ref: str
    user: str
    created: str
    body: str = ""
    head_sha: str = ""
    base_sha: str = ""
    merge_sha: str | None = None
    state: str = "open"
    merged: bool = False
    merged_at: str | None = None
    merged_by: str | None = None
    auto: "Token | None" = None
    labels: list[str] = field(default_factory=list)


@dataclass
class Record:
    """Something with a number and a time; `at` is what it belongs to: a commit, an issue, a run."""

    id: int
    at: Any
    created: str
    user: str
    content: dict[str, Any]
    updated: str = ""


@dataclass
class Issue:
    """An issue, which has its number among those of pull requests."""

    number: int
    title: str
    user: str
    created: str
    body: str = ""
    state: str = "open"
    updated: str = ""


@dataclass
class Run:
    """One run of a workflow."""

    id: int
    name: str
    path: str
    event: str
    head_sha: str
    head_branch: str
    head_repository: str
    actor: str
    pulls: list[int]
    created: str
    attempt: int = 1
    status: str = "queued"
    conclusion: str | None = None


@dataclass(frozen=True)
class Event:
    """Something that workflows may react to; those that a job's own token caused never become one."""

    name: str
    action: str = ""
    pull: Pull | None = None
    ref: str = ""
    before: str = ""
    after: str = ""
    run: Run | None = None
    actor: str = "maintainer"
    label: str = ""
    workflow: str = ""
    inputs: Mapping[str, str] = field(default_factory=dict)

    @property
    def target(self) -> str:
        """Return the branch that filters of branches are about; a tag has none."""
        if self.pull is not None:
            return self.pull.base_ref
        if self.run is not None:
            return self.run.head_branch
        branch = self.ref.removeprefix("refs/heads/")
        return branch.split("/")[1] if branch.startswith("gh-readonly-queue/") else branch


@dataclass(frozen=True)
class Protection:
    """What a branch asks of a pull request before it may be merged: by a ruleset, or `classic`, the older way."""

    contexts: tuple[str, ...]
    up_to_date: bool = False
    approvals: int = 0
    code_owners: bool = False
    dismiss_stale: bool = False
    classic: bool = False


class State:
    """All that the forge knows, behind one lock."""

    def __init__(self, folder: Path, name: str = "acme/model") -> None:
        self.lock = threading.RLock()
        self.folder = folder
        self.upstream = Repository.create(folder, name)
        self.repositories = {name: self.upstream}
        self.pulls: dict[int, Pull] = {}
        self.issues: dict[int, Issue] = {}
        self.runs: dict[int, Run] = {}
        self.records: dict[str, list[Record]] = {}
        self.tokens: dict[str, Token] = {}
        self.protections: dict[str, Protection] = {}
        self.tag_rules: list[str] = []
        self.bypass: set[str] = set()  # the ruleset's bypass list: who may push to a protected branch
        self.auto_merge_allowed = False  # as in a new repository
        self.actions_open_pulls = False  # the same
        self.permissions = {"maintainer": "admin"}
        self.listeners: list[Callable[[Event], None]] = []
        self._ids = count(1)
        self._numbers = count(1)
        self._seconds = count(1)

    def now(self) -> str:
        """Return a time that is later than all before."""
        second = next(self._seconds)
        return f"2026-01-01T{second // 3600:02}:{second // 60 % 60:02}:{second % 60:02}Z"

    def grant(self, user: str, permissions: Mapping[str, str], run: int | None = None) -> str:
        """Return a new token with exactly these permissions."""
        return self._issue(Token(user, dict(permissions), run))

    def person(self, user: str) -> str:
        """Return a token with which a person may do everything."""
        return self._issue(Token(user, {}, everything=True))

    def _issue(self, token: Token) -> str:
        secret = f"ghs_{secrets.token_hex(16)}"
        with self.lock:
            self.tokens[secret] = token
        return secret

    def add(self, kind: str, at: Any, user: str, content: dict[str, Any]) -> Record:
        """Remember something new."""
        with self.lock:
            record = Record(next(self._ids), at, self.now(), user, content)
            record.updated = record.created
            self.records.setdefault(kind, []).append(record)
            return record

    def of(self, kind: str, at: Any = None) -> list[Record]:
        """Return what is remembered of a kind, the oldest first."""
        with self.lock:
            return [record for record in self.records.get(kind, []) if at is None or record.at == at]

    def find(self, kind: str, number: int) -> Record | None:
        """Return what has this number."""
        return next((record for record in self.of(kind) if record.id == number), None)

    def new_run(self, **known: Any) -> Run:
        """Begin a run of a workflow."""
        with self.lock:
            run = Run(id=next(self._ids), created=self.now(), **known)
            self.runs[run.id] = run
            return run

    def open_pull(
        self, title: str, head: Repository, head_ref: str, base_ref: str, *, user: str, body: str = ""
    ) -> Pull:
        """Open a pull request, with its refs."""
        with self.lock:
            pull = Pull(next(self._numbers), title, head, head_ref, base_ref, user, self.now(), body)
            self.pulls[pull.number] = pull
            self.refresh(pull)
            return pull

    def open_issue(self, title: str, body: str, user: str) -> Issue:
        """Open an issue."""
        with self.lock:
            now = self.now()
            issue = Issue(next(self._numbers), title, user, now, body, updated=now)
            self.issues[issue.number] = issue
            return issue

    def refresh(self, pull: Pull) -> bool:
        """Bring a pull request's refs up to its branches; tell whether its head moved."""
        head, base = pull.head.sha(f"refs/heads/{pull.head_ref}"), self.upstream.sha(f"refs/heads/{pull.base_ref}")
        if pull.state != "open" or head is None or base is None or (head, base) == (pull.head_sha, pull.base_sha):
            return False
        moved = head != pull.head_sha
        protection = self.protections.get(pull.base_ref)
        if moved and protection and protection.dismiss_stale:
            self.dismiss(pull)
        self.upstream.take(pull.head.path, head)
        self.upstream.point(f"refs/pull/{pull.number}/head", head)
        pull.head_sha, pull.base_sha = head, base
        pull.merge_sha = self.upstream.merge(base, head, f"Merge {head} into {base}")
        self.upstream.point(f"refs/pull/{pull.number}/merge", pull.merge_sha)
        return moved

    def dismiss(self, pull: Pull) -> None:
        """Take back every approval of a pull request."""
        for record in self.of("review", pull.number):
            if record.content["state"] == "APPROVED":
                record.content["state"] = "DISMISSED"

    def moved(self, repository: Repository, before: dict[str, str], token: Token) -> None:
        """React to refs that a push changed: pull requests follow, and workflows hear of it."""
        after = repository.refs()
        changed = [ref for ref in sorted(before.keys() | after.keys()) if before.get(ref) != after.get(ref)]
        with self.lock:
            pushed = [pull for pull in self.pulls.values() if pull.head == repository and self.refresh(pull)]
            for pull in self.pulls.values():
                self.refresh(pull)
        if token.run is not None:
            return
        zero = "0" * 40
        for ref in changed if repository == self.upstream else ():
            self.tell(Event("push", "", None, ref, before.get(ref, zero), after.get(ref, zero), actor=token.user))
        for pull in pushed:
            self.tell(Event("pull_request", "synchronize", pull, actor=token.user))

    def land(self, pull: Pull, token: Token) -> str:
        """Merge a pull request into its base."""
        assert pull.merge_sha is not None
        before = self.upstream.refs()
        message = f"Merge pull request #{pull.number} from {pull.head.name}/{pull.head_ref}"
        sha = self.upstream.merge(pull.base_sha, pull.head_sha, message)
        assert sha is not None
        self.close(pull, sha, token.user)
        self.upstream.point(f"refs/heads/{pull.base_ref}", sha)
        self.moved(self.upstream, before, token)
        return sha

    def close(self, pull: Pull, sha: str, user: str) -> None:
        """Remember that a pull request is merged, as this commit and by this user."""
        pull.state, pull.merged, pull.merge_sha, pull.auto = "closed", True, sha, None
        pull.merged_at, pull.merged_by = self.now(), user
        self.upstream.point(f"refs/pull/{pull.number}/merge", None)

    def advance(self) -> None:
        """Merge what was to be merged when it is ready, and is."""
        with self.lock:
            for pull in list(self.pulls.values()):
                if pull.state == "open" and pull.auto is not None and not [*self.refusals(pull)]:
                    self.land(pull, pull.auto)

    def tell(self, event: Event) -> None:
        """Let the listeners know."""
        for listener in self.listeners:
            listener(event)

    def verdicts(self, sha: str) -> dict[str, str]:
        """Return the newest verdict of each check and each status on a commit."""
        found = {}
        for record in self.of("check", sha):
            found[record.content["name"]] = record.content.get("conclusion") or "pending"
        for record in self.of("status", sha):
            found[record.content["context"]] = record.content["state"]
        return found

    def refusals(self, pull: Pull) -> Iterator[str]:
        """Yield why a pull request cannot be merged."""
        yield from self.wanting(pull.base_ref, pull.head_sha)
        yield from unreviewed(self, pull)
        if pull.merge_sha is None:
            yield "This branch has conflicts that must be resolved."

    def wanting(self, base_ref: str, sha: str) -> Iterator[str]:
        """Yield what a protected branch misses on a commit."""
        protection = self.protections.get(base_ref)
        verdicts = self.verdicts(sha)
        for context in protection.contexts if protection else ():
            if context not in verdicts or verdicts[context] == "pending":
                yield f'Required status check "{context}" is expected.'
            elif verdicts[context] not in GREEN:
                yield f'Required status check "{context}" is failing.'
        if protection and protection.up_to_date and not self.upstream.contains(sha, f"refs/heads/{base_ref}"):
            yield "Head branch is not up to date with the base branch."
