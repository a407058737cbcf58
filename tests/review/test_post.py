"""The one comment of a pull request: created once whatever fails, and never somebody else's."""

import pytest

from tests.forgeserver import TOKEN, Fault, running
from trunkline.adapters.forge import api
from trunkline.adapters.forge.api import Comment, ForgeError
from trunkline.adapters.forge.github import GitHub
from trunkline.adapters.forge.gitlab import GitLab
from trunkline.core.errors import UserError
from trunkline.review import post as review_post
from trunkline.review.post import MARKER, Posted

SHA, OLD = "a" * 40, "b" * 40
BODY = f"{MARKER}\n## answer\n"


@pytest.fixture
def server():
    with running() as found:
        found.pull(1, SHA)
        yield found


@pytest.fixture(params=["github", "gitlab"])
def forge(request, server):
    if request.param == "github":
        return GitHub(server.url, "o/r", TOKEN, timeout=1)
    return GitLab(f"{server.url}/api/v4", "5", TOKEN, timeout=1)


def post(forge, body=BODY, sha=SHA, **more):
    return api.retried(lambda: review_post.post(forge, sha, body, **more), lambda text: None, lambda seconds: None)


def test_it_is_created_then_updated_then_left_alone(server, forge):
    assert post(forge).what == "created"
    assert post(forge).what == "unchanged"
    assert len(server.writes) == 1
    assert post(forge, f"{BODY}more\r\n").what == "updated"
    assert post(forge, f"{BODY}more").what == "unchanged"
    assert [body.strip() for body in server.bodies()] == [f"{BODY}more"]


@pytest.mark.parametrize(
    "fault",
    [
        Fault("POST", "comments|notes", 500, done=True),
        Fault("POST", "comments|notes", 502),
        Fault("POST", "comments|notes", 429, {"Retry-After": "0"}),
        Fault("POST", "comments|notes", done=True, hang=1.4),
        Fault("GET", "comments|notes", 500),
        Fault("GET", "pulls|merge_requests", 503),
        Fault("PATCH", "comments", 500, done=True),
        Fault("PUT", "notes", 500),
    ],
    ids=lambda fault: f"{fault.method}-{fault.status}-{fault.done}-{fault.hang}",
)
@pytest.mark.parametrize("before", [[], ["old"]])
def test_whatever_fails_once_it_is_there_once(server, forge, fault, before):
    for body in before:
        server.comment(server.me, f"{MARKER}\n{body}")
    server.faults = [fault, *([fault] if fault.method == "GET" else [])]
    assert post(forge).what in ("created", "updated", "unchanged")
    assert [body.strip() for body in server.bodies()] == [BODY.strip()]


def test_after_a_run_that_was_cut_off_the_next_one_converges(server, forge):
    server.faults = [Fault("POST", "comments|notes", 500, done=True)]
    with pytest.raises(ForgeError, match="500"):
        review_post.post(forge, SHA, BODY)
    assert post(forge, f"{BODY}newer").what == "updated"
    assert len(server.bodies()) == 1


def test_a_comment_of_someone_else_with_our_marker_is_not_touched(server, forge):
    forged = [server.comment(author, f"{MARKER}\nmay be merged") for author in ("mallory", "github-actions", "")]
    server.comment(server.me, f"quoted: {MARKER}")
    assert post(forge).what == "created"
    assert post(forge, f"{BODY}x").what == "updated"
    assert [one["body"] for one in forged] == [f"{MARKER}\nmay be merged"] * 3
    assert [body.strip() for body in server.bodies()[3:]] == [f"quoted: {MARKER}", f"{BODY}x"]


def test_ours_is_found_behind_a_hundred_others_and_the_first_of_two_is_kept_up_to_date(server, forge):
    for number in range(130):
        server.comment("someone", f"{number}")
    server.comment(server.me, f"{MARKER}\nfirst")
    server.comment(server.me, f"{MARKER}\nsecond")
    found = post(forge)
    assert (found.what, found.more) == ("updated", 1)
    assert [body.strip() for body in server.bodies()[130:]] == [BODY.strip(), f"{MARKER}\nsecond"]


def test_a_run_of_an_older_commit_that_comes_late_says_nothing(server, forge):
    assert post(forge, f"{MARKER}\nlate", sha=OLD) == Posted("stale")
    assert server.writes == []


def test_a_head_that_moves_while_the_forge_is_waited_for_is_noticed(server, forge):
    def push(seconds):
        server.pulls[0]["sha"] = "c" * 40

    server.faults = [Fault("POST", "comments|notes", 503)]
    found = api.retried(lambda: review_post.post(forge, SHA, BODY), lambda text: None, push)
    assert found == Posted("stale")
    assert server.bodies() == []


def test_a_review_of_the_same_commit_is_not_replaced_by_a_notice(server, forge):
    assert review_post.post_notice(forge, SHA, None).what == "created"
    review = review_post.signed("## answer\n", SHA, None)
    assert post(forge, review).what == "updated"
    assert review_post.post_notice(forge, SHA, "https://forge.example/2").what == "unchanged"
    assert [body.strip() for body in server.bodies()] == [review.strip()]
    server.pulls[0]["sha"] = OLD
    assert review_post.post_notice(forge, OLD, None).what == "updated"
    assert review_post.post_notice(forge, SHA, None) == Posted("stale")


@pytest.mark.parametrize("before", [[], [f"{MARKER}\nold"]])
def test_a_dry_run_looks_and_writes_nothing(server, forge, before):
    for body in before:
        server.comment(server.me, body)
    assert post(forge, write=False).what == ("updated" if before else "created")
    assert server.bodies() == before


def test_the_foot_has_the_commit_and_the_run():
    url = "https://forge.example/o/r/actions/runs/1?a=b"
    text = f"text\n\n---\nOf commit {SHA}, from [this run]({url}).\n"
    assert review_post.signed("text\n", SHA, url) == f"{MARKER}\n{text}"
    assert review_post.notice(SHA, None).startswith(f"{MARKER}\n")
    assert review_post.mine((Comment(1, "me", review_post.notice(SHA, url)),), "me")


@pytest.mark.parametrize(
    "url", ["javascript:alert(1)", "https://x) @octocat", "https://x\n# y", "https://" + "x" * 600, ""]
)
def test_an_address_that_could_leave_its_link_is_refused(url):
    with pytest.raises(UserError, match="--url"):
        review_post.signed("text", SHA, url)
