"""A served bundle reads requests as conf/contract declares them, and joins them with what a store has."""

import json
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft202012Validator
from openapi_core import OpenAPI

from tests.serve.online import trips
from trunkline.conf.serving import Freshness, Limits, Online, Serving
from trunkline.core.errors import OutsideError, UserError
from trunkline.serve import events, openapi, predict
from trunkline.serve.http import JSON, Request
from trunkline.serve.model import Model, load
from trunkline.serve.online import features
from trunkline.serve.online.features import OnlineFeatures, put, states
from trunkline.serve.online.join import RefusedError
from trunkline.serve.online.store.sqlite import SQLiteStore
from trunkline.serve.online.values import micros
from trunkline.serve.problems import ProblemError
from trunkline.serve.protocols import mlflow, open_inference

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


def test_a_server_that_takes_events_drops_the_past_once_a_minute(folder, tmp_path, monkeypatch):
    store = SQLiteStore(tmp_path / "x.db")
    model = load(folder, Limits(), 0.0, None, (Online(store="sqlite:///x.db", keep="1d"), store))
    row = {"number": 1, "station": "A", "line": 1, "starts": "2013-03-09T13:30:00Z", "delay": 7, "load": 0.5}
    body = json.dumps({"table": "trips", "rows": [row]}).encode()
    request = Request.of({"method": "POST", "path": "/v1/events", "query_string": b"", "headers": []})
    watermarks = []
    for minutes in (0, 0.9, 1.0):
        monkeypatch.setattr(features.time, "monotonic", partial(float, 1e6 + 60 * minutes))
        assert events.push(model, request, body)[0].status == 200
        watermarks.append(store.get([]).watermark)
    first, second, last = watermarks
    assert first == second < last
    assert abs(last - micros(datetime.now(UTC).replace(tzinfo=None) - timedelta(days=1))) < 600_000_000


def test_what_a_request_gives_itself_wins_and_says_as_of_when(online):
    row = REQUEST | {"load_mean_6h": 3.5, "prediction_time": "2013-03-09T12:00Z"}
    requested = online.requested([row])
    assert (requested.rows[0]["load_mean_6h"], json.loads(requested.columns[0])["load_mean_6h"]) == (3.5, 3.5)
    assert states(requested.joined[0])["prediction_time"] == "2013-03-09T12:00:00Z"
    later = online.requested([REQUEST | {"prediction_time": "2999-01-01"}])
    assert later.joined[0].predicted_at.year < 2999  # nobody knows what becomes known until then


CELLS = [REQUEST[name] for name in REQUEST]
TENSORS = [
    {"name": name, "datatype": "INT64" if isinstance(cell, int) else "BYTES", "shape": [1], "data": [cell]}
    for name, cell in REQUEST.items()
]
FORMS = {
    "predict": (predict.predict, "/v1/predict", json.dumps([REQUEST]), JSON),
    "records": (mlflow.invocations, "/invocations", json.dumps({"dataframe_records": [REQUEST]}), JSON),
    "split": (
        mlflow.invocations,
        "/invocations",
        json.dumps({"dataframe_split": {"columns": list(REQUEST), "data": [CELLS]}}),
        JSON,
    ),
    "CSV": (mlflow.invocations, "/invocations", f"{','.join(REQUEST)}\n{','.join(map(str, CELLS))}\n", mlflow.CSV),
    "tensors": (open_inference.infer, "/v2/models/sums/infer", json.dumps({"inputs": TENSORS}), JSON),
}


@pytest.fixture
def model(folder: Path, tmp_path: Path) -> Model:
    store = SQLiteStore(tmp_path / "x.db")
    return load(folder, Limits(), 0.0, None, (Online(store="sqlite:///x.db"), store))


def test_a_request_is_as_the_description_says(model):
    document = openapi.document(model, Serving(online=Online(store="sqlite:///x.db")))
    OpenAPI.from_dict(document)
    schema = {"$ref": "#/components/schemas/Request", "components": document["components"]}
    request = Draft202012Validator(schema)
    good = [REQUEST, REQUEST | {"load_mean_6h": 3.5, "prediction_time": "2013-03-09T12:00Z"}]
    bad = [REQUEST | {"starts": None}, REQUEST | {"line": 1.5}, REQUEST | {"delay": 3}, dict.fromkeys(NAMES)]
    for row in good:
        model.online.requested([row])
    for row in bad[:-1]:
        with pytest.raises(ProblemError):
            model.online.requested([row])
    assert [request.is_valid(row) for row in good + bad] == [True] * len(good) + [False] * len(bad)


@pytest.mark.parametrize("form", FORMS)
def test_requests_of_every_protocol_are_joined_alike(model, form):
    pushed(model.online, "trips", number=1, station="A", line=1, starts="2013-03-09T13:30:00Z", delay=7, load=0.5)
    answer, path, body, kind = FORMS[form]
    scope = {"method": "POST", "path": path, "query_string": b"", "headers": [(b"content-type", kind.encode())]}
    response, scored = answer(model, Request.of(scope), body.encode())
    expected = model.online.requested([REQUEST])
    assert response.status == 200
    assert scored.scores.tolist() == [model.bundle.score(expected.rows[0])]
    assert (scored.columns, len(scored.views)) == ([expected.columns[0]], len(expected.joined[0].views))


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
