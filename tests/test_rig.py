"""The rig itself: workflows of a few lines show that it is as strict as the forge, in what the real ones rely on."""

import json

import pytest

from tests.rig.openapi import Call
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
    with (
        pytest.raises(AssertionError, match="POST /repos/acme/model/statuses/.*: body: contxt is not known"),
        rigged(tmp_path) as rig,
    ):
        rig.push("main", workflows(careless=calling("{statuses: write}", "statuses/$GITHUB_SHA", body)))
        assert rig.job("careless", "call").conclusion == "success"


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


def test_the_stand_in_is_held_to_the_description_too(rig):
    call = Call("GET", "/repos/acme/model/issues/1/comments", {}, b"", "application/json")
    assert rig.forge.description.faults(call, 200, b"[]", "application/json") == []
    (fault,) = rig.forge.description.faults(call, 200, b'[{"id": 1}]', "application/json")
    assert "'node_id' is a required property" in fault


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
    rig.push("work", workflows(takes="broken in the branch"), repository=rig.fork() if fork else None)
    rig.open_pull_request("work", fork=fork)
    assert rig.job("makes", "make").step("Secret").log == f"secret '{'' if fork else '***'}' then\n"
    job = rig.job("takes", "take")
    assert job.step("Take").log == f"{trunk} refs/heads/main\n", job.log
    assert [each.content["body"] for each in rig.comments(1)] == ["# Report and 'k3y-of-the-forge'"]


def test_a_fork_may_read_only(rig):
    body = json.dumps({"state": "success", "context": "c"})
    text = calling("{statuses: write}", "statuses/$GITHUB_SHA", body).replace("push: {branches: [main]}", "pull_request: ")
    rig.push("main", workflows(writes=text))
    rig.push("work", {"a": "1"}, repository=rig.fork())
    rig.open_pull_request("work", fork=True)
    assert rig.job("writes", "call").step("Call").log.startswith("403")


SLOW = f"""
on: push
concurrency: {{group: "${{{{ github.workflow }}}}-${{{{ github.ref }}}}", cancel-in-progress: true}}
jobs:
  slow:
    timeout-minutes: 0.5
    {HEAD}
      - name: Wait
        run: echo begun; [ ! -e "$RIG_CACHE/quick" ] || exit 0; sleep 60
      - name: After
        run: echo after
      - name: Always
        if: always()
        run: echo always
"""


def begun(rig):
    return any("begun" in each.get("msg", "") and each.get("raw_output") for live in rig.runs() for act in live.acts for each in act.said)


def test_a_newer_push_cancels_the_run_of_an_older_one(rig):
    first = rig.push("main", workflows(slow=SLOW), wait=False)
    rig.dispatcher.wait_for(lambda: begun(rig))
    (rig.folder / "runs/cache").mkdir(parents=True, exist_ok=True)
    (rig.folder / "runs/cache/quick").touch()
    second = rig.push("main", {"a": "1"})
    one, other = rig.runs("slow")
    assert (one.run.conclusion, other.run.conclusion) == ("cancelled", "success")
    assert (rig.checks(first), rig.checks(second)) == ({"slow": "cancelled"}, {"slow": "success"})
    assert [step.name for step in one.jobs["slow"].steps] == ["Wait", "Always"]


def test_a_job_that_takes_too_long_is_cancelled(rig):
    rig.dispatcher.minute = 1.0
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
    environment = rig.dispatcher.environments
    from tests.rig.dispatcher import Environment

    environment["production"] = Environment({"KEY": "for production"}, waits=True)
    sha = rig.push("main", workflows(chain=CHAIN))
    (live,) = rig.runs("chain")
    assert (live.run.status, rig.checks(sha)["The last"]) == ("waiting", "pending")
    rig.dispatcher.approve(live, "production")
    rig.settle()
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
