"""A stand-in of GitHub on loopback: its API, its git over HTTP and the downloads of artifacts.

It is as strict as the forge, or stricter: a token may do what its job declares and nothing else, a repository is
private, and a request that GitHub's own description does not admit fails the test even if its client swallowed it.
"""

import base64
import json
import os
import re
import secrets
import subprocess
import threading
import time
import traceback
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from werkzeug import Request, Response
from werkzeug.exceptions import NotFound
from werkzeug.serving import WSGIRequestHandler, make_server

from tests.rig import api_commits, api_issues, api_reviews, graphql, openapi
from tests.rig.api import HANDLERS, Answer, Api, Asked, RefusedError
from tests.rig.repository import ISOLATED, Repository
from tests.rig.state import State, Token

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse

assert api_commits, "importing it declares its calls"
assert api_issues, "the same"
assert api_reviews, "the same"
PREFIX, GRAPHQL = "/api/v3", "/api/graphql"
GIT = re.compile(r"/([^/_]+/[^/]+?)(?:\.git)?/(info/refs|git-upload-pack|git-receive-pack)")
NO_ACCESS = "Resource not accessible by integration"


@dataclass
class Fault:
    """What goes wrong with calls that match, a number of times; status 0 drops the connection."""

    method: str
    pattern: re.Pattern[str]
    times: int
    status: int
    headers: dict[str, str]
    after_effect: bool
    delay: float

    def strikes(self, request: Request) -> bool:
        """Tell whether this request is struck, and count it."""
        if self.times == 0 or self.method not in ("*", request.method) or not self.pattern.search(request.path):
            return False
        self.times -= 1
        return True

    def reply(self) -> Response:
        """Return the failure in the forge's words, after its delay."""
        time.sleep(self.delay)
        if self.status == 0:
            raise ConnectionAbortedError
        return reply(Answer({"message": "Server Error"}, self.status, self.headers))


def reply(answer: Answer) -> Response:
    """Return an answer as the server sends it."""
    body = "" if answer.content is None else json.dumps(answer.content)
    return Response(body, answer.status, dict(answer.headers), content_type="application/json; charset=utf-8")


class Quiet(WSGIRequestHandler):
    """Keeps connections open, as the forge does, and logs nothing: the forge has its own record."""

    protocol_version = "HTTP/1.1"

    def log(self, type: str, message: str, *args: Any) -> None:
        """Log nothing."""


class Forge:
    """The server with all that it remembers; `requests` and `violations` are for tests to look at.

    `tampered` holds what an attacker uploads in place of an artifact of that name.
    """

    def __init__(self, folder: Path) -> None:
        self.state = State(folder)
        self.description = openapi.load()
        self.requests: list[tuple[str, str, int]] = []
        self.violations: list[str] = []
        self.tampered: dict[str, bytes] = {}
        self._faults: list[Fault] = []
        self._server = make_server("127.0.0.1", 0, self._application, threaded=True, request_handler=Quiet)
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        self.api = Api(self.state, self.description, self.url)
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Stop the server."""
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()

    def fail(
        self,
        method: str,
        path_pattern: str,
        times: int = 1,
        status: int = 500,
        headers: dict[str, str] | None = None,
        *,
        after_effect: bool = False,
        delay: float = 0.0,
    ) -> None:
        """Let calls go wrong, before or after they had their effect; status 0 drops the connection.

        The path is what the server sees, so that git's calls and downloads fail too. A delay is in seconds.
        """
        self._faults.append(Fault(method, re.compile(path_pattern), times, status, headers or {}, after_effect, delay))

    def _application(self, environ: dict[str, Any], start_response: "StartResponse") -> Iterable[bytes]:
        request = Request(environ)
        response = self._answer(request)
        self.requests.append((request.method, request.path, response.status_code))
        return response(environ, start_response)

    def _answer(self, request: Request) -> Response:
        with self.state.lock:
            fault = next((each for each in self._faults if each.strikes(request)), None)
        if fault and not fault.after_effect:
            return fault.reply()
        try:
            response = self._route(request)
        except Exception:  # a defect of the stand-in, which its client would take for a bad day of the forge
            self.violations.append(traceback.format_exc())
            response = reply(Answer({"message": "Server Error"}, 500))
        return fault.reply() if fault else response

    def _route(self, request: Request) -> Response:
        if request.path.startswith(f"{PREFIX}/"):
            return self._call(request)
        if request.path == GRAPHQL:
            return self._graphql(request)
        if match := GIT.fullmatch(request.path):
            return self._git(request, *match.groups())
        if request.path.startswith("/_rig/blobs/"):
            return self._blob(request)
        if request.path == "/_rig/artifacts":
            return self._upload(request)
        return Response("Not Found", 404)

    def _token(self, request: Request) -> Token | None:
        kind, _, credential = request.headers.get("Authorization", "").partition(" ")
        if kind.lower() == "basic":
            credential = base64.b64decode(credential).decode().partition(":")[2]
        return self.state.tokens.get(credential)

    def _call(self, request: Request) -> Response:
        query, body = request.args.to_dict(), request.get_data()
        path = request.path.removeprefix(PREFIX)
        call = openapi.Call(request.method, path, query, body, request.mimetype or "application/json")
        try:
            answer = self._handled(call, self._token(request))
        except RefusedError as refusal:
            content = {"message": refusal.message, "documentation_url": "https://docs.github.com/rest"}
            details = [{"resource": "PullRequest", "code": "custom", "message": each} for each in refusal.details]
            answer = Answer(content | ({"errors": details} if details else {}), refusal.status)
        response = reply(self._linked(answer, request))
        self._held_to_description(call, response)
        return response

    def _graphql(self, request: Request) -> Response:
        """Answer a question of GraphQL, which goes by the forge's published schema."""
        token = self._token(request)
        if token is None:
            return reply(Answer({"message": "Bad credentials"}, 401))
        with self.state.lock:
            content, mistakes = graphql.answered(self.state, token, json.loads(request.get_data()))
            self.state.advance()
        self.violations += [f"GraphQL: {each}" for each in mistakes]
        return reply(Answer(content))

    def _handled(self, call: openapi.Call, token: Token | None) -> Answer:
        if token is None:
            raise RefusedError(401, "Bad credentials")
        try:
            template, values = self.description.routes().match(call.path)
            scopes, handler = HANDLERS[call.method, template]
        except (NotFound, KeyError):
            self.violations.append(f"{call.method} {call.path}: the stand-in does not know this call")
            raise RefusedError(404, "Not Found") from None
        if mistakes := self.description.mistakes(call):
            self.violations.append(f"{call.method} {call.path}: {'; '.join(mistakes)}")
            raise RefusedError(422, mistakes[0])
        if (values["owner"] + "/" + values["repo"]) != self.state.upstream.name:
            raise RefusedError(404, "Not Found")
        if not any(token.allows(scope) for scope in scopes):
            raise RefusedError(403, NO_ACCESS)
        with self.state.lock:
            answer = handler(self.api, Asked(token, values, call.query, json.loads(call.body or b"null")))
            if call.method != "GET":
                self.state.advance()
            return answer

    def _linked(self, answer: Answer, request: Request) -> Answer:
        if "X-Has-Next" not in answer.headers:
            return answer
        query = request.args.to_dict() | {"page": str(int(request.args.get("page", 1)) + 1)}
        address = f"{self.url}{request.path}?" + "&".join(f"{key}={value}" for key, value in query.items())
        return Answer(answer.content, answer.status, {"Link": f'<{address}>; rel="next"'})

    def _held_to_description(self, call: openapi.Call, response: Response) -> None:
        try:
            faults = self.description.faults(call, response.status_code, response.get_data(), "application/json")
        except NotFound:
            return
        if faults:
            self.violations.append(f"the stand-in's reply to {call.method} {call.path} is wrong: {'; '.join(faults)}")

    def _git(self, request: Request, name: str, service: str) -> Response:
        token, repository = self._token(request), self.state.repositories.get(name)
        writes = "git-receive-pack" in (service, request.args.get("service"))
        if token is None:
            return Response("", 401, {"WWW-Authenticate": 'Basic realm="forge"'})
        if repository is None or not token.allows("contents:read"):
            return Response("Repository not found.", 404)
        if writes and not token.allows("contents:write"):
            return Response("Write access to repository not granted.", 403)
        if service != "git-receive-pack":
            return served(request, repository, service, token)
        with self.state.lock:
            before = repository.refs()
            may_bypass = token.everything or token.user in self.state.bypass
            response = served(request, repository, service, token, may_bypass=may_bypass)
            self.state.moved(repository, before, token)
        return response

    def _upload(self, request: Request) -> Response:
        token = self._token(request)
        if token is None or token.run is None:
            return Response("", 401)
        name = request.args["name"]
        with self.state.lock:
            old = [each for each in self.state.of("artifact", token.run) if each.content["name"] == name]
            if old and request.args.get("overwrite") != "true":
                return Response("Conflict: an artifact with this name already exists on the workflow run", 409)
            for each in old:
                self.state.records["artifact"].remove(each)
            content = {
                "name": name,
                "zip": self.tampered.get(name, request.get_data()),
                "signature": secrets.token_hex(8),
            }
            return Response(str(self.state.add("artifact", token.run, token.user, content).id))

    def _blob(self, request: Request) -> Response:
        record = self.state.find("artifact", int(request.path.rpartition("/")[2]))
        if record is None or request.args.get("sig") != record.content["signature"]:
            return Response("", 404)
        if "Authorization" in request.headers:
            self.violations.append("a token was sent to the host of the artifacts, which is not the API's")
            return Response("InvalidAuthenticationInfo", 400)
        return Response(record.content["zip"], content_type="application/zip")


def served(
    request: Request, repository: Repository, service: str, token: Token, *, may_bypass: bool = False
) -> Response:
    """Let git's own server answer."""
    environment = (
        os.environ
        | ISOLATED
        | {
            "GIT_PROJECT_ROOT": str(repository.path),
            "GIT_HTTP_EXPORT_ALL": "1",
            "GIT_PROTOCOL": request.headers.get("Git-Protocol", ""),
            "PATH_INFO": f"/{service}",
            "QUERY_STRING": request.query_string.decode(),
            "REQUEST_METHOD": request.method,
            "CONTENT_TYPE": request.headers.get("Content-Type", ""),
            "HTTP_CONTENT_ENCODING": request.headers.get("Content-Encoding", ""),
            "REMOTE_USER": token.user,
            "RIG_ADMIN": "yes" if may_bypass else "no",
        }
    )
    body = request.get_data()
    environment["CONTENT_LENGTH"] = str(len(body))
    done = subprocess.run(["git", "http-backend"], input=body, env=environment, capture_output=True, check=True)
    head, _, content = done.stdout.partition(b"\r\n\r\n")
    headers = dict(line.split(": ", 1) for line in head.decode().split("\r\n"))
    status = int(headers.pop("Status", "200").split()[0])
    return Response(content, status, headers)
