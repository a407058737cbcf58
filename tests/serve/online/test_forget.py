"""What removes rows from stored values leaves what a store holds that has never seen them."""

from collections.abc import Callable
from datetime import timedelta

from tests.serve.online import trips
from trunkline.serve.online.events import TableEvents
from trunkline.serve.online.plan import OnlinePlan
from trunkline.serve.online.store.protocol import Store

ROWS = [
    {"number": number, "station": "ab"[number % 2], "line": 1, "starts": trips.START + timedelta(hours=number),
     "delay": number, "load": number / 7}
    for number in range(8)
]  # fmt: skip
STATIONS = [{"station": name, "platforms": 2, "opened": trips.START} for name in "ab"]


def test_a_row_that_is_forgotten_was_never_there(fresh: Callable[[], Store]) -> None:
    plan = OnlinePlan(trips.planned())
    trip, station = (TableEvents(plan, name, trips.types_of(name)) for name in ("trips", "stations"))
    theirs, others = ROWS[6:], ROWS[:6]
    store = fresh()
    store.put(trip.changes(others) | station.changes(STATIONS[:1]))
    keys = [*trip.changes(ROWS), *station.changes(STATIONS)]
    never = store.get(keys)
    store = fresh()
    store.put(trip.changes(ROWS) | station.changes(STATIONS))
    assert store.get(keys) != never
    for _ in range(2):  # twice is once
        store.put(trip.removals(theirs) | station.removals(STATIONS[1:]))
        assert store.get(keys) == never
    store.put(trip.removals(others))
    assert [*store.get(keys).values] == [*station.changes(STATIONS[:1])]
