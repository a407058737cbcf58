"""What happens to versions that are in production: the workflows `monitor` and `rollout`, on two that are released.

The tests share a world, which the second one leaves with another version in production.
"""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.deploy.rollout import logs
from tests.e2e.conftest import Checkout
from tests.e2e.loop import CONF, OPENER, OWNER, Record, World, world
from tests.e2e.pulls import iterations, pushed
from tests.e2e.watched import log_day
from tests.endpoint import get, until
from tests.releases import NAME, REGISTRY, START, Project
from tests.rig.repository import git
from tests.rig.rig import Rig

pytestmark = [pytest.mark.e2e, pytest.mark.workflows]
NOW = datetime.now(UTC)
BEGIN = NOW.replace(minute=0, second=0, microsecond=0) - timedelta(hours=2)  # of what the rollouts have logged
HELD = {"version": "v2", "hold": ["v1"]}


@pytest.fixture(scope="module")
def made(small: Checkout, tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    """Staging and production run v2, and v1 is tried beside it; only these two workflows have verbs from nothing."""
    with world(small, tmp_path_factory.mktemp("watching"), released, forked=True) as found:
        found.rig.dispatcher.unforked |= {"monitor", "rollout"}
        results = found.rig.state.grant(OPENER, {"contents": "write"})  # go past the ruleset
        found.rig.dispatcher.environments["reproduce"].secrets |= {"TRUNK_TOKEN": results}
        (main,) = found.rig.runs("main")
        assert {job: done.conclusion for job, done in main.jobs.items()} == dict.fromkeys(
            ("trunk", "release"), "success"
        )
        until(lambda: shown(found, "production") == ("v2", {"kind": "canary", "share": 25.0}), 60)
        yield found


def released(project: Checkout, rig: Rig) -> None:
    """Release v1 and v2 as the workflows do, and declare that v1 is tried beside v2 since before `BEGIN`."""
    releases = Project(project.root, hours=(NOW - START) // timedelta(hours=1) - 1)
    releases.release()
    iterations(38)(project.root)
    pushed(project, rig, "another model")
    releases.release()
    declare(project.root)
    pushed(project, rig, "Try v1", BEGIN - timedelta(minutes=1))


def declare(folder: Path) -> None:
    """Declare one step for each environment, and what is tried by it."""
    step = {"for": "1s", "requests": 100}
    steps = {"staging": {"shadow": 100}, "production": {"canary": 25, "change": "pull_request"}}
    tried = {"staging": {"shadow": "v1"}, "production": {"canary": {"version": "v1", "share": 25}}}
    content = yaml.safe_load((folder / CONF).read_text(encoding="utf-8"))
    for environment, own in steps.items():
        content["environments"][environment]["rollout"] = {"key": [*logs.KEY], "steps": [step | own]}
    (folder / CONF).write_text(yaml.safe_dump(content, sort_keys=False), encoding="utf-8")
    declaration = {NAME: {environment: {"version": "v2"} | more for environment, more in tried.items()}}
    (folder / REGISTRY).write_text(yaml.safe_dump(declaration, sort_keys=False), encoding="utf-8")


def test_an_alert_has_one_issue_which_is_closed_when_it_is_quiet(made: World, record_property: Record) -> None:
    bundle = served(made)

    def log(*days: int, **options: bool) -> str:
        names = [log_day(made.folder / "project", bundle, made.logged, each, **options) for each in days]
        return names[0]

    log(3)
    feature = log(2, gone=True)
    assert look(made) == ["open"]
    [issue] = made.rig.state.issues.values()
    assert issue.title == f"production: missing of {feature}"
    assert f"`v2` `{bundle.name[:12]}` in `production`" in issue.body
    assert look(made) == ["open"]
    assert made.rig.comments(issue.number) == []
    log(1, 0)  # today's, in case it is yesterday by the time of the run
    assert look(made) == ["closed"]
    [comment] = made.rig.comments(issue.number)
    assert "Quiet since" in str(comment.content["body"])
    made.record(record_property)


def served(made: World) -> Path:
    """Return the bundle that production answers with."""
    return made.store / "bundles" / str(get(made.addresses["production"])["digest"])


def look(made: World) -> list[str]:
    """Start `monitor`, and return the states of the issues."""
    with made.timed("monitor"):
        made.rig.dispatch("monitor")
    job = made.rig.job("monitor", "monitor")
    assert job.conclusion == "success", job.log
    assert "in `production`, as of" in job.summary
    return [issue.state for issue in made.rig.state.issues.values()]


def test_one_that_passes_is_merged_though_the_trunk_moved_on_and_one_that_does_not_goes_back(
    made: World, record_property: Record
) -> None:
    tried(made)
    pull = made.pull("rollout", lambda: made.rig.dispatch("rollout", wait=False))
    assert (pull.user, pull.title) == (OPENER, f"Promote {NAME} v1 to production")
    assert all(text in pull.body for text in ("canary: {version: v1, share: 25}", "| errors | all rows | passes |"))
    taken_back(made)
    before = pull.head_sha
    made.rig.review(pull.number, OWNER)
    assert "conflicts" in made.rig.merge(pull.number)  # main has pushed the results of going back

    with made.timed("rollout again → its checks"):
        made.rig.dispatch("rollout")
    assert [*made.rig.state.pulls] == [pull.number], made.rig.job("rollout", "rollout").log
    assert pull.head_sha != before
    assert made.rig.checks(pull.head_sha)["trunkline"] == "success"
    made.merge(pull)
    first = made.tag("v1")[1]
    made.follow("merge of the rollout → production answers", "production", first)
    assert shown(made, "production") == ("v1", None)
    golden = made.golden(first)
    assert made.score(golden["request"]) == pytest.approx(golden["score"], abs=1e-9)
    assert declared(made) == {"staging": HELD, "production": "v1"}
    made.rig.settle()
    assert {job.conclusion for job in made.rig.runs("main")[-1].jobs.values()} == {"success"}
    made.record(record_property)


def tried(made: World) -> None:
    """Log two hours of both arms: in production they are alike, in staging the new one says too much."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(logs, "CURRENT", "v2")
        patch.setattr(logs, "CANDIDATE", "v1")
        for environment, traffic, fault in (
            ("production", logs.Traffic("canary", 25, hours=1, requests=2000), logs.Fault()),
            ("staging", logs.Traffic("shadow", 100, hours=1, requests=2000, seed=1), logs.Fault(bias=4)),
        ):
            logs.write(made.logged, traffic, fault, start=BEGIN, environment=environment)


def taken_back(made: World) -> None:
    """Staging's is taken back by a commit, with the reason, and production's goes on."""
    assert f"Take {NAME} v1 back from staging" in made.rig.job("rollout", "rollout").log
    back = git(made.rig.upstream.path, "log", "-1", "--format=%an %s%n%b", "main", "--", REGISTRY)
    assert f"Take {NAME} v1 back from staging" in back
    assert "Reason: mean: the mean of its score is " in back
    production = {"version": "v2", "canary": {"version": "v1", "share": 25}}
    assert declared(made) == {"staging": HELD, "production": production}


def declared(made: World) -> Any:
    """Return what the trunk declares of each environment."""
    return yaml.safe_load(made.rig.upstream.text("refs/heads/main", REGISTRY))[NAME]


def shown(made: World, environment: str) -> tuple[str, Any]:
    """Return the version that a server answers with, and what it shows of a rollout, without the candidate."""
    answer = get(made.addresses[environment]) or {}
    rollout = answer.get("rollout")
    return answer.get("version", ""), rollout and {name: rollout[name] for name in ("kind", "share")}


def test_a_person_who_asks_has_a_retraining_proposed_and_ci_says_that_its_window_has_no_rows(made: World) -> None:
    log_day(made.folder / "project", served(made), made.logged, 0)
    because = {"because": "New routes since May"}
    pull = made.pull("because → a retraining", lambda: made.rig.dispatch("monitor", because, wait=False))
    assert (pull.user, pull.head_ref) == (OPENER, f"retrain/{NAME}")
    assert pull.title.startswith(f"Retrain {NAME} on {NOW:%Y}-")
    assert "- Asked for: New routes since May <!-- trunkline:cause" in pull.body
    assert "in `production`: no outcomes are known yet." in pull.body
    changed = git(made.rig.upstream.path, "diff", "--name-only", f"main...{pull.head_sha}").split()
    assert changed == ["conf/data/flights.yaml"]
    assert made.rig.checks(pull.head_sha)["trunkline"] == "failure"
    assert f"no valid rows in {NOW:%Y}-" in made.rig.job("pull-request", "trunkline").log
