"""The rig's forge where a promotion relies on it: reviews, owners, merges that wait, tags that stay, tokens, inputs."""

import pytest

from tests.rig.repository import attempt, git
from tests.rig.reviewing import owners
from tests.rig.rig import Rig, rigged
from tests.test_rig import CHECKOUT, FIRST, GATE, HEAD, ask, workflows

REGISTRY = "models/registry.yaml"
OWNED = {".github/CODEOWNERS": f"* @carol\n/{REGISTRY} @bob\n", REGISTRY: "v3\n", "budget/a": "1\n"}
ENABLE = """mutation M($input: EnablePullRequestAutoMergeInput!) {
  enablePullRequestAutoMerge(input: $input) { actor { login } }
}"""


@pytest.fixture
def rig(tmp_path):
    with rigged(tmp_path) as rig:
        for user in ("bob", "carol"):
            rig.admit(user)
        yield rig


def opened(rig, **files):
    rig.push("main", OWNED | files)
    rig.push("work", {REGISTRY: "v4\n"})
    return rig.open_pull_request("work")


def enable(rig, token=None, **more):
    """Ask for a merge when it is ready; return what goes wrong."""
    given = {"pullRequestId": "PR_1", "mergeMethod": "MERGE"} | more
    content = {"query": ENABLE, "variables": {"input": given}}
    status, reply = ask(rig, "POST", rig.forge.url + "/api/graphql", content, token)
    assert status == 200
    return [error["message"] for error in reply.get("errors", ())]


def test_a_merge_is_refused_until_those_have_agreed_who_must(rig):
    pull = opened(rig)
    rig.protect(approvals=1, code_owners=True, dismiss_stale=True)
    for user, state, reason in (
        ("maintainer", "APPROVED", "At least 1 approving review is required by reviewers with write access."),
        ("mallory", "APPROVED", "At least 1 approving review"),
        ("carol", "APPROVED", "Waiting on code owner review from bob."),
        ("bob", "COMMENTED", "Waiting on code owner review from bob."),
        ("bob", "CHANGES_REQUESTED", "A review that requests changes is not answered."),
    ):
        rig.review(1, user, state)
        status, reply = ask(rig, "PUT", "/pulls/1/merge", {})
        assert status == 405
        assert reply["message"].startswith(reason)
        assert rig.merge_queue([1]) == []
    rig.review(1, "bob")
    rig.push("work", {REGISTRY: "v5\n"})
    assert "At least 1" in rig.merge(1), "what was approved is not what would be merged"
    bob = rig.state.person("bob")
    assert ask(rig, "POST", "/pulls/1/reviews", {"event": "APPROVE"}, bob)[1]["state"] == "APPROVED"
    assert [one["state"] for one in ask(rig, "GET", "/pulls/1/reviews")[1]][-2:] == ["DISMISSED", "APPROVED"]
    rig.push("base", {"a": "1"})
    assert rig.merge(1) == ""
    assert (pull.merged, pull.merged_by) == (True, "maintainer")


@pytest.mark.parametrize(
    ("text", "path", "expected"),
    [
        ("* @a", "x/y", {"a"}),
        ("* @a\n/x/ @b", "x/y/z", {"b"}),
        ("* @a\n/x/ @b", "w/x/y", {"a"}),
        ("x/ @b", "w/x/y", {"b"}),
        ("*.py @b", "w/x.py", {"b"}),
        ("docs/* @b", "docs/a", {"b"}),
        ("docs/* @b", "docs/a/b", set()),
        ("models/registry.yaml @a @b  # both", "models/registry.yaml", {"a", "b"}),
        ("* @a\nx", "x", set()),
        ("# * @a\n\n", "x", set()),
    ],
)
def test_owners_are_those_of_the_last_line_that_matches(text, path, expected):
    assert owners(text, path) == expected


def test_nobody_approves_their_own_and_a_workflow_nobodys(rig):
    opened(rig)
    mine = rig.state.person("maintainer")
    assert ask(rig, "POST", "/pulls/1/reviews", {"event": "APPROVE"}, mine)[0] == 422
    job = rig.state.grant("github-actions[bot]", {"pull-requests": "write"}, 7)
    assert ask(rig, "POST", "/pulls/1/reviews", {"event": "APPROVE"}, job)[0] == 403
    assert ask(rig, "POST", "/pulls/1/reviews", {"event": "COMMENT", "body": "x"}, job)[0] == 200
    assert ask(rig, "POST", "/pulls/1/reviews", {"event": "COMMENT"}, mine)[0] == 422


def test_a_merge_that_waits_happens_when_checks_and_approvals_are_there(rig):
    pull = opened(rig, **workflows(gate=GATE))
    rig.protect("gate", approvals=1)
    rig.state.auto_merge_allowed = True
    rig.push("work", {REGISTRY: "v5\n", "budget/b": "1\n1\n"})
    assert rig.checks(pull.head_sha) == {"gate": "failure"}
    assert enable(rig) == []
    rig.review(1, "bob")
    assert not pull.merged
    rig.push("work", {"budget/b": "1\n"})
    assert pull.merged, "by the check, which came last"
    rig.push("next", {"budget/b": "1\n", "a": "1"})
    other = rig.open_pull_request("next")
    assert enable(rig, pullRequestId="PR_2") == []
    assert not other.merged
    rig.review(2, "carol")
    assert other.merged, "by the approval, which came last"


def test_what_cannot_wait_is_refused_in_the_words_of_the_forge(rig):
    pull = opened(rig)
    assert enable(rig) == ["Auto merge is not allowed for this repository"]
    rig.state.auto_merge_allowed = True
    assert enable(rig) == ["Pull request Protected branch rules not configured for this branch"]
    rig.protect()
    assert enable(rig) == ["Pull request Pull request is in clean status"]
    ask(rig, "POST", f"/statuses/{pull.head_sha}", {"state": "pending", "context": "c"})
    assert enable(rig) == ["Pull request Pull request is in unstable status"]
    rig.protect("c")
    assert enable(rig, expectedHeadOid="0" * 40) == [f"Head sha didn't match expected {'0' * 40}"]
    token = rig.state.grant("somebody", {"pull-requests": "write"})
    assert enable(rig, token) == ["Resource not accessible by integration"]


def test_two_flaws_of_clients_and_one_of_the_stand_in_are_found(tmp_path, monkeypatch):
    rig = Rig(tmp_path)
    opened(rig)
    rig.state.auto_merge_allowed = True
    enable(rig, mergeMehod="MERGE")
    ask(rig, "POST", "/pulls/1/reviews", {"evnt": "APPROVE"})
    monkeypatch.setattr("tests.rig.api_reviews.rules", lambda protection: [{"type": "no_deletion"}])
    rig.protect("gate")
    ask(rig, "GET", "/rules/branches/main")
    with pytest.raises(AssertionError) as found:
        rig.close()
    graphql, review, rules = str(found.value).splitlines()
    assert "GraphQL: Variable '$input' got invalid value" in graphql
    assert "'mergeMehod' is not defined" in graphql
    assert review == "POST /repos/acme/model/pulls/1/reviews: body: evnt is not known"
    assert "the stand-in's reply to GET /repos/acme/model/rules/branches/main is wrong" in rules


PROMOTES = f"""
on:
  workflow_dispatch:
    inputs:
      version: {{required: true}}
      environment: {{type: choice, options: [staging, production]}}
permissions: {{contents: write, pull-requests: write}}
jobs:
  promote:
    {HEAD}
      - uses: {CHECKOUT}
        with: {{token: "${{{{ secrets.TRUNK_TOKEN || github.token }}}}"}}
      - name: Promote
        env:
          TOKEN: ${{{{ secrets.TRUNK_TOKEN || github.token }}}}
          BRANCH: promote/${{{{ inputs.environment }}}}-${{{{ inputs.version }}}}
        run: |
          git config user.name Bot && git config user.email bot@example.org
          echo "$BRANCH" >promoted && git add promoted && git commit --quiet --message "$BRANCH"
          git push --quiet origin "HEAD:refs/heads/$BRANCH"
          curl --silent --output reply.json --write-out '%{{http_code}}' --header "Authorization: Bearer $TOKEN" \\
            --header 'Content-Type: application/json' "$GITHUB_API_URL/repos/$GITHUB_REPOSITORY/pulls" \\
            --data "{{\\"head\\": \\"$BRANCH\\", \\"base\\": \\"main\\", \\"title\\": \\"$BRANCH\\"}}"
"""


def test_what_a_workflow_opens_with_its_own_token_starts_nothing_and_with_an_apps_it_does(rig):
    def promote(**inputs):
        rig.dispatch("promotes", inputs)
        return rig.job("promotes", "promote").step("Promote").log.strip()

    rig.push("main", workflows(promotes=PROMOTES, first=FIRST))
    assert promote(version="v3") == "403", "the setting is off"
    rig.state.actions_open_pulls = True
    assert promote(version="v4") == "201"
    assert rig.runs("first") == []
    rights = {"contents": "write", "pull-requests": "write"}
    rig.dispatcher.secrets["TRUNK_TOKEN"] = rig.state.grant("promoter[bot]", rights)
    assert promote(version="v5", environment="production") == "201"
    assert [live.run.actor for live in rig.runs("first")] == ["promoter[bot]"]
    titles = [(pull.title, pull.user) for pull in rig.state.pulls.values()]
    assert titles == [("promote/staging-v4", "github-actions[bot]"), ("promote/production-v5", "promoter[bot]")]
    for wrong in ({}, {"version": "v5", "enviroment": "x"}, {"version": "v5", "environment": "x"}):
        with pytest.raises(AssertionError, match=r"promotes\.yml"):
            rig.dispatch("promotes", wrong)


TAGGED = f"""
on: {{push: {{tags: ["*@v*"]}}}}
jobs:
  tagged:
    {HEAD}
      - name: Tell
        run: echo "$GITHUB_REF $GITHUB_SHA"
"""


def test_a_version_tag_is_pushed_over_git_and_then_stays(rig, tmp_path):
    trunk = rig.push("main", workflows(tagged=TAGGED))
    rig.protect_tags("*@v*")
    address = rig.forge.url.replace("//", f"//x:{rig.state.person('maintainer')}@") + "/acme/model"
    git(tmp_path, "clone", "--quiet", address, "clone")
    clone, tag = tmp_path / "clone", "refs/tags/flight-delay@v1"
    git(clone, "tag", "--annotate", "--message", "bundle: 1", "flight-delay@v1")
    git(clone, "push", "--quiet", "--atomic", "origin", "flight-delay@v1")
    rig.settle()
    assert rig.job("tagged", "tagged").step("Tell").log == f"{tag} {trunk}\n", "the commit, not the tag's object"
    assert rig.upstream.refs()[tag] == git(clone, "rev-parse", "flight-delay@v1")
    git(clone, "tag", "--force", "--annotate", "--message", "bundle: 2", "flight-delay@v1")
    git(clone, "tag", "other")
    for arguments in (("--force", tag), ("--delete", tag), ("--force", "--atomic", tag, "other")):
        refused = attempt(clone, "push", "origin", *arguments)
        assert refused.returncode != 0
        assert "Cannot update this protected ref." in refused.stderr
    assert rig.upstream.sha("refs/tags/other") is None
    git(clone, "push", "--quiet", "origin", "other")
    git(clone, "push", "--quiet", "--delete", "origin", "other")
    assert len(rig.runs("tagged")) == 1
