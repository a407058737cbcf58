import hashlib
import re
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import msgspec
import numpy as np
import onnx
import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet as pq
import pytest
from onnx import TensorProto, helper

from trunkline.bundle.contract import Contract, Input
from trunkline.bundle.manifest import Manifest
from trunkline.bundle.runtime import Bundle
from trunkline.core.errors import UserError
from trunkline.core.graphs import MISSING
from trunkline.lineage import predictions
from trunkline.serve import tables
from trunkline.serve.batch import job as batch_job
from trunkline.serve.batch import run as batch_run
from trunkline.serve.prediction_log.privacy import Privacy

INPUTS = [
    Input(name="distance", role="numeric", type="integer", nullable=False, description="miles", min=1.0, max=5000.0),
    Input(
        name="origin", role="categorical", type="text", nullable=False, description="airport", allowed=["EWR", "JFK"]
    ),
    Input(name="wind", role="numeric", type="number", nullable=True, description="mph", min=0.0),
    Input(name="carrier", role="categorical", type="text", nullable=True, description="code", pattern="[0-9A-Z]{2}"),
]
KILLED = """
import dataclasses
import sys
from pathlib import Path
from trunkline.bundle.runtime import Bundle
from trunkline.serve.batch import job as batch_job
from trunkline.serve.batch import parts
from trunkline.serve.batch import run as batch_run

parts.CALL = 1000
source, output, folder = map(Path, sys.argv[1:])
job = dataclasses.replace(batch_job.plan(source, output, folder), part_rows=1000)
score, calls = Bundle.load(folder).scores, []

def slow(numbers, texts):
    calls.append(1)
    if len(calls) > 5:
        print("five", flush=True)
        sys.stdin.read()  # until it is killed
    return score(numbers, texts)

batch_run.run(job, slow, 1, lambda rows: None)
"""


def graph() -> bytes:
    """A sigmoid of the sum of all inputs, where a number that is missing is -1 and texts have a number each."""
    double, text = TensorProto.DOUBLE, TensorProto.STRING
    codes = {"EWR": 0.1, "JFK": 0.2, "AA": 0.3, MISSING: -0.5}
    nodes = [
        helper.make_node("IsNaN", ["numeric"], ["nan"]),
        helper.make_node("Where", ["nan", "minus_one", "numeric"], ["filled"]),
        helper.make_node("Mul", ["filled", "scale"], ["scaled"]),
        helper.make_node(
            "LabelEncoder",
            ["categorical"],
            ["codes"],
            domain="ai.onnx.ml",
            keys_tensor=helper.make_tensor("keys", text, [len(codes)], [key.encode() for key in codes]),
            values_tensor=helper.make_tensor("values", double, [len(codes)], list(codes.values())),
            default_tensor=helper.make_tensor("default", double, [1], [0.7]),
        ),
        helper.make_node("Concat", ["scaled", "codes"], ["all"], axis=1),
        helper.make_node("ReduceSum", ["all", "axes"], ["sum"], keepdims=0),
        helper.make_node("Sigmoid", ["sum"], ["score"]),
    ]
    constants = [
        helper.make_tensor("minus_one", double, [], [-1.0]),
        helper.make_tensor("scale", double, [2], [0.0003, 0.04]),
        helper.make_tensor("axes", TensorProto.INT64, [1], [1]),
    ]
    made = helper.make_graph(
        nodes,
        "tiny",
        [
            helper.make_tensor_value_info("numeric", double, ["n", 2]),
            helper.make_tensor_value_info("categorical", text, ["n", 2]),
        ],
        [helper.make_tensor_value_info("score", double, ["n"])],
        constants,
    )
    opsets = [helper.make_opsetid("", 21), helper.make_opsetid("ai.onnx.ml", 4)]
    model = helper.make_model(made, opset_imports=opsets, ir_version=10)
    onnx.checker.check_model(model)
    return model.SerializeToString()


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    return make_bundle(tmp_path_factory.mktemp("models") / "bundle")


def make_bundle(folder: Path, on_bad_row: str = "stop") -> Path:
    folder.mkdir(parents=True)
    contract = Contract(label="late", on_bad_row=on_bad_row, inputs=INPUTS, request={})
    content = {"model.onnx": graph(), "contract.json": msgspec.json.encode(contract)}
    hashes = {name: hashlib.sha256(data).hexdigest() for name, data in content.items()}
    manifest = Manifest(name="late", runtime="onnx", task="binary", files=hashes)
    for name, data in (content | {"manifest.json": msgspec.json.encode(manifest)}).items():
        (folder / name).write_bytes(data)
    return folder


def rows(count: int, seed: int = 1) -> pa.Table:
    random = np.random.default_rng(seed)
    wind = np.where(random.random(count) < 0.2, np.nan, random.gamma(2, 5, count))
    return pa.table(
        {
            "flight": pa.array(np.arange(count)),
            "distance": pa.array(random.integers(1, 3000, count)),
            "origin": pa.array(random.choice(["EWR", "JFK"], count)),
            "note": pa.array([f"0{i}, “né”" if i % 3 else None for i in range(count)]),
            "wind": pa.array(wind, from_pandas=True),
            "carrier": pa.array([("AA", "B6", None)[i % 3] for i in range(count)]),
        }
    )


def expected(table: pa.Table, folder: Path) -> np.ndarray:
    numeric = np.column_stack([table[name].to_pandas().to_numpy(dtype=float) for name in ("distance", "wind")])
    categorical = np.array([table[name].to_pylist() for name in ("origin", "carrier")], dtype=object).T
    return Bundle.load(folder).scores(numeric, categorical)


def write(table: pa.Table, path: Path) -> Path:
    pyarrow.csv.write_csv(table, path) if path.suffix == ".csv" else pq.write_table(table, path, row_group_size=1700)
    return path


def read(path: Path) -> pa.Table:
    return pyarrow.csv.read_csv(path) if path.suffix == ".csv" else pq.read_table(path)


def predict(source: Path, output: Path, folder: Path, policy=None, threads: int = 2) -> batch_run.Summary:
    job = replace(batch_job.plan(source, output, folder, batch_job.Options(policy=policy)), part_rows=1000)
    return batch_run.run(job, Bundle.load(folder).scores, threads, lambda _: None)


@pytest.mark.parametrize("source", ["in.csv", "in.parquet"])
@pytest.mark.parametrize("output", ["out.csv", "out.parquet"])
def test_every_format_gives_the_bundles_scores_in_order_beside_what_is_no_input(tmp_path, folder, source, output):
    table = rows(3456)
    summary = predict(write(table, tmp_path / source), tmp_path / output, folder)
    found = read(tmp_path / output)
    assert summary == batch_run.Summary(rows=3456, rejected=0, parts=4, reused=0, unseen={}, first=None)
    assert found.column_names == ["flight", "note", "score"]
    np.testing.assert_array_equal(found["score"].to_numpy(), expected(table, folder))
    assert [int(value) for value in found["flight"].to_pylist()] == list(range(3456))
    assert [value or None for value in found["note"].to_pylist()] == table["note"].to_pylist()
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted([source, output])


@pytest.mark.parametrize("suffix", ["csv", "parquet"])
def test_the_bytes_do_not_depend_on_the_number_of_threads(tmp_path, folder, suffix):
    source = write(rows(6500), tmp_path / "in.parquet")
    for threads in (1, 4):
        predict(source, tmp_path / f"{threads}.{suffix}", folder, threads=threads)
    assert (tmp_path / f"1.{suffix}").read_bytes() == (tmp_path / f"4.{suffix}").read_bytes()


def spoilt(count: int) -> pa.Table:
    table = rows(count)
    columns = {name: table[name].to_pylist() for name in table.column_names}
    columns["distance"][1999] = 0
    columns["distance"][2000] = None
    columns["origin"][2000] = "LGA"
    columns["origin"][2001] = None
    columns["wind"][2003] = -0.5
    columns["carrier"][2004] = "AAA"
    columns["carrier"][2005] = MISSING
    return pa.table(columns, schema=table.schema)


REASONS = {
    2000: "distance: is below 1 ('0')",
    2001: "distance: is missing; origin: is not one of EWR, JFK ('LGA')",
    2002: "origin: is missing",
    2004: "wind: is below 0 ('-0.5')",
    2005: "carrier: is not of the form [0-9A-Z]{2} ('AAA')",
    2006: f"carrier: is the text that is reserved for missing values ({MISSING!r}); "
    f"carrier: is not of the form [0-9A-Z]{{2}} ({MISSING!r})",
}


@pytest.mark.parametrize("suffix", ["csv", "parquet"])
def test_rows_against_the_contract_are_set_aside_with_number_reasons_and_all_columns(tmp_path, folder, suffix):
    table = spoilt(4000)
    output = tmp_path / f"out.{suffix}"
    summary = predict(write(table, tmp_path / f"in.{suffix}"), output, folder, "quarantine")
    rejected = read(tmp_path / f"out.rejected.{suffix}")
    assert (summary.rows, summary.rejected) == (4000, len(REASONS))
    assert rejected.column_names == ["reasons", "row_number", *table.column_names]
    assert dict(zip(rejected["row_number"].to_pylist(), rejected["reasons"].to_pylist(), strict=True)) == REASONS
    good = table.take([row for row in range(4000) if row + 1 not in REASONS])
    np.testing.assert_array_equal(read(output)["score"].to_numpy(), expected(good, folder))
    write(rows(10), tmp_path / f"in.{suffix}")
    predict(tmp_path / f"in.{suffix}", output, folder, "quarantine")
    assert not (tmp_path / f"out.rejected.{suffix}").exists(), "those of an earlier run would mislead"


@pytest.mark.parametrize("threads", [1, 4])
def test_the_first_row_against_the_contract_stops_the_run_and_leaves_the_old_output(tmp_path, folder, threads):
    source, output = write(spoilt(6000), tmp_path / "in.parquet"), tmp_path / "out.parquet"
    output.write_text("old")
    message = (
        f"{source}: row 2000: distance: is below 1 ('0'), counted from 1 below the header; "
        "correct it, or set such rows aside: --on-bad-row quarantine"
    )
    with pytest.raises(UserError, match=f"^{re.escape(message)}$"):
        predict(source, output, folder, threads=threads)
    assert output.read_text() == "old"
    assert predict(source, output, folder, "quarantine").reused >= 1


def test_the_contract_says_what_happens_to_bad_rows_unless_the_option_does(tmp_path):
    kind = make_bundle(tmp_path / "bundle", "quarantine")
    source = write(spoilt(3000), tmp_path / "in.parquet")
    assert predict(source, tmp_path / "out.parquet", kind).rejected == len(REASONS)
    with pytest.raises(UserError, match="row 2000"):
        predict(source, tmp_path / "out.parquet", kind, "stop")


def test_texts_of_a_csv_that_are_no_numbers_are_refused_row_by_row(tmp_path, folder):
    source = tmp_path / "in.csv"
    source.write_text('origin,distance,wind,carrier\nEWR,12,,""\nEWR,1.5,x,\nJFK, 7,inf,\nJFK,7,nan,B6\n')
    assert predict(source, tmp_path / "out.csv", folder, "quarantine").rejected == 3
    reasons = read(tmp_path / "out.rejected.csv")["reasons"].to_pylist()
    assert reasons == [
        "carrier: is not of the form [0-9A-Z]{2} ('')",
        "distance: is not an integer ('1.5'); wind: is not a finite number ('x')",
        "distance: is not an integer (' 7'); wind: is not a finite number ('inf')",
    ]


def test_a_killed_run_goes_on_from_its_parts_and_ends_with_the_same_bytes(tmp_path, folder):
    source, output = write(rows(12_345), tmp_path / "in.parquet"), tmp_path / "out.parquet"
    predict(source, tmp_path / "whole.parquet", folder)
    kill_after_five_parts(source, output, folder)
    assert not output.exists()
    parts = tmp_path / "out.parquet.parts"
    made = {path: path.stat().st_ino for path in parts.glob("*.arrow")}
    assert len(made) == 5
    summary = predict(source, output, folder)
    assert summary == batch_run.Summary(rows=12_345, rejected=0, parts=13, reused=5, unseen={}, first=None)
    assert output.read_bytes() == (tmp_path / "whole.parquet").read_bytes()
    assert not parts.exists()


def test_the_parts_of_another_input_or_bundle_are_dropped(tmp_path, folder):
    source, output = write(rows(12_345), tmp_path / "in.parquet"), tmp_path / "out.parquet"
    kill_after_five_parts(source, output, folder)
    other = make_bundle(tmp_path / "other", "quarantine")
    with pytest.raises(UserError, match="row 12000"):
        predict(write(with_bad_row(rows(12_345, seed=2), 11_999), source), output, folder)
    assert predict(source, output, other).reused == 0
    kill_after_five_parts(write(rows(12_345), source), output, folder)
    write(rows(12_345, seed=2), source)
    assert predict(source, output, folder).reused == 0
    np.testing.assert_array_equal(read(output)["score"].to_numpy(), expected(rows(12_345, seed=2), folder))


def with_bad_row(table: pa.Table, row: int) -> pa.Table:
    distance = table["distance"].to_pylist()
    distance[row] = 9999
    return table.set_column(1, "distance", pa.array(distance))


def kill_after_five_parts(source: Path, output: Path, folder: Path) -> None:
    command = [sys.executable, "-c", KILLED, str(source), str(output), str(folder)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout.readline() == "five\n"
        process.send_signal(signal.SIGKILL)
    assert process.returncode == -signal.SIGKILL


@pytest.mark.parametrize("suffix", [".csv", ".parquet"])
def test_a_traceable_output_is_a_prediction_log(tmp_path, folder, suffix):
    source = write(spoilt(5000), tmp_path / f"rows{suffix}")
    for name in ("once", "again"):
        job = batch_job.traceable(
            batch_job.plan(source, tmp_path / f"{name}{suffix}", folder, batch_job.Options(policy="quarantine"))
        )
        batch_run.run(job, Bundle.load(folder).scores, 2, lambda rows: None)
    once, again = ((tmp_path / f"{name}{suffix}").read_bytes() for name in ("once", "again"))
    assert once == again
    table = read(tmp_path / f"once{suffix}")
    ids = table["request_id"].to_pylist()
    assert len(set(ids)) == len(ids) < 5000
    refused = set(read(tmp_path / f"once.rejected{suffix}")[tables.ROW].to_pylist())
    assert {int(one.split("-")[1]) for one in ids} == set(range(1, 5001)) - refused
    for place in (0, len(ids) - 1):
        found = predictions.find([str(tmp_path / f"once{suffix}")], ids[place])
        assert (found.digest, found.score) == (job.digest, pytest.approx(table["score"][place].as_py(), abs=1e-12))
    other = write(rows(5000, seed=2), tmp_path / f"other{suffix}")
    assert batch_job.traceable(batch_job.plan(other, tmp_path / "x.csv", folder)).ids != job.ids


def test_a_traceable_output_keeps_the_request_ids_that_there_are(tmp_path, folder):
    table = rows(3).append_column("request_id", pa.array(["a", "b", "c"]))
    job = batch_job.traceable(batch_job.plan(write(table, tmp_path / "rows.parquet"), tmp_path / "x.csv", folder))
    batch_run.run(job, Bundle.load(folder).scores, 1, lambda rows: None)
    assert read(tmp_path / "x.csv")["request_id"].to_pylist() == ["a", "b", "c"]
    taken = write(table.append_column("digest", pa.array(["a", "b", "c"])), tmp_path / "taken.parquet")
    with pytest.raises(UserError, match="column digest: is the name of a column that is added"):
        batch_job.traceable(batch_job.plan(taken, tmp_path / "y.csv", folder))


def test_two_runs_never_write_one_output(tmp_path, folder):
    source, output = write(rows(10), tmp_path / "in.csv"), tmp_path / "out.csv"
    job = batch_job.plan(source, output, folder)
    with batch_run._locked(job), pytest.raises(UserError, match=r"out\.csv: another run is writing it"):
        predict(source, output, folder)


def test_a_folder_of_that_name_with_files_of_others_is_left_alone(tmp_path, folder):
    source, output = write(rows(10), tmp_path / "in.csv"), tmp_path / "out.csv"
    (tmp_path / "out.csv.parts").mkdir()
    (tmp_path / "out.csv.parts/thesis.txt").write_text("dear")
    with pytest.raises(UserError, match=r"out\.csv\.parts: holds thesis\.txt, which is no part"):
        predict(source, output, folder)
    assert (tmp_path / "out.csv.parts/thesis.txt").read_text() == "dear"


@pytest.mark.parametrize("suffix", ["csv", "parquet"])
def test_no_rows_give_an_output_of_no_rows(tmp_path, folder, suffix):
    output = tmp_path / f"out.{suffix}"
    assert predict(write(rows(0), tmp_path / f"in.{suffix}"), output, folder) == batch_run.Summary(0, 0, 0, 0, {}, None)
    assert (read(output).column_names, len(read(output))) == (["flight", "note", "score"], 0)


def test_a_nullable_input_may_be_left_out_and_another_may_not(tmp_path, folder):
    table = rows(100)
    source = write(table.drop_columns(["wind", "carrier"]), tmp_path / "in.parquet")
    predict(source, tmp_path / "out.parquet", folder)
    nothing = table.set_column(4, "wind", pa.nulls(100, pa.float64())).set_column(
        5, "carrier", pa.nulls(100, pa.utf8())
    )
    np.testing.assert_array_equal(read(tmp_path / "out.parquet")["score"].to_numpy(), expected(nothing, folder))


def renamed(name: str, to: str) -> pa.Table:
    table = rows(3)
    return table.rename_columns([to if column == name else column for column in table.column_names])


@pytest.mark.parametrize(
    ("table", "message"),
    [
        (rows(3).drop_columns(["origin"]), "column origin: is missing; supply it"),
        (renamed("wind", "wnd"), "column wind: is missing; supply it; did you mean 'wnd'?"),
        (renamed("flight", "score"), "column score: is the name of a column that is added; rename yours"),
        (renamed("flight", "note"), "column note: is there twice; remove or rename one"),
        (
            rows(3).set_column(1, "distance", pa.array(["1", "2", "3"])).set_column(4, "wind", pa.array([True] * 3)),
            "column wind: is stored as bool, which is not a finite number; convert it",
        ),
        (
            rows(3).set_column(2, "origin", pa.array([True] * 3)),
            "column origin: is stored as bool, which is not text or a whole number; convert it",
        ),
    ],
)
def test_columns_that_cannot_be_inputs_are_named_before_any_row_is_read(tmp_path, folder, table, message):
    source = write(table, tmp_path / "in.parquet")
    with pytest.raises(UserError, match=f"^{re.escape(f'{source}: {message}')}$"):
        batch_job.plan(source, tmp_path / "out.parquet", folder)


def test_other_mistakes_have_one_line_each(tmp_path, folder):
    source = write(rows(3), tmp_path / "in.csv")
    (tmp_path / "empty.csv").write_bytes(b"")
    (tmp_path / "broken.parquet").write_bytes(b"PAR1 no PAR1")
    for first, second, where, line in [
        (source, "out.json", folder, r"out\.json: is neither \.csv nor \.parquet; name it by its format"),
        (source, "in.csv", folder, r"in\.csv: is the input; name another file for the scores"),
        (tmp_path / "none.csv", "out.csv", folder, r"none\.csv: there is no such file"),
        (tmp_path / "empty.csv", "out.csv", folder, r"empty\.csv: is empty or has no header; name the columns"),
        (tmp_path / "broken.parquet", "out.csv", folder, r"broken\.parquet: cannot be read: "),
        (source, "out.csv", tmp_path / "nowhere", r"nowhere: is missing; name a bundle's folder"),
    ]:
        with pytest.raises(UserError, match=line) as caught:
            batch_job.plan(first, tmp_path / second, where)
        assert "\n" not in str(caught.value)
    source.write_text("distance,origin\n1,EWR\n2\n")
    with pytest.raises(UserError, match=r"in\.csv: line 3: has 1 fields, the header has 2; fix it"):
        predict(source, tmp_path / "out.csv", folder)


def test_memory_does_not_grow_with_the_file(tmp_path, folder):
    """The file's rows alone would take 2 million times 31 numbers, 500 MB."""
    source = tmp_path / "in.parquet"
    block = rows(100_000)
    extra = {f"n{i}": np.random.default_rng(i).random(100_000) for i in range(27)}
    for name, values in extra.items():
        block = block.append_column(name, pa.array(values))
    with pq.ParquetWriter(source, block.schema) as writer:
        for _ in range(20):
            writer.write_table(block, row_group_size=len(block))
    code = (
        "import resource, sys; from pathlib import Path\n"
        "from trunkline.bundle.runtime import Bundle\n"
        "from trunkline.serve.batch import job as batch_job, run as batch_run\n"
        "source, output, folder = map(Path, sys.argv[1:])\n"
        "start = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss\n"
        "job = batch_job.plan(source, output, folder)\n"
        "done = batch_run.run(job, Bundle.load(folder).scores, 2, lambda _: None)\n"
        "print(done.rows, (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - start) // 1024)"
    )
    command = [sys.executable, "-c", code, str(source), str(tmp_path / "out.parquet"), str(folder)]
    done = subprocess.run(command, check=True, capture_output=True, text=True).stdout.split()
    assert done[0] == "2000000"
    assert int(done[1]) < 400, f"{done[1]} MB"


def test_a_run_that_goes_on_logs_each_scored_row_once(tmp_path, folder):
    privacy = Privacy({"origin": "leave_out"}, "keep", frozenset(), None)
    source, score, calls = write(spoilt(5000), tmp_path / "rows.parquet"), Bundle.load(folder).scores, []
    job = batch_job.logged(
        batch_job.plan(source, tmp_path / "x.parquet", folder, batch_job.Options(policy="quarantine")),
        tmp_path / "log",
        privacy,
    )

    def broken(numbers, texts):
        calls.append(1)
        if len(calls) > 2:
            raise OSError("the machine stops")
        return score(numbers, texts)

    with pytest.raises(OSError, match="the machine stops"):
        batch_run.run(job, broken, 1, lambda rows: None)
    assert not (tmp_path / "log").exists()
    batch_run.run(job, score, 2, lambda rows: None)
    table = pa.concat_tables(pq.read_table(path) for path in sorted((tmp_path / "log").rglob("*.parquet")))
    output = read(tmp_path / "x.parquet")
    for name in ("request_id", "digest", "score"):
        assert table[name].to_pylist() == output[name].to_pylist()
    assert table.schema.field("inputs").type.num_fields == len(INPUTS) - 1
    found = predictions.find([str(tmp_path / "log")], output["request_id"][7].as_py())
    assert (found.score, "origin" in found.inputs) == (output["score"][7].as_py(), False)
