"""Where else a version was tried: by the changes of the registry file, and beside what."""

from datetime import UTC, datetime

from trunkline.adapters.git.ancestry import GitTag
from trunkline.conf.registry import NOTHING, Candidate, Declaration
from trunkline.conf.rollout import Rollout
from trunkline.deploy.history import DeclaredChange
from trunkline.deploy.rollout import trials
from trunkline.deploy.rollout.trials import Trial

SHADOW, CANARY, OTHER = Candidate("shadow", 5), Candidate("canary", 5, 25.0), Candidate("shadow", 4)
NOT_YET, BEGUN = Declaration("latest"), Declaration("latest", SHADOW)


def history(environment, *declared):
    """Return the changes of an environment, one an hour in a zone that is an hour ahead, newest first."""
    pairs = enumerate(zip((NOTHING, *declared), declared, strict=False))
    return [
        DeclaredChange("c", f"2026-11-02T{hour + 1:02}:00:00+01:00", "Ada", None, environment, *both)
        for hour, both in pairs
    ][::-1]


def at(hour):
    return datetime(2026, 11, 2, hour, tzinfo=UTC)


def test_the_last_of_each_step_in_other_environments_is_a_trial_until_something_else_is_declared():
    held = Declaration("latest", CANARY, (3,))  # no change of the candidate
    staging = (NOT_YET, BEGUN, Declaration("latest", CANARY), held, Declaration(4, OTHER), Declaration(4, SHADOW))
    changes = [
        *history("production", BEGUN),
        *history("canada", NOT_YET, NOT_YET, BEGUN),
        *history("staging", *staging),
    ]
    assert trials.elsewhere(changes, 5, "production") == (
        Trial("staging", CANARY, "latest", at(2), at(4)),
        Trial("canada", SHADOW, "latest", at(2)),
        Trial("staging", SHADOW, 4, at(5)),
    )
    assert trials.elsewhere(changes, 6, "production") == ()


def test_latest_was_the_newest_version_when_the_trial_began(tmp_path, monkeypatch):
    tags = [GitTag(f"late@v{number}", "c", True, "", "", at(number).isoformat(), "") for number in (3, 4, 6)]
    monkeypatch.setattr(trials.ancestry, "annotated", lambda folder: tags)
    rollout = Rollout.model_validate({"key": ["flight"]})
    step = trials.as_step(tmp_path, "late", Trial("staging", SHADOW, "latest", at(5)), rollout)
    assert (step.candidate, step.current, step.number) == ("v5", "v4", 0)
