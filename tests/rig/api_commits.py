"""The calls of the forge's API about commits and runs: statuses, checks, artifacts, deployments and releases."""

from typing import Any

from tests.rig.api import Answer, Api, Asked, RefusedError, call
from tests.rig.state import Record

COMPLETE = {"status": "completed"}


@call("POST", "/statuses/{sha}", "statuses:write")
def set_status(api: Api, asked: Asked) -> Answer:
    content = {"context": "default"} | asked.content
    return Answer(shown_status(api, api.state.add("status", known(api, asked), asked.token.user, content)), 201)


def known(api: Api, asked: Asked) -> str:
    """Return the commit that a call names by its full hash."""
    sha: str = asked.values["sha"]
    if len(sha) != 40 or api.state.upstream.sha(sha) is None:
        raise RefusedError(422, f"No commit found for SHA: {sha}")
    return sha


def shown_status(api: Api, record: Record, schema: str = "status") -> dict[str, Any]:
    """Return a status of a commit."""
    more = {"creator": api.user(record.user)} if schema == "status" else {}
    return api.record(schema, record, **more)


@call("GET", "/commits/{ref}/statuses", "statuses:read")
def statuses(api: Api, asked: Asked) -> Answer:
    records = api.state.of("status", api.found_sha(asked.values["ref"]))
    return api.paged(asked, [shown_status(api, record) for record in reversed(records)])


@call("GET", "/commits/{ref}/status", "statuses:read")
def combined_status(api: Api, asked: Asked) -> Answer:
    sha = api.found_sha(asked.values["ref"])
    newest = {record.content["context"]: record for record in api.state.of("status", sha)}
    states = {record.content["state"] for record in newest.values()}
    failed, waiting = states & {"failure", "error"}, "pending" in states or not states
    shown = api.shown(
        "combined-commit-status",
        sha=sha,
        state="failure" if failed else "pending" if waiting else "success",
        statuses=[shown_status(api, record, "simple-commit-status") for record in newest.values()],
        total_count=len(newest),
        repository=api.repository(api.state.upstream.name),
    )
    return Answer(shown)


@call("POST", "/check-runs", "checks:write")
def new_check(api: Api, asked: Asked) -> Answer:
    content = {"status": "queued"} | asked.content
    sha = api.found_sha(content.pop("head_sha"))
    return Answer(api.check(api.state.add("check", sha, asked.token.user, settled(content))), 201)


def settled(content: dict[str, Any]) -> dict[str, Any]:
    """Return a check run that has a conclusion as a completed one."""
    return content | (COMPLETE if content.get("conclusion") else {})


@call("PATCH", "/check-runs/{check_run_id}", "checks:write")
def change_check(api: Api, asked: Asked) -> Answer:
    record = api.found("check", asked.values["check_run_id"])
    record.content, record.updated = settled(record.content | asked.content), api.state.now()
    return Answer(api.check(record))


@call("GET", "/check-runs/{check_run_id}", "checks:read")
def one_check(api: Api, asked: Asked) -> Answer:
    return Answer(api.check(api.found("check", asked.values["check_run_id"])))


@call("GET", "/commits/{ref}/check-runs", "checks:read")
def checks(api: Api, asked: Asked) -> Answer:
    records = api.state.of("check", api.found_sha(asked.values["ref"]))
    if asked.query.get("filter", "latest") == "latest":
        records = list({record.content["name"]: record for record in records}.values())
    wanted = asked.query.get("check_name")
    return api.paged(
        asked, [api.check(each) for each in records if wanted in (None, each.content["name"])], "check_runs"
    )


@call("GET", "/actions/runs", "actions:read")
def runs(api: Api, asked: Asked) -> Answer:
    filters = {"event": "event", "branch": "head_branch", "head_sha": "head_sha"}
    found = [
        api.run(run)
        for run in reversed(api.state.runs.values())
        if all(getattr(run, field) == asked.query.get(name, getattr(run, field)) for name, field in filters.items())
        and asked.query.get("status", run.status) in (run.status, run.conclusion)
    ]
    return api.paged(asked, found, "workflow_runs")


@call("GET", "/actions/runs/{run_id}", "actions:read")
def one_run(api: Api, asked: Asked) -> Answer:
    return Answer(api.run(api.state.runs[found_run(api, asked)]))


def found_run(api: Api, asked: Asked) -> int:
    """Return the number of a run that exists."""
    number = int(asked.values["run_id"])
    if number not in api.state.runs:
        raise RefusedError(404, "Not Found")
    return number


@call("GET", "/actions/runs/{run_id}/artifacts", "actions:read")
def artifacts(api: Api, asked: Asked) -> Answer:
    records, wanted = api.state.of("artifact", found_run(api, asked)), asked.query.get("name")
    return api.paged(
        asked, [api.artifact(each) for each in records if wanted in (None, each.content["name"])], "artifacts"
    )


@call("GET", "/actions/artifacts/{artifact_id}", "actions:read")
def one_artifact(api: Api, asked: Asked) -> Answer:
    return Answer(api.artifact(api.found("artifact", asked.values["artifact_id"])))


@call("GET", "/actions/artifacts/{artifact_id}/{archive_format}", "actions:read")
def artifact_zip(api: Api, asked: Asked) -> Answer:
    record = api.found("artifact", asked.values["artifact_id"])
    # Another host name, as at the forge: a client that sends its token there too is refused.
    place = api.root.replace("127.0.0.1", "localhost")
    return Answer(status=302, headers={"Location": f"{place}/_rig/blobs/{record.id}?sig={record.content['signature']}"})


@call("POST", "/deployments", "deployments:write")
def deploy(api: Api, asked: Asked) -> Answer:
    api.found_sha(asked.content["ref"])
    return Answer(deployment(api, api.state.add("deployment", None, asked.token.user, asked.content)), 201)


def deployment(api: Api, record: Record) -> dict[str, Any]:
    """Return a deployment."""
    known = {"environment": "production", "task": "deploy", "payload": {}, "sha": api.found_sha(record.content["ref"])}
    chosen = {
        key: record.content[key] for key in ("ref", "task", "environment", "description") if key in record.content
    }
    times = {"created_at": record.created, "updated_at": record.updated}
    return api.shown("deployment", id=record.id, **times, **(known | chosen))


@call("GET", "/deployments", "deployments:read")
def deployments(api: Api, asked: Asked) -> Answer:
    shown = [deployment(api, record) for record in reversed(api.state.of("deployment"))]
    keys = ("sha", "ref", "task", "environment")
    return api.paged(
        asked, [each for each in shown if all(asked.query.get(key, each[key]) == each[key] for key in keys)]
    )


@call("GET", "/deployments/{deployment_id}", "deployments:read")
def one_deployment(api: Api, asked: Asked) -> Answer:
    return Answer(deployment(api, api.found("deployment", asked.values["deployment_id"])))


@call("POST", "/deployments/{deployment_id}/statuses", "deployments:write")
def deployment_status(api: Api, asked: Asked) -> Answer:
    number = api.found("deployment", asked.values["deployment_id"]).id
    content = {key: asked.content[key] for key in ("state", "description", "environment") if key in asked.content}
    record = api.state.add("deployment-status", number, asked.token.user, {"description": ""} | content)
    return Answer(api.record("deployment-status", record), 201)


@call("GET", "/deployments/{deployment_id}/statuses", "deployments:read")
def deployment_statuses(api: Api, asked: Asked) -> Answer:
    number = api.found("deployment", asked.values["deployment_id"]).id
    records = reversed(api.state.of("deployment-status", number))
    return api.paged(asked, [api.record("deployment-status", record) for record in records])


@call("POST", "/releases", "contents:write")
def new_release(api: Api, asked: Asked) -> Answer:
    content = {"name": None, "body": None, "draft": False, "prerelease": False} | asked.content
    if any(record.content["tag_name"] == content["tag_name"] for record in api.state.of("release")):
        raise RefusedError(422, "Validation Failed")
    sha = api.found_sha(content.get("target_commitish", "main"))
    if api.state.upstream.sha(f"refs/tags/{content['tag_name']}") is None:
        api.state.upstream.point(f"refs/tags/{content['tag_name']}", sha)
    return Answer(release(api, api.state.add("release", None, asked.token.user, content)), 201)


def release(api: Api, record: Record) -> dict[str, Any]:
    """Return a release."""
    keys = ("tag_name", "target_commitish", "name", "body", "draft", "prerelease")
    known = {key: record.content[key] for key in keys if key in record.content}
    author = api.user(record.user)
    return api.shown(
        "release", id=record.id, created_at=record.created, published_at=record.created, author=author, **known
    )


@call("GET", "/releases", "contents:read")
def releases(api: Api, asked: Asked) -> Answer:
    return api.paged(asked, [release(api, record) for record in reversed(api.state.of("release"))])


@call("GET", "/releases/tags/{tag}", "contents:read")
def release_of_tag(api: Api, asked: Asked) -> Answer:
    for record in api.state.of("release"):
        if record.content["tag_name"] == asked.values["tag"]:
            return Answer(release(api, record))
    raise RefusedError(404, "Not Found")


@call("GET", "/git/ref/{ref}", "contents:read")
def git_ref(api: Api, asked: Asked) -> Answer:
    ref = f"refs/{asked.values['ref']}"
    sha = api.state.upstream.sha(ref)
    if sha is None:
        raise RefusedError(404, "Not Found")
    return Answer(api.shown("git-ref", ref=ref, object={"sha": sha, "type": "commit"}))


@call("GET", "/collaborators/{username}/permission", "metadata:read")
def permission(api: Api, asked: Asked) -> Answer:
    held = api.state.permissions.get(asked.values["username"], "none")
    user = api.shown("nullable-collaborator", login=asked.values["username"], role_name=held)
    return Answer({"permission": held, "role_name": held, "user": user})
