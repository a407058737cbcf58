"""Events of a topic reach the store of online features as those of POST /v1/events do, and change later scores."""

import json
from pathlib import Path
from typing import Any

import pytest

from tests.brokers import Broker, until
from tests.serve.online import trips
from tests.serve.stream.conftest import streaming
from tests.serve.stream.test_run import metrics
from tests.servers import free_port
from trunkline.conf.serving import Limits, Online
from trunkline.serve import predict
from trunkline.serve.http import Request
from trunkline.serve.model import load
from trunkline.serve.online.store.sqlite import SQLiteStore
from trunkline.serve.problems import ProblemError
from trunkline.serve.stream import debezium

ROW = {"number": 1, "station": "A", "line": 1, "starts": "2013-03-09T13:30:00Z", "delay": 7, "load": 0.5}
REQUEST = {"number": 9, "station": "A", "line": 1, "starts": "2013-03-09T17:00:00Z"}
MICROS = 1362835800_000_000  # 2013-03-09T13:30:00Z


def change(op: str, after: dict[str, Any] | None, **more: Any) -> dict[str, Any]:
    return {"before": None, "after": after, "op": op, "source": {"ts_ms": 1362835800000}, **more}


def schema(**names: str) -> dict[str, Any]:
    columns = [{"field": name, "type": "int64", "name": type_} for name, type_ in names.items()]
    return {"type": "struct", "fields": [{"field": "after", "type": "struct", "fields": columns}]}


ENVELOPES = {
    "none": [ROW, ROW | {"load": "much"}],
    "debezium": [
        {"schema": schema(starts="io.debezium.time.MicroTimestamp"), "payload": change("c", ROW | {"starts": MICROS})},
        change("d", None),
        ROW,
    ],
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return trips.bundle(tmp_path_factory.mktemp("bundles") / "trips", trips.planned())


@pytest.mark.parametrize("envelope", ENVELOPES)
def test_events_reach_the_store_and_change_a_score(broker: Broker, declared, folder, tmp_path, envelope):
    broker.make(topic := declared["requests"] + ".events", dead := topic + ".dead")
    online = {"store": f"sqlite:///{tmp_path}/online.db"}
    port = free_port()
    declared |= {"metrics": f"127.0.0.1:{port}"}
    declared |= {"events": {topic: {"table": "trips", "dead_letters": dead, "envelope": envelope}}}
    bodies = [json.dumps(each).encode() for each in ENVELOPES[envelope]]
    bad = [json.dumps(REQUEST | {"line": 1.5}).encode(), json.dumps(REQUEST | {"x": 1}).encode()]
    request = json.dumps(REQUEST).encode()
    with streaming(folder, declared, online=online):
        broker.send(declared["requests"], [request, bad[0]])
        until(lambda: broker.read(declared["answers"]), "no answer")
        broker.send(topic, [*bodies, *bodies])  # what comes twice is stored once
        refused = 2 * (len(bodies) - 1)
        until(lambda: len(broker.read(dead)) == refused, "not all are refused")
        text = until(lambda: metrics(port, f'messages_total{{outcome="stored",topic="{topic}"}} 2.0'), "not stored")
        broker.send(declared["requests"], [request, *bad])
        until(lambda: len(broker.read(declared["answers"])) == 2, "no answer")
        until(lambda: len(broker.read(declared["dead_letters"])) == 3, "not all are refused")
    assert f'trunkline_stream_freshness_seconds_count{{topic="{topic}"}} 2.0' in text
    first, second = (json.loads(body)["score"] for _, body, _ in broker.read(declared["answers"]))
    model = load(folder, Limits(), 0.0, None, (Online(**online), SQLiteStore(tmp_path / "online.db")))
    said = predict.predict(model, Request("POST", "/v1/predict", "", {}, "x"), request)[0].body
    assert json.loads(said)["score"] == second != first


def test_a_change_event_is_the_row_that_it_leaves():
    days = schema(day="io.debezium.time.Date", at="io.debezium.time.Timestamp", nanos="io.debezium.time.NanoTimestamp")
    after = {"day": 1, "at": -1500, "nanos": 1_000_000_001_000, "other": 5, "none": None}
    expected = {
        "day": "1970-01-02T00:00:00+00:00",
        "at": "1969-12-31T23:59:58.500000+00:00",
        "nanos": "1970-01-01T00:16:40.000001+00:00",
        "other": 5,
        "none": None,
    }
    assert debezium.row({"schema": days, "payload": change("u", after)}) == expected
    assert debezium.row(change("r", after)) == after
    assert debezium.happened({"payload": change("r", after)}) == 1362835800.0


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ([], "it has no op"),
        (ROW, "it has no op"),
        (change("d", None), "forgets none"),
        (change("t", None), "is none that leaves a row"),
        (change("c", None), "after is no row"),
        ({"payload": None}, "it has no op"),
    ],
)
def test_what_leaves_no_row_is_refused(content, words):
    with pytest.raises(ProblemError, match=words):
        debezium.row(content)
