"""The calls of the forge's API about issues; every pull request is one in its lists, as at the forge."""

from typing import Any

from tests.rig.api import Answer, Api, Asked, RefusedError, call
from tests.rig.state import Issue


@call("GET", "/issues", "issues:read", "pull-requests:read")
def issues(api: Api, asked: Asked) -> Answer:
    state, since = asked.query.get("state", "open"), asked.query.get("since", "")
    listed = [shown(api, each) for each in api.state.issues.values()]
    listed += [pull(api, number) for number in api.state.pulls]
    chosen = [each for each in listed if state in ("all", each["state"]) and each["updated_at"] >= since]
    return api.paged(asked, sorted(chosen, key=lambda each: -int(each["number"])))


@call("POST", "/issues", "issues:write")
def open_issue(api: Api, asked: Asked) -> Answer:
    title, body = asked.content["title"], asked.content.get("body") or ""
    return Answer(shown(api, api.state.open_issue(title, body, asked.token.user)), 201)


@call("PATCH", "/issues/{issue_number}", "issues:write")
def change_issue(api: Api, asked: Asked) -> Answer:
    issue = api.state.issues.get(int(asked.values["issue_number"]))
    if issue is None:
        raise RefusedError(404, "Not Found")
    for name in ("title", "body", "state"):
        setattr(issue, name, asked.content.get(name, getattr(issue, name)))
    issue.updated = api.state.now()
    return Answer(shown(api, issue))


def shown(api: Api, issue: Issue) -> dict[str, Any]:
    """Return an issue."""
    times = {"created_at": issue.created, "updated_at": issue.updated}
    place = f"{api.root}/{api.state.upstream.name}/issues/{issue.number}"
    known = {"number": issue.number, "title": issue.title, "body": issue.body, "state": issue.state}
    return api.shown("issue", id=2000 + issue.number, user=api.user(issue.user), html_url=place, **known, **times)


def pull(api: Api, number: int) -> dict[str, Any]:
    """Return a pull request as the issue that it is, too."""
    of = api.state.pulls[number]
    as_issue = shown(api, Issue(number, of.title, of.user, of.created, of.body, of.state, of.created))
    links = dict.fromkeys(("diff_url", "html_url", "patch_url", "url"), as_issue["html_url"])
    return as_issue | {"pull_request": links}
