"""GitLab, through python-gitlab: merge requests, issues, their notes, commit statuses, and the artifacts of jobs.

It waits by itself where it is asked to (429), which posts nothing twice; its other retries are off.
"""

import re
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from datetime import datetime
from typing import Any, Literal, TypeVar, cast

import requests
from gitlab import Gitlab
from gitlab.base import RESTObject
from gitlab.exceptions import GitlabError

from trunkline.adapters.forge.api import (
    TIMEOUT,
    BranchPullRequest,
    Comment,
    ForgeError,
    Guards,
    Issue,
    Merged,
    PullRequest,
    State,
    limited,
    meant,
    odd,
    plain,
    refused,
    unreachable,
)
from trunkline.core.errors import UserError

T = TypeVar("T")
MERGES, RULES = "the scope api and a role that may merge into the target", "the scope read_api and the role Developer"
NOBODY = 0  # an access level
API, READ = "the scope api and the role Developer", "the scope read_api"

_STATES = {"success": "success", "failure": "failed", "pending": "pending"}
_ODD = (AssertionError, AttributeError, LookupError, RuntimeError, TypeError, ValueError)


class GitLab:
    """A project on GitLab: `api` is the address of its REST API, ending in /api/v4."""

    def __init__(self, api: str, project: str, token: str, timeout: int = TIMEOUT) -> None:
        self._gitlab = Gitlab(api.removesuffix("/api/v4"), private_token=token, timeout=timeout, per_page=100)
        self._number = project
        self._project = self._gitlab.projects.get(project, lazy=True)

    def me(self) -> str:
        """Return the login that this token's notes have."""
        with _asking("who am I", READ):
            self._gitlab.auth()
            return str(self._gitlab.user.username) if self._gitlab.user else ""

    def pull_request(self, sha: str) -> PullRequest | None:
        """Return the open merge request whose head is this commit."""
        with _asking("merge requests", READ):
            opened = self._project.mergerequests.list(state="opened", iterator=True)
            matching = [PullRequest(request.iid, request.web_url) for request in opened if request.sha == sha]
        return min(matching, key=lambda pull: pull.number, default=None)

    def comments(self, number: int) -> tuple[Comment, ...]:
        """Return all notes on a merge request, oldest first."""
        with _asking(f"notes on !{number}", READ):
            return _comments(self._project.mergerequests.get(number, lazy=True))

    def create_comment(self, number: int, body: str) -> None:
        """Write a note on a merge request."""
        with _asking(f"note on !{number}", API):
            self._project.mergerequests.get(number, lazy=True).notes.create({"body": body})

    def update_comment(self, number: int, comment: int, body: str) -> None:
        """Replace the text of a note."""
        with _asking(f"note on !{number}", API):
            self._project.mergerequests.get(number, lazy=True).notes.update(comment, {"body": body})

    def issues(self, since: datetime) -> tuple[Issue, ...]:
        """Return all open issues, and the closed ones that were changed since then, the oldest first."""
        with _asking("issues", READ):
            opened = self._project.issues.list(state="opened", iterator=True)
            closed = self._project.issues.list(state="closed", updated_after=since.isoformat(), iterator=True)
            return tuple(sorted(map(_issue, (*opened, *closed)), key=lambda issue: issue.number))

    def create_issue(self, title: str, body: str) -> Issue:
        """Open an issue."""
        with _asking("issue", API):
            return _issue(self._project.issues.create({"title": title, "description": body}))

    def update_issue(self, number: int, title: str, body: str, *, is_open: bool) -> None:
        """Replace the texts of an issue, and close or reopen it where it is not as `is_open` says."""
        with _asking(f"issue #{number}", API):
            event = "reopen" if is_open else "close"  # neither changes what is so already
            self._project.issues.update(number, {"title": title, "description": body, "state_event": event})

    def issue_comments(self, number: int) -> tuple[Comment, ...]:
        """Return all notes on an issue, oldest first."""
        with _asking(f"notes on #{number}", READ):
            return _comments(self._project.issues.get(number, lazy=True))

    def create_issue_comment(self, number: int, body: str) -> None:
        """Write a note on an issue."""
        with _asking(f"note on #{number}", API):
            self._project.issues.get(number, lazy=True).notes.create({"body": body})

    def set_status(self, sha: str, context: str, state: State, description: str, url: str | None) -> None:
        """Set the status of this name on a commit."""
        more = {} if url is None else {"target_url": url}
        status = {"state": _STATES[state], "name": context, "description": description, **more}
        with _asking(f"status {context}", API):
            self._project.commits.get(sha, lazy=True).statuses.create(status)

    def artifact(self, run: int, name: str, limit: int) -> bytes:
        """Return the archive that the job of this name has left in a pipeline: that of its latest run."""
        what = f"artifacts of job {name} of pipeline {run}"
        with _asking(what, READ):
            jobs = self._project.pipelines.get(run, lazy=True).jobs.list(iterator=True)
            matching = [job.id for job in jobs if job.name == name]
            if not matching:
                raise UserError(f"{what}: there is no such job")
            return self._download(what, max(matching), limit)

    def open_pull_request(self, branch: str, base: str, title: str, body: str) -> PullRequest:
        """Open a merge request of a branch here, or bring the title and text of the open one up to date."""
        sides = {"source_branch": branch, "target_branch": base}
        with _asking(f"merge request of {branch}", API):
            opened = self._project.mergerequests.list(state="opened", iterator=True, **sides)
            own = [candidate for candidate in opened if candidate.source_project_id == candidate.target_project_id]
            request = min(own, key=lambda candidate: int(candidate.iid), default=None)
            text = {"title": title, "description": body}
            if request is None:
                request = self._project.mergerequests.create(sides | text)
            elif request.title != title or plain(request.description) != plain(body):
                self._project.mergerequests.update(request.iid, text)
            return PullRequest(request.iid, request.web_url)

    def pull_request_of(self, branch: str, base: str) -> BranchPullRequest | None:
        """Return the open merge request of a branch here into another one, or else the newest that there was."""
        with _asking(f"merge requests of {branch}", READ):
            sides = {"source_branch": branch, "target_branch": base}
            requests = self._project.mergerequests.list(state="all", iterator=True, **sides)
            own = [each for each in requests if each.source_project_id == each.target_project_id]
            request = max(own, key=lambda each: (each.state == "opened", int(each.iid)), default=None)
            if request is None:
                return None
            states: dict[str, Literal["open", "closed", "merged"]] = {"opened": "open", "merged": "merged"}
            state = states.get(request.state, "closed")
            return BranchPullRequest(request.iid, request.web_url, request.sha, request.description or "", state)

    def merge_when_ready(self, number: int, sha: str) -> bool:
        """Have a merge request merged as soon as its pipeline passes; tell whether it is merged already.

        Right after it is opened GitLab refuses, until it has looked for conflicts and has made the pipeline.
        """
        what = f"merge of !{number}"
        with _asking(what, MERGES):
            request = self._project.mergerequests.get(number)
            meant(what, request.sha, sha, closed=request.state not in ("opened", "merged"))
            if request.state == "merged" or request.merge_when_pipeline_succeeds:
                return bool(request.state == "merged")
            if not self._gitlab.projects.get(self._number).only_allow_merge_if_pipeline_succeeds:
                setting = "Settings → Merge requests → Pipelines must succeed"
                raise ForgeError(f"{what}: nothing is checked before a merge; switch on {setting}")
            try:
                # The second name is that of GitLab before 17.11.
                request.merge(sha=sha, auto_merge=True, merge_when_pipeline_succeeds=True)
            except GitlabError as error:
                if error.response_code not in (405, 406, 422):
                    raise
                raise ForgeError(str(_refused(what, error, MERGES)), passing=True) from None
            if request.state != "merged" and not request.merge_when_pipeline_succeeds:
                raise ForgeError(f"{what}: the forge has not taken it yet", passing=True)  # it may say 200 all the same
            return bool(request.state == "merged")

    def merged(self, sha: str, branch: str) -> Merged | None:
        """Return the merge request that brought a commit to this branch; None where none did, as by a push."""
        with _asking(f"merge request of {sha[:12]}", READ):
            try:
                listed = self._project.commits.get(sha, lazy=True).merge_requests(get_all=True)
            except GitlabError as error:
                if error.response_code != requests.codes.not_found or "Commit" not in str(error.error_message):
                    raise
                return None  # the forge does not have the commit
            keys = ("merge_commit_sha", "squash_commit_sha", "sha")
            matching = [
                request for request in listed if request["state"] == "merged" and request["target_branch"] == branch
            ]
            brought = min(
                matching, key=lambda request: (sha not in [request[key] for key in keys], request["iid"]), default=None
            )
            return None if brought is None else self._described(brought["iid"])

    def _described(self, number: int) -> Merged:
        request = self._project.mergerequests.get(number)
        author, merger = (
            request.author["username"],
            (request.attributes.get("merge_user") or {}).get("username", "ghost"),
        )
        given = request.approvals.get().approved_by
        approvers = {
            approval["user"]["username"] for approval in given if _is_of_head(approval.get("approved_at"), request)
        }
        return Merged(number, request.web_url, request.title, author, merger, tuple(sorted(approvers - {author})))

    def guards(self, branch: str, tag: str) -> Guards:
        """Return what protects a branch, and tags like this one.

        GitLab's one check is the pipeline. It lets maintainers delete a protected branch or tag all the same, though
        not by git.
        """
        with _asking(f"rules of {branch}", RULES):
            project = self._gitlab.projects.get(self._number)
            holding = _seen(lambda: _about(project.protectedbranches.list(get_all=True), branch))
            rules = _seen(lambda: project.approvalrules.list(get_all=True))
            tags = _seen(lambda: _about(project.protectedtags.list(get_all=True), tag))
            return Guards(
                pull_request_required=None if holding is None else bool(holding) and all(map(_closed, holding)),
                approvals=None if rules is None else _approvals(rules, branch),
                code_owners=None
                if holding is None
                else any(rule.attributes.get("code_owner_approval_required") for rule in holding),
                checks=("pipeline",) if project.only_allow_merge_if_pipeline_succeeds else (),
                force_push_blocked=None
                if holding is None
                else bool(holding) and not any(rule.allow_force_push for rule in holding),
                deletion_blocked=None if holding is None else bool(holding),
                tags_protected=None if tags is None else bool(tags),
            )

    def _download(self, what: str, job: int, limit: int) -> bytes:
        try:
            chunks = self._project.jobs.get(job, lazy=True).artifacts(streamed=True, iterator=True, chunk_size=65_536)
        except GitlabError as error:
            if error.response_code == requests.codes.not_found:
                raise UserError(f"{what}: there are none, or they have expired") from None
            raise
        return limited(cast("Iterator[bytes]", chunks), limit)


def _comments(noted: Any) -> tuple[Comment, ...]:
    """Return all notes that people and programs wrote on an issue or a merge request, oldest first."""
    notes = noted.notes.list(sort="asc", order_by="created_at", iterator=True)
    return tuple(Comment(note.id, note.author["username"], note.body) for note in notes if not note.system)


def _issue(issue: RESTObject) -> Issue:
    body, author = issue.description or "", issue.author["username"]
    return Issue(issue.iid, issue.web_url, issue.title, body, author, issue.state == "opened")


def _is_of_head(approved: str | None, request: Any) -> bool:
    """Tell whether an approval came after the commit that was merged, and before the merge.

    GitLab before 18 does not tell when it came: it counts where there has been one commit only.
    """
    versions = list(request.diffs.list(iterator=True))
    pushed = [_time(version.created_at) for version in versions if version.head_commit_sha == request.sha]
    if approved is None or not pushed:
        return len(versions) == len(pushed) == 1
    return min(pushed) <= _time(approved) <= _time(request.merged_at)


def _time(text: str) -> datetime:
    return datetime.fromisoformat(text)


def _about(rules: Iterable[RESTObject], name: str) -> list[RESTObject]:
    """Return the rules of protected branches or tags whose name, or pattern, is about this one."""
    return [rule for rule in rules if _matches(rule.name, name)]


def _matches(pattern: str, name: str) -> bool:
    return re.fullmatch(re.escape(pattern).replace(r"\*", ".*"), name) is not None


def _closed(rule: RESTObject) -> bool:
    return all(level["access_level"] == NOBODY for level in rule.push_access_levels)


def _approvals(rules: Iterable[RESTObject], branch: str) -> int:
    """Return how many approvals a merge into a branch takes; one person may satisfy several rules."""
    counts = []
    for rule in rules:
        names = [protected["name"] for protected in rule.protected_branches]
        everywhere = not names and not rule.attributes.get("applies_to_all_protected_branches")
        if everywhere or any(_matches(name, branch) for name in names):
            counts.append(int(rule.approvals_required))
    return max(counts, default=0)


def _seen(call: Callable[[], T]) -> T | None:
    """Return what is there, or None where the token, or this edition of GitLab, does not show it."""
    try:
        return call()
    except GitlabError as error:
        if error.response_code not in (403, 404):
            raise
        return None


@contextmanager
def _asking(what: str, needs: str) -> Iterator[None]:
    """Turn what python-gitlab raises into a ForgeError."""
    try:
        yield
    except GitlabError as error:
        raise _refused(what, error, needs) from None
    except requests.RequestException as error:
        raise unreachable(what, error) from None
    except _ODD as error:
        raise odd(what, error) from None


def _refused(what: str, error: GitlabError, needs: str) -> ForgeError:
    return refused(what, error.response_code or 0, error.error_message, needs)
