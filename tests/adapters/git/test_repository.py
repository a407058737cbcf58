"""What git says of a folder, asked of the real git."""

import base64
import subprocess
import threading
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest
from werkzeug import Request, Response
from werkzeug.serving import make_server

from tests.processes import counted
from tests.rig.forge import Quiet, served
from tests.rig.repository import Repository, environment
from tests.rig.state import Token
from trunkline.adapters.git import ancestry, remote
from trunkline.adapters.git import repository as git_repository
from trunkline.adapters.git.snapshot import Since, Snapshot, Status
from trunkline.core.errors import OutsideError, UserError


@pytest.fixture
def repository(tmp_path):
    for name in ("conf", "reports"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "file").write_text("1")
    run(tmp_path, "init", "--quiet")
    return tmp_path


def run(folder, *arguments):
    identity = ["-c", "user.name=Test", "-c", "user.email=test@example.org", "-c", "commit.gpgsign=false"]
    done = subprocess.run(["git", *identity, *arguments], cwd=folder, check=True, capture_output=True, text=True)
    return done.stdout.strip()


def commit(folder):
    run(folder, "add", "--all")
    run(folder, "commit", "--quiet", "--message", "one")
    return run(folder, "rev-parse", "HEAD")


def test_the_commit_is_known_once_there_is_one(repository):
    assert git_repository.head(repository) is None
    assert git_repository.head(repository / "conf") is None
    assert commit(repository) == git_repository.head(repository) == git_repository.head(repository / "conf")


def test_only_what_decides_a_result_makes_a_folder_dirty(repository):
    commit(repository)
    (repository / "reports/file").write_text("2")
    assert not git_repository.is_dirty(repository)
    (repository / "conf/file").write_text("2")
    assert git_repository.is_dirty(repository)
    commit(repository)
    assert not git_repository.is_dirty(repository)
    (repository / "conf/new").write_text("1")
    assert git_repository.is_dirty(repository)


def test_without_a_repository_or_git_nothing_is_known(tmp_path, monkeypatch):
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path.parent))
    assert git_repository.head(tmp_path) is None
    assert not git_repository.is_dirty(tmp_path)
    monkeypatch.setenv("PATH", str(tmp_path))
    assert git_repository.head(tmp_path) is None


def make(folder, *names):
    """A repository with one commit per file, on main."""
    folder.mkdir()
    run(folder, "init", "--quiet", "--initial-branch=main")
    for name in names:
        write(folder, name)
    return folder


def write(folder, name):
    (folder / name).write_text(name)
    commit(folder)


def test_the_base_is_where_the_branch_left(tmp_path):
    repo = make(tmp_path / "repo", "a", "b")
    left = run(repo, "rev-parse", "HEAD")
    run(repo, "checkout", "--quiet", "-b", "work")
    write(repo, "c")
    run(repo, "checkout", "--quiet", "main")
    write(repo, "d")
    run(repo, "checkout", "--quiet", "work")
    assert git_repository.merge_base(repo, "main") == left
    clone = tmp_path / "clone"
    run(tmp_path, "clone", "--quiet", "--branch", "work", str(repo), str(clone))
    assert git_repository.merge_base(clone, "main") == left, "only origin/main is there"


def test_a_base_that_is_not_here_says_what_to_fetch(tmp_path):
    repo = make(tmp_path / "repo", "a")
    run(repo, "checkout", "--quiet", "-b", "work")
    write(repo, "b")
    run(repo, "checkout", "--quiet", "main")
    write(repo, "c")
    single, shallow = tmp_path / "single", tmp_path / "shallow"
    run(tmp_path, "clone", "--quiet", "--single-branch", "--branch", "work", str(repo), str(single))
    with pytest.raises(UserError, match="run: git fetch origin main:refs/remotes/origin/main"):
        git_repository.merge_base(single, "main")
    run(single, "fetch", "--quiet", "origin", "main:refs/remotes/origin/main")
    git_repository.merge_base(single, "main")
    address = repo.as_uri()
    run(tmp_path, "clone", "--quiet", "--depth=1", "--no-single-branch", "--branch", "work", address, str(shallow))
    with pytest.raises(UserError, match=r"this clone is shallow.*run: git fetch --unshallow"):
        git_repository.merge_base(shallow, "main")
    run(shallow, "fetch", "--quiet", "--unshallow")
    git_repository.merge_base(shallow, "main")
    with pytest.raises(UserError, match="there is no '--all' here"):
        git_repository.merge_base(repo, "--all")


def test_what_has_changed_since_a_commit(tmp_path):
    repo = make(tmp_path / "repo", "a", "b")
    before = Snapshot(repo, run(repo, "rev-parse", "HEAD"))
    assert Since(repo, before).changed(".") == []
    (repo / "a").write_text("other")
    (repo / "new").write_text("x")
    since = Since(repo, before)
    assert since.changed(".") == ["a", "new"]
    assert since.changed("b") == []
    assert (since.text("a"), since.current("a")) == ("a", "other")
    assert (since.text("new"), since.current("gone")) == (None, None)
    assert Since(repo, None).changed(".") == []
    assert git_repository.last_commit(repo, Path("a")) == run(repo, "rev-parse", "HEAD~1")
    assert git_repository.last_commit(repo, Path("gone")) is None


def test_a_project_below_the_root_sees_its_own_files(repository):
    before = commit(repository)
    (repository / "reports/file").write_text("2")
    (repository / "conf/é b").write_text("new")
    run(repository, "mv", "conf/file", "conf/moved")
    since = Since(repository / "conf", Snapshot(repository / "conf", before))
    assert since.changed(".") == ["moved", "é b"]
    assert since.changed("file") == ["file"]
    assert since.status == Status(before, ("file", "moved"), ("é b",))
    assert since.text("file") == "1"
    assert Since(repository, Snapshot(repository, before)).status.uncommitted("conf", ":(exclude)conf/moved") == [
        "conf/file",
        "conf/é b",
    ]


def test_a_file_in_conflict_is_not_committed(repository):
    commit(repository)
    for branch in ("ours", "theirs"):
        run(repository, "checkout", "--quiet", "-b", branch, "HEAD" if branch == "ours" else "HEAD~1")
        (repository / "conf/file").write_text(branch)
        commit(repository)
    with pytest.raises(subprocess.CalledProcessError):
        run(repository, "merge", "ours")
    since = Since(repository, Snapshot(repository, git_repository.head(repository)))
    assert since.status.uncommitted(".") == since.changed(".") == ["conf/file"]


def test_the_files_of_a_commit_are_read_by_one_process(repository, monkeypatch):
    files = Snapshot(repository, commit(repository), (Path("conf/file"), Path("reports/file"), Path("none")))
    (repository / "conf/file").write_text("2")
    processes = counted(monkeypatch)
    assert [files.text(path) for path in files.expected * 2] == ["1", "1", None] * 2
    assert [words[0] for words in processes] == ["rev-parse", "cat-file"]
    assert files.content(Path("conf")) is files.content(Path("conf")) is None
    assert len(processes) == 3


def test_a_trunk_is_the_first_parents_that_changed_a_path(repository):
    first = commit(repository)
    run(repository, "checkout", "--quiet", "-b", "side")
    (repository / "conf/file").write_text("2")
    side = commit(repository)
    run(repository, "checkout", "--quiet", "-")
    (repository / "reports/file").write_text("2")
    other = commit(repository)
    run(repository, "merge", "--quiet", "--no-ff", "--message", "merged: ü", "side")
    merge = run(repository, "rev-parse", "HEAD")
    found = ancestry.first_parents(repository, "HEAD", [Path("conf/file")])
    assert [item.hash for item in found] == [merge, first]
    assert (found[0].subject, len(found[0].short)) == ("merged: ü", 7)
    assert found[0].day == run(repository, "log", "-1", "--format=%cs")
    assert [item.hash for item in ancestry.first_parents(repository, side, [Path("conf/file")], limit=1)] == [side]
    assert [item.hash for item in ancestry.first_parents(repository, other, [Path("reports")])] == [other, first]
    assert ancestry.first_parents(repository, "HEAD", [Path("nothing")]) == ()
    assert [item.hash for item in ancestry.first_parents(repository / "conf", "HEAD", [Path("file")])] == [
        merge,
        first,
    ]


def test_a_subject_may_hold_anything(repository):
    run(repository, "commit", "--quiet", "--allow-empty", "--message", "empty")
    (repository / "message").write_bytes(b"\xff \x1b[1m\nsecond\n\nbody")
    run(repository, "add", "--all")
    run(repository, "-c", "i18n.commitEncoding=binary", "commit", "--quiet", "--file", "message")
    (found,) = ancestry.first_parents(repository, "HEAD", [Path("message")])
    assert found.subject.endswith(" \x1b[1m second")
    run(repository, "rm", "--quiet", "-f", "message")
    run(repository, "commit", "--quiet", "--allow-empty-message", "--message", "")
    assert [item.subject for item in ancestry.first_parents(repository, "HEAD", [Path("message")])] == [
        "",
        found.subject,
    ]


def test_signatures_are_not_shown_in_between(repository):
    commit(repository)
    gpg = repository / "gpg"
    gpg.write_text("#!/bin/sh\necho '[GNUPG:] NODATA' ; echo shown >&2; exit 1\n")
    gpg.chmod(0o755)
    for key, value in {"gpg.program": str(gpg), "log.showSignature": "true"}.items():
        run(repository, "config", key, value)
    signed = run(repository, "cat-file", "commit", "HEAD").replace(
        "\n\n", "\ngpgsig -----BEGIN PGP SIGNATURE-----\n\n", 1
    )
    (repository / ".git/signed").write_text(signed + "\n")
    found = run(repository, "hash-object", "-t", "commit", "-w", ".git/signed")
    assert "shown" in run(repository, "log", found)
    assert [item.hash for item in ancestry.first_parents(repository, found, [Path("conf")])] == [found]


def test_files_are_read_as_they_are(repository):
    contents = {"a": b"", "b": b"one missing\n\nabc blob 3\n", "c": b"\xff\x00\r\n"}
    for name, content in contents.items():
        (repository / name).write_bytes(content)
    first = commit(repository)
    (repository / "a").write_bytes(b"more")
    second = commit(repository)
    paths = [Path(name) for name in ("nothing", "c", "conf", "a", "b", "conf/file")]
    wanted = {Path(name): content for name, content in contents.items()} | {Path("conf/file"): b"1"}
    found = git_repository.files_at(repository, [second, first], paths)
    assert found == {first: wanted, second: wanted | {Path("a"): b"more"}}
    assert git_repository.files_at(repository / "conf", [first], [Path("file"), Path("a")]) == {
        first: {Path("file"): b"1"}
    }
    assert git_repository.files_at(repository, [], paths) == {}


def test_only_annotated_tags_of_commits_are_told(repository):
    found = commit(repository)
    run(repository, "tag", "light")
    run(repository, "tag", "--annotate", "m@v1", "--message", "1")
    run(repository, "tag", "--annotate", "tree", "--message", "1", "HEAD^{tree}")
    assert [(tag.name, tag.commit) for tag in ancestry.annotated(repository)] == [("m@v1", found)]
    assert {tag.name: tag.annotated for tag in ancestry.tags(repository)} == {"light": False, "m@v1": True}
    assert (
        ancestry.tag(repository, "light") is ancestry.tag(repository, "tree") is ancestry.tag(repository, "m") is None
    )


def test_names_and_the_kind_of_a_clone_are_known(repository, tmp_path, monkeypatch):
    assert git_repository.is_repository(repository)
    assert git_repository.resolve(repository, "HEAD") is None
    found = commit(repository)
    assert git_repository.resolve(repository, "HEAD") == git_repository.resolve(repository, found[:9]) == found
    assert git_repository.resolve(repository, "--all") is git_repository.resolve(repository, "HEAD:conf") is None
    (repository / "conf/file").write_text("2")
    commit(repository)
    run(repository, "clone", "--quiet", "--depth", "1", repository.as_uri(), str(tmp_path / "shallow"))
    assert git_repository.is_shallow(tmp_path / "shallow")
    assert not git_repository.is_shallow(repository)
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path.parent.parent))
    assert not git_repository.is_repository(tmp_path.parent)


def test_a_history_that_cannot_be_read_is_an_error_of_the_outside(repository):
    found = commit(repository)
    (repository / ".git/objects" / found[:2] / found[2:]).unlink()
    with pytest.raises(OutsideError, match=r"git log failed: .*bad object"):
        ancestry.first_parents(repository, found, [Path("conf")])


SECRET = "ghs_c12c15883d185efca50f0d8111df863d"
HARMLESS = """pushed$(touch${IFS}ran)"`touch${IFS}ran`\\n'\\\\;&|%s-""" + SECRET


class Guarded:
    """A repository behind git's own server, which asks for a user and a token."""

    def __init__(self, repository, token):
        self.repository, self.token = repository, token
        self.given, self.seen = [], []

    def __call__(self, environ, start_response):
        return self.answer(Request(environ))(environ, start_response)

    def answer(self, request):
        lines = [line for path in Path("/proc").glob("[0-9]*/cmdline") for line in [content(path)]]
        self.seen += [line for line in lines if SECRET.encode() in line]
        if request.authorization is None:
            return Response("", 401, {"WWW-Authenticate": 'Basic realm="here"'})
        encoded = request.headers["Authorization"].partition(" ")[2]
        user, _, password = base64.b64decode(encoded).decode().partition(":")
        self.given.append((user, password))
        if password != self.token:
            return Response("", 401, {"WWW-Authenticate": 'Basic realm="here"'})
        return served(request, self.repository, request.path.removeprefix("/"), Token(user, {}, everything=True))


def content(path):
    try:
        return path.read_bytes()
    except OSError:  # the process has ended
        return b""


@contextmanager
def guarded(folder, token):
    """A clone with a commit to push, and the server of its origin."""
    app = Guarded(Repository.create(folder, "a/b"), token)
    repo = make(folder / "clone", "a")
    run(repo, "push", "--quiet", str(app.repository.path), "main")
    write(repo, "b")
    server = make_server("127.0.0.1", 0, app, threaded=True, request_handler=Quiet)
    thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
    thread.start()
    address = f"http://127.0.0.1:{server.server_port}"
    run(repo, "remote", "add", "origin", address)
    try:
        yield repo, app, address
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


@pytest.mark.parametrize("token", [SECRET, HARMLESS], ids=["ordinary", "shell"])
@pytest.mark.parametrize(("name", "server"), [("GITHUB_TOKEN", "GITHUB_SERVER_URL"), ("GITLAB_TOKEN", "CI_SERVER_URL")])
def test_a_token_pushes_and_is_seen_by_its_server_only(tmp_path, name, server, token):
    with guarded(tmp_path, token) as (repo, app, address):
        run(repo, "config", "credential.helper", "store --file=kept")
        assert remote.push(repo, "main", environment(**{name: token, server: address})) == "pushed"
        assert remote.push(repo, "main", environment(**{name: token, server: address})) == "same"
        assert app.repository.sha("main") == git_repository.head(repo)
        assert set(app.given) == {("x-access-token", token)}
        assert app.seen == [], "a command line shows the token"
    files = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert [path for path in files if SECRET.encode() in path.read_bytes()] == []
    assert [path for path in files if path.name in ("ran", "kept")] == []


@pytest.mark.parametrize("given", [["GITHUB_TOKEN"], ["GITLAB_TOKEN"], []])
def test_a_token_is_not_given_to_another_server(tmp_path, given):
    with guarded(tmp_path, SECRET) as (repo, app, _):
        with pytest.raises(OutsideError, match="git push origin main failed") as caught:
            remote.push(repo, "main", environment(**dict.fromkeys(given, SECRET)))
        assert app.given == []
        assert "\n" not in str(caught.value)
        assert SECRET not in str(caught.value)


def test_a_token_that_is_refused_is_an_error_that_does_not_show_it(tmp_path):
    with guarded(tmp_path, "another") as (repo, app, address):
        with pytest.raises(OutsideError, match=r"git push origin main failed: .*Authentication failed") as caught:
            remote.push(repo, "main", environment(GITHUB_TOKEN=SECRET, GITHUB_SERVER_URL=address))
        assert SECRET not in str(caught.value)
        assert app.repository.sha("main") != git_repository.head(repo)


@pytest.mark.parametrize("end", ["\n", "\r", "\nhost=elsewhere", " "])
def test_a_token_with_a_line_break_is_refused(tmp_path, end):
    repo = make(tmp_path / "repo", "a")
    with pytest.raises(UserError, match=r"^GITHUB_TOKEN: a token has no spaces and no line breaks") as caught:
        remote.push(repo, "main", environment(GITHUB_TOKEN=SECRET + end))
    assert SECRET not in str(caught.value)


@pytest.fixture
def clones(tmp_path):
    """Two clones of one remote, the second bare, with one commit on main."""
    origin = tmp_path / "origin.git"
    run(tmp_path, "init", "--quiet", "--bare", "--initial-branch=main", str(origin))
    first = make(tmp_path / "first", "a")
    run(first, "remote", "add", "origin", str(origin))
    run(first, "push", "--quiet", "origin", "main")
    run(tmp_path, "clone", "--quiet", "--bare", str(origin), str(tmp_path / "second.git"))
    return origin, first, tmp_path / "second.git"


def released(folder, name, message="flights v1\n"):
    names = (name, f"{name}.0.0")
    tags = {each: remote.annotated(folder, each, git_repository.head(folder), message) for each in names}
    return remote.push_tags(folder, tags, environment())


def test_a_tag_is_pushed_once_and_read_back_by_any_clone(clones):
    _, first, second = clones
    message = "flights v1\n\nbundle: 1\n\n  spaces and ü stay\n"
    assert released(first, "flights@v1", message)
    assert not released(second, "flights@v1")
    assert ancestry.tag(second, "flights@v1") is None  # what was not pushed is not here either
    remote.fetch(second, "main", environment())
    found = ancestry.tag(second, "flights@v1")
    assert (found.commit, found.message) == (git_repository.head(first), message)
    assert found == ancestry.tag(first, "flights@v1")
    assert replace(found, name="flights@v1.0.0") == ancestry.tag(second, "flights@v1.0.0")
    assert found.date.startswith("20")


def overtaken(folder, command):
    """Have another push come between what git has seen of origin and what it pushes, once."""
    hook = folder / ".git/hooks/pre-push"
    pushed = "while read -r _ commit ref _; do rm -f .git/hooks/pre-push; git push --quiet origin " + command + "; done"
    hook.write_text(f"#!/bin/sh\n{pushed}\n")
    hook.chmod(0o755)


@pytest.mark.parametrize(
    ("command", "expected"),
    [('"$commit:$ref"', True), ('"refs/tags/other:$ref"', False)],
    ids=["the same tags", "others"],
)
def test_of_two_that_push_tags_at_once_what_origin_has_then_decides(clones, command, expected):
    origin, first, _ = clones
    run(first, "tag", "--annotate", "--message", "other", "other")
    overtaken(first, command)
    assert released(first, "flights@v1") is expected
    tags = run(origin, "for-each-ref", "--format=%(refname:short)", "refs/tags").split()
    assert set(tags) - {"flights@v1.0.0"} == {"flights@v1"}
    assert (ancestry.tag(first, "flights@v1") is not None) is expected


@pytest.mark.parametrize(
    ("command", "expected"),
    [('"$commit:$ref"', "pushed"), ('"HEAD~1:$ref"', "moved")],
    ids=["the same commit", "another"],
)
def test_of_two_that_make_a_branch_at_once_what_origin_has_then_decides(clones, command, expected):
    origin, first, _ = clones
    write(first, "b")
    overtaken(first, command)
    assert remote.push(first, "work", environment(), create=True) == expected
    assert run(origin, "rev-parse", "work") == run(first, "rev-parse", "HEAD" if expected == "pushed" else "HEAD~1")


def test_a_push_that_origin_refuses_is_a_failure(clones):
    origin, first, _ = clones
    (origin / "hooks/pre-receive").write_text("#!/bin/sh\nexit 1\n")
    (origin / "hooks/pre-receive").chmod(0o755)
    for push in (lambda: released(first, "flights@v1"), lambda: remote.push(first, "work", environment(), create=True)):
        with pytest.raises(OutsideError, match="pre-receive hook declined"):
            push()


def test_a_fetch_brings_the_trunk_and_refuses_a_tag_that_was_moved(clones):
    _, first, second = clones
    released(first, "flights@v1")
    assert remote.fetch(second, "main", environment()) == remote.Fetched(git_repository.head(first), ())
    write(first, "b")
    run(first, "tag", "--annotate", "--force", "--message", "other", "flights@v1")
    run(first, "push", "--quiet", "--force", "origin", "main", "flights@v1")
    before = ancestry.tag(second, "flights@v1")
    assert remote.fetch(second, "main", environment()) == remote.Fetched(git_repository.head(first), ("flights@v1",))
    assert ancestry.tag(second, "flights@v1") == before


def test_a_fetch_says_what_is_wrong(clones, tmp_path):
    origin, first, _ = clones
    with pytest.raises(UserError, match="--trunk: origin has no branch 'master'; name the branch"):
        remote.fetch(first, "master", environment())
    with pytest.raises(UserError, match="no branch can be named"):
        remote.fetch(first, "a..b", environment())
    origin.rename(tmp_path / "away.git")
    with pytest.raises(OutsideError, match=r"git fetch origin failed: .*does not appear to be a git repository"):
        remote.fetch(first, "main", environment())


def test_a_branch_of_origin_is_fetched_as_it_is_now(clones):
    _, first, second = clones
    assert remote.fetch_branch(second, "work", environment()) is None
    for name in "bc":
        write(first, name)
        run(first, "push", "--quiet", "origin", "HEAD:work")
        assert remote.fetch_branch(second, "work", environment()) == git_repository.head(first)
    run(first, "reset", "--quiet", "--hard", "HEAD~1")
    run(first, "push", "--quiet", "--force", "origin", "HEAD:work")
    assert remote.fetch_branch(second, "work", environment()) == git_repository.head(first)


def test_a_first_parent_line_is_told_with_its_messages(repository):
    first = commit(repository)
    run(repository, "checkout", "--quiet", "-b", "side")
    run(repository, "commit", "--quiet", "--allow-empty", "--message", "aside")
    run(repository, "checkout", "--quiet", "-")
    run(repository, "merge", "--quiet", "--no-ff", "--message", "merged: ü\n\nbody\n", "side")
    merge = run(repository, "rev-parse", "HEAD")
    run(repository, "commit", "--quiet", "--allow-empty", "--message", "last")
    last = run(repository, "rev-parse", "HEAD")
    found = ancestry.first_parents(repository, last, since=first)
    assert [(one.hash, one.message.strip()) for one in found] == [(last, "last"), (merge, "merged: ü\n\nbody")]
    assert [one.hash for one in ancestry.first_parents(repository, merge, since=first)] == [merge]
    assert ancestry.first_parents(repository, first, since=merge) == ()


@pytest.mark.parametrize("place", ["first", "second"])
def test_a_commit_of_one_file_touches_no_working_tree(clones, place):
    _, first, second = clones
    folder = first if place == "first" else second
    base = git_repository.head(folder)
    made = remote.commit_file(folder, base, Path("models/registry.yaml"), "a: 1\n", "One line\n\nAnd more\n")
    files = Snapshot(first if place == "first" else second, made)
    assert files.text(Path("models/registry.yaml")) == "a: 1\n"
    assert git_repository.changed_between(folder, base, made) == ("models/registry.yaml",)
    assert run(folder, "log", "-1", "--format=%P %s", made) == f"{base} One line"
    assert git_repository.head(folder) == base
    assert run(first, "status", "--porcelain") == ""
    remote.branch(folder, "work", made)
    remote.branch(folder, "work", made)
    with pytest.raises(UserError, match="there is a branch work already; delete it"):
        remote.branch(folder, "work", base)
    assert remote.push(folder, "work", environment(), commit=made, create=True) == "pushed"
    assert remote.push(folder, "work", environment(), commit=made, create=True) == "same"
    other = remote.commit_file(folder, base, Path("models/registry.yaml"), "a: 2\n", "Another")
    assert remote.push(folder, "work", environment(), commit=other) == "moved"
    assert remote.push(folder, "work", environment(), commit=other, replace=True) == "pushed"
