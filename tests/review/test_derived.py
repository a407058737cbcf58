"""Which columns a reviewer is told the reason of."""

import copy

import pytest

from trunkline.review import derived
from trunkline.review.derived import KnownBecause

PARAMS = {
    "data": {"derive": {"flights": {"sched": "dep_time - dep_delay", "late": "dep_delay > 15"}}},
    "contract": {
        "tables": {"flights": {"columns": {"sched": {"known_because": "the timetable has it"}, "late": {"type": "x"}}}}
    },
}
SCHED = KnownBecause("flights.sched", "dep_time - dep_delay", "the timetable has it")


def test_what_stood_there_before_is_not_told_again():
    assert derived.changes(PARAMS, copy.deepcopy(PARAMS)) == ()


@pytest.mark.parametrize(
    "before", [{}, {"data": {"derive": ["flights"]}}, {"data": None}, {"data": {"derive": {1: 2}}}]
)
def test_a_new_column_is_told_whatever_an_old_commit_holds(before):
    assert derived.changes(before, PARAMS) == (SCHED,)


def test_another_expression_under_the_same_reason_is_told_as_is_another_reason():
    other, reason = copy.deepcopy(PARAMS), copy.deepcopy(PARAMS)
    other["data"]["derive"]["flights"]["sched"] = "arr_time - dep_delay"
    reason["contract"]["tables"]["flights"]["columns"]["sched"]["known_because"] = "it is on the ticket"
    assert [each.expression for each in derived.changes(PARAMS, other)] == ["arr_time - dep_delay"]
    assert [each.reason for each in derived.changes(PARAMS, reason)] == ["it is on the ticket"]
