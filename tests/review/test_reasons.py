"""Which declared reasons a reviewer is shown."""

import copy

import pytest

from trunkline.review import reasons
from trunkline.review.reasons import Reason

PARAMS = {
    "contract": {
        "tables": {
            "people": {
                "privacy": "personal",
                "columns": {
                    "sex": {"privacy": "sensitive", "privacy_because": {"slice": "errors are compared"}},
                    "name": {"type": "text"},
                },
            }
        }
    }
}
SEX = Reason("people.sex", "sensitive", "slice", "errors are compared")


@pytest.mark.parametrize("before", [{}, {"contract": None}, {"contract": {"tables": ["people"]}}])
def test_a_new_reason_is_shown_whatever_an_old_commit_holds(before):
    assert reasons.changes(before, PARAMS) == (SEX,)
    assert reasons.changes(PARAMS, copy.deepcopy(PARAMS)) == ()


def test_a_reason_is_shown_again_for_a_column_of_another_class():
    other = copy.deepcopy(PARAMS)
    other["contract"]["tables"]["people"]["columns"]["sex"]["privacy"] = "identifier"
    assert [each.privacy for each in reasons.changes(PARAMS, other)] == ["identifier"]
