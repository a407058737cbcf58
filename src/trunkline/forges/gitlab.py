"""GitLab, through python-gitlab: merge requests, their notes, commit statuses, and the artifacts of jobs.

It waits by itself where it is asked to (429), which posts nothing twice; its other retries are off.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import cast

import requests
from gitlab import Gitlab
from gitlab.exceptions import GitlabError

from trunkline.core.errors import UserError
from trunkline.forges.base import TIMEOUT, Comment, PullRequest, State, limited, odd, refused, unreachable

API, READ = "the scope api and the role Developer", "the scope read_api"

_STATES = {"success": "success", "failure": "failed", "pending": "pending"}
_ODD = (AssertionError, AttributeError, LookupError, RuntimeError, TypeError, ValueError)


class GitLab:
    """A project on GitLab: `api` is the address of its REST API, ending in /api/v4."""

    def __init__(self, api: str, project: str, token: str, timeout: int = TIMEOUT) -> None:
        self._gitlab = Gitlab(api.removesuffix("/api/v4"), private_token=token, timeout=timeout, per_page=100)
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
            found = [PullRequest(one.iid, one.web_url) for one in opened if one.sha == sha]
        return min(found, key=lambda pull: pull.number, default=None)

    def comments(self, number: int) -> tuple[Comment, ...]:
        """Return all notes on a merge request, oldest first."""
        with _asking(f"notes on !{number}", READ):
            notes = self._project.mergerequests.get(number, lazy=True).notes
            found = notes.list(sort="asc", order_by="created_at", iterator=True)
            return tuple(Comment(one.id, one.author["username"], one.body) for one in found if not one.system)

    def create_comment(self, number: int, body: str) -> None:
        """Write a note on a merge request."""
        with _asking(f"note on !{number}", API):
            self._project.mergerequests.get(number, lazy=True).notes.create({"body": body})

    def update_comment(self, number: int, comment: int, body: str) -> None:
        """Replace the text of a note."""
        with _asking(f"note on !{number}", API):
            self._project.mergerequests.get(number, lazy=True).notes.update(comment, {"body": body})

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
            found = [one.id for one in jobs if one.name == name]
            if not found:
                raise UserError(f"{what}: there is no such job")
            return self._download(what, max(found), limit)

    def _download(self, what: str, job: int, limit: int) -> bytes:
        try:
            chunks = self._project.jobs.get(job, lazy=True).artifacts(streamed=True, iterator=True, chunk_size=65_536)
        except GitlabError as error:
            if error.response_code == requests.codes.not_found:
                raise UserError(f"{what}: there are none, or they have expired") from None
            raise
        return limited(cast("Iterator[bytes]", chunks), limit)


@contextmanager
def _asking(what: str, needs: str) -> Iterator[None]:
    """Turn what python-gitlab raises into a ForgeError."""
    try:
        yield
    except GitlabError as error:
        raise refused(what, error.response_code or 0, error.error_message, needs) from None
    except requests.RequestException as error:
        raise unreachable(what, error) from None
    except _ODD as error:
        raise odd(what, error) from None
