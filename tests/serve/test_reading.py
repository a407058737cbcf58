"""A text of a CSV means in a request what it meant in the source that its column is trained on."""

import json
from decimal import Decimal
from pathlib import Path
from typing import Any

import msgspec
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from click.testing import CliRunner
from hypothesis import example, given, settings
from hypothesis import strategies as st

from tests import bundles
from trunkline.bundle import columns, contract
from trunkline.bundle.contract import Input
from trunkline.bundle.runtime import Bundle
from trunkline.cli.predict import predict
from trunkline.conf.contract import Contract
from trunkline.conf.data import Data
from trunkline.conf.features import Features
from trunkline.core import graphs
from trunkline.core.errors import UserError
from trunkline.core.tables import convert
from trunkline.pipeline.bundle import inputs
from trunkline.pipeline.features import compiler
from trunkline.pipeline.ingest import decode
from trunkline.serve import tables
from trunkline.serve.batch import job as batch_job
from trunkline.serve.batch import run as batch_run

TYPES = ("text", "number", "integer", "boolean")
CATEGORIES = tuple(f"{kind}_category" for kind in TYPES[1:])
CELLS = st.sampled_from(
    [
        *"?-01a",
        "",
        "NA",
        "1.0",
        "-0",
        "007",
        "+7",
        "1.5",
        "1.50",
        "nan",
        "inf",
        "1e3",
        "True",
        "FALSE",
        " a ",
        "é",
        "x,y",
        "x\ny",
    ]
)
ROWS = st.lists(st.lists(st.tuples(CELLS, st.booleans()), min_size=14, max_size=14), min_size=1, max_size=5)
NULLS = st.sampled_from([["", "?"], [""], ["?"], [], ["NA", "-"], ["", "0", "x\ny"]])


def declared(prefix: str) -> dict[str, str]:
    """A column of each type, and one more of each that is to be a category."""
    return {f"{prefix}_{name}": name.removesuffix("_category") for name in (*TYPES, *CATEGORIES)}


def bundle_inputs(nulls: dict[str, list[str]]) -> list[Input]:
    """The inputs of a model of rides, and of zones that are looked up."""
    columns = {name: {"type": kind, "nullable": True, "description": "Some"} for name, kind in declared("ride").items()}
    key = {"id": {"type": "integer", "description": "Some"}}
    places = {name.replace("ride", "zone"): column for name, column in columns.items()}
    both = {"rides": key | columns, "zones": key | places}
    every = {name: {"privacy": "public", "unique": ["id"], "columns": of} for name, of in both.items()}
    source = {"package": "rides", "version": "1"}
    data = Data.parse(
        {
            "sources": {table: source | {"path": f"{table}.csv", "nulls": texts} for table, texts in nulls.items()},
            "observations": "rides",
            "unique_key": ["id"],
            "target": {"name": "label", "expression": "id > 1"},
            "split": {"holdout": 0.5},
        }
    )
    views = {
        "own": {"kind": "expression", "features": {name: name for name in declared("ride")}},
        "places": {"kind": "lookup", "table": "zones", "keys": ["id"], "features": {name: name for name in places}},
    }
    categorical = [f"{prefix}_{name}" for prefix in ("ride", "zone") for name in CATEGORIES]
    features = Features.parse({"streams": {}, "views": views, "categorical": categorical})
    contract = Contract.parse({"tables": every})
    return inputs.inputs(features, compiler.plan(features, data, contract), contract, data.sources)


def csv_of(names: list[str], rows: list[list[tuple[str, bool]]]) -> bytes:
    def cell(text: str, quoted: bool) -> str:
        return '"' + text + '"' if quoted or "," in text or "\n" in text else text

    return "".join(",".join(line) + "\n" for line in [names, *([cell(*of) for of in row] for row in rows)]).encode()


def ingested(content: bytes, nulls: list[str], kinds: dict[str, str]) -> dict[str, list[Any]]:
    """What the pipeline makes of each column: the values, None for missing, and FAILED for what is refused."""
    return converted(decode._csv(decode.File("in.csv", content), nulls), kinds)


def converted(raw: pl.DataFrame, kinds: dict[str, str]) -> dict[str, list[Any]]:
    values = {}
    for name, kind in kinds.items():
        parsed = convert.parse(raw[name], kind)
        final = parsed.values.cast(pl.String if "category" in name or kind == "text" else pl.Float64)
        values[name] = [FAILED if bad else value for value, bad in zip(final, parsed.failed, strict=True)]
    return values


FAILED = "refused"


def requested(path: Path, fields: list[Input]) -> dict[str, list[Any]]:
    """What `trunkline predict` makes of each column."""
    agreed = contract.Contract(label="label", on_bad_row="stop", inputs=fields, request={})
    table = tables.open_table(path)
    tables.check_columns(table, agreed)
    (chunk,) = table.chunks(100)
    read = (
        tables.without_nulls(chunk, {field.name: field.nulls for field in fields}) if table.format == "csv" else chunk
    )
    rows = columns.check_rows(read, agreed)
    refused = {(breach.field, row) for breach in rows.breaches for row in breach.rows.nonzero()[0].tolist()}
    values = {}
    for role, matrix in (("numeric", rows.numeric), ("categorical", rows.categorical)):
        names = [field.name for field in fields if field.role == role]
        for name, column in zip(names, matrix.T.tolist(), strict=True):
            series = pl.Series(column)
            plain = series.fill_nan(None) if role == "numeric" else series.replace(graphs.MISSING, None)
            values[name] = [FAILED if (name, row) in refused else value for row, value in enumerate(plain)]
    return values


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("rows") / "in.csv"


@example([[("?", False), ("?", True)] * 7], ["", "?"], [""])
@example([[("007", False), ("1.50", False)] * 7], [""], [""])
@given(ROWS, NULLS, NULLS)
def test_a_text_means_the_same_to_ingest_and_to_predict(
    path: Path, rows: list[list[tuple[str, bool]]], rides: list[str], zones: list[str]
) -> None:
    own, other = declared("ride"), declared("zone")
    path.write_bytes(csv_of([*own, *other], rows))
    expected = ingested(path.read_bytes(), rides, own) | ingested(path.read_bytes(), zones, other)
    assert requested(path, bundle_inputs({"rides": rides, "zones": zones})) == expected


WHOLE = st.one_of(st.none(), st.integers(-9, 9))
STORED = {
    **{kind: (getattr(pa, kind)(), st.one_of(st.none(), st.integers(-9, 9))) for kind in ("int8", "int32", "int64")},
    **{kind: (getattr(pa, kind)(), st.one_of(st.none(), st.integers(0, 9))) for kind in ("uint8", "uint64")},
    "float32": (pa.float32(), st.one_of(st.none(), st.sampled_from([0.0, -0.0, 1.0, 7.0, 7.5, float("nan")]))),
    "float64": (
        pa.float64(),
        st.one_of(st.none(), st.sampled_from([0.0, 1.0, -3.0, 1e300, float("inf"), float("nan")])),
    ),
    "decimal": (pa.decimal128(5, 2), st.one_of(st.none(), st.sampled_from([Decimal("1.00"), Decimal("7.5")]))),
    "bool": (pa.bool_(), st.one_of(st.none(), st.booleans())),
    "string": (pa.string(), st.one_of(st.none(), CELLS)),
    "dictionary of texts": (pa.dictionary(pa.int8(), pa.string()), st.one_of(st.none(), CELLS)),
    "dictionary of numbers": (pa.dictionary(pa.int8(), pa.int64()), WHOLE),
}


@pytest.mark.parametrize("kind", [*TYPES, *CATEGORIES])
@pytest.mark.parametrize("stored", STORED)
@settings(max_examples=20)
@given(data=st.data())
def test_a_stored_value_means_the_same_to_ingest_and_to_predict(
    path: Path, stored: str, kind: str, data: st.DataObject
) -> None:
    """And both refuse the same columns."""
    name, content = f"ride_{kind}", data.draw(st.lists(STORED[stored][1], min_size=1, max_size=6))
    file = path.with_suffix(".parquet")
    pq.write_table(pa.table({name: pa.array(content, STORED[stored][0])}), file)
    (field,) = [field for field in bundle_inputs({"rides": [""], "zones": [""]}) if field.name == name]
    try:
        expected = converted(pl.read_parquet(file), {name: declared("ride")[name]})
    except TypeError:
        with pytest.raises(UserError, match=f"column {name}: is stored as"):
            requested(file, [field])
    else:
        assert requested(file, [field]) == expected


@given(st.lists(WHOLE, min_size=1, max_size=6))
def test_a_whole_number_is_one_text_however_it_is_stored(path: Path, numbers: list[int | None]) -> None:
    field = msgspec.convert(bundles.field("code", "text"), Input)
    texts = [None if number is None else str(number) for number in numbers]
    for stored in (pa.int8(), pa.int64(), pa.float64(), pa.decimal128(5, 2)):
        pq.write_table(pa.table({"code": pa.array(numbers, stored)}), path.with_suffix(".parquet"))
        assert requested(path.with_suffix(".parquet"), [field]) == {"code": texts}
    path.write_text("".join(f"{text}\n" for text in ["code,x", *(f"{text or ''},1" for text in texts)]))
    assert requested(path, [field]) == {"code": texts}


def test_a_text_that_no_training_row_has_is_counted_and_told(tmp_path: Path) -> None:
    """In all rows that are scored, in parts; what is missing or refused is not counted."""
    declared = [bundles.field("origin", "text", levels=["EWR", "1"]), bundles.field("delay", "integer")]
    folder = bundles.make(tmp_path / "bundle", declared)
    source, wanted = tmp_path / "in.csv", {"origin": 40_001}
    rows = ["EWR,1", "1,1", ",1", "LHR,x", "1.0,2.0", *["Łódź,1"] * 20_000, *["EWR,1"] * 60_000, *["CDG,1"] * 20_000]
    source.write_text("".join(f"{row}\n" for row in ["origin,delay", *rows]))
    command = [str(source), "-o", str(tmp_path / "out.csv"), "--bundle", str(folder), "--on-bad-row", "quarantine"]
    done = CliRunner().invoke(predict, [*command, "--json"], catch_exceptions=False)
    assert (done.exit_code, json.loads(done.stdout)["unseen"]) == (1, wanted)
    assert done.stderr == (
        f"warning: {source}: column origin: 40,001 rows have a text that no training row has, such as '1.0', 'Łódź', "
        "'CDG', scored as unknown; '1.0' is '1' there: write it alike, or declare the column integer in conf/contract "
        "and train again\n"
    )
    done = CliRunner().invoke(predict, command, catch_exceptions=False)
    assert (done.exit_code, "100,004 rows scored" in done.stdout) == (1, True)
    assert "first of the 1 refused: row 4: delay: is not an integer ('x')" in done.stderr
    source.write_text("origin,delay\nEWR,1\n,2\n")
    done = CliRunner().invoke(predict, command, catch_exceptions=False)
    assert (done.exit_code, done.stderr) == (0, "")


def test_a_bundle_without_declared_nulls_reads_as_before(tmp_path: Path) -> None:
    field = msgspec.convert(bundles.field("origin", "text"), Input)
    (tmp_path / "in.csv").write_bytes(b'origin,x\n,1\n"",2\n?,3\n')
    assert requested(tmp_path / "in.csv", [field]) == {"origin": [None, "", "?"]}


def test_predict_scores_a_text_that_means_missing_as_missing(tmp_path: Path) -> None:
    declared = [bundles.field("origin", "text", nulls=["", "?"]), bundles.field("delay", "number", nulls=["-"])]
    folder = bundles.make(tmp_path / "bundle", declared)
    (tmp_path / "in.csv").write_text("origin,delay,note\n?,1,?\nEWR,-,\n")
    job = batch_job.plan(tmp_path / "in.csv", tmp_path / "out.parquet", folder)
    batch_run.run(job, Bundle.load(folder).scores, 1, lambda rows: None)
    scored = pl.read_parquet(tmp_path / "out.parquet")
    assert scored["score"].to_list() == [bundles.NO_TEXT + 1, bundles.WEIGHTS["EWR"] + bundles.NO_NUMBER]
    assert scored["note"].to_list() == ["?", None]


CATEGORY_VALUES = {
    "integer": [7, -1, 0, "7", "-1", None, "007", "+7", "x", "7.5", True, 7.0, 7.5, float("nan")],
    "boolean": [True, False, "true", "false", None, "yes", 2, float("nan")],
}


@pytest.mark.parametrize(("kind", "value"), [(kind, value) for kind, of in CATEGORY_VALUES.items() for value in of])
def test_a_category_of_a_request_is_that_of_a_file(tmp_path: Path, kind: str, value: Any) -> None:
    field = msgspec.convert(bundles.field("gate", "text", category_of=kind), Input)
    pq.write_table(pa.table({"gate": [value]}), tmp_path / "in.parquet")
    try:
        one = contract.text_check(field)(value)
    except UserError:
        one = FAILED
    try:
        (many,) = requested(tmp_path / "in.parquet", [field])["gate"]
    except UserError:  # a column that is stored as no such value at all
        many = FAILED
    # A text in a request has to be written as the pipeline writes it, in a file it need not.
    assert many == (None if one == graphs.MISSING else one) or (one, value in {"007", "+7"}) == (FAILED, True)
