"""A small forge on loopback for the tests: the calls of GitHub's and GitLab's APIs that Trunkline makes, and faults."""

import json
import re
import threading
import time
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit

TOKEN = "ghs_0123456789secret"
BOT = "github-actions[bot]"
PAGE = 100


@dataclass
class Fault:
    """What becomes of the next request that matches; `done` says that it takes effect before it fails."""

    method: str
    path: str
    status: int = 500
    headers: dict[str, str] = field(default_factory=dict)
    body: Any = None
    done: bool = False
    hang: float = 0.0


class Server:
    """The state of one repository, and what has been asked."""

    def __init__(self) -> None:
        self.me: str = BOT
        self.pulls: list[dict[str, Any]] = []
        self.issues: list[dict[str, Any]] = []
        self.comments: list[dict[str, Any]] = []
        self.statuses: list[dict[str, Any]] = []
        self.artifacts: list[dict[str, Any]] = []
        self.archives: dict[int, bytes] = {}
        self.faults: list[Fault] = []
        self.log: list[str] = []
        self.leaked: list[str] = []
        self.project: dict[str, Any] = {"id": 5, "only_allow_merge_if_pipeline_succeeds": True}
        self.rules: dict[str, list[dict[str, Any]] | None] = {}  # GitLab's, by their path; None is not there at all
        self.moves: dict[str, Any] = {}  # path → what happens when it is asked for
        self._http = _listen(self._api)
        self._storage = _listen(self._blob)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._http.server_port}"

    @property
    def writes(self) -> list[str]:
        return [line for line in self.log if not line.startswith("GET") and "graphql" not in line]

    def close(self) -> None:
        for server in (self._http, self._storage):
            server.shutdown()
            server.server_close()

    def pull(self, number: int, sha: str, **more: Any) -> dict[str, Any]:
        self.pulls.append({"number": number, "sha": sha, "open": True, **more})
        return self.pulls[-1]

    def comment(self, author: str, body: str, number: int = 1) -> dict[str, Any]:
        made = {"id": 1000 + len(self.comments), "number": number, "author": author, "body": body}
        self.comments.append(made)
        return made

    def bodies(self, number: int = 1) -> list[str]:
        return [one["body"] for one in self.comments if one["number"] == number]

    def artifact(self, archive: bytes, name: str = "review", run: int = 7, *, expired: bool = False) -> None:
        found = 50 + len(self.artifacts)
        self.artifacts.append({"id": found, "name": name, "run": run, "expired": expired})
        self.archives[found] = archive

    def _api(self, request: "_Request") -> None:
        self.log.append(f"{request.command} {request.path}")
        fault = next(
            (one for one in self.faults if one.method == request.command and re.search(one.path, request.path)), None
        )
        if fault is None:
            self._answer(request, *self._act(request))
            return
        self.faults.remove(fault)
        if fault.done:
            self._act(request)
        time.sleep(fault.hang)
        self._answer(request, fault.status, fault.body or {"message": f"Fault {fault.status}"}, fault.headers)

    def _act(self, request: "_Request") -> tuple[int, Any, dict[str, str]]:
        token = request.headers.get("PRIVATE-TOKEN") or request.headers.get("Authorization", "").split(" ")[-1]
        if token != TOKEN:
            return 401, {"message": "Bad credentials"}, {}
        for pattern, happen in self.moves.items():
            if re.search(pattern, request.path):
                happen()
        place = urlsplit(request.path)
        query = {key: values[0] for key, values in parse_qs(place.query).items()}
        for method, pattern, name in _ROUTES:
            found = re.fullmatch(pattern, place.path)
            if method == request.command and found:
                return getattr(self, name)(request, query, *found.groups())
        return 404, {"message": "Not Found"}, {}

    def _answer(self, request: "_Request", status: int, content: Any, headers: dict[str, str]) -> None:
        data = content if isinstance(content, bytes) else json.dumps(content).encode()
        kind = "application/zip" if isinstance(content, bytes) else "application/json"
        request.reply(status, data, {"Content-Type": kind, **headers})

    def _blob(self, request: "_Request") -> None:
        self.leaked += [key for key in request.headers if key.lower() in ("authorization", "private-token")]
        request.reply(
            200, self.archives[int(request.path.split("?")[0].strip("/"))], {"Content-Type": "application/zip"}
        )

    # GitHub

    def viewer(self, request: "_Request", query: dict[str, str]) -> Any:
        return 200, {"data": {"viewer": {"login": self.me}}}, {}

    def gh_user(self, request: "_Request", query: dict[str, str]) -> Any:
        return 200, {"login": self.me}, {}

    def gh_pulls(self, request: "_Request", query: dict[str, str]) -> Any:
        found = [
            {"number": one["number"], "html_url": f"{self.url}/o/r/pull/{one['number']}", "head": {"sha": one["sha"]}}
            for one in self.pulls
            if one["open"]
        ]
        return self._page(request, query, found)

    def gh_comments(self, request: "_Request", query: dict[str, str], number: str) -> Any:
        return self._page(request, query, [_gh(one) for one in self.comments if one["number"] == int(number)])

    def gh_create(self, request: "_Request", query: dict[str, str], number: str) -> Any:
        return 201, _gh(self.comment(self.me, request.content["body"], int(number))), {}

    def gh_update(self, request: "_Request", query: dict[str, str], number: str) -> Any:
        one = next(one for one in self.comments if one["id"] == int(number))
        one["body"] = request.content["body"]
        return 200, _gh(one), {}

    def gh_status(self, request: "_Request", query: dict[str, str], sha: str) -> Any:
        self.statuses.append({"sha": sha, **request.content})
        return 201, {"id": 1, "url": f"{self.url}/x", **request.content}, {}

    def gh_run(self, request: "_Request", query: dict[str, str], run: str) -> Any:
        url = f"{self.url}/repos/o/r/actions/runs/{run}"
        return 200, {"id": int(run), "url": url, "artifacts_url": f"{url}/artifacts"}, {}

    def gh_artifacts(self, request: "_Request", query: dict[str, str], run: str) -> Any:
        found = [
            {**one, "archive_download_url": f"{self.url}/repos/o/r/actions/artifacts/{one['id']}/zip"}
            for one in self.artifacts
            if one["run"] == int(run)
        ]
        return 200, {"total_count": len(found), "artifacts": found}, {}

    def gh_zip(self, request: "_Request", query: dict[str, str], number: str) -> Any:
        return 302, b"", {"Location": f"http://127.0.0.1:{self._storage.server_port}/{number}?sig=signature"}

    # GitLab

    def gl_user(self, request: "_Request", query: dict[str, str]) -> Any:
        return 200, {"id": 1, "username": self.me}, {}

    def gl_requests(self, request: "_Request", query: dict[str, str]) -> Any:
        found = [self._gl(one) for one in self.pulls if one["open"] or query.get("state") == "all"]
        sides = {key: query[key] for key in ("source_branch", "target_branch") if key in query}
        return self._page(request, query, [one for one in found if sides.items() <= one.items()])

    def _gl(self, pull: dict[str, Any]) -> dict[str, Any]:
        more = {
            key: value
            for key, value in pull.items()
            if key not in ("number", "open", "pipeline", "given", "holds", "versions")
        }
        about = {"title": "", "description": None, "source_branch": "work", "target_branch": "main"}
        made = {"merge_commit_sha": None, "squash_commit_sha": None, "merged_at": None, "merge_user": None}
        people = {"author": {"username": self.me}, "source_project_id": 5, "target_project_id": 5}
        place = {"iid": pull["number"], "web_url": f"{self.url}/o/r/-/merge_requests/{pull['number']}"}
        auto = {"merge_when_pipeline_succeeds": False, "state": "opened" if pull["open"] else "closed"}
        return {**about, **made, **people, **place, **auto, **more}

    def _found(self, number: str) -> dict[str, Any]:
        return next(one for one in self.pulls if one["number"] == int(number))

    def gl_project(self, request: "_Request", query: dict[str, str]) -> Any:
        return 200, self.project, {}

    def gl_open(self, request: "_Request", query: dict[str, str]) -> Any:
        sides = {key: request.content[key] for key in ("source_branch", "target_branch")}
        for one in self.pulls:
            if one["open"] and sides.items() <= one.items():
                return 409, {"message": [f"Another open merge request already exists: !{one['number']}"]}, {}
        return 201, self._gl(self.pull(len(self.pulls) + 1, "a" * 40, **request.content)), {}

    def gl_request(self, request: "_Request", query: dict[str, str], number: str) -> Any:
        return 200, self._gl(self._found(number)), {}

    def gl_change(self, request: "_Request", query: dict[str, str], number: str) -> Any:
        self._found(number).update(request.content)
        return self.gl_request(request, query, number)

    def gl_merge(self, request: "_Request", query: dict[str, str], number: str) -> Any:
        found, asked = self._found(number), query | (request.content or {})
        if asked["sha"] != found["sha"]:
            return 409, {"message": "SHA does not match HEAD of source branch"}, {}
        if found.get("pipeline") == "success":
            found |= {"open": False, "state": "merged", "merge_commit_sha": "c" * 40}
        elif found.get("pipeline") == "running" and asked["auto_merge"] in (True, "True", "true"):
            found["merge_when_pipeline_succeeds"] = True
        elif found.get("pipeline") != "ignored":
            return 405, {"message": "405 Method Not Allowed"}, {}
        return 200, self._gl(found), {}

    def gl_of_commit(self, request: "_Request", query: dict[str, str], sha: str) -> Any:
        known = {one["sha"] for one in self.pulls} | {one.get("merge_commit_sha") for one in self.pulls} | {"d" * 40}
        if sha not in known:
            return 404, {"message": "404 Commit Not Found"}, {}
        found = [one for one in self.pulls if sha in (one["sha"], one.get("merge_commit_sha"), *one.get("holds", ()))]
        return self._page(request, query, [self._gl(one) for one in found])

    def gl_approvals(self, request: "_Request", query: dict[str, str], number: str) -> Any:
        given = [{"user": {"username": name}} | when for name, when in self._found(number)["given"]]
        return 200, {"iid": int(number), "approved_by": given}, {}

    def gl_versions(self, request: "_Request", query: dict[str, str], number: str) -> Any:
        return self._page(request, query, self._found(number)["versions"])

    def gl_rules(self, request: "_Request", query: dict[str, str], kind: str) -> Any:
        found = self.rules.get(kind, [])
        return (404, {"message": "404 Not Found"}, {}) if found is None else self._page(request, query, found)

    def gl_issues(self, request: "_Request", query: dict[str, str]) -> Any:
        listed = [one for one in self.issues if one["state"] == query["state"]]
        return self._page(request, query, [one for one in listed if one["at"] >= query.get("updated_after", "")])

    def gl_open_issue(self, request: "_Request", query: dict[str, str]) -> Any:
        number, content = len(self.issues) + 1, request.content
        place = f"{self.url}/o/r/-/issues/{number}"
        about = {
            "iid": number,
            "web_url": place,
            "author": {"username": self.me},
            "state": "opened",
            "at": "2026-01-01",
        }
        self.issues.append(content | about | {"description": content["description"].strip()})
        return 201, self.issues[-1], {}

    def gl_change_issue(self, request: "_Request", query: dict[str, str], number: str) -> Any:
        one, content = self.issues[int(number) - 1], dict(request.content)
        event = content.pop("state_event", None)
        one.update(content | {"state": {"close": "closed", "reopen": "opened"}.get(event, one["state"])})
        return 200, one, {}

    def gl_notes(self, request: "_Request", query: dict[str, str], number: str) -> Any:
        return self._page(request, query, [_gl(one) for one in self.comments if one["number"] == int(number)])

    def gl_create(self, request: "_Request", query: dict[str, str], number: str) -> Any:
        return 201, _gl(self.comment(self.me, request.content["body"].strip(), int(number))), {}

    def gl_update(self, request: "_Request", query: dict[str, str], number: str, note: str) -> Any:
        one = next(one for one in self.comments if one["id"] == int(note))
        one["body"] = request.content["body"].strip()
        return 200, _gl(one), {}

    def gl_status(self, request: "_Request", query: dict[str, str], sha: str) -> Any:
        self.statuses.append({"sha": sha, **request.content})
        return 201, {"id": 1, **request.content}, {}

    def gl_jobs(self, request: "_Request", query: dict[str, str], run: str) -> Any:
        return self._page(request, query, [one for one in self.artifacts if one["run"] == int(run)])

    def gl_zip(self, request: "_Request", query: dict[str, str], number: str) -> Any:
        if next(one for one in self.artifacts if one["id"] == int(number))["expired"]:
            return 404, {"message": "404 Not Found"}, {}
        return 200, self.archives[int(number)], {}

    def _page(self, request: "_Request", query: dict[str, str], found: list[Any]) -> Any:
        size, page = min(PAGE, int(query.get("per_page", 30))), int(query.get("page", 1))
        headers = {}
        if page * size < len(found):
            path = urlsplit(request.path).path
            headers["Link"] = f'<{self.url}{path}?per_page={size}&page={page + 1}>; rel="next"'
            headers["X-Next-Page"] = str(page + 1)
        return 200, found[(page - 1) * size : page * size], headers


def _gh(one: dict[str, Any]) -> dict[str, Any]:
    return {"id": one["id"], "body": one["body"], "user": one["author"] and {"login": one["author"]}}


def _gl(one: dict[str, Any]) -> dict[str, Any]:
    return {"id": one["id"], "body": one["body"], "author": {"username": one["author"]}, "system": False}


_ROUTES = (
    ("POST", r"/graphql", "viewer"),
    ("GET", r"/user", "gh_user"),
    ("GET", r"/repos/o/r/pulls", "gh_pulls"),
    ("GET", r"/repos/o/r/issues/(\d+)/comments", "gh_comments"),
    ("POST", r"/repos/o/r/issues/(\d+)/comments", "gh_create"),
    ("PATCH", r"/repos/o/r/issues/comments/(\d+)", "gh_update"),
    ("POST", r"/repos/o/r/statuses/(\w+)", "gh_status"),
    ("GET", r"/repos/o/r/actions/runs/(\d+)", "gh_run"),
    ("GET", r"/repos/o/r/actions/runs/(\d+)/artifacts", "gh_artifacts"),
    ("GET", r"/repos/o/r/actions/artifacts/(\d+)/zip", "gh_zip"),
    ("GET", r"/api/v4/user", "gl_user"),
    ("GET", r"/api/v4/projects/5", "gl_project"),
    ("GET", r"/api/v4/projects/5/(protected_branches|protected_tags|approval_rules)", "gl_rules"),
    ("GET", r"/api/v4/projects/5/repository/commits/(\w+)/merge_requests", "gl_of_commit"),
    ("GET", r"/api/v4/projects/5/merge_requests", "gl_requests"),
    ("POST", r"/api/v4/projects/5/merge_requests", "gl_open"),
    ("GET", r"/api/v4/projects/5/merge_requests/(\d+)", "gl_request"),
    ("PUT", r"/api/v4/projects/5/merge_requests/(\d+)", "gl_change"),
    ("PUT", r"/api/v4/projects/5/merge_requests/(\d+)/merge", "gl_merge"),
    ("GET", r"/api/v4/projects/5/merge_requests/(\d+)/approvals", "gl_approvals"),
    ("GET", r"/api/v4/projects/5/merge_requests/(\d+)/versions", "gl_versions"),
    ("GET", r"/api/v4/projects/5/issues", "gl_issues"),
    ("POST", r"/api/v4/projects/5/issues", "gl_open_issue"),
    ("PUT", r"/api/v4/projects/5/issues/(\d+)", "gl_change_issue"),
    ("GET", r"/api/v4/projects/5/(?:merge_requests|issues)/(\d+)/notes", "gl_notes"),
    ("POST", r"/api/v4/projects/5/(?:merge_requests|issues)/(\d+)/notes", "gl_create"),
    ("PUT", r"/api/v4/projects/5/merge_requests/(\d+)/notes/(\d+)", "gl_update"),
    ("POST", r"/api/v4/projects/5/statuses/(\w+)", "gl_status"),
    ("GET", r"/api/v4/projects/5/pipelines/(\d+)/jobs", "gl_jobs"),
    ("GET", r"/api/v4/projects/5/jobs/(\d+)/artifacts", "gl_zip"),
)


class _Request(BaseHTTPRequestHandler):
    handler: Any
    content: Any

    def _handle(self) -> None:
        size = int(self.headers.get("Content-Length") or 0)
        self.content = json.loads(self.rfile.read(size)) if size else None
        type(self).handler(self)

    do_GET = do_POST = do_PATCH = do_PUT = _handle  # noqa: N815  the names that http.server looks for

    def reply(self, status: int, data: bytes, headers: dict[str, str]) -> None:
        try:
            self.send_response(status)
            for key, value in {"Content-Length": str(len(data)), **headers}.items():
                self.send_header(key, value)
            self.end_headers()
            self.wfile.write(data)
        except OSError:  # the client has not waited
            self.close_connection = True

    def log_message(self, format: str, *args: Any) -> None:
        """Say nothing."""


def _listen(handler: Any) -> ThreadingHTTPServer:
    made = type("Request", (_Request,), {"handler": staticmethod(handler)})
    server = ThreadingHTTPServer(("127.0.0.1", 0), made)
    server.daemon_threads = True
    threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
    return server


@contextmanager
def running() -> Any:
    """Start a forge, and stop it."""
    server = Server()
    try:
        yield server
    finally:
        server.close()
