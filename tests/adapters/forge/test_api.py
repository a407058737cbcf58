"""Forges through their real libraries, against a server with faults."""

import sys

import pytest

from tests.forgeserver import TOKEN, Fault, running
from trunkline.adapters.forge import api, connect
from trunkline.adapters.forge.api import Comment, ForgeError, PullRequest
from trunkline.adapters.forge.github import GitHub
from trunkline.adapters.forge.gitlab import GitLab
from trunkline.core.errors import UserError

SHA, OTHER = "a" * 40, "b" * 40


@pytest.fixture
def server():
    with running() as found:
        yield found


@pytest.fixture(params=["github", "gitlab"])
def forge(request, server):
    return connected(request.param, server)


def connected(kind, server, token=TOKEN, timeout=20):
    if kind == "github":
        return GitHub(server.url, "o/r", token, timeout)
    return GitLab(f"{server.url}/api/v4", "5", token, timeout)


def test_the_pull_request_of_a_head_is_found_among_many_and_no_other_is(server, forge):
    for number in range(2, 250):
        server.pull(number, OTHER)
    assert forge.pull_request(SHA) is None
    server.pull(251, SHA)
    server.pull(250, SHA)
    found = forge.pull_request(SHA)
    assert isinstance(found, PullRequest)
    assert found.number == 250
    assert found.url.endswith("/250")
    server.pulls[-1]["open"] = server.pulls[-2]["open"] = False
    assert forge.pull_request(SHA) is None


def test_comments_are_read_to_the_last_page_and_written(server, forge):
    for number in range(205):
        server.comment("someone", f"comment {number}")
    forge.create_comment(1, "a *new* one")
    found = forge.comments(1)
    assert [one.body for one in found] == [*(f"comment {number}" for number in range(205)), "a *new* one"]
    assert found[-1] == Comment(1205, server.me, "a *new* one")
    assert forge.me() == server.me
    forge.update_comment(1, 1205, "another")
    assert server.bodies()[-2:] == ["comment 204", "another"]
    assert forge.comments(2) == ()


def test_a_check_is_set_in_the_words_of_the_forge(server):
    connected("github", server).set_status(SHA, "gate", "failure", "x" * 200, "https://ci.example/1")
    connected("gitlab", server).set_status(SHA, "gate", "failure", "two", None)
    assert server.statuses == [
        {"sha": SHA, "context": "gate", "state": "failure", "description": "x" * 140, "target_url": "https://ci.example/1"},
        {"sha": SHA, "name": "gate", "state": "failed", "description": "two"},
    ]  # fmt: skip


def test_the_latest_artifact_of_a_run_is_fetched_and_the_token_stays_with_the_forge(server, forge):
    server.artifact(b"first", run=7)
    server.artifact(b"other name", name="coverage", run=7)
    server.artifact(b"latest", run=7)
    server.artifact(b"other run", run=8)
    assert forge.artifact(7, "review", 100) == b"latest"
    assert server.leaked == []


@pytest.mark.parametrize("expired", [True, False])
def test_an_artifact_that_is_not_there_or_too_large_is_the_runs_fault(server, forge, expired):
    with pytest.raises(UserError, match="there is no"):
        forge.artifact(7, "review", 100)
    server.artifact(b"x" * 500_000, expired=expired)
    with pytest.raises(UserError, match="expired" if expired else "more than 100 bytes"):
        forge.artifact(7, "review", 100)


def test_what_a_token_may_not_do_is_named_and_not_tried_again(server, forge):
    server.faults = [Fault("POST", "comments|notes", 403, body={"message": "Resource not accessible by integration"})]
    with pytest.raises(
        ForgeError, match=r"403 \(Resource not accessible.*needs .*(pull-requests: write|scope api)"
    ) as found:
        api.retried(lambda: forge.create_comment(1, "x"), print)
    assert len(server.writes) == 1
    assert found.value.exit_code == 3


@pytest.mark.parametrize("kind", ["github", "gitlab"])
def test_a_wrong_token_is_said_and_never_shown(server, kind, capsys):
    forge = connected(kind, server, token="wrong-secret")
    for call in (forge.me, lambda: forge.pull_request(SHA), lambda: forge.artifact(7, "review", 9)):
        with pytest.raises(ForgeError, match="401") as found:
            api.retried(call, print)
        assert "secret" not in str(found.value)
        assert found.value.__cause__ is None
    assert "secret" not in "".join(capsys.readouterr())
    assert "secret" not in repr(forge)


@pytest.mark.parametrize("path", ["comments", "pulls"])
def test_a_limit_is_waited_for_as_long_as_the_forge_asks(server, path):
    forge, waited = connected("github", server), []
    server.faults = [
        Fault("GET", path, 429, {"Retry-After": "7"}),
        Fault("GET", path, 403, {"Retry-After": "3"}, {"message": "You have exceeded a secondary rate limit"}),
        Fault("GET", path, 502),
    ]
    call = (lambda: forge.comments(1)) if path == "comments" else (lambda: forge.pull_request(SHA))
    assert not api.retried(call, lambda text: None, waited.append)
    assert waited == [7.0, 3.0, api.PAUSES[2]]


def test_a_forge_that_asks_for_an_hour_is_not_waited_for(server):
    server.faults = [Fault("GET", "pulls", 403, {"X-RateLimit-Remaining": "0", "X-RateLimit-Reset": "9999999999"})]
    with pytest.raises(ForgeError, match="asks to wait"):
        api.retried(lambda: connected("github", server).pull_request(SHA), print, pytest.fail)


def test_gitlab_waits_by_itself(server):
    server.faults = [Fault("POST", "notes", 429, {"Retry-After": "1"})]
    connected("gitlab", server).create_comment(1, "x")
    assert server.bodies() == ["x"]


@pytest.mark.parametrize("kind", ["github", "gitlab"])
def test_a_forge_that_does_not_answer_is_asked_again_some_times(server, kind):
    forge, said, waited = connected(kind, server, timeout=1), [], []
    server.faults = [Fault("POST", "comments|notes", hang=1.5)]
    with pytest.raises(ForgeError, match="no answer from the forge"):
        forge.create_comment(1, "x")
    server.faults = [Fault("GET", "pulls|merge_requests", 503) for _ in range(20)]
    with pytest.raises(ForgeError, match="503"):
        api.retried(lambda: forge.pull_request(SHA), said.append, waited.append)
    assert tuple(waited) == api.PAUSES
    assert all("503" in text and "trying again" in text for text in said)
    server.close()
    with pytest.raises(ForgeError, match="no answer from the forge"):
        forge.pull_request(SHA)


@pytest.mark.parametrize("body", [b"<html>", b"{", b"[1]", b'{"data": {}}', b'["\\u0000"]'])
def test_an_answer_that_is_no_api_is_an_error_of_the_forge(server, forge, body):
    for method, path, call in (
        ("GET", "pulls|merge_requests", lambda: forge.pull_request(SHA)),
        ("GET", "comments|notes", lambda: forge.comments(1)),
        ("POST|GET", "graphql|user", forge.me),
        ("GET", "pulls|merge_requests", lambda: forge.open_pull_request("work", "main", "title", "body")),
        ("GET", "pulls/1|merge_requests/1", lambda: forge.merge_when_ready(1, SHA)),
        ("GET", "commits/", lambda: forge.merged(SHA, "main")),
        ("GET", "rules/|projects/5$", lambda: forge.guards("main", "flight-delay@v1")),
    ):
        for verb in method.split("|"):
            server.faults.append(Fault(verb, path, 200, {"Content-Type": "application/json"}, body))
        with pytest.raises(ForgeError) as found:
            call()
        assert "\n" not in str(found.value)
        server.faults.clear()


@pytest.mark.parametrize("status", [404, 405, 410, 501])
def test_where_there_is_no_graphql_the_rest_api_says_who_we_are(server, status):
    found = GitHub(server.url, "o/r", TOKEN, timeout=1)
    server.faults = [Fault("POST", "graphql", status)]
    assert found.me() == server.me
    server.faults = [Fault("POST", "graphql", 401)]
    with pytest.raises(ForgeError, match="401"):
        found.me()


def test_the_environment_names_the_forge(server):
    github = {"GITHUB_API_URL": server.url, "GITHUB_REPOSITORY": "o/r", "GITHUB_TOKEN": TOKEN}
    gitlab = {"CI_API_V4_URL": f"{server.url}/api/v4", "CI_PROJECT_ID": "5", "GITLAB_TOKEN": TOKEN}
    for found in (connect.connect(github), connect.connect(gitlab)):
        assert found.me() == server.me
    assert isinstance(connect.connect(github), GitHub)
    assert isinstance(connect.connect(gitlab), GitLab)
    for wrong, reason in (
        ({}, "no forge"),
        (github | {"GITHUB_TOKEN": ""}, "GITHUB_TOKEN: is not set"),
        (github | {"GITHUB_TOKEN": "secret\nsecret"}, "is no token"),
        (github | {"GITHUB_REPOSITORY": "o/r/../x"}, "is not owner/name"),
        (github | {"GITHUB_API_URL": "http://forge.example"}, "in the clear"),
        (gitlab | {"CI_PROJECT_ID": "../5"}, "is not a project's number"),
        (gitlab | {"CI_API_V4_URL": ""}, "CI_API_V4_URL: is not set"),
    ):
        with pytest.raises(UserError, match=reason) as found:
            connect.connect(wrong)
        assert "secret" not in str(found.value)


@pytest.mark.parametrize(("library", "package"), [("github", "PyGithub"), ("gitlab", "python-gitlab")])
def test_without_its_library_a_forge_says_what_to_install(monkeypatch, library, package):
    monkeypatch.setitem(sys.modules, library, None)
    monkeypatch.delitem(sys.modules, f"trunkline.adapters.forge.{library}")
    settings = {
        "github": {"GITHUB_REPOSITORY": "o/r", "GITHUB_TOKEN": TOKEN},
        "gitlab": {"CI_API_V4_URL": "https://forge.example/api/v4", "CI_PROJECT_ID": "5", "GITLAB_TOKEN": TOKEN},
    }
    with pytest.raises(UserError, match=rf"{package} is not installed; run: pip install 'trunkline\[forge\]'"):
        connect.connect(settings[library])
