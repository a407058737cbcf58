"""From a merge to production and back: the workflows as they are, and a reconciler that only reads."""

import json
import re
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.deploy.rollout import logs
from tests.e2e.conftest import Checkout
from tests.e2e.loop import COLLEAGUE, CONF, OPENER, OWNER, World, world
from tests.e2e.pulls import iterations, ran
from tests.e2e.watched import log_day
from tests.releases import NAME, REGISTRY, private
from tests.rig.repository import git

pytestmark = [pytest.mark.e2e, pytest.mark.workflows]
Record = Callable[[str, object], None]


@pytest.fixture(scope="module")
def made(small: Checkout, tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    with world(small, tmp_path_factory.mktemp("loop")) as found:
        yield found


def test_from_a_merge_to_production_and_back(made: World, record_property: Record) -> None:
    first = released_and_followed(made)
    promoted(made, "v1", first)
    second = merged(made, first)
    promoted(made, "v2", second)
    old, new = (made.golden(digest) for digest in (first, second))
    assert (first != second, old["request"]) == (True, new["request"])
    assert made.score(old["request"]) == pytest.approx(new["score"], abs=1e-9)
    assert old["score"] != pytest.approx(new["score"], abs=1e-6)

    merge = rolled_back(made, first)
    assert made.score(old["request"]) == pytest.approx(old["score"], abs=1e-9)
    reverted(made, merge, second)
    assert made.score(old["request"]) == pytest.approx(new["score"], abs=1e-9)
    watched(made, second)
    workflows_were_right(made)
    verbs_agree(made, first, second)
    lineage_is_told(made, first)
    rolled_out(made)
    for step, seconds in made.times:
        record_property(step, seconds)


def released_and_followed(made: World) -> str:
    """The first push is released, signed, and staging runs it; production is declared to run nothing."""
    assert made.rig.job("main", "release").conclusion == "success", made.rig.job("main", "release").log
    message, digest = made.tag("v1")
    assert "pull request: " not in message
    made.follow("the reconciler starts → staging answers", "staging", digest)
    assert made.rig.runs("promote") == []
    return digest


def promoted(made: World, label: str, digest: str) -> None:
    """A person starts `promote`; its pull request has the evidence and waits for the owner of the registry file."""
    pull = made.dispatch(action="promote", environment="production", version=label)
    assert (pull.user, pull.title) == (OPENER, f"Promote {NAME} {label} to production")
    assert all(text in pull.body for text in (f"production: {label}", digest, "`release`", "Verdict: pass"))
    assert made.rig.checks(pull.head_sha)["trunkline"] == "success"
    (comment,) = made.rig.comments(pull.number)
    assert f"## ✅ Promotes `{label}` to `production`" in str(comment.content["body"])
    assert "approving review" in made.rig.merge(pull.number)
    made.rig.review(pull.number, COLLEAGUE)
    assert "code owner" in made.rig.merge(pull.number)
    made.merge(pull)
    made.follow(f"merge of {label} → production answers", "production", digest)


def merged(made: World, first: str) -> str:
    """Another model is shown beside staging's, merged, released as v2 with who approved it, and staging runs it."""
    asked = made.ask("staging", first)
    made.rig.push("work", iterations(38), wait=False)
    pull = made.pull("another model", lambda: made.rig.open_pull_request("work", wait=False))
    assert made.rig.job("reproduce", "record").conclusion == "success", made.rig.job("reproduce", "record").log
    (comment,) = made.rig.comments(pull.number)
    assert made.rig.job("reproduce", "preview").conclusion == "success", made.rig.job("reproduce", "preview").log
    assert f"{asked} rows of {asked} requests of the last 6 h in `staging`, answered by `v1`" in comment.content["body"]
    made.merge(pull)
    made.released("v2")
    assert ran(made.rig, "main", "trunk") == [], "what the trunk's code has given is recorded"
    message, digest = made.tag("v2")
    assert f"pull request: #{pull.number} by maintainer, approved by owner\n" in message
    made.follow("v2 released → staging answers", "staging", digest)
    return digest


def rolled_back(made: World, digest: str) -> str:
    """A person starts `rollback`, which names the version itself; production answers as before. Returns the merge."""
    pull = made.dispatch(action="rollback", environment="production", version="", reason="too few trees")
    assert pull.title == f"Roll production back to {NAME} v1"
    assert "golden rows" in pull.body
    assert "Reason: too few trees" in pull.body
    made.merge(pull)
    made.follow("merge of the rollback → production answers", "production", digest)
    return str(made.rig.upstream.sha("refs/heads/main"))


def reverted(made: World, merge: str, digest: str) -> None:
    """The rollback is itself rolled back, by what git has for it."""

    def revert(folder: Path) -> None:
        git(folder, "revert", "--no-commit", "--mainline", "1", merge)

    made.rig.push("revert", revert, wait=False)
    pull = made.pull("git revert", lambda: made.rig.open_pull_request("revert", wait=False))
    assert made.rig.checks(pull.head_sha)["trunkline"] == "success"
    made.merge(pull)
    made.follow("merge of the revert → production answers", "production", digest)


def watched(made: World, digest: str) -> None:
    """`monitor` opens one issue for what is broken, opens no other, and closes it when the fault has ended."""

    def look() -> list[str]:
        with made.timed("monitor"):
            made.rig.dispatch("monitor")
        job = made.rig.job("monitor", "monitor")
        assert job.conclusion == "success", job.log
        assert "in `production`, as of" in job.summary
        return [issue.state for issue in made.rig.state.issues.values()]

    def log(*arguments: int, **options: bool) -> str:
        names = [log_day(made.folder / "project", bundle, made.logged, each, **options) for each in arguments]
        return names[0]

    bundle = made.store / "bundles" / digest
    log(3)
    feature = log(2, gone=True)
    assert look() == ["open"]
    [issue] = made.rig.state.issues.values()
    assert issue.title == f"production: missing of {feature}"
    assert f"`v2` `{digest[:12]}` in `production`" in issue.body
    assert look() == ["open"]
    assert made.rig.comments(issue.number) == []
    log(1, 0)  # today's, in case it is yesterday by the time of the run
    assert look() == ["closed"]
    [comment] = made.rig.comments(issue.number)
    assert "Quiet since" in str(comment.content["body"])


def workflows_were_right(made: World) -> None:
    """Each merge was judged, two were released, the key is in no log."""
    made.rig.settle()
    mains = [live.jobs for live in made.rig.runs("main")]
    assert {job.conclusion for jobs in mains for job in jobs.values()} == {"success"}
    labels = [re.findall(rf"{NAME}@(v\d+)(: bundle| is this bundle already)", jobs["release"].log) for jobs in mains]
    new, same = ": bundle", " is this bundle already"
    told = [("v1", new), ("v1", same), ("v2", new), ("v2", same), ("v2", same), ("v2", same)]
    assert [pair for (pair,) in labels] == told
    logs = "".join(job.log + job.summary for live in made.rig.runs() for job in live.jobs.values())
    assert not any(private(name).splitlines()[1] in logs for name in ("release", "recorder"))


def verbs_agree(made: World, first: str, second: str) -> None:
    """What is declared, tagged, registered and served is one thing, also for who comes with a clone of his own."""
    code, told = made.run(made.folder / "reconcile.git", "trunkline", "status", "--json")
    assert code == 0, told
    shown = {
        name: (each["declared"], each["version"], each["alias"], each["state"])
        for name, each in json.loads(told).items()
    }
    assert shown == {"staging": ("latest", "v2", "v2", "in-sync"), "production": ("v2", "v2", "v2", "in-sync")}
    assert made.alias("champion")["trunkline.digest"] == second
    clone = made.clone("else")
    assert made.run(clone, "dvc", "fetch", "--all-tags", "models/bundle")[0] == 0
    for label, digest in (("v1", first), ("v2", second)):
        code, told = made.run(clone, "trunkline", "verify", label, "--json")
        assert (code, json.loads(told)["digest"]) == (0, digest), told


def lineage_is_told(made: World, first: str) -> None:
    """A prediction leads to who approved its model; the audit has every change, and what came without one."""
    requests = [json.loads(line)["request_id"] for line in made.log.read_text().splitlines()]
    traced = [trace(made, request) for request in requests]
    assert [each["chain"]["version"] for each in traced] == [f"{NAME}@{label}" for label in ("v2", "v1", "v2")]
    assert (traced[0]["review"]["approvers"], traced[0]["review"]["source"]) == ([OWNER], "signed")
    assert (traced[1]["chain"]["digest"], traced[1]["review"]) == (first, None)
    code, told = made.run(
        made.folder / "reconcile.git", "trunkline", "audit", "--since", "2020-01-01", "--json", env=made.auditor()
    )
    found = json.loads(told)
    # The first push is the one thing that nobody approved; it is said, and so it cannot go unnoticed.
    assert (code, found["failed"], found["unknown"]) == (1, False, []), told
    assert [(one["subject"], one["rule"]) for one in found["violations"]] == [("v1", "pull request")]
    assert all(guard["answer"] for guard in found["guards"]), found["guards"]
    events = [one for one in found["events"] if one["environments"] == ["production"]]
    assert [(one["kind"], one["version"], one["review"]["approvers"]) for one in events] == [
        ("promotion", "v1", [COLLEAGUE, OWNER]),
        ("promotion", "v2", [COLLEAGUE, OWNER]),
        ("rollback", "v1", [OWNER]),
        ("promotion", "v2", [OWNER]),
    ]


def trace(made: World, request: str) -> dict[str, Any]:
    code, told = made.run(
        made.folder / "reconcile.git", "trunkline", "trace", request, "--log", str(made.log), "--offline", "--json"
    )
    assert code == 0, told
    return dict(json.loads(told))


def rolled_out(made: World) -> None:
    """v1 is tried beside v2: in production it passes, by a pull request; in staging it goes back, by a commit."""
    trunk = made.rig.dispatcher.environments["reproduce"]
    trunk.secrets |= {"TRUNK_TOKEN": made.rig.state.grant(OPENER, {"contents": "write"})}  # results, past the ruleset
    begin = datetime.now(UTC).replace(minute=0, second=0, microsecond=0) - timedelta(hours=2)
    made.rig.push("main", rollouts(begin - timedelta(minutes=1)))
    assert made.rig.job("main", "trunk").conclusion == "success", made.rig.job("main", "trunk").log
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(logs, "CURRENT", "v2")
        patch.setattr(logs, "CANDIDATE", "v1")
        for environment, traffic, fault in (
            ("production", logs.Traffic("canary", 25, hours=1, requests=2000), logs.Fault()),
            ("staging", logs.Traffic("shadow", 100, hours=1, requests=2000, seed=1), logs.Fault(bias=4)),
        ):
            logs.write(made.folder / "log", traffic, fault, start=begin, environment=environment)

    pull = made.pull("rollout", lambda: made.rig.dispatch("rollout", wait=False))
    assert (pull.user, pull.title) == (OPENER, f"Promote {NAME} v1 to production")
    assert all(text in pull.body for text in ("canary: {version: v1, share: 25}", "| errors | all rows | passes |"))
    assert made.rig.checks(pull.head_sha)["trunkline"] == "success"
    assert f"Take {NAME} v1 back from staging" in made.rig.job("rollout", "rollout").log
    back = git(made.rig.upstream.path, "log", "-1", "--format=%an %s%n%b", "main", "--", REGISTRY)
    assert f"Take {NAME} v1 back from staging" in back
    assert "Reason: mean: the mean of its score is " in back
    assert declared(made) == {
        "staging": {"version": "v2", "hold": ["v1"]},
        "production": {"version": "v2", "canary": {"version": "v1", "share": 25}},
    }


def rollouts(since: datetime) -> Callable[[Path], None]:
    """Return what declares both rollouts, at a moment."""
    step = {"for": "1s", "requests": 100}
    steps = {"staging": {"shadow": 100}, "production": {"canary": 25, "change": "pull_request"}}
    tried = {"staging": {"shadow": "v1"}, "production": {"canary": {"version": "v1", "share": 25}}}

    def declare(folder: Path) -> None:
        content = yaml.safe_load((folder / CONF).read_text(encoding="utf-8"))
        for environment, own in steps.items():
            content["environments"][environment]["rollout"] = {"key": [*logs.KEY], "steps": [step | own]}
        (folder / CONF).write_text(yaml.safe_dump(content, sort_keys=False), encoding="utf-8")
        declaration = {NAME: {environment: {"version": "v2"} | more for environment, more in tried.items()}}
        (folder / REGISTRY).write_text(yaml.safe_dump(declaration, sort_keys=False), encoding="utf-8")
        git(folder, "add", "--all")
        when = since.isoformat()
        git(folder, "commit", "--quiet", "--message", "Try v1", GIT_AUTHOR_DATE=when, GIT_COMMITTER_DATE=when)

    return declare


def declared(made: World) -> Any:
    """Return what the trunk declares of each environment."""
    return yaml.safe_load(made.rig.upstream.text("refs/heads/main", REGISTRY))[NAME]
