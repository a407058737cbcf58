"""What compose can prove of when an outcome is known, and what it leaves to the data."""

from typing import Any

import pytest

from tests.pipeline.features.test_compiler import planned
from trunkline.core.errors import UserError


def stream(event_time: str, available_at: str) -> dict[str, Any]:
    return {"table": "trips", "event_time": event_time, "available_at": available_at}


@pytest.mark.parametrize(
    ("event_time", "available_at", "early"),
    [
        ("starts - hours(3)", "event_time", "3h"),
        ("starts + hours(-3)", "event_time", "3h"),
        ("hours(-3) + starts", "event_time", "3h"),
        ("starts - days(1)", "event_time + hours(2)", "22h"),
        ("starts - days(1)", "starts - minutes(90)", "90min"),
    ],
)
def test_a_constant_lead_is_refused(event_time: str, available_at: str, early: str) -> None:
    with pytest.raises(UserError, match=rf"done.available_at: the outcome of a row of trips is known {early} before"):
        planned("features.streams.done", stream(event_time, available_at))


@pytest.mark.parametrize(
    ("event_time", "available_at"),
    [
        ("starts", "event_time - hours(3)"),  # an event is available no earlier than it happens
        ("starts - hours(3)", "starts"),
        ("starts - hours(3)", "event_time + hours(3)"),
        ("starts - hours(3)", "event_time + minutes(delay)"),  # the data decide
        ("starts - days(1e300)", "starts"),
    ],
)
def test_what_may_be_honest_is_not_refused(event_time: str, available_at: str) -> None:
    planned("features.streams.done", stream(event_time, available_at))
