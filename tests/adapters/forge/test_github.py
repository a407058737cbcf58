"""What promotion asks of GitHub: its real library against the forge of the rig, held to the published description."""

from datetime import UTC, datetime

import pytest

from tests.rig.rig import MAINTAINER, rigged
from trunkline.adapters.forge import api
from trunkline.adapters.forge.api import ForgeError, Guards, Merged
from trunkline.adapters.forge.github import GitHub
from trunkline.adapters.forge.github_rules import keeps

CHECK = "trunkline"
REGISTRY = "models/registry.yaml"
ALL = {"contents": "write", "pull-requests": "write", "statuses": "write"}
TAG = "flight-delay@v1"


@pytest.fixture
def rig(tmp_path):
    with rigged(tmp_path) as rig:
        rig.push("main", {REGISTRY: "v3\n", ".github/CODEOWNERS": f"/{REGISTRY} @bob\n"})
        rig.push("promote", {REGISTRY: "v4\n"})
        rig.state.auto_merge_allowed = True
        yield rig


def connected(rig, permissions=ALL, user="promoter[bot]", run=None):
    token = rig.state.grant(user, permissions, run)
    return GitHub(f"{rig.forge.url}/api/v3", "acme/model", token)


def patiently(call):
    return api.retried(call, lambda text: None, lambda seconds: None)


def opened(rig, title="v4 to production"):
    return connected(rig).open_pull_request("promote", "main", title, "Because.\n")


def green(rig, pull):
    connected(rig).set_status(pull.head_sha, CHECK, "success", "fine", None)


def test_a_pull_request_is_opened_once_and_kept_up_to_date(rig):
    rig.push("other", {"b": "1"})
    other = rig.open_pull_request("other")
    rig.forge.fail("POST", "/pulls$", 1, 502, after_effect=True)
    found = patiently(lambda: opened(rig))
    assert found.url == f"{rig.forge.url}/acme/model/pull/{found.number}"
    assert [pull.title for pull in rig.state.pulls.values()] == [other.title, "v4 to production"]
    assert opened(rig) == opened(rig, "v4 to production, again") == found
    assert rig.state.pulls[found.number].title == "v4 to production, again"
    assert [method for method, *_ in rig.forge.requests if method != "GET"] == ["POST", "PATCH"]


def test_what_became_of_a_branchs_pull_requests(rig):
    forge = connected(rig)
    assert forge.pull_request_of("promote", "main") is None
    first = opened(rig)
    open_ = forge.pull_request_of("promote", "main")
    assert (open_.number, open_.state, open_.sha) == (first.number, "open", rig.state.pulls[1].head_sha)
    assert (open_.url, open_.body.strip()) == (first.url, "Because.")
    rig.state.pulls[1].state = "closed"
    assert forge.pull_request_of("promote", "main").state == "closed"
    second = opened(rig)
    rig.state.pulls[1].state = "open"
    rig.state.pulls[2].state = "closed"
    assert forge.pull_request_of("promote", "main").number == first.number, "the open one"
    rig.state.land(rig.state.pulls[1], MAINTAINER)
    assert forge.pull_request_of("promote", "main").number == second.number, "else the newest"
    rig.state.pulls.pop(2)
    assert forge.pull_request_of("promote", "main").state == "merged"


def test_issues_are_read_written_closed_and_no_pull_request_is_one(rig):
    opened(rig)
    forge = connected(rig, ALL | {"issues": "write"})
    since = datetime(2026, 1, 1, tzinfo=UTC)
    one = forge.create_issue("t", "b")
    assert forge.issues(since) == (one,)
    assert (one.author, one.open, one.url) == (forge.me(), True, f"{rig.forge.url}/acme/model/issues/{one.number}")
    forge.update_issue(one.number, "t", "more", is_open=False)
    assert [(issue.body, issue.open) for issue in forge.issues(since)] == [("more", False)]
    assert forge.issues(datetime(2026, 2, 1, tzinfo=UTC)) == ()
    forge.update_issue(one.number, "t", "more", is_open=True)
    forge.create_issue_comment(one.number, "still")
    assert [(each.author, each.body) for each in forge.issue_comments(one.number)] == [(one.author, "still")]
    with pytest.raises(ForgeError, match=r"403 .*the token needs issues: write"):
        connected(rig).create_issue("t", "b")
    assert rig.forge.violations == []


def test_what_cannot_be_opened_is_said_with_its_reason(rig):
    with pytest.raises(ForgeError, match=r"422 \(Validation Failed: No commits between main and main\)"):
        connected(rig).open_pull_request("main", "main", "t", "b")
    with pytest.raises(ForgeError, match=r"403 \(GitHub Actions is not permitted.*a person's or an app's"):
        connected(rig, run=7).open_pull_request("promote", "main", "t", "b")
    with pytest.raises(ForgeError, match=r"403 .*the token needs pull-requests: write"):
        connected(rig, {"pull-requests": "read"}).open_pull_request("promote", "main", "t", "b")
    assert rig.state.pulls == {}


def test_a_merge_waits_for_checks_and_for_approvals_and_is_asked_for_as_often_as_one_likes(rig):
    rig.protect(CHECK, approvals=1, code_owners=True)
    rig.admit("bob")
    pull = rig.state.pulls[opened(rig).number]
    forge, trunk = connected(rig), rig.upstream.sha("main")
    assert not forge.merge_when_ready(pull.number, pull.head_sha)
    assert not forge.merge_when_ready(pull.number, pull.head_sha)
    assert [path for _, path, _ in rig.forge.requests].count("/api/graphql") == 1
    green(rig, pull)
    assert rig.upstream.sha("main") == trunk
    rig.review(pull.number, "bob")
    assert (pull.merged, pull.merged_by) == (True, "promoter[bot]")
    assert rig.upstream.contains("main", pull.head_sha)
    assert forge.merge_when_ready(pull.number, pull.head_sha)


@pytest.mark.parametrize("other", ["success", "pending"])
def test_what_has_nothing_to_wait_for_is_merged_at_once(rig, other):
    rig.protect(CHECK)
    pull = rig.state.pulls[opened(rig).number]
    green(rig, pull)
    connected(rig).set_status(pull.head_sha, "no matter", other, "clean or unstable", None)
    rig.forge.fail("PUT", "/merge$", 1, 405)
    assert patiently(lambda: connected(rig).merge_when_ready(pull.number, pull.head_sha))
    assert pull.merged


def test_nothing_is_merged_unseen(rig):
    pull = rig.state.pulls[opened(rig).number]

    def refused(reason, sha=pull.head_sha, permissions=ALL):
        with pytest.raises(ForgeError, match=reason) as found:
            connected(rig, permissions).merge_when_ready(pull.number, sha)
        return found.value

    refused("nothing is checked before a merge into main; require a check in its ruleset")
    rig.protect(approvals=1)
    refused("nothing is checked before a merge into main")
    rig.protect(CHECK)
    refused(r"403 .*needs contents: write and pull-requests: write", permissions=ALL | {"contents": "read"})
    assert refused("its head is", sha="0" * 40).passing
    rig.state.auto_merge_allowed = False
    refused("auto-merge is off; switch on Settings → General → Allow auto-merge")
    rig.state.auto_merge_allowed = True
    pull.state = "closed"
    refused("it is closed")
    assert (pull.merged, pull.auto) == (False, None)


def test_who_approved_what_was_merged(rig):
    for user in ("bob", "carol", "dave", "eve", "frank", "grace"):
        rig.admit(user)
    pull = rig.state.pulls[opened(rig).number]
    rig.review(pull.number, "dave")
    rig.push("promote", {REGISTRY: "v5\n"})
    for user, word in (
        ("bob", "CHANGES_REQUESTED"), ("bob", "APPROVED"), ("carol", "APPROVED"), ("carol", "CHANGES_REQUESTED"),
        ("eve", "APPROVED"), ("eve", "COMMENTED"), ("frank", "DISMISSED"), ("mallory", "APPROVED"),
        ("promoter[bot]", "APPROVED"), ("other[bot]", "APPROVED"),
    ):  # fmt: skip
        rig.review(pull.number, user, word)
    assert rig.merge(pull.number) == ""
    rig.review(pull.number, "grace")
    forge, trunk = connected(rig), rig.upstream.sha("main")
    merged = Merged(
        number=pull.number,
        url=f"{rig.forge.url}/acme/model/pull/{pull.number}",
        title="v4 to production",
        author="promoter[bot]",
        merged_by="maintainer",
        approvers=("bob", "eve"),
    )
    assert forge.merged(trunk, "main") == merged
    assert forge.merged(pull.head_sha, "main") == merged
    assert forge.merged(trunk, "other") is None
    assert forge.merged(rig.push("main", {"c": "1"}), "main") is None, "a push"
    assert forge.merged("0" * 40, "main") is None, "not there"
    with pytest.raises(ForgeError, match="needs pull-requests: read"):
        connected(rig, {}).merged(trunk, "main")


def test_what_guards_the_trunk(rig):
    forge = connected(rig, {"contents": "read"})
    bare = Guards(
        pull_request_required=False,
        approvals=0,
        code_owners=False,
        checks=(),
        force_push_blocked=False,
        deletion_blocked=False,
        tags_protected=False,
    )
    assert forge.guards("main", TAG) == bare
    for glob in ("other@v*", "*@v*"):
        assert forge.guards("main", TAG).tags_protected is False
        rig.protect_tags(glob)
    rig.protect(CHECK, "b", approvals=2, code_owners=True)
    full = Guards(True, 2, True, ("b", CHECK), True, True, True)
    assert forge.guards("main", TAG) == full
    rig.protect(CHECK, "b", approvals=2, code_owners=True, classic=True)
    assert forge.guards("main", TAG) == Guards(None, None, None, ("b", CHECK), None, None, True)
    administrator = connected(rig, {"contents": "read", "administration": "read"})
    assert administrator.guards("main", TAG) == full
    rig.forge.fail("GET", "/rulesets$", 1, 403)
    assert forge.guards("main", TAG).tags_protected is None
    rig.forge.fail("GET", "/rulesets$", 1, 403, {"Retry-After": "1"})
    assert patiently(lambda: forge.guards("main", TAG)).tags_protected
    with pytest.raises(ForgeError, match=r"404.*needs contents: read"):
        forge.guards("gone", TAG)


@pytest.mark.parametrize(
    ("include", "exclude", "verdict"),
    [
        (["~ALL"], [], True),
        (["refs/tags/*@v*"], [], True),
        (["refs/tags/**/*"], [], True),
        (["refs/tags/flight-delay@v[0-9]"], [], True),
        (["refs/*"], [], False),
        (["refs/tags/*@v2"], [], False),
        (["~ALL"], ["refs/tags/flight-*"], False),
        (["~ALL"], ["refs/tags/[^a-e]*"], False),
        ([], [], False),
    ],
)
def test_rules_of_tags_are_about_those_that_they_name(include, exclude, verdict):
    def ruleset(*kinds, enforcement="active"):
        conditions = {"ref_name": {"include": include, "exclude": exclude}}
        return {"enforcement": enforcement, "conditions": conditions, "rules": [{"type": kind} for kind in kinds]}

    assert keeps([ruleset("update", "deletion")], TAG) is verdict
    assert keeps([ruleset("update"), ruleset("deletion", "creation")], TAG) is verdict
    assert not keeps([ruleset("update")], TAG)
    assert not keeps([ruleset("update", "deletion", enforcement="evaluate")], TAG)
