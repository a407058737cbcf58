"""Bodies as Arrow IPC: scored and refused as the same rows are in JSON, whatever the stream holds."""

import io
import random
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.bundles import INPUTS
from tests.serve.conftest import GOOD, golden_bundle
from tests.serving import Server, serving
from trunkline.conf.serving import Limits
from trunkline.core.errors import UserError
from trunkline.serve import predict
from trunkline.serve.decode import Columns
from trunkline.serve.http import ARROW, Request
from trunkline.serve.model import Model, load
from trunkline.serve.problems import ProblemError
from trunkline.serve.protocols import arrow

LIMIT = 20
TYPES = {
    "delay": [pa.float64(), pa.float32(), pa.int64(), pa.uint64(), pa.string()],
    "hour": [pa.int64(), pa.int8(), pa.uint64(), pa.float64()],
    "holiday": [pa.bool_(), pa.int8()],
    "engines": [pa.int64(), pa.uint8(), pa.float64()],
    "origin": [pa.string(), pa.large_string(), pa.int64()],
    "dest": [pa.string(), pa.large_string()],
    "kind": [pa.string(), pa.bool_()],
}
FLOATS = st.one_of(
    st.sampled_from([-3.5, 7.0, 3000.0, -120.5, float("nan"), float("inf")]), st.floats(-200, 200, width=16)
)
INTEGERS = st.sampled_from([0, 1, 2, 4, 5, 23, 24, 100])
TEXTS = st.sampled_from(["EWR", "LAX", "arrival", "departure", "", "Zürich ✈", "\ue000"])


def values(kind: Any) -> st.SearchStrategy[Any]:
    """Return values of a type of Arrow."""
    if pa.types.is_boolean(kind):
        return st.booleans()
    if pa.types.is_integer(kind):
        return INTEGERS if kind.bit_width == 8 else st.one_of(INTEGERS, st.sampled_from([2**53 - 1, 2**53 + 1]))
    return FLOATS if pa.types.is_floating(kind) else TEXTS


@st.composite
def tables(draw: st.DrawFn) -> Any:
    """Return rows of the contract's fields, or of some of them, most of which are as it says."""
    rows = draw(st.integers(0, 4))
    columns = {}
    for field in draw(st.permutations([each["name"] for each in INPUTS]))[draw(st.integers(0, 2)) :]:
        right = draw(st.integers(0, 3)) > 0
        kind = TYPES[field][0] if right else draw(st.sampled_from(TYPES[field]))
        value = st.just(GOOD[field]) if right else st.none() | values(kind)
        columns[field] = pa.array(draw(st.lists(value, min_size=rows, max_size=rows)), kind, from_pandas=False)
    table = pa.table(columns)
    return table.slice(0, rows // 2), table.slice(rows // 2)


def stream(*batches: Any, **options: Any) -> bytes:
    """Return tables of one schema as a stream."""
    sink = io.BytesIO()
    with pa.ipc.new_stream(sink, batches[0].schema, options=pa.ipc.IpcWriteOptions(**options)) as writer:
        for batch in batches:
            writer.write_table(batch)
    return sink.getvalue()


def good(rows: int = 3) -> Any:
    return pa.Table.from_pylist([GOOD] * rows)


def asked(**headers: str) -> Request:
    given = {name.replace("_", "-").encode(): value.encode() for name, value in headers.items()}
    return Request("POST", "/v1/predict", "", given, "an id")


@pytest.fixture(scope="module")
def model(folder: Path) -> Model:
    return load(folder, Limits(rows=LIMIT), 1e-9)


@settings(max_examples=400, deadline=None)
@given(parts=tables())
def test_columns_are_taken_and_refused_as_the_rows_are(model, parts):
    rows = pa.concat_tables(parts).to_pylist()
    try:
        expected = model.decoder.check(rows)
    except ProblemError as error:
        with pytest.raises(ProblemError, match=error.detail):
            arrow.read(model, stream(*parts))
        return
    read = arrow.read(model, stream(*parts))
    assert isinstance(read, Columns) == (not expected.refused) or not rows
    if expected.refused:
        assert {row: str(error) for row, error in read.refused.items()} == {
            row: str(error) for row, error in expected.refused.items()
        }
    for mine, other in zip(read.matrices, expected.matrices, strict=True):
        assert (mine.dtype, mine.shape) == (other.dtype, other.shape)
        assert np.array_equal(mine, other, equal_nan=mine.dtype == float)


def test_a_stream_has_the_scores_of_its_rows_in_json(server: Server):
    rows = [GOOD | {"hour": hour, "delay": hour / 8} for hour in range(20)]
    answer = server.post("/v1/predict", stream(pa.Table.from_pylist(rows)), ARROW, X_Request_Id="mine")
    assert (answer.status, answer.headers["content-type"], answer.headers["x-request-id"]) == (200, ARROW, "mine")
    table = pa.ipc.open_stream(answer.body).read_all()
    same = server.post("/v1/predict", rows).json
    assert table["score"].to_pylist() == same["scores"]
    assert table["refused"].to_pylist() == [None] * len(rows)
    origin = {key.decode(): value.decode() for key, value in table.schema.metadata.items()}
    assert origin == {"request_id": "mine", "digest": same["digest"], "version": ""}


def test_what_is_set_aside_has_no_score_and_a_reason(tmp_path):
    model = load(golden_bundle(tmp_path / "sums", on_bad_row="quarantine"), Limits(rows=LIMIT), 1e-9)
    rows = pa.Table.from_pylist([GOOD, GOOD | {"hour": 24}, GOOD])
    response, scored = arrow.predict(model, asked(), stream(rows))
    table = pa.ipc.open_stream(response.body).read_all()
    score = model.bundle.score(GOOD)
    assert (len(scored.scores), scored.numbers, table["score"].to_pylist()) == (2, [0, 2], [score, None, score])
    assert table["refused"].to_pylist() == [None, "field hour: 24 is above 23", None]


def test_a_row_that_is_refused_is_named(server: Server):
    rows = pa.Table.from_pylist([GOOD, GOOD | {"hour": 24}])
    answer = server.post("/v1/predict", stream(rows), ARROW)
    assert (answer.status, answer.json["row"], answer.json["field"]) == (422, 1, "hour")
    explained = server.post("/v1/predict?explain=true", stream(rows), ARROW)
    assert (explained.status, explained.headers["accept"]) == (415, "application/json")


def renamed(column: str, name: str) -> Any:
    table = good()
    return table.rename_columns([name if each == column else each for each in table.column_names])


def replaced(column: str, values: Any) -> Any:
    table = good()
    return table.set_column(table.column_names.index(column), column, values)


WHOLE = stream(good())
STREAMS = {
    "empty": (b"", 400, "does not begin with a schema"),
    "text": (b'{"hour": 7}', 400, "is not a stream of Arrow IPC"),
    "cut": (WHOLE[:-40], 400, "is not a stream of Arrow IPC"),
    "no schema": (WHOLE[WHOLE.index(b"\xff\xff\xff\xff", 4) :], 400, "does not begin with a schema"),
    "compressed": (stream(good(), compression="zstd"), 400, "buffers are compressed; send them as they are"),
    "too many rows": (stream(good(LIMIT), good(1)), 413, "more than 20 rows"),
    "unknown": (stream(renamed("hour", "hours")), 422, "field 'hours': is not in the contract; did you mean 'hour'"),
    "twice": (stream(renamed("hour", "delay")), 400, "column 'delay': is there twice"),
    "dictionary": (stream(replaced("dest", pa.array(["LAX"] * 3).dictionary_encode())), 422, "send numbers, booleans"),
    "nested": (stream(replaced("dest", pa.array([["LAX"]] * 3))), 422, "field dest: is of the type list<"),
    "nothing": (stream(replaced("dest", pa.nulls(3))), 422, "field dest: is of the type null"),
    "half": (stream(replaced("delay", pa.array([1.5] * 3, pa.float16()))), 422, "is of the type halffloat"),
    "time": (stream(replaced("hour", pa.array([0] * 3, pa.timestamp("us")))), 422, "is of the type timestamp"),
}


@pytest.mark.parametrize("case", STREAMS)
def test_what_may_grow_or_is_no_stream_is_refused(model, case):
    body, status, words = STREAMS[case]
    with pytest.raises(ProblemError) as refusal:
        arrow.read(model, body)
    assert (int(refusal.value.status), words in refusal.value.detail) == (status, True), refusal.value.detail


def test_no_changed_stream_is_more_than_refused(model):
    chance = random.Random(7)
    outcomes = set()
    for _ in range(3000):
        body = bytearray(WHOLE)
        for _ in range(chance.randint(1, 4)):
            place = chance.randrange(len(body))
            body[place] = chance.choice([0, 1, 0x7F, 0x80, 0xFF, chance.randrange(256)])
        try:
            model.scores(arrow.read(model, bytes(body)))
            outcomes.add(200)
        except ProblemError as problem:
            outcomes.add(int(problem.status))
    assert outcomes <= {200, 400, 413, 422}
    assert {200, 400} <= outcomes


def test_a_server_without_pyarrow_says_what_it_needs(monkeypatch):
    monkeypatch.delitem(sys.modules, arrow.__name__)
    monkeypatch.delattr("trunkline.serve.protocols.arrow")
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(
        UserError, match=r"serving\.protocols\.arrow: needs pyarrow: pip install 'trunkline\[serve-arrow\]'"
    ):
        predict.arrow()


def test_a_server_that_declares_no_arrow_reads_none(tmp_path):
    with serving(str(golden_bundle(tmp_path / "sums")), cwd=tmp_path) as server:
        answer = server.post("/v1/predict", WHOLE, ARROW)
        assert (answer.status, answer.headers["accept"]) == (415, "application/json")
        assert ARROW not in str(server.get("/openapi.json").json)
