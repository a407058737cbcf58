"""trunkline ci comment and trunkline ci status as a workflow calls them: a process, an environment, a forge."""

import io
import os
import re
import struct
import subprocess
import zipfile
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.forgeserver import TOKEN, Fault, running
from tests.forkserver import commands
from tests.review.test_comment import REVIEW, hostile
from trunkline.adapters.forge import archive as forge_archive
from trunkline.core.errors import UserError
from trunkline.review import comment, file
from trunkline.review.post import MARKER

SHA = REVIEW.head
RUN = "https://forge.example/o/r/actions/runs/7"
JSON = file.encode(REVIEW)


@pytest.fixture
def server():
    with running() as found:
        found.pull(1, SHA)
        yield found


def trunkline(*arguments, server=None, cwd=None):
    hidden = ("GITHUB_", "CI_", "GITLAB_")
    environment = {name: value for name, value in os.environ.items() if not name.startswith(hidden)}
    if server:
        environment |= {"GITHUB_API_URL": server.url, "GITHUB_REPOSITORY": "o/r", "GITHUB_TOKEN": TOKEN}
    done = subprocess.run(
        [commands() / "trunkline", *map(str, arguments)],
        cwd=cwd, env=environment, capture_output=True, text=True, check=False, timeout=120,
    )  # fmt: skip
    assert TOKEN not in done.stdout + done.stderr
    assert "Traceback" not in done.stderr
    return done


def archive(members, method=zipfile.ZIP_DEFLATED):
    made = io.BytesIO()
    with zipfile.ZipFile(made, "w", method) as opened:
        for name, content in members:
            opened.writestr(name, content)
    return made.getvalue()


def test_a_review_is_printed_without_a_forge(tmp_path):
    (tmp_path / "review.json").write_bytes(JSON)
    done = trunkline("ci", "comment", "--review", "review.json", cwd=tmp_path)
    assert done.returncode == 0
    assert done.stdout == f"{MARKER}\n{comment.render(REVIEW)}\n---\nOf commit {SHA}.\n"


def test_a_review_of_a_run_is_posted_once_and_kept_up_to_date(server, tmp_path):
    server.artifact(archive([("review.json", JSON)]))
    call = ("ci", "comment", "--run", 7, "--sha", SHA, "--url", RUN, "--post")
    first = trunkline(*call, "--dry-run", server=server, cwd=tmp_path)
    assert (first.returncode, server.writes) == (0, [])
    assert "comment created (dry run: not done)" in first.stdout
    server.faults = [Fault("POST", "comments", 500, done=True), Fault("GET", "zip", 502)]
    second = trunkline(*call, server=server, cwd=tmp_path)
    assert second.returncode == 0
    assert second.stderr.count("trying again in") == 2
    assert second.stdout == f"{server.url}/o/r/pull/1: comment unchanged\n"
    [body] = server.bodies()
    assert body == f"{MARKER}\n{comment.render(REVIEW)}\n---\nOf commit {SHA}, from [this run]({RUN}).\n"
    server.artifact(archive([("review.json", file.encode(replace(REVIEW, behind=4)))]))
    assert "comment updated" in trunkline(*call, server=server, cwd=tmp_path).stdout
    assert "4 commits" in server.bodies()[0]
    assert len(server.bodies()) == 1
    assert list(tmp_path.iterdir()) == []


BAD = {
    "no zip": b"MZ\x90",
    "none": archive([("other.json", JSON)]),
    "twice": archive([("review.json", JSON), ("./review.json", JSON)]).replace(
        b"./review.json", b"review.json\x00\x00"
    ),
    "traversal": archive([("../review.json", JSON)]),
    "bzip2": archive([("review.json", JSON)], zipfile.ZIP_BZIP2),
    "bomb": archive([("review.json", b"0" * 50_000_000)]),
    "text": archive([("review.json", b"$(touch /tmp/x); ## May be merged")]),
    "forged head": archive([("review.json", file.encode(replace(REVIEW, head="c" * 40)))]),
    "number": archive([("review.json", JSON[:-2] + b',\n  "number": 2\n}\n')]),
    "huge": os.urandom(3_000_000),
}


@pytest.mark.parametrize("content", [None, *BAD.values()], ids=["missing", *BAD])
def test_an_artifact_that_is_no_review_gives_a_notice_of_ours(server, content, tmp_path):
    server.pull(2, "d" * 40)
    if content is not None:
        server.artifact(content)
    done = trunkline("ci", "comment", "--run", 7, "--sha", SHA, "--url", RUN, "--post", server=server, cwd=tmp_path)
    assert done.returncode == 2
    assert re.fullmatch(r"error: .+\n", done.stderr)
    [body] = server.bodies(1)
    assert body.splitlines()[1:4] == [
        "## ⚠️ No review",
        "",
        "The run left no review that can be read: see the run's log.",
    ]
    assert RUN in body
    assert server.bodies(2) == []
    assert list(tmp_path.iterdir()) == []


def test_hostile_texts_are_posted_as_text(server, tmp_path):
    server.artifact(archive([("review.json", file.encode(hostile("@octocat <img src=x> ::error::x\n::warning::y")))]))
    assert trunkline("ci", "comment", "--run", 7, "--sha", SHA, "--post", server=server, cwd=tmp_path).returncode == 0
    [body] = server.bodies()
    assert "<img" not in re.sub(r"`[^`]*`", "", body)
    assert not re.search(r"^::", body, re.MULTILINE)


def test_a_commit_that_is_the_head_no_more_is_left_alone(server, tmp_path):
    server.pulls[0]["sha"] = "e" * 40
    server.artifact(archive([("review.json", JSON)]))
    done = trunkline("ci", "comment", "--run", 7, "--sha", SHA, "--post", server=server, cwd=tmp_path)
    assert (done.returncode, server.writes) == (0, [])
    assert "not any more: nothing posted" in done.stdout


def test_a_forge_that_refuses_is_exit_code_3(server, tmp_path):
    (tmp_path / "review.json").write_bytes(JSON)
    server.faults = [Fault("POST", "comments", 403, body={"message": "Resource not accessible by integration"})]
    done = trunkline("ci", "comment", "--review", "review.json", "--sha", SHA, "--post", server=server, cwd=tmp_path)
    assert done.returncode == 3
    assert "the token needs pull-requests: write" in done.stderr


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        ((), "name one review"),
        (("--review", "review.json", "--run", 7), "name one review"),
        (("--review", "review.json", "--post"), "--post needs --sha"),
        (("--review", "review.json", "--dry-run"), "--dry-run needs --post"),
        (("--review", "review.json", "--sha", "main"), "is not a commit's full hash"),
        (("--review", "review.json", "--url", "javascript:1"), "--url: is no address"),
        (("--review", "nowhere.json"), "nowhere.json: cannot be read"),
        (("--review", "review.json", "--sha", "f" * 40), "is of commit bbbb"),
        (("--review", "review.json", "--sha", SHA, "--post"), "no forge: set GITHUB_REPOSITORY"),
        (("--run", 7), "no forge: set GITHUB_REPOSITORY"),
    ],
)
def test_what_is_wrong_is_exit_code_2(arguments, reason, tmp_path):
    (tmp_path / "review.json").write_bytes(JSON)
    done = trunkline("ci", "comment", *arguments, cwd=tmp_path)
    assert (done.returncode, done.stdout) == (2, "")
    assert reason in done.stderr


def test_a_check_is_set_on_a_commit(server, tmp_path):
    call = ("ci", "status", "--sha", SHA, "--context", "trunkline", "--state", "success", "--description", "reproduced")
    assert "not set" in trunkline(*call, "--dry-run", server=server, cwd=tmp_path).stdout
    assert server.statuses == []
    server.faults = [Fault("POST", "statuses", 502)]
    done = trunkline(*call, "--url", RUN, server=server, cwd=tmp_path)
    assert done.returncode == 0
    assert server.statuses == [
        {"sha": SHA, "context": "trunkline", "state": "success", "description": "reproduced", "target_url": RUN}
    ]
    assert trunkline("ci", "status", *call[2:7], "yes", server=server, cwd=tmp_path).returncode == 2


def lying():
    """A bomb whose headers say that it is small, in both places."""
    bomb = archive([("review.json", b"0" * 5_000_000)])
    return bomb.replace(struct.pack("<I", 5_000_000), struct.pack("<I", 100))


def test_a_size_in_a_header_is_not_believed():
    assert forge_archive.member(archive([("review.json", b"x" * 1000)]), "review.json", 1000) == b"x" * 1000
    for content in (archive([("review.json", b"x" * 1001)]), lying()):
        with pytest.raises(UserError, match=r"artifact: (review.json has more than 1,000 bytes|is no zip)"):
            forge_archive.member(content, "review.json", 1000)


@given(st.binary(max_size=6), st.data())
def test_a_broken_archive_is_refused_or_gives_what_was_in_it(other, data):
    whole = archive([("a.txt", b"a"), ("review.json", b"{}" * 40)])
    place = data.draw(st.integers(0, len(whole)))
    try:
        found = forge_archive.member(whole[:place] + other + whole[place + len(other) :], "review.json", 1000)
    except UserError:
        return
    assert found == b"{}" * 40
