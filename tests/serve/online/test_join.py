"""Features at request time are those of training: against the offline engine, in whatever order events arrive."""

import math
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.serve.online import trips
from tests.serve.online.trips import Row, Tables
from trunkline.serve.online.events import TableEvents
from trunkline.serve.online.join import Freshness, Join, RefusedError
from trunkline.serve.online.plan import OnlinePlan
from trunkline.serve.online.store.protocol import Store
from trunkline.serve.online.values import micros

PLAN = OnlinePlan(trips.planned())
JOIN = Join(PLAN)
EVENTS = {name: TableEvents(PLAN, name, trips.types_of(name)) for name in trips.CONTRACT["tables"]}
LEAD = timedelta(hours=2)


def push(store: Store, table: str, rows: list[Row]) -> None:
    assert store.put(EVENTS[table].changes(rows)) == []


def alike(one: Any, other: Any) -> bool:
    """Numbers within 1e-9, all else exactly, type included."""
    if isinstance(one, float) and isinstance(other, float):
        return math.isclose(one, other, rel_tol=1e-9, abs_tol=1e-9)
    return type(one) is type(other) and one == other


def differences(joined: Row, expected: Row) -> dict[str, Any]:
    assert list(joined) == list(expected)
    pairs = {name: (joined[name], expected[name]) for name in expected}
    return {name: pair for name, pair in pairs.items() if not alike(*pair)}


@settings(max_examples=10)
@given(tables=trips.tables(), data=st.data())
def test_features_are_those_of_training_however_events_arrive(
    tables: Tables, data: st.DataObject, fresh: Callable[[], Store], tmp_path_factory: pytest.TempPathFactory
) -> None:
    """Shuffled, in batches of any size, some of them twice, before and after the past was dropped."""
    expected = trips.offline(tmp_path_factory.mktemp("offline"), tables)
    events = [(name, row) for name, rows in tables.items() for row in rows]
    arriving = data.draw(st.permutations(events + data.draw(st.lists(st.sampled_from(events), max_size=10))))
    watermark = None
    store = fresh()
    while arriving:
        size = data.draw(st.integers(1, 20))
        for name in tables:
            push(store, name, [row for table, row in arriving[:size] if table == name])
        arriving = arriving[size:]
        if data.draw(st.booleans()):
            watermark = max(watermark or trips.START, data.draw(trips.HOURS))
            store.expire(micros(watermark))
    for trip in tables["trips"]:
        at = trip["starts"] - LEAD
        if watermark is not None and at < watermark:
            with pytest.raises(RefusedError, match="is no longer kept"):
                JOIN.features(store, [trips.request(trip)])
        else:
            (joined,) = JOIN.features(store, [trips.request(trip)])
            assert joined.predicted_at == at
            assert differences(joined.features, expected[trip["number"]]) == {}


def known(table: str, row: Row) -> datetime | None:
    """When an event comes to be known; of a trip, when its outcome does."""
    if table == "stations":
        return trips.START - timedelta(days=1)
    if table == "alerts":
        return max(row["at"], row["told"]) if row["at"] and row["told"] else None
    happened = row["starts"] - timedelta(hours=3)
    return None if row["delay"] is None else happened + timedelta(minutes=max(0, row["delay"]))


@settings(max_examples=10)
@given(tables=trips.tables())
def test_a_prediction_needs_only_what_is_known_when_it_is_made(
    tables: Tables, fresh: Callable[[], Store], tmp_path_factory: pytest.TempPathFactory
) -> None:
    """The past is dropped up to each prediction, and then comes what is known by then: as a server lives it."""
    expected = trips.offline(tmp_path_factory.mktemp("offline"), tables)
    events = [(known(name, row), name, row) for name, rows in tables.items() for row in rows]
    waiting = [each for each in events if each[0] is not None]
    store = fresh()
    for trip in sorted(tables["trips"], key=lambda trip: trip["starts"]):
        now = trip["starts"] - LEAD
        store.expire(micros(now))
        for name in tables:  # those that are there already, too
            push(store, name, [row for since, table, row in waiting if table == name and since < now])  # type: ignore[operator]
        (joined,) = JOIN.features(store, [trips.request(trip)])
        assert differences(joined.features, expected[trip["number"]]) == {}


def test_the_values_of_one_entity_are_the_same_bytes_in_any_order(fresh: Callable[[], Store]) -> None:
    rows = [
        {
            "number": number, "station": "a", "line": 1, "starts": trips.START + timedelta(hours=number % 3),
            "delay": number * 7 % 90, "load": None,
        }
        for number in range(12)
    ]  # fmt: skip
    keys = list(EVENTS["trips"].changes(rows))
    assert len(keys) == 2
    store = fresh()
    for each in rows:
        push(store, "trips", [each])
    first, store = store.get(keys).values, fresh()
    push(store, "trips", rows[::-1])
    assert store.get(keys).values == first
    assert set(first) == set(keys)


def test_an_event_that_contradicts_itself_is_told_and_left_out(store: Store) -> None:
    trip = {"number": 7, "station": "a", "line": 1, "starts": trips.START, "delay": 5, "load": None}
    push(store, "trips", [trip])
    conflicts = store.put(EVENTS["trips"].changes([{**trip, "delay": 6}]))
    told = [(PLAN.view_of(conflict.key).primitive.name, conflict.event) for conflict in conflicts]
    assert told == [("last", (7,)), ("recent", (7,))]
    later = {**trips.request(trip), "number": 8, "starts": trips.START + timedelta(hours=3)}
    assert JOIN.features(store, [later])[0].features["last_delay"] == 5


def test_what_is_missing_or_stale_is_told_and_falls_back_as_declared(store: Store) -> None:
    push(store, "trips", [{"number": 7, "station": "a", "line": 1, "starts": trips.START, "delay": 5, "load": None}])
    known, unknown = (
        {"number": 8, "station": station, "line": 1, "starts": trips.START + timedelta(hours=3)} for station in "ab"
    )

    def joined(request: Row, **declared: Any) -> tuple[Any, Any]:
        (joined,) = Join(PLAN, {"recent": Freshness(**declared)}).features(store, [request])
        (state,) = [view for view in joined.views if view.view == "recent"]
        return (joined.features["trips_6h"], joined.features["load_mean_6h"]), (state.missing, state.stale, state.age)

    four = timedelta(hours=4)  # an event three hours before its trip, asked for one hour after
    assert joined(known) == ((1, -1.0), (False, False, four))
    assert joined(known, limit=four) == ((1, -1.0), (False, False, four))
    short = four - timedelta(microseconds=1)
    assert joined(known, limit=short) == ((0, -1.0), (False, True, four))
    assert joined(known, limit=short, stale="null") == ((None, None), (False, True, four))
    assert joined(unknown) == ((0, -1.0), (True, False, None))
    assert joined(unknown, missing="null") == ((None, None), (True, False, None))
    with pytest.raises(RefusedError, match=r"view recent: has no event younger than 3:59:59\.999999"):
        joined(known, limit=short, stale="refuse")
    with pytest.raises(RefusedError, match="view recent: knows nothing of the entity"):
        joined(unknown, missing="refuse")
    lacking = {name: known[name] for name in ("number", "line", "starts")}
    with pytest.raises(RefusedError, match="column station: is missing from the request") as refused:
        JOIN.features(store, [known, lacking])
    assert refused.value.row == 1
