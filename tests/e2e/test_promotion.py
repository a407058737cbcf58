"""From a merge to production and back: the workflows as they are, and a reconciler that only reads.

The first test goes all the way, and those after it look at what it has left.
"""

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.conftest import Checkout
from tests.e2e.loop import COLLEAGUE, OPENER, OWNER, Record, World, world
from tests.e2e.pulls import iterations, ran
from tests.releases import NAME, private
from tests.rig.repository import git

pytestmark = [pytest.mark.e2e, pytest.mark.workflows]


@pytest.fixture(scope="module")
def made(small: Checkout, tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    with world(small, tmp_path_factory.mktemp("loop")) as found:
        yield found


def test_from_a_merge_to_production_and_back(made: World, record_property: Record) -> None:
    first = released_and_followed(made)
    promoted(made, "v1", first)
    second = merged(made, first)
    made.fork("promote")  # of the others each job has had its verbs from nothing
    promoted(made, "v2", second)
    old, new = (made.golden(digest) for digest in (first, second))
    assert (first != second, old["request"]) == (True, new["request"])
    assert made.score(old["request"]) == pytest.approx(new["score"], abs=1e-9)
    assert old["score"] != pytest.approx(new["score"], abs=1e-6)

    merge = rolled_back(made, first)
    assert made.score(old["request"]) == pytest.approx(old["score"], abs=1e-9)
    reverted(made, merge, second)
    assert made.score(old["request"]) == pytest.approx(new["score"], abs=1e-9)
    made.record(record_property)


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
    made.rig.dispatcher.variables["PREVIEWS"] = "true"
    made.rig.push("work", iterations(38), wait=False)
    pull = made.pull("another model", lambda: made.rig.open_pull_request("work", wait=False))
    assert made.rig.job("reproduce", "record").conclusion == "success", made.rig.job("reproduce", "record").log
    (comment,) = made.rig.comments(pull.number)
    assert made.rig.job("reproduce", "preview").conclusion == "success", made.rig.job("reproduce", "preview").log
    assert f"{asked} rows of {asked} requests of the last 6 h in `staging`, answered by `v1`" in comment.content["body"]
    del made.rig.dispatcher.variables["PREVIEWS"]
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


def test_each_merge_was_judged_two_were_released_and_the_key_is_in_no_log(made: World) -> None:
    made.rig.settle()
    mains = [live.jobs for live in made.rig.runs("main")]
    assert {job.conclusion for jobs in mains for job in jobs.values()} == {"success"}
    labels = [re.findall(rf"{NAME}@(v\d+)(: bundle| is this bundle already)", jobs["release"].log) for jobs in mains]
    new, same = ": bundle", " is this bundle already"
    told = [("v1", new), ("v1", same), ("v2", new), ("v2", same), ("v2", same), ("v2", same)]
    assert [pair for (pair,) in labels] == told
    logs = "".join(job.log + job.summary for live in made.rig.runs() for job in live.jobs.values())
    assert not any(private(name).splitlines()[1] in logs for name in ("release", "recorder"))


def test_what_is_declared_tagged_registered_and_served_is_one_thing_also_in_another_clone(made: World) -> None:
    first, second = (made.tag(label)[1] for label in ("v1", "v2"))
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


def test_a_prediction_leads_to_who_approved_its_model_and_the_audit_has_every_change(made: World) -> None:
    requests = [json.loads(line)["request_id"] for line in made.log.read_text().splitlines()]
    traced = [trace(made, request) for request in requests]
    assert [each["chain"]["version"] for each in traced] == [f"{NAME}@{label}" for label in ("v2", "v1", "v2")]
    assert (traced[0]["review"]["approvers"], traced[0]["review"]["source"]) == ([OWNER], "signed")
    assert (traced[1]["chain"]["digest"], traced[1]["review"]) == (made.tag("v1")[1], None)
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
