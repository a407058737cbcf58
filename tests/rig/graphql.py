"""The forge's GraphQL: by its published schema, two things are known, who asks and that a merge may wait."""

from functools import cache
from typing import TYPE_CHECKING, Any

from graphql import GraphQLError, GraphQLSchema, build_ast_schema, graphql_sync, parse

from tests.rig import npm

if TYPE_CHECKING:
    from tests.rig.state import Pull, State, Token


@cache
def schema() -> GraphQLSchema:
    """Return the published schema."""
    text = (npm.package(npm.GRAPHQL) / "schema.graphql").read_text(encoding="utf-8")
    return build_ast_schema(parse(text, no_location=True), assume_valid=True)


def answered(state: "State", token: "Token", asked: dict[str, Any]) -> tuple[dict[str, Any], list[str]]:
    """Return the answer, and what in the question the forge would not understand."""

    def enable(_info: Any, input: dict[str, Any]) -> dict[str, Any]:
        refuse(state, token, input)
        pull = state.pulls[int(input["pullRequestId"].removeprefix("PR_"))]
        pull.auto = token
        return {"actor": actor(token), "clientMutationId": input.get("clientMutationId")}

    root = {"viewer": actor(token), "enablePullRequestAutoMerge": enable}
    done = graphql_sync(schema(), asked["query"], root_value=root, variable_values=asked.get("variables"))
    errors = [error.formatted for error in done.errors or ()]
    mistakes = [error["message"] for error in errors if "type" not in error.get("extensions", {})]
    told = [error | {"type": error["extensions"]["type"]} for error in errors if "extensions" in error]
    return {"data": done.data} | ({"errors": told or errors} if errors else {}), mistakes


def actor(token: "Token") -> dict[str, str]:
    """Return who asks."""
    kind = "Bot" if token.user.endswith("[bot]") else "User"
    place = f"https://forge.invalid/{token.user}"
    return {"__typename": kind, "login": token.user, "avatarUrl": place, "resourcePath": place, "url": place}


def refuse(state: "State", token: "Token", given: dict[str, Any]) -> None:
    """Raise for a merge that cannot wait."""
    pull = state.pulls.get(int(given["pullRequestId"].removeprefix("PR_")))
    if pull is None:
        raise told("NOT_FOUND", f"Could not resolve to a node with the global id of '{given['pullRequestId']}'")
    if not (token.allows("contents:write") and token.allows("pull-requests:write")):
        raise told("FORBIDDEN", "Resource not accessible by integration")
    for reason in impossible(state, pull, given):
        raise told("UNPROCESSABLE", reason)


def impossible(state: "State", pull: "Pull", given: dict[str, Any]) -> list[str]:
    """Return why there is nothing to wait for, in the forge's own words."""
    refusals = [*state.refusals(pull)]
    green = set(state.verdicts(pull.head_sha).values()) <= {"success", "neutral", "skipped"}
    status = f"Pull request Pull request is in {'clean' if green else 'unstable'} status"
    return [
        reason
        for reason, holds in (
            ("Auto merge is not allowed for this repository", not state.auto_merge_allowed),
            (
                "Pull request Protected branch rules not configured for this branch",
                pull.base_ref not in state.protections,
            ),
            ("Pull request Pull request is closed", pull.state != "open"),
            (
                f"Head sha didn't match expected {given.get('expectedHeadOid')}",
                given.get("expectedHeadOid", pull.head_sha) != pull.head_sha,
            ),
            (
                "Merge method squash merging is not allowed on this repository",
                given.get("mergeMethod", "MERGE") != "MERGE",
            ),
            (status, not refusals),
        )
        if holds
    ]


def told(kind: str, message: str) -> GraphQLError:
    """Return an error as the forge tells it."""
    return GraphQLError(message, extensions={"type": kind})
