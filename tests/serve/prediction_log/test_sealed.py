"""A log at rest: encrypted by a key of the environment, read by it and no other, beside what is plain."""

import base64
import json
from multiprocessing import Pipe
from pathlib import Path
from threading import Thread

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tests.rig.s3 import Remote
from tests.serve.labelling import project
from tests.serve.labels.project import PARAMS
from tests.serve.prediction_log.test_writer import HOUR, PRIVACY, SCORER, batch
from trunkline.conf.serving import Log
from trunkline.core.errors import OutsideError, UserError
from trunkline.lineage import predictions, replay
from trunkline.serve.prediction_log import messages, sealed
from trunkline.serve.prediction_log.messages import Finish
from trunkline.serve.prediction_log.place import Place
from trunkline.serve.prediction_log.sealed import Keys
from trunkline.serve.prediction_log.writer import Writer

OLD, NEW = (base64.b64encode(bytes([number]) * 32).decode() for number in (1, 2))
TABLE = pa.table({"request_id": ["one"], "city": ["Roma"]})
WHERE = "v1/2026-11-29T14", "part-1.parquet"


@pytest.fixture(autouse=True)
def environment(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("OLD", OLD)
    monkeypatch.setenv("NEW", NEW)


@pytest.fixture(params=["folder", "s3"])
def to(request, tmp_path, monkeypatch):
    if request.param == "folder":
        yield str(tmp_path / "log")
        return
    remote = Remote(tmp_path / "s3")
    settings = {"AWS_ENDPOINT_URL": remote.endpoint, "AWS_REQUEST_CHECKSUM_CALCULATION": "when_required"}
    for name, value in (remote.environment | settings).items():
        monkeypatch.setenv(name, value)
    yield f"s3://{remote.bucket}/log"
    remote.close()


def read(place: Place, *dictionaries: str) -> pa.Table:
    with place.open(*WHERE, dictionaries) as file:
        return file.read()


def test_what_is_written_is_read_by_its_key_and_by_no_other(to):
    Place(to, Keys("OLD")).write(*WHERE, TABLE)
    assert read(Place(to, Keys("OLD"))) == TABLE
    assert read(Place(to, Keys("NEW", ("OLD",))), "city")["city"].to_pylist() == ["Roma"]
    with pytest.raises(UserError, match=rf"^{WHERE[0]}/{WHERE[1]}: is encrypted by another key than that of NEW; name"):
        read(Place(to, Keys("NEW")))
    with pytest.raises(UserError, match=rf"^{WHERE[0]}/{WHERE[1]}: is encrypted; declare the variable"):
        read(Place(to))
    Place(to).write(*WHERE, TABLE)
    assert read(Place(to, Keys("NEW"))) == TABLE, "a log that was plain before is read on"


def test_nothing_of_it_is_plain_and_a_changed_byte_is_refused(tmp_path):
    place, path = Place(str(tmp_path), Keys("OLD")), tmp_path / WHERE[0] / WHERE[1]
    place.write(*WHERE, TABLE)
    first = path.read_bytes()
    assert first.startswith(sealed.MAGIC)
    assert [text for text in (b"PAR1", b"Roma", b"city", b"one") if text in first] == []
    place.write(*WHERE, TABLE)
    assert path.read_bytes() != first, "no nonce is used twice"
    for at in (len(sealed.MAGIC) + 8, len(first) - 1):
        path.write_bytes(first[:at] + bytes([first[at] ^ 1]) + first[at + 1 :])
        with pytest.raises(OutsideError, match="was changed or cut"):
            read(place)
    path.write_bytes(first[:20])
    with pytest.raises(OutsideError, match="was changed or cut"):
        read(place)


def test_a_key_is_in_the_environment_or_in_a_file_that_it_names(monkeypatch):
    log = Log.model_validate({"to": "log", "encrypt": {"key": "NEW", "before": ["OLD"]}})
    Path("key").write_text(f"{NEW}\n")
    monkeypatch.setenv("NEW", "key")
    assert Keys.of(log) == Keys("NEW", ("OLD",))
    assert list(Keys.of(log).by_id().values()) == [b"\2" * 32, b"\1" * 32]
    for wrong in ("", "nothing", "c2hvcnQ="):
        monkeypatch.setenv("NEW", wrong)
        with pytest.raises(
            UserError, match=r"^serving\.log\.encrypt\.key: the environment variable NEW has to hold"
        ) as said:
            Keys.of(log)
        assert wrong == "" or wrong not in str(said.value)
    monkeypatch.setenv("NEW", NEW)
    monkeypatch.delenv("OLD")
    with pytest.raises(UserError, match=r"^serving\.log\.encrypt\.before: the environment variable OLD"):
        Keys.of(log)
    assert Keys.of(log, reads=False) == Keys("NEW")
    Path("params.yaml").write_text(json.dumps({"serving": {"log": log.model_dump(mode="json")}}))
    assert Keys.declared(reads=False) == Keys("NEW")


def test_a_server_writes_sealed_segments_that_trace_and_replay_read(tmp_path):
    ours, theirs = Pipe()
    sealing = {"key": "NEW", "before": ["LOST"]}  # who only writes needs no key of older files
    log = Log.model_validate({"to": str(tmp_path / "log"), "interval": "100s", "encrypt": sealing})
    thread = Thread(target=Writer(theirs, log, PRIVACY, "run").serve)
    thread.start()
    for message in (SCORER, batch(1, HOUR), Finish()):
        ours.send_bytes(messages.encode(message))
    assert ours.poll(60)
    ours.close()
    thread.join(60)
    [segment] = (tmp_path / "log").rglob("*.parquet")
    assert sealed.is_sealed(segment.read_bytes())
    prediction = predictions.find([str(segment)], "1-0", Keys("NEW"))
    assert (prediction.digest, prediction.score) == ("d" * 64, pytest.approx(1 / 3))
    with sealed.parquet(segment, Keys("NEW")) as content:
        assert replay._read(segment, Keys("NEW")) == pq.read_table(content)
    for asked in (lambda: predictions.find([str(segment)], "1-0"), lambda: replay._read(segment, None)):
        with pytest.raises(UserError, match="is encrypted; declare the variable"):
            asked()


def test_verbs_read_what_a_project_has_declared_and_write_outcomes_sealed(tmp_path, monkeypatch):
    project.write_project(tmp_path)
    said = project.run("sample", "-o", "plain.csv", "--format", "csv")
    sealing = {"serving": {"log": {"to": "log", "encrypt": {"key": "NEW"}}}}
    Path("params.yaml").write_text(json.dumps(PARAMS | sealing))
    place = Place("log", Keys("NEW"))
    project.arm(place, "v1", None, project.SCORES)
    assert project.run("sample", "-o", "tasks.csv", "--format", "csv") == said.replace("plain", "tasks")
    assert Path("tasks.csv").read_bytes() == Path("plain.csv").read_bytes()
    Path("back.csv").write_text("request_id,late\na,true\n")
    project.run("labels", "import", "back.csv", "--id", "request_id")
    assert "v1" in project.run("labels", "join")
    assert all(sealed.is_sealed(path.read_bytes()) for path in Path("log").rglob("*.parquet"))
    monkeypatch.delenv("NEW")
    with pytest.raises(UserError, match="the environment variable NEW has to hold a key"):
        project.run("labels", "join")
