"""GitHub, through PyGithub.

Its own retries are off, since they would post a comment twice. An artifact is fetched past it: it reads a whole file
into memory, and refuses the storage that GitHub redirects to.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Any, Literal
from urllib.parse import quote

import requests
from github import Auth, Github
from github.GithubException import BadAttributeException, GithubException
from github.PullRequest import PullRequest as Pull

from trunkline.adapters.forge import github_rules
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

PULLS, ISSUES, STATUSES, ACTIONS = "pull-requests: read", "pull-requests: write", "statuses: write", "actions: read"
OPENS = "pull-requests: write, and to be a person's or an app's, since what a workflow's own token opens is not checked"
READS_ISSUES, WRITES_ISSUES = "issues: read", "issues: write, and the repository to have issues"
MERGES, RULES = "contents: write and pull-requests: write", "contents: read"
DESCRIPTION = 140  # characters that a status may have
PAGE = 100
WRITERS = ("admin", "write")

_STATUS = {"FORBIDDEN": 403, "INSUFFICIENT_SCOPES": 403, "RATE_LIMITED": 429}  # what GraphQL says with status 200
_ABSENT = (404, 405, 410, 501)
_ODD = (AssertionError, AttributeError, BadAttributeException, LookupError, RuntimeError, TypeError, ValueError)


class GitHub:
    """A repository on GitHub or GitHub Enterprise: `api` is the address of its REST API, `repository` owner/name."""

    def __init__(self, api: str, repository: str, token: str, timeout: int = TIMEOUT) -> None:
        self._name, self._token, self._timeout = repository, token, timeout
        self._github = Github(
            base_url=api,
            auth=Auth.Token(token),
            timeout=timeout,
            retry=None,
            per_page=100,
            seconds_between_requests=None,
            seconds_between_writes=None,
            lazy=True,
        )
        self._repository = self._github.get_repo(repository)

    def me(self) -> str:
        """Return the login that this token's comments have.

        A workflow's token is an app's and has no user in the REST API; GraphQL's viewer answers any token. Where a
        server or a gateway has no GraphQL, the REST API answers for a person's token.
        """
        with _asking("who am I", "to be valid"):
            try:
                _, answer = self._github.requester.graphql_query("query { viewer { login } }", {})
            except GithubException as error:
                if error.status not in _ABSENT:
                    raise
                return str(self._github.get_user().login)
            return str(answer["data"]["viewer"]["login"])

    def pull_request(self, sha: str) -> PullRequest | None:
        """Return the open pull request whose head is this commit.

        All open ones are looked at: the pull requests of a commit do not name those of forks.
        """
        with _asking("pull requests", PULLS):
            opened = self._repository.get_pulls(state="open")
            matching = [PullRequest(pull.number, pull.html_url) for pull in opened if pull.head.sha == sha]
        return min(matching, key=lambda pull: pull.number, default=None)

    def comments(self, number: int) -> tuple[Comment, ...]:
        """Return all comments on a pull request, oldest first."""
        with _asking(f"comments on #{number}", PULLS):
            comments = self._repository.get_issue(number).get_comments()
            return tuple(
                Comment(comment.id, comment.user.login if comment.user else "", comment.body or "")
                for comment in comments
            )

    def create_comment(self, number: int, body: str) -> None:
        """Comment on a pull request."""
        with _asking(f"comment on #{number}", ISSUES):
            self._repository.get_issue(number).create_comment(body)

    def update_comment(self, number: int, comment: int, body: str) -> None:
        """Replace the text of a comment."""
        with _asking(f"comment on #{number}", ISSUES):
            self._repository.get_issue(number).get_comment(comment).edit(body)

    def issues(self, since: datetime) -> tuple[Issue, ...]:
        """Return all open issues, and the closed ones that were changed since then, the oldest first.

        Read past PyGithub, which asks for each one again; a pull request is among them, and has a key of that name.
        """
        with _asking("issues", READS_ISSUES):
            opened = self._pages("issues?state=open")
            closed = self._pages(f"issues?state=closed&since={since.astimezone(UTC):%Y-%m-%dT%H:%M:%SZ}")
            return tuple(
                Issue(
                    each["number"], each["html_url"], each["title"], each["body"] or "",
                    each["user"]["login"] if each["user"] else "", each["state"] == "open",
                )
                for each in sorted(opened + closed, key=lambda each: int(each["number"]))
                if "pull_request" not in each
            )  # fmt: skip

    def create_issue(self, title: str, body: str) -> Issue:
        """Open an issue."""
        with _asking("issue", WRITES_ISSUES):
            issue = self._repository.create_issue(title=title, body=body)
            return Issue(issue.number, issue.html_url, issue.title, body, _login(issue.user), open=True)

    def update_issue(self, number: int, title: str, body: str, *, is_open: bool) -> None:
        """Replace the texts of an issue, and close or reopen it where it is not as `is_open` says."""
        with _asking(f"issue #{number}", WRITES_ISSUES):
            state = "open" if is_open else "closed"
            self._repository.get_issue(number).edit(title=title, body=body, state=state)

    def issue_comments(self, number: int) -> tuple[Comment, ...]:
        """Return all comments on an issue, oldest first."""
        return self.comments(number)

    def create_issue_comment(self, number: int, body: str) -> None:
        """Comment on an issue."""
        with _asking(f"comment on #{number}", WRITES_ISSUES):
            self._repository.get_issue(number).create_comment(body)

    def set_status(self, sha: str, context: str, state: State, description: str, url: str | None) -> None:
        """Set the check of this name on a commit."""
        more = {} if url is None else {"target_url": url}
        with _asking(f"check {context}", STATUSES):
            self._repository.get_commit(sha).create_status(
                state, description=description[:DESCRIPTION], context=context, **more
            )

    def artifact(self, run: int, name: str, limit: int) -> bytes:
        """Return the zip archive of this name that a run has left: that of its latest attempt."""
        what = f"artifact {name} of run {run}"
        with _asking(what, ACTIONS):
            matching = [
                artifact for artifact in self._repository.get_workflow_run(run).get_artifacts() if artifact.name == name
            ]
            latest = max(matching, key=lambda artifact: artifact.id, default=None)
            if latest is None or latest.expired:
                raise UserError(f"{what}: {'there is none' if latest is None else 'it has expired'}")
            return self._download(what, latest.archive_download_url, limit)

    def open_pull_request(self, branch: str, base: str, title: str, body: str) -> PullRequest:
        """Open a pull request of a branch here, or bring the title and text of the open one up to date."""
        with _asking(f"pull request of {branch}", OPENS):
            opened = self._repository.get_pulls(
                state="open", head=f"{self._name.partition('/')[0]}:{branch}", base=base
            )
            pull = next(iter(opened), None)
            if pull is None:
                pull = self._repository.create_pull(base=base, head=branch, title=title, body=body)
            elif pull.title != title or plain(pull.body) != plain(body):
                pull.edit(title=title, body=body)
            return PullRequest(pull.number, pull.html_url)

    def pull_request_of(self, branch: str, base: str) -> BranchPullRequest | None:
        """Return the open pull request of a branch here into another one, or else the newest that there was."""
        with _asking(f"pull requests of {branch}", PULLS):
            head = f"{self._name.partition('/')[0]}:{branch}"
            pulls = self._repository.get_pulls(state="all", head=head, base=base)
            pull = max(pulls, key=lambda each: (each.state == "open", each.number), default=None)
            if pull is None:
                return None
            state: Literal["open", "closed", "merged"] = "open" if pull.state == "open" else "closed"
            state = "merged" if pull.merged_at is not None else state
            return BranchPullRequest(pull.number, pull.html_url, pull.head.sha, pull.body or "", state)

    def merge_when_ready(self, number: int, sha: str) -> bool:
        """Have a pull request merged as soon as all that is required is there; tell whether it is merged already."""
        what = f"merge of #{number}"
        with _asking(what, MERGES):
            pull = self._repository.get_pull(number)
            meant(what, pull.head.sha, sha, closed=pull.state != "open" and not pull.merged)
            if pull.merged or pull.auto_merge is not None:
                return pull.merged
            if not github_rules.required_checks(*self._rules(pull.base.ref)):
                reason = f"nothing is checked before a merge into {pull.base.ref}; require a check in its ruleset"
                raise ForgeError(f"{what}: {reason}")
            try:
                pull.enable_automerge("MERGE", expected_head_oid=sha)
            except GithubException as error:
                return self._merged_at_once(what, pull, error)
            return False

    def _merged_at_once(self, what: str, pull: Pull, error: GithubException) -> bool:
        """Merge what has nothing to wait for, which is why auto-merge is refused; raise for another reason."""
        said = _said(error)
        if "not allowed for this repository" in said:
            raise ForgeError(f"{what}: auto-merge is off; switch on Settings → General → Allow auto-merge") from None
        if "clean status" not in said and "unstable status" not in said:
            raise error
        try:
            return pull.merge(merge_method="merge", sha=pull.head.sha).merged
        except GithubException as late:
            if late.status != requests.codes.not_allowed:
                raise
            raise ForgeError(str(_refused(what, late, MERGES)), passing=True) from None

    def merged(self, sha: str, branch: str) -> Merged | None:
        """Return the pull request that brought a commit to this branch; None where none did, as by a push."""
        with _asking(f"pull request of {sha[:12]}", PULLS):
            try:
                pulls = list(self._repository.get_commit(sha).get_pulls())
            except GithubException as error:
                if error.status != requests.codes.unprocessable_entity:
                    raise
                return None  # the forge does not have the commit
            matching = [pull for pull in pulls if pull.merged_at is not None and pull.base.ref == branch]
            # Of several that hold it, the one that ended in it, or else the first.
            brought = min(matching, key=lambda pull: (pull.merge_commit_sha != sha, pull.number), default=None)
            return None if brought is None else self._described(brought)

    def _described(self, pull: Pull) -> Merged:
        people = {"author": _login(pull.user), "merged_by": _login(pull.merged_by)}
        others = {login for login in _approvers(pull) if login != people["author"]}
        approvers = tuple(sorted(login for login in others if self._permission(login) in WRITERS))
        return Merged(pull.number, pull.html_url, pull.title, **people, approvers=approvers)

    def _permission(self, login: str) -> str:
        try:
            return self._repository.get_collaborator_permission(login)
        except GithubException as error:
            if error.status != requests.codes.not_found:
                raise
            return "none"  # a user who is gone, or an app

    def guards(self, branch: str, tag: str) -> Guards:
        """Return what protects a branch, and tags like this one."""
        with _asking(f"rules of {branch}", RULES):
            rules, summary = self._rules(branch)
            classic = self._seen(f"branches/{quote(branch, safe='')}/protection") if summary.get("enabled") else None
            rulesets = self._seen("rulesets?targets=tag", listed=True)
            if rulesets is not None:
                rulesets = [self._get(f"rulesets/{ruleset['id']}") for ruleset in rulesets]
            protected = None if rulesets is None else github_rules.keeps(rulesets, tag)
            return github_rules.guards(rules, summary, classic, protected)

    def _rules(self, branch: str) -> tuple[list[dict[str, Any]], dict[str, Any]]:
        """Return the rules of rulesets that are in force on a branch, and what its older protection says."""
        name = quote(branch, safe="")
        return self._pages(f"rules/branches/{name}"), self._get(f"branches/{name}").get("protection") or {}

    # PyGithub knows no rulesets.
    def _get(self, path: str) -> Any:
        return self._github.requester.requestJsonAndCheck("GET", f"/repos/{self._name}/{path}")[1]

    def _pages(self, path: str) -> list[dict[str, Any]]:
        items, number, sign = [], 1, "&" if "?" in path else "?"
        while page := self._get(f"{path}{sign}per_page={PAGE}&page={number}"):
            items += page
            if len(page) < PAGE:
                break
            number += 1
        return items

    def _seen(self, path: str, *, listed: bool = False) -> Any:
        """Return what is there, or None where the token may not see it."""
        try:
            return self._pages(path) if listed else self._get(path)
        except GithubException as error:
            if error.status not in (403, 404) or _refused("", error, "").passing:
                raise
            return None

    def _download(self, what: str, url: str, limit: int) -> bytes:
        # requests follows to the storage, and takes the token off for another host.
        with requests.get(url, auth=self._authorized, stream=True, timeout=self._timeout) as answer:
            if answer.status_code == requests.codes.gone:
                raise UserError(f"{what}: it has expired")
            if not answer.ok:
                raise refused(what, answer.status_code, answer.reason, ACTIONS, answer.headers)
            return limited(answer.iter_content(65_536), limit)

    def _authorized(self, request: requests.PreparedRequest) -> requests.PreparedRequest:
        # As a header of the call, the user's .netrc would come before it.
        request.headers["Authorization"] = f"Bearer {self._token}"
        return request


def _approvers(pull: Pull) -> list[str]:
    """Return those whose last word before the merge approved what was merged; a mere comment does not count."""
    words = [review for review in pull.get_reviews() if review.state not in ("COMMENTED", "PENDING")]
    in_time = [review for review in words if pull.merged_at and review.submitted_at <= pull.merged_at]
    last = {_login(review.user): review for review in in_time}
    return [login for login, review in last.items() if review.state == "APPROVED" and review.commit_id == pull.head.sha]


def _login(user: Any) -> str:
    return user.login if user else "ghost"  # as the forge calls an account that is gone


def _said(error: GithubException) -> str:
    """Return what the forge says, with the details that a refused request or a question of GraphQL has."""
    errors = error.data.get("errors") if isinstance(error.data, dict) else None
    details = [detail.get("message") if isinstance(detail, dict) else detail for detail in errors or ()]
    return ": ".join(str(text) for text in (error.message, *details) if text)


def _refused(what: str, error: GithubException, needs: str) -> ForgeError:
    errors = error.data.get("errors") if isinstance(error.data, dict) else None
    kinds = [detail.get("type") for detail in errors or () if isinstance(detail, dict)]
    status = next((_STATUS[kind] for kind in kinds if kind in _STATUS), error.status)
    return refused(what, status, _said(error), needs, error.headers)


@contextmanager
def _asking(what: str, needs: str) -> Iterator[None]:
    """Turn what PyGithub raises into a ForgeError."""
    try:
        yield
    except GithubException as error:
        raise _refused(what, error, needs) from None
    except requests.RequestException as error:
        raise unreachable(what, error) from None
    except _ODD as error:
        raise odd(what, error) from None
