"""Equal tables give equal bytes."""

import os
import subprocess
import sys
from pathlib import Path

import polars as pl

from trunkline.core.tables import parquet

SCRIPT = """
import io, sys
from pathlib import Path
import polars as pl
from trunkline.core.tables import parquet
text = "a,b,c\\n" + "".join(f"{i % 7},{i * 31 % 1009},t{i % 501}\\n" for i in range(300_000))
frame = pl.read_csv(io.StringIO(text), infer_schema=False, null_values=["3"])
frame = frame.with_columns(pl.col("b").cast(pl.Float64))
parquet.write_parquet(frame.filter(pl.col("c") != "t9"), Path(sys.argv[1]))
print(pl.thread_pool_size())
"""


def _written(path: Path, threads: int) -> bytes:
    environment = os.environ | {"POLARS_MAX_THREADS": str(threads)}
    command = [sys.executable, "-c", SCRIPT, str(path)]
    done = subprocess.run(command, env=environment, check=True, capture_output=True, text=True)
    assert done.stdout.strip() == str(threads)
    return path.read_bytes()


def test_bytes_do_not_depend_on_threads(tmp_path: Path) -> None:
    assert _written(tmp_path / "one.parquet", 1) == _written(tmp_path / "four.parquet", 4)


def test_bytes_do_not_depend_on_how_the_frame_was_made(tmp_path: Path) -> None:
    numbers, texts = [1, None, 3, 4], ["a", "b", None, "a text of some length"]
    whole = pl.DataFrame({"n": numbers * 50_000, "t": texts * 50_000})
    pieces = pl.concat([whole[:1], whole[1:2222], whole[2222:]], rechunk=False)
    longer = pl.concat([whole, whole.head(5)]).with_row_index()
    filtered = longer.filter(pl.col("index") < whole.height).drop("index")
    written = []
    for frame in (whole, pieces, filtered):
        path = tmp_path / "table.parquet"
        parquet.write_parquet(frame, path)
        written.append(path.read_bytes())
        assert pl.read_parquet(path).equals(whole)
    assert pieces.n_chunks() > 1
    assert written[0] == written[1] == written[2]
