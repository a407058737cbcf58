"""Every type that Arrow has, in a table that is ingested and in one that is scored: read, or refused by its column."""

import io
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tests import bundles
from trunkline.bundle.runtime import Bundle
from trunkline.conf.data.sources import Package
from trunkline.core.errors import UserError
from trunkline.pipeline.ingest import decode
from trunkline.serve.batch import job as batch_job
from trunkline.serve.batch import run as batch_run

WHOLE = pa.int64()
TYPES = [
    *(pa.null(), pa.bool_(), pa.int8(), pa.int16(), pa.int32(), WHOLE, pa.uint8(), pa.uint16(), pa.uint32()),
    *(pa.uint64(), pa.float16(), pa.float32(), pa.float64(), pa.decimal32(5, 2), pa.decimal64(10, 2)),
    *(pa.decimal128(38, 2), pa.decimal256(50, 2), pa.decimal256(5, 2), pa.string(), pa.large_string()),
    *(pa.string_view(), pa.binary(), pa.large_binary(), pa.binary_view(), pa.binary(4), pa.date32(), pa.date64()),
    *(pa.time32("s"), pa.time32("ms"), pa.time64("us"), pa.time64("ns"), pa.timestamp("s"), pa.timestamp("ns")),
    *(pa.timestamp("us", "UTC"), pa.timestamp("us", "+05:00"), pa.timestamp("us", "nowhere"), pa.duration("s")),
    *(pa.month_day_nano_interval(), pa.list_(WHOLE), pa.large_list(WHOLE), pa.list_(WHOLE, 2), pa.list_view(WHOLE)),
    *(pa.large_list_view(WHOLE), pa.list_(pa.decimal256(50, 2)), pa.struct([("a", WHOLE)]), pa.struct([])),
    *(pa.map_(pa.string(), WHOLE), pa.dictionary(pa.int8(), pa.string()), pa.dictionary(pa.int32(), WHOLE)),
    *(pa.dictionary(pa.int32(), pa.decimal256(50, 2)), pa.run_end_encoded(pa.int32(), WHOLE), pa.uuid(), pa.json_()),
    *(pa.sparse_union([pa.field("a", WHOLE)]), pa.dense_union([pa.field("a", WHOLE)]), pa.bool8()),
    *(pa.opaque(WHOLE, "x", "y"), pa.fixed_shape_tensor(WHOLE, [2])),
]
NOT_MADE_HERE = {"Type_INTERVAL_MONTHS", "Type_INTERVAL_DAY_TIME"}  # pyarrow has no constructor of these


def test_no_type_is_left_out() -> None:
    names = {getattr(pa.lib, name): name for name in dir(pa.lib) if name.startswith("Type_")}
    assert {name for number, name in names.items() if number not in {stored.id for stored in TYPES}} == NOT_MADE_HERE


def parquet_of(stored: pa.DataType) -> bytes | None:
    """A Parquet file with a column of a type; None for one that Parquet does not have."""
    content = io.BytesIO()
    try:
        pq.write_table(pa.table({"odd": pa.nulls(2, stored), "delay": [1.0, 2.0]}), content)
    except (pa.ArrowNotImplementedError, pa.ArrowInvalid):
        return None
    return content.getvalue()


FILES = {str(stored): content for stored in TYPES if (content := parquet_of(stored))}


@contextmanager
def refused_by_the_column_if_at_all() -> Iterator[None]:
    try:
        yield
    except UserError as error:
        text = str(error)
        if "\n" in text or not ("column odd: " in text or "cannot be read: " in text):
            raise


@pytest.mark.parametrize("stored", FILES)
@pytest.mark.parametrize("suffix", ["csv", "parquet"])
@pytest.mark.parametrize("kind", ["number", "integer", "boolean", "text", "nothing"])
def test_predict_reads_a_type_or_names_the_column(tmp_path: Path, stored: str, suffix: str, kind: str) -> None:
    (tmp_path / "in.parquet").write_bytes(FILES[stored])
    odd = [] if kind == "nothing" else [bundles.field("odd", kind)]
    folder = bundles.make(tmp_path / "bundle", [bundles.field("delay", "number"), *odd])
    output = tmp_path / f"out.{suffix}"
    with refused_by_the_column_if_at_all():
        job = batch_job.plan(tmp_path / "in.parquet", output, folder, batch_job.Options(policy="quarantine"))
        assert batch_run.run(job, Bundle.load(folder).scores, 1, lambda rows: None).rows == 2


@pytest.mark.parametrize("stored", FILES)
def test_ingest_reads_a_type_or_names_the_column(stored: str) -> None:
    file = decode.File("in.parquet", FILES[stored])
    source = {"package": "rides", "version": "1", "path": "in.parquet", "format": "parquet"}
    with refused_by_the_column_if_at_all():
        decode.table([file], Package.model_validate(source)).collect()
    kept = Package.model_validate(source | {"keep": {"late": "delay"}})
    assert decode.table([file], kept).collect().equals(pl.DataFrame({"late": [1.0, 2.0]}))
