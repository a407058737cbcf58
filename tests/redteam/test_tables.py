"""A file of rows that is made to take all time or memory before anybody says no."""

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from trunkline.core.errors import UserError
from trunkline.serve import tables


@pytest.mark.parametrize("suffix", ["csv", "parquet"])
def test_a_hundred_thousand_columns_are_refused_at_once(tmp_path, suffix):
    names = [f"column_{number}" for number in range(100_000)]
    path = tmp_path / f"wide.{suffix}"
    if suffix == "csv":
        path.write_text(",".join(names) + "\n" + ",".join("1" for _ in names) + "\n")
    else:
        pq.write_table(pa.table({name: [1] for name in names}), path)
    with pytest.raises(UserError, match="has 100,000 columns; at most 10,000 pass through"):
        tables.open_table(path)


def test_ten_thousand_columns_are_read(tmp_path):
    path = tmp_path / "wide.csv"
    path.write_text(",".join(f"column_{number:0200}" for number in range(10_000)) + "\n")
    assert len(tables.open_table(path).schema.names) == tables.MOST_COLUMNS


def test_a_first_line_without_an_end_is_refused(tmp_path):
    path = tmp_path / "endless.csv"
    path.write_bytes(b"a" * (1 << 24))
    with pytest.raises(UserError, match="line 1: has 16,777,216 bytes or more"):
        tables.open_table(path)
