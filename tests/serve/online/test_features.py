"""A served bundle reads requests as conf/contract declares them, and joins them with what a store has."""

import json
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from tests.serve.online import trips
from trunkline.conf.serving import Freshness, Online
from trunkline.core.errors import OutsideError, UserError
from trunkline.serve.online.features import OnlineFeatures, put, states
from trunkline.serve.online.join import RefusedError
from trunkline.serve.online.store.sqlite import SQLiteStore
from trunkline.serve.problems import ProblemError

NAMES = [each["name"] for each in trips.declared_inputs()]
REQUEST = {"number": 9, "station": "A", "line": 1, "starts": "2013-03-09T19:00:00+02:00"}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return trips.bundle(tmp_path_factory.mktemp("bundle") / "trips", trips.planned())


@pytest.fixture
def online(folder: Path, tmp_path: Path) -> OnlineFeatures:
    return OnlineFeatures.read(folder, NAMES, Online(store="sqlite:///x.db"), SQLiteStore(tmp_path / "x.db"))


def pushed(online: OnlineFeatures, table: str, **row: Any) -> list[list[Any]]:
    reader = online.tables[table].reader
    return put(online.tables[table], online.store, [reader.read(row, online.tables[table].needed)])


def test_what_is_pushed_is_joined_to_the_requests_that_come_after_it(online):
    (before,) = online.requested([REQUEST]).joined.values()
    trip = {"number": 1, "station": "A", "line": 1, "starts": "2013-03-09T13:30:00Z", "delay": 7, "load": 0.5}
    assert pushed(online, "trips", **trip) == []
    assert pushed(online, "trips", **trip) == []
    assert pushed(online, "trips", **trip | {"delay": 8}) == [[1]]
    requested = online.requested([REQUEST, dict.fromkeys(NAMES)])
    assert requested.rows[1] == dict.fromkeys(NAMES)
    (number, after), *rest = requested.joined.items()
    assert (number, rest) == (0, [])
    assert [each.features["trips_6h"] for each in (before, after)] == [0, 1]
    assert [each.features["last_delay"] for each in (before, after)] == [None, 7]
    assert [states(each)["views"]["last"]["missing"] for each in (before, after)] == [True, False]
    assert states(after)["views"]["last"]["age"] == timedelta(hours=4.5).total_seconds()
    assert json.loads(requested.columns[0])["starts"] == "2013-03-09T17:00:00"
    assert requested.rows[0].keys() == set(NAMES)


def test_what_a_request_gives_itself_wins_and_says_as_of_when(online):
    row = REQUEST | {"load_mean_6h": 3.5, "prediction_time": "2013-03-09T12:00Z"}
    requested = online.requested([row])
    assert (requested.rows[0]["load_mean_6h"], json.loads(requested.columns[0])["load_mean_6h"]) == (3.5, 3.5)
    assert states(requested.joined[0])["prediction_time"] == "2013-03-09T12:00:00Z"
    later = online.requested([REQUEST | {"prediction_time": "2999-01-01"}])
    assert later.joined[0].predicted_at.year < 2999  # nobody knows what becomes known until then


@pytest.mark.parametrize(
    ("changed", "field", "words"),
    [
        ({"stations": "A"}, "stations", "neither a column of requests nor an input; did you mean 'station'?"),
        ({"delay": 3}, "delay", "neither a column of requests nor an input"),
        ({"starts": "noon"}, "starts", "'noon' is not an ISO 8601 time"),
        ({"starts": None}, "starts", "is missing"),
        ({"line": 1.5}, "line", "1.5 is not a whole number"),
        ({"prediction_time": 7}, "prediction_time", "is not an ISO 8601 time"),
    ],
)
def test_a_request_is_held_to_the_contract(online, changed, field, words):
    with pytest.raises(ProblemError) as refusal:
        online.requested([REQUEST, REQUEST | changed])
    assert (refusal.value.members, words in refusal.value.detail) == ({"row": 1, "field": field}, True)


def test_a_store_that_does_not_answer_is_not_the_clients_fault(online, monkeypatch):
    def fail(*_: object) -> None:
        raise OutsideError("the disk is gone")

    monkeypatch.setattr(SQLiteStore, "get", fail)
    with pytest.raises(ProblemError, match="does not answer") as refusal:
        online.requested([REQUEST])
    assert (int(refusal.value.status), refusal.value.headers) == (503, {"retry-after": "1"})


def test_a_view_that_must_be_fresh_is_one_of_the_bundles(folder, tmp_path):
    declared = Online(store="sqlite:///x.db", views={"recnt": Freshness(limit=timedelta(hours=1))})
    with pytest.raises(
        UserError, match=r"serving\.online\.views\.recnt: the bundle has no such view; did you mean 'recent'"
    ):
        OnlineFeatures.read(folder, NAMES, declared, SQLiteStore(tmp_path / "x.db"))


def test_a_row_whose_value_does_not_fit_is_named(online):
    table = online.tables["alerts"]
    good = {
        "place": 1,
        "code": "a",
        "station": "A",
        "line": 1,
        "at": "2013-03-09T10:00Z",
        "told": "2013-03-09T10:00Z",
        "weight": 1,
    }
    rows = [
        table.reader.read(good | {"place": place, "weight": weight}, table.needed)
        for place, weight in ((1, 1), (2, 2**40))
    ]
    with pytest.raises(RefusedError) as refusal:
        put(table, online.store, rows)
    assert refusal.value.row == 1
