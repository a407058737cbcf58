"""What the writer has written it never writes again, and what it cannot write it keeps."""

import json
from multiprocessing import Pipe
from threading import Thread

import numpy as np
import pytest
from msgspec import structs

from tests import bundles
from tests.serve.prediction_log.conftest import logged, places
from trunkline.conf.serving import Limits, Log
from trunkline.serve import model
from trunkline.serve.metrics import Metrics
from trunkline.serve.model import Scored
from trunkline.serve.prediction_log import messages
from trunkline.serve.prediction_log.messages import Answer, Batch, Finish, Problem, Scorer, Written
from trunkline.serve.prediction_log.privacy import Privacy
from trunkline.serve.prediction_log.sender import PredictionLog
from trunkline.serve.prediction_log.writer import Writer
from trunkline.serve.prediction_log.writer import _table as writer_table

SCORER = Scorer("d" * 64, "v1", [("delay", "number"), ("engines", "integer"), ("origin", "text")], ["score"])
PRIVACY = Privacy({}, "keep", frozenset(), None)
HOUR = 1_795_960_800.0


def batch(number: int, *times: float, scorer: Scorer = SCORER) -> Batch:
    answers = [
        Answer(
            scorer.name, f"{number}-{place}", time, None, "/v1/predict", 0.001, [0],
            [([number / 7, None], ["JFK"])], np.array([number / 3]).tobytes(),
        )
        for place, time in enumerate(times)
    ]  # fmt: skip
    return Batch(number, answers)


@pytest.fixture
def writer(tmp_path):
    """Return what starts a writer of one run and yields the server's end of its connection."""
    started = []

    def start(interval="100s", to=tmp_path / "log"):
        ours, theirs = Pipe()
        log = Log.model_validate({"to": str(to), "interval": interval})
        thread = Thread(target=Writer(theirs, log, PRIVACY, "run").serve)
        thread.start()
        started.append((ours, thread))
        send(ours, SCORER)
        return ours, thread

    yield start
    for connection, thread in started:
        connection.close()
        thread.join(60)
        assert not thread.is_alive()


def send(connection, *sent):
    for message in sent:
        connection.send_bytes(messages.encode(message))


def heard(connection):
    assert connection.poll(60), "the writer says nothing"
    return messages.to_server.decode(connection.recv_bytes())


def test_what_comes_again_is_not_written_again_hour_by_hour(tmp_path, writer):
    batches = [batch(1, HOUR), batch(2, HOUR, HOUR + 3600), batch(3, HOUR, HOUR + 3600)]
    first, _ = writer()
    send(first, *batches[:2], Finish())
    assert heard(first) == Written(2)
    (late,) = (tmp_path / "log" / "v1" / "2026-11-29T15").iterdir()
    late.unlink()  # as of a writer that was killed between two files, before it said anything
    second, _ = writer()
    send(second, *batches, Finish())
    assert heard(second) == Written(3)
    assert places(logged(tmp_path / "log")) == [("1-0", 0), ("2-0", 0), ("2-1", 0), ("3-0", 0), ("3-1", 0)]
    rows = {row["request_id"]: row for row in logged(tmp_path / "log")}
    assert rows["2-1"]["inputs"] == {"delay": 2 / 7, "engines": None, "origin": "JFK"}
    assert rows["2-1"]["score"] == 2 / 3


def test_what_cannot_be_written_is_kept_and_tried_again(tmp_path, writer):
    (tmp_path / "file").touch()
    connection, _ = writer(to=tmp_path / "file" / "log")
    send(connection, batch(1, HOUR), Finish())
    assert "cannot be written" in heard(connection).text
    (tmp_path / "file").unlink()
    while isinstance(message := heard(connection), Problem) and message.text:
        pass
    assert (message, heard(connection)) == (Problem(None), Written(1))
    assert places(logged(tmp_path / "file")) == [("1-0", 0)]


def test_one_bundle_of_two_versions_is_logged_as_each(tmp_path, writer):
    connection, _ = writer()
    again = structs.replace(SCORER, version="v2")
    send(connection, again, batch(1, HOUR), batch(2, HOUR, scorer=again), batch(3, HOUR), Finish())
    assert heard(connection) == Written(3)
    rows = logged(tmp_path / "log")
    assert [(row["request_id"], row["version"]) for row in rows] == [("1-0", "v1"), ("3-0", "v1"), ("2-0", "v2")]


def test_the_end_of_the_server_has_the_rest_written(tmp_path, writer):
    connection, thread = writer()
    send(connection, batch(1, HOUR))
    connection.close()
    thread.join(60)
    assert places(logged(tmp_path / "log")) == [("1-0", 0)]


def test_a_number_beyond_64_bits_is_logged_as_the_model_saw_it(tmp_path):
    made = bundles.make(tmp_path / "bundle", [bundles.field("x", "number"), bundles.field("y", "integer")])
    (made / "golden.json").write_text(json.dumps([{"request": {"x": 1, "y": 2}, "score": 3.0}]))
    bundles.seal(made)
    loaded = model.load(made, Limits(rows=10), 1e-9)
    rows = loaded.decoder.decode(b'[{"x": 1%s, "y": 3%s}, {"x": null}]' % (b"0" * 30, b"0" * 40))
    log = PredictionLog(Log.model_validate({"to": "log"}), PRIVACY, Metrics().log)
    log.append(Scored(loaded, rows, loaded.scores(rows)), "big", "/v1/predict", None, 0.1)
    scorer, batch = map(messages.to_writer.decode, log._taken())
    table = writer_table(scorer, PRIVACY, batch.answers)
    assert table["inputs"].to_pylist() == [{"x": 1e30, "y": 3e40}, {"x": None, "y": None}]
