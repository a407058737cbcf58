"""`trunkline audit`, on real repositories and the rig's forge.

`python -m tests.lineage.test_audit` writes the golden files anew.
"""

import json
import re
import tempfile
from contextlib import chdir
from dataclasses import replace
from pathlib import Path

import pytest
from click.testing import CliRunner

from tests.lineage.conftest import flights
from tests.releases import NAME, REGISTRY, Project, registry, signers
from tests.rig.rig import rigged
from trunkline.adapters.forge import owners
from trunkline.cli.audit import audit
from trunkline.core.errors import UserError
from trunkline.lineage.audit.judge import NOTHING, Event, judge
from trunkline.release.provenance import ReviewFacts

GOLDEN = Path(__file__).parents[1] / "golden/lineage"
ALL = ("--since", "2026-01-01")


def run(*arguments, code=0):
    done = CliRunner().invoke(audit, arguments, catch_exceptions=False)
    assert done.exit_code == code, done.output
    return done.stdout


def told(*arguments, code=0):
    return json.loads(run(*ALL, *arguments, "--json", code=code))


def broken(code=1):
    """The violations as pairs of the rule and what it is of, and all their reasons in one text."""
    found = told("--offline", code=code)["violations"]
    return [(one["rule"], one["subject"]) for one in found], " | ".join(one["why"] for one in found)


def breach(project):
    """What the golden files show: a direct push to production, and a version whose tag has been moved."""
    project.declare(production="v2").commit()
    project.tag(f"{NAME}@v2", project.message(f"{NAME}@v2"))


@pytest.mark.parametrize(("name", "options"), [("audit.txt", ()), ("audit.json", ("--json",))])
def test_an_audit_reads_as_agreed(inside, name, options):
    breach(inside)
    text = run(*ALL, "--offline", *options, code=1)
    assert text == (GOLDEN / name).read_text(encoding="utf-8")
    assert max(map(len, text.splitlines())) <= 140 or options


def test_what_happened_is_told_in_order_and_only_of_the_period(inside):
    found = told("--offline")
    kinds = [(one["kind"], one["before"], one["declared"]) for one in found["events"]]
    assert kinds == [
        ("promotion", "nothing", "latest"),
        ("release", "nothing", "v1"),
        ("promotion", "nothing", "v1"),
        ("release", "nothing", "v2"),
        ("promotion", "v1", "v2"),
        ("rollback", "v2", "v1"),
    ]
    assert [one["review"]["number"] for one in found["events"]] == [10, 11, 12, 13, 14, 15]
    inside.declare(production=None).merge(16)
    inside.declare(staging="v1").merge(17)
    kinds = [(one["kind"], one["before"], one["declared"]) for one in told("--offline")["events"]][-2:]
    assert kinds == [("withdrawal", "v1", "nothing"), ("rollback", "latest (v2)", "v1")]
    part = json.loads(
        run("--since", "2026-03-01T16:00+01:00", "--until", "2026-03-01T20:30+01:00", "--offline", "--json")
    )
    assert [one["declared"] for one in part["events"]] == ["v1", "v2"]
    assert len(json.loads(run("--since", "2026-03-01", "--until", "2026-03-01", "--offline", "--json"))["events"]) == 6
    for arguments in (("--since", "yesterday"), ("--since", "2026-03-02", "--until", "2026-03-01")):
        with pytest.raises(UserError, match=r"--since yesterday: is no day|--until 2026-03-01: is not after"):
            run(*arguments, "--offline")


def test_a_direct_push_to_an_environment_is_a_violation(inside):
    inside.declare(production="v2").commit()
    assert broken() == (
        [("pull request", "production: v1 → v2")],
        "reached the trunk without a pull request: a direct push",
    )
    inside.declare(production=None).commit()
    assert broken()[0][-1] == ("pull request", "production: v2 → nothing")


def test_a_declaration_that_brings_no_version_anywhere_is_none():
    nothing = Event(
        "promotion", "2026-03-01", "ada", "1" * 40, None, "latest", NOTHING, ("staging",), None, *[True] * 2, None, None
    )
    assert judge([nothing]) == ()
    assert [one.rule for one in judge([replace(nothing, before="v1")])] == ["pull request"]


def test_a_release_of_a_direct_push_is_one_as_soon_as_an_environment_runs_it(inside):
    inside.declare(staging="v1").merge(16)
    inside.params(model__max_iter=7).build().commit("Pushed")
    inside.release()
    assert told("--offline")["events"][-1]["reached"] is False
    inside.declare(production="v3").merge(17)
    assert broken()[0] == [("pull request", "v3")]


def test_an_approval_by_the_author_only_is_none_where_one_was_asked_for(inside):
    inside.params(deploy__environments__staging__merge="approval")
    for number, approvers in enumerate((("ada",), (), ("ada", "bob")), 30):
        inside.params(model__max_iter=number).build().merge(number, "More")
        inside.release(ReviewFacts(number, "ada", approvers))
    found, why = broken()
    assert found == [("approval", "v3"), ("approval", "v4")]
    assert "#30 was approved by its own author only" in why
    assert "#31 has no approval that counts" in why


def test_a_rollout_is_listed_and_may_go_on_by_commits_where_conf_deploy_says_so(inside):
    rollout = {"key": ["origin"], "steps": [{"shadow": 100}, {"canary": 5, "change": "pull_request"}]}
    inside.params(deploy__environments__production__rollout=rollout).merge(30)
    canary = {"version": "v1", "canary": {"version": "v2", "share": 5}}
    inside.declare(production={"version": "v1", "shadow": "v2"}).merge(31, "Begin")
    inside.declare(production=canary).commit("Past the shadow")
    inside.declare(production="v2").commit("Past the canary")
    events = told("--offline", code=1)["events"][-3:]
    assert [(one["kind"], one["version"], one["declared"], one["automatic"]) for one in events] == [
        ("rollout", "v2", "{version: v1, shadow: v2}", False),
        ("rollout", "v2", "{version: v1, canary: {version: v2, share: 5}}", True),
        ("promotion", "v2", "v2", False),
    ]
    assert broken()[0] == [("pull request", "production: v1 → v2")]
    inside.declare(production=canary).merge(32, "Again")
    inside.declare(production={"version": "v1", "hold": ["v2"]}).commit("Go back")
    assert broken()[0] == [("pull request", "production: v1 → v2")]
    inside.declare(production="v1").commit("Lift the hold")
    assert broken()[0][1:] == [("pull request", "production: {version: v1, hold: [v2]} → v1")]


def test_a_candidate_that_is_refused_is_a_violation_as_a_version_is(inside):
    inside.params(deploy__environments__production__rollout={"key": ["origin"]})
    inside.build(0.51).merge(50, "Worse")
    inside.release(ReviewFacts(50, "ada", ("bob",)))
    inside.declare(production={"version": "v2", "shadow": "v3"}).merge(51)
    assert [rule for rule, _ in broken()[0]] == ["chain", "verdict"]


def test_what_conf_promotion_drops_in_the_same_commit_still_counts(inside):
    before = told("--offline")["events"][-1]
    inside.params(deploy__environments__production__merge="automatic").declare(production="v2").merge(40)
    found = told("--offline")["events"][-1]
    assert (before["needed"], found["needed"], found["unknown"] is not None) == (True, True, True)
    inside.declare(production="v1").merge(41)
    assert told("--offline")["events"][-1]["needed"] is False


def test_a_version_that_is_refused_or_did_not_pass_or_never_was_is_a_violation(inside):
    inside.build(0.51).merge(50, "Worse")
    inside.release(ReviewFacts(50, "ada", ("bob",)))
    inside.declare(production="v7").merge(51)
    found, why = broken()
    assert found == [("chain", "v3"), ("verdict", "v3"), ("version", "v7")]
    assert "the version's gates did not pass" in why
    assert "was never released" in why
    inside.params(deploy__signers=signers("another")).build().merge(52, "The key is taken out")
    assert [one for one in broken()[0] if one[0] == "chain"][:2] == [("chain", "v1"), ("chain", "v2")]


def test_a_tag_that_origin_has_moved_is_a_violation(inside, tmp_path, monkeypatch):
    clone = inside.clone(tmp_path / "clone")
    inside.tag(f"{NAME}@v1", inside.message(f"{NAME}@v1"))
    monkeypatch.chdir(clone.root)
    assert told("--offline")["violations"] == []
    [one] = told(code=1)["violations"]
    assert (one["rule"], one["subject"]) == ("tag", "v1")
    assert "origin has another tag" in one["why"]
    clone.git("tag", f"{NAME}@v9", "HEAD")
    assert broken()[0] == [("tag", "v9")]


def test_history_that_was_rewritten_is_a_violation(inside, tmp_path, monkeypatch):
    clone = inside.clone(tmp_path / "clone")
    inside.git("reset", "--quiet", "--hard", f"{NAME}@v1")
    inside.declare(production="v1").merge(60)
    monkeypatch.chdir(clone.root)
    assert told("--offline")["violations"] == []
    found = told(code=1)["violations"]
    rules = {(one["rule"], one["subject"]) for one in found}
    assert rules == {("history", "v2"), ("history", "origin/main")}
    assert told(code=1)["violations"] == found, "the clone remembers"


def test_an_origin_that_does_not_answer_is_told_and_is_no_violation(inside):
    inside.git("remote", "add", "origin", str(inside.root / "gone"))
    found = told(code=3)
    assert (found["violations"], found["failed"]) == ([], True)
    assert "git fetch origin failed" in found["unknown"][0]
    inside.declare(production="v2").commit()
    assert told(code=1)["failed"]


def test_a_hostile_history_steers_no_terminal(inside):
    inside.declare(production="v2").commit(who="M\x1b[2J\u202e[bold]")
    for text in (run(*ALL, "--offline", code=1), run(*ALL, "--offline", "--json", code=1)):
        assert not re.search(r"[\x00-\x09\x0b-\x1f\x7f-\x9f\u202e]", text)
        assert "[bold]" in text


def test_strictness_needs_a_forge():
    done = CliRunner().invoke(audit, [*ALL, "--offline", "--strict"])
    assert (done.exit_code, "--strict needs the forge" in done.output) == (2, True)


@pytest.mark.parametrize(
    ("pattern", "path", "owned"),
    [
        ("*", "models/registry.yaml", True),
        ("/models/registry.yaml", "models/registry.yaml", True),
        ("models/", "models/registry.yaml", True),
        ("registry.yaml", "models/registry.yaml", True),
        ("/registry.yaml", "models/registry.yaml", False),
        ("conf/*", "conf/deploy/flights.yaml", False),
        ("conf/deploy/*", "conf/deploy/flights.yaml", True),
        ("**/deploy", "conf/deploy/flights.yaml", True),
        ("!models", "models/registry.yaml", False),
        ("[models]", "models/registry.yaml", False),
        ("*.yaml", "models/registry.yaml", True),
    ],
)
def test_a_line_of_codeowners_matches_as_on_the_forge(pattern, path, owned):
    assert owners.owners(f"# all\n{pattern} @bob # the bob\n", path) == (("@bob",) if owned else ())


def test_the_last_line_of_codeowners_that_matches_decides_and_may_take_owners_away():
    text = "* @all\n/models/ @bob @eve\n/models/registry.yaml\n"
    assert owners.owners(text, "models/card.md") == ("@bob", "@eve")
    assert owners.owners(text, "models/registry.yaml") == ()
    assert owners.shared(text, ["models/card.md", "README.md"]) == ("@bob", "@eve", "@all")
    assert owners.shared(text, ["models/card.md", "models/registry.yaml"]) == ()
    assert owners.shared(text, []) == ()


def test_the_forge_tells_who_approved_and_what_is_guarded(tmp_path, monkeypatch):
    """A promotion that is approved, one that its author approves, one that nobody approves, and a direct push."""
    first = Project(tmp_path / "first").create().build()
    first.commit()
    files = {name: first.read(name) for name in first.git("ls-files").splitlines()}
    with rigged(tmp_path / "rig") as rig:
        rig.admit("bob")
        rig.push("main", files | {".github/CODEOWNERS": "/models/registry.yaml @bob\n"})
        clone = Project(rig.upstream.path).clone(tmp_path / "clone")
        clone.release()
        clone.git("push", "--quiet", "origin", f"{NAME}@v1")
        for place, approver in enumerate(("bob", "maintainer", None)):
            text = registry(staging=None, production=("v1", None)[place % 2])
            rig.push(f"work-{place}", {REGISTRY: text})
            pull = rig.open_pull_request(f"work-{place}")
            if approver:
                rig.review(pull.number, approver)
            assert rig.merge(pull.number) == ""
        rig.push("main", {REGISTRY: registry(staging="v1", production="v1")})
        monkeypatch.chdir(clone.root)
        token = rig.state.grant("auditor", {"contents": "read", "pull-requests": "read"})
        monkeypatch.setenv("GITHUB_API_URL", f"{rig.forge.url}/api/v3")
        monkeypatch.setenv("GITHUB_REPOSITORY", "acme/model")
        monkeypatch.setenv("GITHUB_TOKEN", token)
        found = told(code=1)
        told_of = [(one["review"] or {}).get("approvers") for one in found["events"] if one["kind"] != "release"]
        assert told_of == [["bob"], [], [], None]
        assert sorted((one["rule"], one["subject"]) for one in found["violations"]) == [
            ("approval", "production: nothing → v1"),
            ("approval", "production: v1 → nothing"),
            ("pull request", "staging: nothing → v1"),
            ("pull request", "v1"),
        ]
        guards = {one["name"]: one["answer"] for one in found["guards"]}
        assert guards["models/registry.yaml has an owner"] is True
        assert [name for name, answer in guards.items() if answer] == ["models/registry.yaml has an owner"]
        assert "guard" in {one["rule"] for one in told("--strict", code=1)["violations"]}
        rig.protect("trunkline", approvals=1, code_owners=True)
        rig.protect_tags(f"{NAME}@v*")
        guards = {one["name"]: one["answer"] for one in told(code=1)["guards"]}
        owned = [name for name in guards if name.endswith(" has an owner")]
        assert {"conf/deploy has an owner", ".github has an owner"} <= {*owned}
        assert [name for name, answer in guards.items() if not answer] == owned[1:], "all but the registry's"
        rig.forge.fail("GET", "/pulls", 50, 403)
        assert "the forge could not be asked" in told(code=1)["unknown"][0]


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as folder:
        project = flights(Path(folder) / "project")
        breach(project)
        with chdir(project.root):
            (GOLDEN / "audit.txt").write_text(run(*ALL, "--offline", code=1), encoding="utf-8")
            (GOLDEN / "audit.json").write_text(run(*ALL, "--offline", "--json", code=1), encoding="utf-8")
