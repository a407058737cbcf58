"""Steps of a rollout are in an order that makes sense, or refused with what to write."""

from datetime import timedelta

import pytest
from pydantic import ValidationError

from trunkline.conf.rollout import Rollout

KEY = {"key": ["carrier", "flight"]}


def test_the_key_alone_is_a_shadow_of_everything_and_two_canaries():
    rollout = Rollout.model_validate(KEY)
    assert [(step.kind, step.share, step.change) for step in rollout.steps] == [
        ("shadow", 100, "commit"),
        ("canary", 5, "commit"),
        ("canary", 25, "commit"),
    ]
    assert {step.for_ for step in rollout.steps} == {timedelta(days=1)}
    assert rollout.rules_of(rollout.steps[0]) is rollout.rules


def test_a_step_has_rules_of_its_own_if_it_declares_any():
    step = {"canary": 5, "for": "2h", "rules": {"errors": 0.5}}
    rollout = Rollout.model_validate(KEY | {"steps": [step], "rules": {"errors": 0.1}})
    assert rollout.rules_of(rollout.steps[0]).errors == 0.5


@pytest.mark.parametrize(
    ("steps", "message"),
    [
        ([], "at least 1 item"),
        ([{"canary": 5}, {"shadow": 10}], "steps: a shadow comes after a canary; put the shadow first"),
        ([{"shadow": 5}, {"shadow": 50}], "steps: has two shadows, and models/registry.yaml cannot say which"),
        ([{"canary": 5}, {"canary": 5}], "steps: canary 5 comes after 5; each share must be larger"),
        ([{"canary": 100}], "canary: must be below 100; past the last step the candidate answers everything"),
        ([{"canary": 5.125}], "canary: must have at most two decimals, not 5.125"),
        ([{"shadow": 5, "canary": 5}], "must be either a shadow or a canary"),
        ([{}], "must be either a shadow or a canary"),
        ([{"canary": 5, "for": "0s"}], "must be longer than 0s"),
    ],
)
def test_other_steps_are_refused(steps, message):
    with pytest.raises(ValidationError, match=message):
        Rollout.model_validate(KEY | {"steps": steps})
