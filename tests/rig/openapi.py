"""GitHub's published description of its API, against which the stand-in and its clients are held.

A stand-in proves nothing if it accepts what the forge refuses, or answers what the forge never would. The description
is lenient in places (unknown properties, the length of a comment); stricter rules stand here by hand.
"""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

from openapi_core import Config, OpenAPI
from openapi_core.testing import MockRequest, MockResponse
from werkzeug.routing import Map, MapAdapter, Rule

from tests.rig import npm

HOST = "http://forge"
REPOSITORY = "/repos/{owner}/{repo}"
SERVED = {
    "": ("get",),
    "/actions/artifacts/{artifact_id}": ("get",),
    "/actions/artifacts/{artifact_id}/{archive_format}": ("get",),
    "/actions/runs": ("get",),
    "/actions/runs/{run_id}": ("get",),
    "/actions/runs/{run_id}/artifacts": ("get",),
    "/branches/{branch}": ("get",),
    "/branches/{branch}/protection": ("get",),
    "/check-runs": ("post",),
    "/check-runs/{check_run_id}": ("get", "patch"),
    "/collaborators/{username}/permission": ("get",),
    "/commits/{commit_sha}/pulls": ("get",),
    "/commits/{ref}/check-runs": ("get",),
    "/commits/{ref}/status": ("get",),
    "/commits/{ref}/statuses": ("get",),
    "/deployments": ("get", "post"),
    "/deployments/{deployment_id}": ("get",),
    "/deployments/{deployment_id}/statuses": ("get", "post"),
    "/git/ref/{ref}": ("get",),
    "/issues": ("get", "post"),
    "/issues/comments/{comment_id}": ("get", "patch", "delete"),
    "/issues/{issue_number}": ("patch",),
    "/issues/{issue_number}/comments": ("get", "post"),
    "/issues/{issue_number}/labels": ("get", "post"),
    "/issues/{issue_number}/labels/{name}": ("delete",),
    "/pulls": ("get", "post"),
    "/pulls/{pull_number}": ("get", "patch"),
    "/pulls/{pull_number}/commits": ("get",),
    "/pulls/{pull_number}/files": ("get",),
    "/pulls/{pull_number}/merge": ("get", "put"),
    "/pulls/{pull_number}/reviews": ("get", "post"),
    "/pulls/{pull_number}/reviews/{review_id}/dismissals": ("put",),
    "/releases": ("get", "post"),
    "/releases/tags/{tag}": ("get",),
    "/rules/branches/{branch}": ("get",),
    "/rulesets": ("get",),
    "/rulesets/{ruleset_id}": ("get",),
    "/statuses/{sha}": ("post",),
}
LONGEST = {"body": 65_536, "description": 140, "output.summary": 65_535, "output.text": 65_535}
PLACES = {"uri": "https://forge.invalid/", "date-time": "2026-01-01T00:00:00Z", "email": "nobody@forge.invalid"}


@dataclass(frozen=True)
class Call:
    """One request as it came: a path below the API's root, its query and its body."""

    method: str
    path: str
    query: Mapping[str, str]
    body: bytes
    content_type: str


def references(node: Any) -> Iterator[str]:
    """Yield every reference in a piece of the description."""
    for value in node.values() if isinstance(node, dict) else node if isinstance(node, list) else ():
        yield from references(value)
    if isinstance(node, dict) and isinstance(node.get("$ref"), str):
        yield node["$ref"]


def cut(whole: dict[str, Any]) -> dict[str, Any]:
    """Return the part of the description that is served, with all that it refers to."""
    paths = {REPOSITORY + path: part(whole["paths"][REPOSITORY + path], methods) for path, methods in SERVED.items()}
    components: dict[str, dict[str, Any]] = {}
    open_ = set(references(paths))
    while open_:
        *_, kind, name = open_.pop().split("/")
        if kind != "examples" and name not in components.setdefault(kind, {}):
            components[kind][name] = whole["components"][kind][name]
            open_ |= set(references(components[kind][name]))
    return {"openapi": whole["openapi"], "info": whole["info"], "servers": [{"url": HOST}]} | {
        "paths": paths,
        "components": components,
    }


def part(path: dict[str, Any], methods: tuple[str, ...]) -> dict[str, Any]:
    """Return the methods of a path that are served, without their examples."""
    kept = {name: value for name, value in path.items() if name in (*methods, "parameters")}
    bare = json.loads(json.dumps(kept), object_hook=lambda item: {k: v for k, v in item.items() if k != "examples"})
    return dict(bare)


def load() -> "Description":
    """Return the served part of the description; the cut is kept, for the whole is fifty times larger."""
    folder = npm.package(npm.OPENAPI)
    key = npm.digest(json.dumps(SERVED).encode())[:16]
    kept = folder / f"cut-{key}.json"
    if not kept.exists():
        whole = json.loads((folder / "generated/api.github.com.json").read_text(encoding="utf-8"))
        npm.write(kept, json.dumps(cut(whole)))
    return Description(json.loads(kept.read_text(encoding="utf-8")))


class Description:
    """What may be asked of the forge, and what it may answer."""

    def __init__(self, content: dict[str, Any]) -> None:
        self.content = content
        self._api = OpenAPI.from_dict(content, config=Config(spec_validator_cls=None))
        self._routes = Map([Rule(rule(path), endpoint=path) for path in content["paths"]])

    def routes(self) -> MapAdapter:
        """Return the matcher of paths; it gives the template and the values in it."""
        return self._routes.bind("forge")

    def operation(self, method: str, template: str) -> dict[str, Any] | None:
        """Return what is described of a method on a path."""
        found: dict[str, Any] | None = self.content["paths"][template].get(method.lower())
        return found

    def mistakes(self, call: Call) -> list[str]:
        """Return what the forge would refuse in a request, or quietly ignore."""
        found = [told(error) for error in self._api.request_validator.iter_errors(self._request(call))]
        return found or [*self._unknown(call), *too_long(call)]

    def faults(self, call: Call, status: int, body: bytes, content_type: str) -> list[str]:
        """Return what in a reply the forge would never answer."""
        template, _ = self.routes().match(call.path)
        described = (self.operation(call.method, template) or {}).get("responses", {})
        if str(status) not in described:
            plain = status >= 400 and isinstance(json.loads(body or b"{}").get("message"), str)
            return [] if plain else [f"{call.method} {template} never answers {status}"]
        response = MockResponse(body, status_code=status, content_type=content_type)
        return [told(error) for error in self._api.response_validator.iter_errors(self._request(call), response)]

    def skeleton(self, name: str) -> Any:
        """Return the smallest object of a schema: what the stand-in knows is laid over it."""
        return self._smallest(self.content["components"]["schemas"][name] | {"nullable": False})

    def resolve(self, node: dict[str, Any]) -> dict[str, Any]:
        """Follow references to what they stand for."""
        while "$ref" in node:
            *_, kind, name = node["$ref"].split("/")
            node = self.content["components"][kind][name]
        return node

    def _request(self, call: Call) -> MockRequest:
        template, values = self.routes().match(call.path)
        path = template.format(**{name: quote(str(value), safe="") for name, value in values.items()})
        kind, query = call.content_type, dict(call.query)
        return MockRequest(HOST, call.method, path, args=query, data=call.body, content_type=kind)

    def _smallest(self, schema: dict[str, Any]) -> Any:
        schema = self.resolve(schema)
        if schema.get("nullable"):
            return None
        if alternatives := schema.get("oneOf") or schema.get("anyOf"):
            return self._smallest(alternatives[0])
        if "allOf" in schema:
            return {key: value for each in schema["allOf"] for key, value in self._smallest(each).items()}
        if "enum" in schema:
            return schema["enum"][0]
        if "properties" in schema or schema.get("type") == "object":
            properties = schema.get("properties", {})
            return {key: self._smallest(properties[key]) for key in schema.get("required", ()) if key in properties}
        plain = {"array": [], "integer": 0, "number": 0, "boolean": False}
        return plain.get(schema.get("type", "string"), PLACES.get(schema.get("format", ""), ""))

    def _unknown(self, call: Call) -> Iterator[str]:
        template, _ = self.routes().match(call.path)
        operation = self.operation(call.method, template) or {}
        parameters = [self.resolve(parameter) for parameter in operation.get("parameters", ())]
        for name in set(call.query) - {each["name"] for each in parameters if each["in"] == "query"}:
            yield f"query: {name} is not known"
        content = self.resolve(operation.get("requestBody", {})).get("content", {}).get("application/json", {})
        if call.body:
            if not content:
                yield "body: none is expected"
            else:
                yield from self._extra(json.loads(call.body), content["schema"], "")

    def _extra(self, value: Any, schema: dict[str, Any], place: str) -> Iterator[str]:
        schema = self.resolve(schema)
        choices = [self.resolve(each) for key in ("oneOf", "anyOf", "allOf") for each in schema.get(key, ())]
        known: dict[str, Any] = {}
        for each in (*choices, schema):
            known |= each.get("properties", {})
        if isinstance(value, list):
            for index, item in enumerate(value):
                yield from self._extra(item, schema.get("items", {}), f"{place}[{index}]")
        elif isinstance(value, dict) and known:
            for key, item in value.items():
                if key not in known:
                    yield f"body: {place}{key} is not known"
                else:
                    yield from self._extra(item, known[key], f"{place}{key}.")


def rule(path: str) -> str:
    """Return the routing rule of a path of the description; a ref may hold slashes."""
    path = path.replace("{ref}", "<path:ref>").replace("{branch}", "<path:branch>").replace("{tag}", "<path:tag>")
    return path.replace("{", "<").replace("}", ">")


def told(error: Exception) -> str:
    """Return what is wrong in one line: the places in the body, where it is the body."""
    details = getattr(error.__cause__, "schema_errors", ())
    places = [f"{'.'.join(map(str, each.absolute_path))}: {each.message[:200]}" for each in details]
    return f"{type(error).__name__}: {'; '.join(places) or error.__cause__ or error}"


def too_long(call: Call) -> Iterator[str]:
    """Yield what is longer than the forge takes, or a comment that says nothing; the description has no such limits."""
    content = json.loads(call.body) if call.body else {}
    if not isinstance(content, dict):
        return
    for place, limit in LONGEST.items():
        value: Any = content
        for key in place.split("."):
            value = value.get(key) if isinstance(value, dict) else None
        if isinstance(value, str) and len(value) > limit:
            yield f"body: {place} is too long (maximum is {limit} characters)"
    if call.method in ("POST", "PATCH") and "/comments" in call.path and not str(content.get("body", "")).strip():
        yield "body: body can't be blank"
