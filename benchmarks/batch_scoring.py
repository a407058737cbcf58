"""Batch scoring, Parquet to Parquet: `trunkline predict` beside MLflow's pyfunc and beside onnxruntime alone.

All score the same rows with the same model, each in a process of its own that may use every CPU: the command, MLflow's
pyfunc of the same scikit-learn pipeline (read the file, predict, write the file, as its documentation does it), and
onnxruntime on the same batches as arrays already in memory, one single-threaded session per CPU. The first two are
timed as whole processes, the last without its start and its arrays. The scores are compared afterwards.
Needs what `make repro` leaves. Run: python benchmarks/batch_scoring.py [--rows 5000000] [--folder FOLDER]
"""

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from trunkline.core import machine

BATCH = 1 << 9  # rows of a call of onnxruntime alone, which is fastest so
GROUP = 1 << 17  # rows of a row group of the input
CPUS = int(machine.settings(os.environ, frozenset())["OMP_NUM_THREADS"])


def main() -> None:
    """Make the rows, run the peers, compare their scores, print the table."""
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--rows", type=int, default=5_000_000)
    options.add_argument("--folder", type=Path, help="where the files go; a temporary folder if not given")
    options.add_argument("--part", choices=["make", "mlflow", "onnxruntime"], help=argparse.SUPPRESS)
    given = options.parse_args()
    if given.part:
        {"make": make, "mlflow": mlflow, "onnxruntime": onnxruntime}[given.part](given.folder, given.rows)
        return
    with tempfile.TemporaryDirectory() as temporary:
        report(given.folder or Path(temporary), given.rows)


def report(folder: Path, rows: int) -> None:
    """Run every part in its process and print rows per second and peak memory."""
    own = [sys.executable, __file__, "--rows", str(rows), "--folder", str(folder), "--part"]
    run([*own, "make"])
    predict = [str(Path(sys.executable).with_name("trunkline")), "predict", str(folder / "rows.parquet")]
    seconds, memory = run([*predict, "-o", str(folder / "trunkline.parquet")])
    theirs_seconds, theirs_memory = run([*own, "mlflow"])
    _, alone_memory = run([*own, "onnxruntime"])
    alone_seconds = json.loads((folder / "alone.json").read_text())["seconds"]
    difference = compare(folder)
    lines = [
        ("trunkline predict", seconds, memory),
        ("mlflow pyfunc", theirs_seconds, theirs_memory),
        ("onnxruntime alone", alone_seconds, alone_memory),
    ]
    sys.stdout.write(f"{rows:,} rows, {CPUS} CPUs; largest difference of a score: {difference:.1e}\n")
    sys.stdout.write(f"{'':<18} {'seconds':>8} {'rows/s':>10} {'peak MB':>8}\n")
    for name, taken, peak in lines:
        sys.stdout.write(f"{name:<18} {taken:>8.1f} {rows / taken:>10,.0f} {peak:>8,.0f}\n")
    sys.stdout.write(
        f"of mlflow's: {theirs_seconds / seconds:.1f} times the rows/s, {memory / theirs_memory:.3f} of the memory\n"
        f"of onnxruntime's alone: {alone_seconds / seconds:.2f} times the rows/s\n"
    )


def run(command: list[str]) -> tuple[float, float]:
    """Run a process; return its seconds and its peak resident memory in MB."""
    start = time.perf_counter()
    with subprocess.Popen(command, stdout=sys.stderr) as process:  # noqa: S603  our own commands
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise SystemExit(f"{' '.join(command)} exited with {process.returncode}")
    return time.perf_counter() - start, usage.ru_maxrss / 1024


def make(folder: Path, rows: int) -> None:
    """Write rows drawn from the holdout, with every number moved a little."""
    import numpy as np
    import polars as pl
    import pyarrow.parquet as pq

    from trunkline.core.dataset import Dataset

    holdout, random = Dataset.read("holdout"), np.random.default_rng(1)
    folder.mkdir(parents=True, exist_ok=True)
    names = [c.name for c in holdout.frame.select(holdout.schema.names) if c.dtype.is_float()]
    writer = None
    for start in range(0, rows, GROUP):
        count = min(GROUP, rows - start)
        drawn = holdout.frame[random.integers(holdout.frame.height, size=count)].select(holdout.schema.names)
        moved = drawn.with_columns(pl.col(names) * pl.Series(random.uniform(0.999, 1.0, count)))
        table = moved.with_columns(row=pl.int_range(start, start + count)).to_arrow()
        writer = writer or pq.ParquetWriter(folder / "rows.parquet", table.schema)
        writer.write_table(table)
    writer.close()


def mlflow(folder: Path, _: int) -> None:
    """Score as MLflow's documentation does it."""
    machine.pin()
    import mlflow
    import pandas as pd

    from trunkline.core import paths
    from trunkline.core.dataset import Schema
    from trunkline.pipeline.train import modelfile

    saved = folder / "mlflow"
    shutil.rmtree(saved, ignore_errors=True)
    pipeline = modelfile.load(paths.MODEL)
    trusted: dict[str, Any] = {"serialization_format": "skops", "skops_trusted_types": list(modelfile.TRUSTED)}
    mlflow.sklearn.save_model(pipeline, saved, pyfunc_predict_fn="predict_proba", **trusted)
    model = mlflow.pyfunc.load_model(str(saved))
    frame = pd.read_parquet(folder / "rows.parquet")
    scores = model.predict(frame[Schema.read().names])
    pd.DataFrame({"row": frame["row"], "score": scores[:, 1]}).to_parquet(folder / "mlflow.parquet")


def onnxruntime(folder: Path, _: int) -> None:
    """Call onnxruntime with arrays that are there already, from a thread per CPU."""
    from concurrent.futures import ThreadPoolExecutor

    import pyarrow as pa
    import pyarrow.parquet as pq

    from trunkline.bundle import columns
    from trunkline.bundle.runtime import Bundle
    from trunkline.core import paths
    from trunkline.core.graphs import CATEGORICAL, NUMERIC
    from trunkline.core.tasks import SCORE

    bundles = [Bundle.load(paths.BUNDLE) for _ in range(CPUS)]
    feeds = []
    with pq.ParquetFile(folder / "rows.parquet") as file:
        for batch in file.iter_batches(BATCH * 16):
            found = columns.check_rows(pa.Table.from_batches([batch]), bundles[0].contract)
            for start in range(0, len(found.numeric), BATCH):
                block = slice(start, start + BATCH)
                feeds.append({NUMERIC: found.numeric[block], CATEGORICAL: found.categorical[block]})

    def score(cpu: int) -> None:
        session = bundles[cpu]._session  # there is no other way to the call alone
        for feed in feeds[cpu::CPUS]:
            session.run([SCORE], feed)

    start = time.perf_counter()
    with ThreadPoolExecutor(CPUS) as pool:
        list(pool.map(score, range(CPUS)))
    seconds = time.perf_counter() - start
    (folder / "alone.json").write_text(
        json.dumps({"rows": sum(len(feed[NUMERIC]) for feed in feeds), "seconds": seconds})
    )


def compare(folder: Path) -> float:
    """Return the largest difference of two files' scores, which must be of the same rows."""
    import polars as pl

    ours, theirs = (pl.read_parquet(folder / f"{name}.parquet") for name in ("trunkline", "mlflow"))
    if not ours["row"].equals(theirs["row"]):
        raise SystemExit("the files hold other rows")
    return float((ours["score"] - theirs["score"]).abs().max())


if __name__ == "__main__":
    main()
