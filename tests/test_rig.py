"""The rig itself: workflows of a few lines show that it is as strict as the forge, in what the real ones rely on."""

import http.client
import json
import urllib.error
import urllib.request

import pytest

from tests.rig.dispatcher import Environment
from tests.rig.openapi import Call
from tests.rig.repository import attempt, git
from tests.rig.rig import Rig, rigged
from tests.rig.workflow import Workflow, admits

CHECKOUT = "actions/checkout@" + "1" * 40
UPLOAD = "actions/upload-artifact@" + "2" * 40
CACHE = "actions/cache@" + "3" * 40
HEAD = "runs-on: ubuntu-latest\n    steps:"
POST = """
          curl --silent --show-error --output reply.json --write-out '%{http_code}' \\
            --header "Authorization: Bearer $TOKEN" --header 'Content-Type: application/json' \\
            "$GITHUB_API_URL/repos/$GITHUB_REPOSITORY/$1" --data"""


@pytest.fixture
def rig(tmp_path):
    with rigged(tmp_path) as rig:
        yield rig


def workflows(**texts: str) -> dict[str, str]:
    """Files of .github/workflows with these texts."""
    return {f".github/workflows/{name}.yml": f"name: {name}\n{text}" for name, text in texts.items()}


FIRST = f"""
on: pull_request
permissions: {{contents: read}}
jobs:
  test:
    {HEAD}
      - uses: {CHECKOUT}
      - name: Look
        run: |
          echo "at $(git rev-parse HEAD) for $GITHUB_SHA, $(ls)"
          echo '# Fine' >>"$GITHUB_STEP_SUMMARY"
"""


def test_a_pull_request_runs_its_merge_and_is_judged_by_its_head(rig):
    rig.push("main", workflows(first=FIRST) | {"a": "1"})
    rig.push("work", {"b": "2"})
    rig.push("main", {"c": "3"})
    pull = rig.open_pull_request("work")
    job = rig.job("first", "test")
    merge = rig.upstream.sha("refs/pull/1/merge")
    assert job.step("Look").log == f"at {merge} for {merge}, a\nb\nc\n"
    assert (job.conclusion, job.summary) == ("success", "# Fine\n")
    assert rig.checks(pull.head_sha) == {"test": "success"}
    assert rig.checks(merge) == {}


def calling(permissions: str, path: str, body: str) -> str:
    """A workflow with one job that makes one call of the API."""
    return f"""
on: {{push: {{branches: [main]}}}}
jobs:
  call:
    permissions: {permissions}
    {HEAD}
      - name: Call
        env: {{TOKEN: "${{{{ github.token }}}}"}}
        run: |
          set -- {path}{POST} '{body}'
          cat reply.json
"""


def test_a_job_may_do_what_it_declares_and_nothing_else(rig):
    status = f"statuses/{'$'}GITHUB_SHA"
    body = json.dumps({"state": "success", "context": "c"})
    files = workflows(bold=calling("{statuses: write}", status, body), timid=calling("{contents: write}", status, body))
    sha = rig.push("main", files)
    assert rig.job("bold", "call").step("Call").log.startswith("201")
    refused = rig.job("timid", "call").step("Call").log
    assert refused.startswith('403{"message": "Resource not accessible by integration"')
    assert [record.at for record in rig.state.of("status")] == [sha]


def test_an_invalid_request_fails_the_test_though_its_client_swallows_it(tmp_path):
    body = json.dumps({"state": "success", "contxt": "c"})
    rig = Rig(tmp_path)
    rig.push("main", workflows(careless=calling("{statuses: write}", "statuses/$GITHUB_SHA", body)))
    assert rig.job("careless", "call").conclusion == "success"
    with pytest.raises(AssertionError, match=r"POST /repos/acme/model/statuses/\w+: body: contxt is not known"):
        rig.close()


def test_what_the_description_admits_and_the_forge_does_not(rig):
    def mistakes(body, path="/repos/acme/model/issues/1/comments", **query):
        return rig.forge.description.mistakes(Call("POST", path, query, json.dumps(body).encode(), "application/json"))

    assert mistakes({"body": "x" * 65_536}) == []
    assert mistakes({"body": "x" * 65_537}) == ["body: body is too long (maximum is 65536 characters)"]
    assert mistakes({"body": " \n"}) == ["body: body can't be blank"]
    assert mistakes({"body": "x", "draft": True}) == ["body: draft is not known"]
    assert mistakes({"body": "x"}, page="1") == ["query: page is not known"]
    assert "'body' is a required property" in mistakes({})[0]
    check = {"name": "n", "head_sha": "0" * 40, "output": {"title": "t", "summary": "s", "colour": "red"}}
    assert mistakes(check, "/repos/acme/model/check-runs") == ["body: output.colour is not known"]


def test_the_stand_in_is_held_to_the_description_too(rig, monkeypatch):
    rig.push("main", {"a": "1"})
    rig.push("work", {"b": "1"})
    rig.open_pull_request("work")
    monkeypatch.setattr(rig.forge.api, "label", lambda name: {"name": name})
    ask(rig, "POST", "/issues/1/labels", {"labels": ["x"]})
    ask(rig, "GET", "/milestones")
    wrong, unknown = rig.forge.violations
    assert "the stand-in's reply" in wrong
    assert "'node_id' is a required property" in wrong
    assert "does not know this call" in unknown
    rig.forge.violations.clear()


FILTERED = f"""
on:
  push: {{branches: [main, "release/**"], paths: ["conf/**", "!conf/*.md"]}}
  pull_request: {{types: [labeled]}}
jobs:
  go:
    {HEAD} [{{run: "true"}}]
"""


def test_filters_decide_what_starts(rig):
    def started():
        return len(rig.runs("filtered"))

    rig.push("main", workflows(filtered=FILTERED))
    assert started() == 0, "no path matches"
    rig.push("main", {"conf/a/b.yaml": "1"})
    assert started() == 1
    rig.push("main", {"conf/a.md": "1", "other/conf/a.yaml": "1"})
    rig.push("work", {"conf/a/b.yaml": "2"})
    assert started() == 1, "an excluded path, and another branch"
    rig.push("release/1/x", {"conf/a/b.yaml": "3"})
    assert started() == 2
    pull = rig.open_pull_request("work")
    assert started() == 2
    rig.label(pull.number, "reproduce")
    assert started() == 3


TARGETS = f"""
on:
  pull_request: {{branches: [main]}}
  pull_request_target: {{branches: [main], types: [labeled]}}
  merge_group: {{branches: [main]}}
  push: {{tags: ["v*"]}}
  workflow_dispatch: {{inputs: {{number: {{type: string}}}}}}
jobs:
  go:
    permissions: {{}}
    {HEAD}
      - name: Tell
        env: {{KEY: "${{{{ secrets.KEY }}}}"}}
        run: echo "$GITHUB_EVENT_NAME $GITHUB_REF ${{{{ inputs.number }}}} ${{KEY:+secret}}"
"""


def test_filters_of_branches_are_about_the_target_and_only_a_trusted_file_sees_secrets(rig):
    def told():
        return [live.jobs["go"].step("Tell").log.split() for live in rig.runs("targets")]

    rig.dispatcher.secrets["KEY"] = "k3y-of-the-forge"
    trunk = rig.push("main", workflows(targets=TARGETS))
    rig.push("work", workflows(targets=TARGETS.replace('echo "', 'echo "theirs ')), repository=rig.fork())
    rig.push("other", {"b": "1"})
    rig.push("base", {"c": "1"})
    rig.open_pull_request("other", base="base")
    assert told() == []
    pull = rig.open_pull_request("work", fork=True)
    rig.label(pull.number, "reproduce")
    rig.dispatch("targets", {"number": "7"})
    rig.merge_queue([pull.number])
    rig.move(rig.upstream, "v1", trunk)
    rig.tag("v1", trunk)
    queue = f"refs/heads/gh-readonly-queue/main/pr-2-{trunk}"
    assert told() == [
        ["theirs", "pull_request", "refs/pull/2/merge"],
        ["pull_request_target", "refs/heads/main", "secret"],
        ["workflow_dispatch", "refs/heads/main", "7", "secret"],
        ["theirs", "merge_group", queue, "secret"],
        ["push", "refs/tags/v1", "secret"],
    ]


@pytest.mark.parametrize(
    ("globs", "name", "verdict"),
    [
        (["*"], "a/b", False),
        (["**"], "a/b", True),
        (["conf/**"], "conf/a/b", True),
        (["**/b"], "b", True),
        (["**.js"], "a/b.js", True),
        (["a*", "!ab"], "ab", False),
        (["!ab"], "x", False),
        (["a?c"], "abc", True),
    ],
)
def test_patterns_are_those_of_the_forge(globs, name, verdict):
    assert admits(globs, name) is verdict


MAKES = f"""
on: pull_request
permissions: {{contents: read}}
jobs:
  make:
    {HEAD}
      - uses: {CHECKOUT}
      - name: Secret
        run: echo "secret '${{{{ secrets.KEY }}}}' then"
      - run: mkdir out; echo "# Report" >out/report.md
      - uses: {UPLOAD}
        with: {{name: report, path: out/}}
"""
TAKES = f"""
on: {{workflow_run: {{workflows: [makes], types: [completed]}}}}
jobs:
  take:
    permissions: {{actions: read, contents: read, pull-requests: write}}
    {HEAD}
      - name: Take
        env: {{TOKEN: "${{{{ github.token }}}}", RUN: "${{{{ github.event.workflow_run.id }}}}"}}
        run: |
          ask() {{ curl --silent --fail --location --header "Authorization: Bearer $TOKEN" "$@"; }}
          runs="$GITHUB_API_URL/repos/$GITHUB_REPOSITORY/actions/runs"
          address=$(ask "$runs/$RUN/artifacts" | python3 -c 'import json, sys
          print(json.load(sys.stdin)["artifacts"][0]["archive_download_url"])')
          ask --output report.zip "$address"
          python3 -m zipfile -e report.zip here
          ask "$GITHUB_API_URL/repos/$GITHUB_REPOSITORY/issues/1/comments" --header 'Content-Type: application/json' \\
            --data "{{\\"body\\": \\"$(cat here/report.md) and '${{{{ secrets.KEY }}}}'\\"}}" >/dev/null
          echo "$GITHUB_SHA $GITHUB_REF"
"""


@pytest.mark.parametrize("fork", [False, True], ids=["own", "fork"])
def test_a_second_workflow_takes_the_artifact_of_the_first_with_rights_that_the_first_lacks(rig, fork):
    rig.dispatcher.secrets["KEY"] = "k3y-of-the-forge"
    trunk = rig.push("main", workflows(makes=MAKES, takes=TAKES))
    rig.push("work", workflows(takes=TAKES.replace("and '", "hijacked '")), repository=rig.fork() if fork else None)
    rig.open_pull_request("work", fork=fork)
    assert rig.job("makes", "make").step("Secret").log == f"secret '{'' if fork else '***'}' then\n"
    job = rig.job("takes", "take")
    assert job.step("Take").log == f"{trunk} refs/heads/main\n", job.log
    assert [each.content["body"] for each in rig.comments(1)] == ["# Report and 'k3y-of-the-forge'"]


def test_a_fork_may_read_only(rig):
    body = json.dumps({"state": "success", "context": "c"})
    text = calling("{statuses: write}", "statuses/$GITHUB_SHA", body).replace(
        "push: {branches: [main]}", "pull_request: "
    )
    rig.push("main", workflows(writes=text))
    rig.push("work", {"a": "1"}, repository=rig.fork())
    rig.open_pull_request("work", fork=True)
    assert rig.job("writes", "call").step("Call").log.startswith("403")


SLOW = f"""
on: push
concurrency: {{group: "${{{{ github.workflow }}}}-${{{{ github.ref }}}}", cancel-in-progress: true}}
jobs:
  slow:
    timeout-minutes: 5
    {HEAD}
      - name: Wait
        run: echo begun; [ ! -e "$RIG_CACHE/quick" ] || exit 0; sleep 60
      - name: After
        run: echo after
      - name: Always
        if: always()
        run: echo always
"""


def test_a_newer_push_cancels_the_run_of_an_older_one(rig):
    first = rig.push("main", workflows(slow=SLOW), wait=False)
    rig.wait_for_output("begun")
    (rig.folder / "runs/cache").mkdir(parents=True, exist_ok=True)
    (rig.folder / "runs/cache/quick").touch()
    second = rig.push("main", {"a": "1"})
    one, other = rig.runs("slow")
    assert (one.run.conclusion, other.run.conclusion) == ("cancelled", "success")
    assert (rig.checks(first), rig.checks(second)) == ({"slow": "cancelled"}, {"slow": "success"})
    assert [step.name for step in one.jobs["slow"].steps] == ["Wait", "Always"]


def test_a_job_that_takes_too_long_is_cancelled(rig):
    rig.dispatcher.minute = 0.1
    sha = rig.push("main", workflows(slow=SLOW))
    assert rig.checks(sha) == {"slow": "cancelled"}


CHAIN = f"""
on: push
jobs:
  first:
    outputs: {{said: "${{{{ steps.say.outputs.said }}}}"}}
    {HEAD}
      - id: say
        run: echo "said=it's {{fine}}" >>"$GITHUB_OUTPUT"
  never:
    if: github.ref == 'refs/heads/other'
    {HEAD} [{{run: "true"}}]
  fails:
    needs: first
    {HEAD} [{{run: exit 3}}]
  follows:
    needs: fails
    {HEAD} [{{run: "true"}}]
  last:
    name: The last
    if: always()
    needs: [first, never, fails, follows]
    environment: production
    {HEAD}
      - name: Tell
        env: {{NEEDS: "${{{{ toJSON(needs) }}}}", KEY: "${{{{ secrets.KEY }}}}"}}
        run: printf '%s' "$NEEDS"; [ -n "$KEY" ]
"""


def test_jobs_know_what_those_before_them_came_to_and_an_environment_waits_for_a_person(rig):
    rig.dispatcher.environments["production"] = Environment({"KEY": "for production"}, waits=True)
    sha = rig.push("main", workflows(chain=CHAIN))
    (live,) = rig.runs("chain")
    assert (live.run.status, rig.checks(sha)["The last"]) == ("waiting", "pending")
    rig.approve(live, "production")
    told = json.loads(live.jobs["last"].step("Tell").log)
    assert {name: each["result"] for name, each in told.items()} == {
        "first": "success",
        "never": "skipped",
        "fails": "failure",
        "follows": "skipped",
    }
    assert told["first"]["outputs"] == {"said": "it's {fine}"}
    assert rig.checks(sha)["The last"] == "success"
    assert live.run.conclusion == "failure"


def test_a_job_by_itself_keeps_every_byte_of_its_own():
    only = workflows(first=FIRST)[".github/workflows/first.yml"]
    assert Workflow("first.yml", only).alone("test", {}) == only
    chain = workflows(chain=CHAIN)[".github/workflows/chain.yml"]
    alone = Workflow("chain.yml", chain).alone("first", {})
    begin, end = chain.index("  first:"), chain.index("  never:")
    assert alone.startswith(chain[:end])
    assert chain[begin:end] in alone
    assert "fails" not in alone


GATE = f"""
on: [pull_request, merge_group]
permissions: {{contents: read}}
jobs:
  gate:
    {HEAD}
      - uses: {CHECKOUT}
      - run: test "$(cat budget/* | wc -l)" -le 2
"""


def ask(rig, method, path, content=None, token=None):
    """Call the API as a client would; return the status and what came back."""
    body = None if content is None else json.dumps(content).encode()
    headers = {"Authorization": f"Bearer {token or rig.state.person('maintainer')}", "Content-Type": "application/json"}
    address = path if path.startswith("http") else f"{rig.forge.url}/api/v3/repos/acme/model{path}"
    request = urllib.request.Request(address, body, headers, method=method)
    try:
        with urllib.request.urlopen(request) as reply:
            return reply.status, json.loads(reply.read() or b"null")
    except urllib.error.HTTPError as error:
        with error:
            return error.code, json.loads(error.read() or b"null")


def test_a_merge_is_refused_until_its_check_is_green(rig):
    rig.push("main", workflows(gate=GATE) | {"budget/a": "1\n"})
    rig.protect("gate", up_to_date=True)
    rig.push("work", {"budget/b": "1\n1\n"})
    pull = rig.open_pull_request("work")
    status, reply = ask(rig, "PUT", "/pulls/1/merge", {})
    assert (status, reply["message"]) == (405, 'Required status check "gate" is failing.')
    assert rig.merge(1) == reply["message"]
    rig.push("work", {"budget/b": "1\n"})
    rig.move(rig.upstream, "main", rig.push("other", {"c": "1"}))
    assert rig.merge(1) == "Head branch is not up to date with the base branch."
    rig.push("work", {"budget/b": "1\n", "c": "1"}, onto="main")
    assert ask(rig, "PUT", "/pulls/1/merge", {"sha": "0" * 40})[0] == 409
    status, reply = ask(rig, "PUT", "/pulls/1/merge", {"sha": pull.head_sha})
    assert (status, reply["merged"], rig.upstream.sha("main")) == (200, True, reply["sha"])
    assert rig.upstream.contains("main", pull.head_sha)


def test_two_that_are_green_apart_and_red_together_do_not_both_pass_the_queue(rig):
    rig.push("main", workflows(gate=GATE) | {"budget/a": "1\n"})
    rig.protect("gate")
    for name in ("one", "two"):
        rig.push(name, {f"budget/{name}": "1\n"})
        assert rig.checks(rig.open_pull_request(name).head_sha) == {"gate": "success"}
    assert rig.merge_queue([1, 2]) == [1]
    assert "budget/two" not in rig.upstream.files("main", "budget")
    assert [live.run.conclusion for live in rig.runs("gate")] == ["success", "success", "success", "failure"]


PUSHES = f"""
on: {{push: {{branches: [work]}}}}
permissions: {{contents: write}}
jobs:
  push:
    {HEAD}
      - uses: {CHECKOUT}
        with: {{fetch-depth: 0}}
      - run: |
          git config user.name Bot && git config user.email bot@example.org
          git rev-parse HEAD >made && git add made && git commit --quiet --message made && git push --quiet
      - name: Trunk
        run: git push origin HEAD:main 2>&1 || true
"""


def test_what_a_job_pushes_starts_nothing_and_does_not_reach_a_protected_branch(rig):
    trunk = rig.push("main", workflows(pushes=PUSHES, first=FIRST))
    rig.protect("test")
    rig.push("work", {"a": "1"})
    pull = rig.open_pull_request("work")
    assert rig.upstream.files("work", "made") == ["made"], "pushed once, though its own push is a push"
    assert (pull.head_sha, rig.upstream.sha("refs/pull/1/head")) == (rig.upstream.sha("work"), rig.upstream.sha("work"))
    rig.push("work", {"b": "1"})
    assert (len(rig.runs("pushes")), len(rig.runs("first"))) == (2, 2)
    assert rig.checks(rig.upstream.sha("work")) == {}, "no check on the commit that the job made"
    assert rig.upstream.sha("main") == trunk
    assert "Changes must be made through a pull request." in rig.job("pushes", "push").step("Trunk").log


def test_without_the_right_token_git_is_refused(rig, tmp_path):
    rig.push("main", {"a": "1"})
    for token in ("wrong", rig.state.grant("bot", {"issues": "write"})):
        address = rig.forge.url.replace("//", f"//x:{token}@") + "/acme/model"
        assert attempt(tmp_path, "ls-remote", address).returncode != 0
    reader = rig.forge.url.replace("//", f"//x:{rig.state.grant('bot', {'contents': 'read'})}@") + "/acme/model"
    git(tmp_path, "clone", "--quiet", reader, "clone")
    assert attempt(tmp_path / "clone", "push", "origin", "HEAD:refs/heads/new").returncode != 0


def test_conflicting_branches_have_no_merge_and_start_nothing(rig):
    rig.push("main", workflows(first=FIRST) | {"a": "1"})
    rig.push("work", {"a": "2"})
    rig.push("main", {"a": "3"})
    assert rig.open_pull_request("work").merge_sha is None
    assert (rig.upstream.sha("refs/pull/1/merge"), rig.runs("first")) == (None, [])
    assert ask(rig, "GET", "/pulls/1")[1]["mergeable"] is False


def test_faults_come_when_they_are_asked_for_before_or_after_the_effect(rig):
    rig.push("main", {"a": "1"})
    rig.push("work", {"b": "1"})
    rig.open_pull_request("work")
    place = "/issues/1/comments"
    rig.forge.fail("POST", "comments$", 1, 429, {"Retry-After": "1"})
    rig.forge.fail("POST", "comments$", 1, 500, after_effect=True)
    rig.forge.fail("GET", "comments$", 1, 0, delay=0.1)
    assert [ask(rig, "POST", place, {"body": "x"})[0] for _ in range(3)] == [429, 500, 201]
    with pytest.raises(http.client.RemoteDisconnected):
        ask(rig, "GET", place)
    assert len(ask(rig, "GET", place)[1]) == 2, "the one that failed after its effect, and the last"


def test_lists_come_in_pages(rig):
    rig.push("main", {"a": "1"})
    rig.push("work", {"b": "1"})
    rig.open_pull_request("work")
    for number in range(31):
        ask(rig, "POST", "/issues/1/comments", {"body": str(number)})
    assert [each["body"] for each in ask(rig, "GET", "/issues/1/comments?page=2")[1]] == ["30"]
    assert len(ask(rig, "GET", "/issues/1/comments?per_page=100")[1]) == 31


CACHES = f"""
on: [push, pull_request]
permissions: {{contents: read}}
jobs:
  keep:
    {HEAD}
      - uses: {CHECKOUT}
      - uses: {CACHE}
        id: cache
        with: {{path: kept, key: "k-${{{{ hashFiles('lock') }}}}", restore-keys: k-}}
      - name: Tell
        run: |
          echo "$([ ! -e kept/who ] || cat kept/who) ${{{{ steps.cache.outputs.cache-hit }}}}"
          mkdir -p kept; echo "$GITHUB_REF" >kept/who
"""


def test_a_cache_is_kept_by_its_key_and_a_branch_cannot_poison_the_trunk(rig):
    rig.push("main", {"lock": "1"})
    rig.push("work", workflows(caches=CACHES))
    rig.push("main", {"b": "1"}, onto="work")
    assert rig.job("caches", "keep").step("Tell").log == " \n", "not what the branch kept"
    rig.push("main", {"a": "1"})
    assert rig.job("caches", "keep").step("Tell").log == "refs/heads/main true\n"
    rig.push("main", {"lock": "2"})
    assert rig.job("caches", "keep").step("Tell").log == "refs/heads/main false\n", "a restore key"
    rig.push("fresh", {"lock": "2"})
    assert rig.job("caches", "keep").step("Tell").log == "refs/heads/main true\n", "a branch reads the trunk's"


def test_a_run_that_is_run_again_has_the_same_event_and_one_attempt_more(rig):
    rig.push("main", workflows(makes=MAKES))
    rig.push("work", {"a": "1"})
    rig.open_pull_request("work")
    (live,) = rig.runs("makes")
    rig.rerun(live)
    assert (live.run.attempt, live.run.conclusion, len(rig.state.of("artifact", live.run.id))) == (2, "success", 1)


def test_the_remote_is_a_real_one_that_may_go_down(rig):
    remote = rig.remote_s3
    (remote.folder / remote.bucket / "dvc").mkdir()
    (remote.folder / remote.bucket / "dvc/a").write_text("1")
    with pytest.raises(urllib.error.HTTPError, match=r"Error 40[03]"):
        urllib.request.urlopen(f"{remote.endpoint}/{remote.bucket}/dvc/a")
    assert remote.objects() == {"dvc/a"}
    remote.close()
    with pytest.raises(urllib.error.URLError, match="refused"):
        urllib.request.urlopen(remote.endpoint)
    remote.start()
