"""No principal is let in more often than its rate, and none pays for another."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trunkline.serve.auth.rate import RateLimit
from trunkline.serve.problems import ProblemError


@given(st.integers(1, 20), st.lists(st.tuples(st.sampled_from("abc"), st.integers(0, 8)), max_size=100))
def test_in_any_time_a_principal_is_let_in_as_often_as_its_rate_and_burst_allow(rate, asked):
    now = 0.0
    limit = RateLimit(rate, lambda: now)
    entered: dict[str, list[float]] = {name: [] for name in "abc"}
    for name, eighths in asked:
        now += eighths / 8
        try:
            limit.enter(name)
        except ProblemError as problem:
            wait = int(problem.headers["retry-after"])
            assert wait >= 1
        else:
            entered[name].append(now)
        for start in entered[name]:
            assert sum(time >= start for time in entered[name]) <= rate + (now - start) * rate + 1e-6


def test_a_burst_is_let_in_and_then_one_for_each_interval():
    now = 0.0
    limit = RateLimit(2, lambda: now)
    limit.enter("a")
    limit.enter("a")
    with pytest.raises(ProblemError) as caught:
        limit.enter("a")
    assert (caught.value.status, caught.value.headers["retry-after"]) == (429, "1")
    limit.enter("b")
    now = 0.5
    limit.enter("a")
