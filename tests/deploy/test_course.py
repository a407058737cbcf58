"""The course of a rollout: from its beginning through each step to its end, and back from any of them."""

from itertools import pairwise

import pytest

from trunkline.conf.registry import Candidate, Declaration
from trunkline.conf.rollout import Rollout
from trunkline.core.errors import UserError
from trunkline.deploy import course

ROLLOUT = Rollout.model_validate(
    {
        "key": ["origin"],
        "steps": [{"shadow": 50}, {"canary": 5}, {"canary": 25, "change": "pull_request"}],
    }
)
BEFORE = Declaration(4, None, (2,))
COURSE = [
    Declaration(4, Candidate("shadow", 5), (2,)),
    Declaration(4, Candidate("canary", 5, 5.0), (2,)),
    Declaration(4, Candidate("canary", 5, 25.0), (2,)),
    Declaration(5, None, (2,)),
]


def test_a_candidate_goes_through_the_steps_and_becomes_the_version():
    assert course.begun(BEFORE, 5, ROLLOUT) == COURSE[0]
    for number, (now, following) in enumerate(pairwise(COURSE), 1):
        assert course.stepped_up(now, ROLLOUT) == following
        assert course.number(now.candidate, ROLLOUT) == number
        assert course.finished(now) == COURSE[-1]
        assert course.gone_back(now) == Declaration(4, None, (2, 5))
    assert course.shadow_share(ROLLOUT) == 50


def test_a_share_that_a_person_wrote_goes_on_to_the_next_larger_one():
    by_hand = Declaration(4, Candidate("canary", 5, 10.0))
    assert course.number(by_hand.candidate, ROLLOUT) is None
    assert course.stepped_up(by_hand, ROLLOUT).candidate == Candidate("canary", 5, 25.0)
    assert course.stepped_up(Declaration(4, Candidate("canary", 5, 50.0)), ROLLOUT) == Declaration(5)
    without = Rollout.model_validate({"key": ["origin"], "steps": [{"canary": 5}]})
    assert course.begun(BEFORE, 5, without).candidate == Candidate("canary", 5, 5.0)
    assert course.shadow_share(without) == 100


def test_a_commit_may_go_back_always_and_on_only_past_a_step_that_says_so():
    back = Declaration(4, None, (2, 5))
    for now, following, free in zip(COURSE, COURSE[1:], (True, True, False), strict=False):
        assert course.may_commit(now, back, ROLLOUT)
        assert course.may_commit(now, following, ROLLOUT) == free
        assert not course.may_commit(now, BEFORE, ROLLOUT), "without the hold it is no going back"
        assert not course.may_commit(now, Declaration(6), ROLLOUT)
    assert not course.may_commit(COURSE[0], COURSE[2], ROLLOUT), "a step is not left out"
    assert not course.may_commit(BEFORE, COURSE[0], ROLLOUT), "a rollout is begun by a person"
    assert not course.may_commit(back, BEFORE, ROLLOUT), "a hold is lifted by a person"


@pytest.mark.parametrize("move", [course.finished, course.gone_back, lambda now: course.stepped_up(now, ROLLOUT)])
def test_where_no_rollout_runs_none_goes_on(move):
    with pytest.raises(UserError, match="no rollout runs there"):
        move(BEFORE)
