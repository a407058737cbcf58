"""What promotion asks of GitLab: its real library against a server that answers as its documentation says."""

from datetime import UTC, datetime

import pytest

from tests.forgeserver import TOKEN, Fault, running
from trunkline.adapters.forge import api
from trunkline.adapters.forge.api import ForgeError, Guards, Merged
from trunkline.adapters.forge.gitlab import GitLab

SHA, MERGE, PUSHED = "a" * 40, "c" * 40, "d" * 40
TAG = "flight-delay@v1"


@pytest.fixture
def server():
    with running() as found:
        yield found


@pytest.fixture
def forge(server):
    return GitLab(f"{server.url}/api/v4", "5", TOKEN)


def patiently(call):
    return api.retried(call, lambda text: None, lambda seconds: None)


def at(hour):
    return f"2026-11-21T{hour:02}:00:00.000Z"


def version(sha, hour):
    return {"id": hour, "head_commit_sha": sha, "created_at": at(hour)}


def test_a_merge_request_is_opened_once_and_kept_up_to_date(server, forge):
    server.pull(1, SHA, source_branch="promote", target_branch="main", source_project_id=6)
    server.faults = [Fault("POST", "merge_requests", 502, done=True)]
    server.pulls[0]["open"] = False
    found = patiently(lambda: forge.open_pull_request("promote", "main", "v4", "Because.\n"))
    server.pulls[0]["open"] = True  # that of a fork
    assert found.number == 2
    assert forge.open_pull_request("promote", "main", "v4", "Because.") == found
    assert forge.open_pull_request("promote", "main", "v4, again", "Because.") == found
    assert [(one.get("title"), one.get("description")) for one in server.pulls[1:]] == [("v4, again", "Because.")]
    assert len(server.writes) == 2


def test_what_became_of_a_branchs_merge_requests(server, forge):
    assert forge.pull_request_of("promote", "main") is None
    sides = {"source_branch": "promote", "target_branch": "main"}
    server.pull(1, SHA, description="Because.", **sides)
    server.pull(2, MERGE, source_project_id=6, **sides)  # of a fork
    request = forge.pull_request_of("promote", "main")
    assert (request.number, request.state, request.sha, request.body) == (1, "open", SHA, "Because.")
    server.pull(3, PUSHED, state="merged", **sides)
    assert forge.pull_request_of("promote", "main").number == 1, "the open one"
    server.pulls[0]["open"] = False
    assert (forge.pull_request_of("promote", "main").number, forge.pull_request_of("promote", "main").state) == (
        3,
        "merged",
    )
    server.pulls.pop(2)
    assert forge.pull_request_of("promote", "main").state == "closed"


def test_issues_are_read_written_and_closed(server, forge):
    since = datetime(2025, 12, 1, tzinfo=UTC)
    one = forge.create_issue("t", "b\n")
    assert forge.issues(since) == (one,)
    assert (one.body, one.author, one.open, one.url) == ("b", forge.me(), True, f"{server.url}/o/r/-/issues/1")
    forge.update_issue(one.number, "t", "more", is_open=False)
    assert [(issue.body, issue.open) for issue in forge.issues(since)] == [("more", False)]
    assert forge.issues(datetime(2026, 2, 1, tzinfo=UTC)) == ()
    forge.update_issue(one.number, "t", "more", is_open=True)
    assert [issue.open for issue in forge.issues(since)] == [True]
    forge.create_issue_comment(one.number, "still")
    assert [(each.author, each.body) for each in forge.issue_comments(one.number)] == [(one.author, "still")]


def test_a_merge_waits_for_the_pipeline_and_for_gitlab(server, forge):
    made = server.pull(1, SHA)

    def merge():
        return forge.merge_when_ready(1, SHA)

    with pytest.raises(ForgeError, match="405") as found:
        merge()
    assert found.value.passing, "GitLab has not made the pipeline yet"
    made["pipeline"] = "ignored"
    with pytest.raises(ForgeError, match="has not taken it yet") as found:
        merge()
    assert found.value.passing
    made["pipeline"] = "running"
    writes = len(server.writes)
    assert [merge(), merge(), made["open"]] == [False, False, True]
    assert len(server.writes) == writes + 1
    made |= {"pipeline": "success", "merge_when_pipeline_succeeds": False}
    writes = len(server.writes)
    assert [merge(), merge(), made["open"]] == [True, True, False]
    assert len(server.writes) == writes + 1


def test_nothing_is_merged_unseen(server, forge):
    made = server.pull(1, SHA, pipeline="success")
    with pytest.raises(ForgeError, match="its head is aaaaaaaaaaaa, not cccccccccccc"):
        forge.merge_when_ready(1, MERGE)
    server.project["only_allow_merge_if_pipeline_succeeds"] = False
    with pytest.raises(ForgeError, match=r"nothing is checked before a merge; switch on .*Pipelines must succeed"):
        forge.merge_when_ready(1, SHA)
    made["open"] = False
    with pytest.raises(ForgeError, match="it is closed"):
        forge.merge_when_ready(1, SHA)
    server.faults = [Fault("GET", "merge_requests", 403, body={"message": "403 Forbidden"})]
    with pytest.raises(ForgeError, match="needs the scope api and a role that may merge"):
        forge.merge_when_ready(1, SHA)
    assert server.writes == []


def test_who_approved_what_was_merged(server, forge):
    about = {"title": "v4", "author": {"username": "alice"}, "merge_user": {"username": "dora"}, "merged_at": at(12)}
    given = [("bob", 11), ("early", 9), ("late", 13), ("alice", 11)]
    made = server.pull(3, SHA, open=False, state="merged", merge_commit_sha=MERGE, **about)
    made |= {"versions": [version(SHA, 10), version("b" * 40, 8)]}
    made["given"] = [(name, {"approved_at": at(hour)}) for name, hour in given]
    server.pull(2, SHA, open=False, state="merged", target_branch="feature")
    server.pull(1, "b" * 40, open=False, state="merged", holds=[MERGE, SHA])
    merged = Merged(3, f"{server.url}/o/r/-/merge_requests/3", "v4", "alice", "dora", ("bob",))
    assert forge.merged(MERGE, "main") == forge.merged(SHA, "main") == merged
    made["given"] = [("bob", {}), ("alice", {})]
    assert forge.merged(SHA, "main").approvers == (), "which commit it was of is not known"
    made["versions"] = made["versions"][:1]
    assert forge.merged(SHA, "main").approvers == ("bob",)
    made["merge_user"] = None
    assert forge.merged(SHA, "main").merged_by == "ghost"
    assert forge.merged(PUSHED, "main") is None
    assert forge.merged("e" * 40, "main") is None
    server.faults = [Fault("GET", "commits", 404, body={"message": "404 Project Not Found"})]
    with pytest.raises(ForgeError, match=r"404 .*needs the scope read_api"):
        forge.merged(SHA, "main")


def protected(name, *levels, force=False, owners=False):
    pushes = [{"access_level": level} for level in levels]
    return {
        "name": name,
        "push_access_levels": pushes,
        "allow_force_push": force,
        "code_owner_approval_required": owners,
    }


def approvals(count, *names, every=False):
    branches = [{"name": name} for name in names]
    return {"approvals_required": count, "protected_branches": branches, "applies_to_all_protected_branches": every}


def test_what_guards_the_trunk(server, forge):
    def guards():
        return forge.guards("main", TAG)

    server.project["only_allow_merge_if_pipeline_succeeds"] = False
    assert guards() == Guards(False, 0, False, (), False, False, False)
    server.project["only_allow_merge_if_pipeline_succeeds"] = True
    server.rules = {
        "protected_branches": [protected("ma*", 0, owners=True), protected("other", 40)],
        "protected_tags": [{"name": "*@v*", "create_access_levels": []}],
        "approval_rules": [approvals(1), approvals(2, "main"), approvals(3, "other"), approvals(4, every=True)],
    }
    assert guards() == Guards(True, 2, True, ("pipeline",), True, True, True)
    server.rules["protected_branches"].append(protected("main", 40, force=True))
    assert guards() == Guards(False, 2, True, ("pipeline",), False, True, True)
    server.rules = dict.fromkeys(("protected_branches", "protected_tags", "approval_rules"))
    assert guards() == Guards(checks=("pipeline",))
    server.faults = [Fault("GET", "protected_branches", 503)]
    with pytest.raises(ForgeError, match="503"):
        guards()
