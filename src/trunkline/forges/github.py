"""GitHub, through PyGithub.

Its own retries are off, since they would post a comment twice. An artifact is fetched past it: it reads a whole file
into memory, and refuses the storage that GitHub redirects to.
"""

from collections.abc import Iterator
from contextlib import contextmanager

import requests
from github import Auth, Github
from github.GithubException import BadAttributeException, GithubException

from trunkline.core.errors import UserError
from trunkline.forges.base import TIMEOUT, Comment, PullRequest, State, limited, odd, refused, unreachable

PULLS, ISSUES, STATUSES, ACTIONS = "pull-requests: read", "pull-requests: write", "statuses: write", "actions: read"
DESCRIPTION = 140  # characters that a status may have

_ODD = (AssertionError, BadAttributeException, LookupError, RuntimeError, TypeError, ValueError)


class GitHub:
    """A repository on GitHub or GitHub Enterprise: `api` is the address of its REST API, `repository` owner/name."""

    def __init__(self, api: str, repository: str, token: str, timeout: int = TIMEOUT) -> None:
        self._token, self._timeout = token, timeout
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

        A workflow's token is an app's and has no user in the REST API; GraphQL's viewer answers any token.
        """
        with _asking("who am I", "to be valid"):
            _, found = self._github.requester.graphql_query("query { viewer { login } }", {})
            return str(found["data"]["viewer"]["login"])

    def pull_request(self, sha: str) -> PullRequest | None:
        """Return the open pull request whose head is this commit.

        All open ones are looked at: the pull requests of a commit do not name those of forks.
        """
        with _asking("pull requests", PULLS):
            opened = self._repository.get_pulls(state="open")
            found = [PullRequest(pull.number, pull.html_url) for pull in opened if pull.head.sha == sha]
        return min(found, key=lambda pull: pull.number, default=None)

    def comments(self, number: int) -> tuple[Comment, ...]:
        """Return all comments on a pull request, oldest first."""
        with _asking(f"comments on #{number}", PULLS):
            found = self._repository.get_issue(number).get_comments()
            return tuple(Comment(one.id, one.user.login if one.user else "", one.body or "") for one in found)

    def create_comment(self, number: int, body: str) -> None:
        """Comment on a pull request."""
        with _asking(f"comment on #{number}", ISSUES):
            self._repository.get_issue(number).create_comment(body)

    def update_comment(self, number: int, comment: int, body: str) -> None:
        """Replace the text of a comment."""
        with _asking(f"comment on #{number}", ISSUES):
            self._repository.get_issue(number).get_comment(comment).edit(body)

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
            found = [one for one in self._repository.get_workflow_run(run).get_artifacts() if one.name == name]
            latest = max(found, key=lambda one: one.id, default=None)
            if latest is None or latest.expired:
                raise UserError(f"{what}: {'there is none' if latest is None else 'it has expired'}")
            return self._download(what, latest.archive_download_url, limit)

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


@contextmanager
def _asking(what: str, needs: str) -> Iterator[None]:
    """Turn what PyGithub raises into a ForgeError."""
    try:
        yield
    except GithubException as error:
        raise refused(what, error.status, error.message, needs, error.headers) from None
    except requests.RequestException as error:
        raise unreachable(what, error) from None
    except _ODD as error:
        raise odd(what, error) from None
