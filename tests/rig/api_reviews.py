"""The calls of the forge's API about what guards a branch: reviews of pull requests, rules, and who may do what."""

from typing import Any

from tests.rig.api import Answer, Api, Asked, RefusedError, call
from tests.rig.state import Event, Protection, Record

WORDS = {"APPROVE": "APPROVED", "REQUEST_CHANGES": "CHANGES_REQUESTED", "COMMENT": "COMMENTED"}
BRANCHES, TAGS = 1, 100  # numbers of the rulesets: one for each branch, one for each pattern of tags


@call("PATCH", "/pulls/{pull_number}", "pull-requests:write")
def change_pull(api: Api, asked: Asked) -> Answer:
    pull, content = api.found_pull(asked.values["pull_number"]), asked.content
    if pull.merged and "state" in content:
        raise RefusedError(422, "Validation Failed")
    pull.title, pull.body = content.get("title", pull.title), content.get("body", pull.body)
    pull.state, pull.base_ref = content.get("state", pull.state), content.get("base", pull.base_ref)
    if asked.token.run is None:
        action = {"closed": "closed", "open": "reopened"}.get(content.get("state", ""), "edited")
        api.state.tell(Event("pull_request", action, pull, actor=asked.token.user))
    return Answer(api.pull(pull))


@call("GET", "/pulls/{pull_number}/reviews", "pull-requests:read")
def reviews(api: Api, asked: Asked) -> Answer:
    number = api.found_pull(asked.values["pull_number"]).number
    return api.paged(asked, [review(api, record) for record in api.state.of("review", number)])


@call("POST", "/pulls/{pull_number}/reviews", "pull-requests:write")
def new_review(api: Api, asked: Asked) -> Answer:
    pull, content, user = api.found_pull(asked.values["pull_number"]), asked.content or {}, asked.token.user
    word = WORDS.get(content.get("event", ""), "PENDING")
    if word in ("CHANGES_REQUESTED", "COMMENTED") and not content.get("body"):
        raise RefusedError(422, "Unprocessable Entity: Review Can not be empty")
    if word == "APPROVED" and user == pull.user:
        raise RefusedError(422, "Unprocessable Entity: Review Can not approve your own pull request")
    if word == "APPROVED" and asked.token.run is not None and not api.state.actions_open_pulls:
        raise RefusedError(403, "GitHub Actions is not permitted to create or approve pull requests.")
    known = {"state": word, "body": content.get("body", ""), "commit_id": content.get("commit_id", pull.head_sha)}
    return Answer(review(api, api.state.add("review", pull.number, user, known)))


@call("PUT", "/pulls/{pull_number}/reviews/{review_id}/dismissals", "pull-requests:write")
def dismiss(api: Api, asked: Asked) -> Answer:
    record = api.found("review", asked.values["review_id"])
    record.content["state"] = "DISMISSED"
    return Answer(review(api, record))


def review(api: Api, record: Record) -> dict[str, Any]:
    """Return a review; one that is pending has no time."""
    held = api.state.permissions.get(record.user)
    times = {} if record.content["state"] == "PENDING" else {"submitted_at": record.created}
    user, association = api.user(record.user), "COLLABORATOR" if held else "NONE"
    return api.shown(
        "pull-request-review", id=record.id, user=user, author_association=association, **times, **record.content
    )


@call("GET", "/rules/branches/{branch}", "metadata:read")
def rules_of_branch(api: Api, asked: Asked) -> Answer:
    name, protections = asked.values["branch"], api.state.protections
    protection = protections.get(name)
    if protection is None or protection.classic:
        return api.paged(asked, [])
    source = {"ruleset_source_type": "Repository", "ruleset_source": api.state.upstream.name, "ruleset_id": BRANCHES}
    return api.paged(asked, [rule | source for rule in rules(protection)])


def rules(protection: Protection) -> list[dict[str, Any]]:
    """Return the rules of a branch."""
    pulls = {
        "dismiss_stale_reviews_on_push": protection.dismiss_stale,
        "require_code_owner_review": protection.code_owners,
        "require_last_push_approval": False,
        "required_approving_review_count": protection.approvals,
        "required_review_thread_resolution": False,
    }
    found: list[dict[str, Any]] = [{"type": "deletion"}, {"type": "non_fast_forward"}]
    found.append({"type": "pull_request", "parameters": pulls})
    checks = {
        "required_status_checks": [{"context": name} for name in protection.contexts],
        "strict_required_status_checks_policy": protection.up_to_date,
    }
    return [*found, *([{"type": "required_status_checks", "parameters": checks}] if protection.contexts else [])]


@call("GET", "/branches/{branch}", "contents:read")
def branch(api: Api, asked: Asked) -> Answer:
    name = asked.values["branch"]
    sha = api.state.upstream.sha(f"refs/heads/{name}")
    if sha is None:
        raise RefusedError(404, "Branch not found")
    protection = api.state.protections.get(name)
    classic = protection if protection and protection.classic else None
    contexts = list(classic.contexts) if classic else []
    checks = [{"context": each, "app_id": None} for each in contexts]
    required = {"enforcement_level": "non_admins" if classic else "off", "contexts": contexts, "checks": checks}
    about = {"enabled": classic is not None, "required_status_checks": required}
    commit, protected = api.commit(sha), protection is not None
    return Answer(api.shown("branch-with-protection", name=name, commit=commit, protected=protected, protection=about))


@call("GET", "/branches/{branch}/protection", "administration:read")
def protection_of_branch(api: Api, asked: Asked) -> Answer:
    protection = api.state.protections.get(asked.values["branch"])
    if protection is None or not protection.classic:
        raise RefusedError(404, "Branch not protected")
    reviews = {
        "dismiss_stale_reviews": protection.dismiss_stale,
        "require_code_owner_reviews": protection.code_owners,
        "required_approving_review_count": protection.approvals,
    }
    no = {"enabled": False}
    shown = api.shown(
        "branch-protection", required_pull_request_reviews=reviews, allow_force_pushes=no, allow_deletions=no
    )
    return Answer(shown)


@call("GET", "/rulesets", "metadata:read")
def rulesets(api: Api, asked: Asked) -> Answer:
    chosen = asked.query.get("targets", "branch,tag").split(",")
    found = [BRANCHES] if "branch" in chosen and api.state.protections else []
    found += [TAGS + index for index in range(len(api.state.tag_rules))] if "tag" in chosen else []
    return api.paged(asked, [ruleset(api, number) for number in found])


@call("GET", "/rulesets/{ruleset_id}", "metadata:read")
def one_ruleset(api: Api, asked: Asked) -> Answer:
    number = int(asked.values["ruleset_id"])
    if not 0 <= number - TAGS < len(api.state.tag_rules):
        raise RefusedError(404, "Not Found")
    names = {"include": [f"refs/tags/{api.state.tag_rules[number - TAGS]}"], "exclude": []}
    return Answer(
        ruleset(api, number) | {"conditions": {"ref_name": names}, "rules": [{"type": "update"}, {"type": "deletion"}]}
    )


def ruleset(api: Api, number: int) -> dict[str, Any]:
    """Return a ruleset as a list has it: without its rules."""
    about = {"source_type": "Repository", "source": api.state.upstream.name, "enforcement": "active"}
    target = "tag" if number >= TAGS else "branch"
    return api.shown("repository-ruleset", id=number, name=f"Rules {number}", target=target, **about)
