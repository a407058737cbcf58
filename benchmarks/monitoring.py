"""Drift of a day's rows: `trunkline monitor` of a prediction log and a bundle, beside Evidently's drift preset.

Rows have 14 numbers and 6 texts, of which five have moved. Ours is the verb, which reads the log as a server writes it,
in segments of 25,000 rows with the columns of requests, and reference.json of a bundle whose model is empty, and writes
its report. What the project declares is the repository's, with one rule instead of conf/monitoring. Evidently has an
environment of its own, which uv makes in the user's cache; it reads the same rows and the rows of the reference from
two flat Parquet files, without the columns of requests. Each is a process, from its start to its end: seconds, those of
the processor, and the most memory that it held. With PSI, both flag what is at or above 0.1; "by itself" is what the
preset chooses.
With --rows 100000000 ours alone, over days whose segments are links to those of the first: memory has to stay.
Needs the package registry for Evidently.
Run: python -m benchmarks.monitoring [--rows 1000000] [--rounds 3]
"""

import argparse
import hashlib
import json
import multiprocessing
import os
import statistics
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from benchmarks.peers import environment
from benchmarks.peers.environment import MissingError

EVIDENTLY = ("evidently==0.7.23", "pandas==2.3.3", "pyarrow")  # which imports nothing of pandas 3.1 that is there
DAY = datetime(2026, 3, 2, tzinfo=UTC)
A_DAY, SEGMENT, TRAINING = 1_000_000, 25_000, 250_000
NUMBERS, TEXTS, MOVED = 14, 6, 5
BOUND = 0.1
OPTIONS = {"--env": "one", "--bundle": "bundle", "--log": "log", "--as-of": "2026-03-03", "-o": "report.json"}
OWN = [str(Path(sys.executable).with_name("trunkline")), "monitor", *(each for of in OPTIONS.items() for each in of)]


@dataclass(frozen=True)
class Run:
    """What a process took: seconds, those of the processor, bytes of memory at most, and the columns it flagged."""

    seconds: float
    cpu: float
    memory: int
    flagged: tuple[str, ...]
    rows: int | None = None


def main() -> None:
    """Measure and print a table in Markdown."""
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--rows", type=int, default=A_DAY)
    options.add_argument("--rounds", type=int, default=3)
    given = options.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as pool:  # so that this process stays small
            pool.submit(prepare, folder, given.rows).result()
        commands, missing = {"trunkline": OWN}, None
        if given.rows <= A_DAY:
            try:
                commands |= evidently(folder)
            except MissingError as error:
                missing = str(error)
        runs = measured(commands, given.rounds, folder)
    sys.stdout.write(table(runs, given.rows) + (f"\nleft out: Evidently: {missing}\n" if missing else ""))


def evidently(folder: Path) -> dict[str, list[str]]:
    """Return the commands of Evidently by name; raises MissingError where it cannot be had."""
    start = [str(environment.python(EVIDENTLY)), str(Path(__file__).parent / "peers/evidently_drift.py")]
    files = [str(folder / f"{name}.parquet") for name in ("current", "reference")]
    return {"Evidently, PSI": [*start, *files, "psi"], "Evidently, by itself": [*start, *files, ""]}


def prepare(folder: Path, rows: int) -> None:
    """Write a project, its bundle and its log, and the rows of both as flat files; days after the first are links.

    Bytecode is written of the framework, too, as of all that is installed: a checkout may have none.
    """
    import compileall

    import polars as pl

    import trunkline
    from trunkline.core.dataset import Dataset, Schema
    from trunkline.core.features import Feature
    from trunkline.pipeline.evaluate import reference
    from trunkline.pipeline.evaluate.estimate import Slice

    compileall.compile_dir(Path(trunkline.__file__).parent, quiet=1)
    before, now = simulated(TRAINING, 0, moved=False), simulated(min(rows, A_DAY), 1, moved=True)
    inputs = [name for name in before.columns if name not in ("score", "label")]
    before.select(inputs).write_parquet(folder / "reference.parquet")
    now.select(inputs).write_parquet(folder / "current.parquet")
    features = tuple(Feature(name, "categorical" if name.startswith("text") else "numeric") for name in inputs)
    data, scores = Dataset(before.drop("score"), Schema(features, "label", "UTC")), before["score"].to_numpy()
    whole = {"all": {"all": Slice(before.height, {})}}
    content = reference.histograms(data, scores) | reference.outcomes(data, scores, whole)
    _write_project(folder, content)
    _write_log(folder, now.select(pl.struct(inputs).alias("inputs"), "score"), max(1, rows // A_DAY))


def simulated(rows: int, seed: int, *, moved: bool) -> Any:
    """Return rows with numbers of several kinds and texts of several frequencies, a score and a label."""
    import numpy as np
    import polars as pl

    random = np.random.default_rng(seed)
    columns: dict[str, Any] = {}
    for place in range(NUMBERS):
        shift = 0.7 if moved and place < MOVED - 2 else 0.0
        kinds = (
            random.normal(shift, 1, rows),
            random.lognormal(shift, 1, rows),
            random.poisson(60 * (1 + shift), rows),
        )
        columns[f"number_{place}"] = kinds[place % 3].astype(np.float64)
    for place in range(TEXTS):
        levels = np.array([f"level {number}" for number in range(4 + 5 * place)])
        shares = random.permutation(len(levels)) if moved and place < 2 else np.arange(len(levels))
        shares = (shares + 2.0) ** 2
        columns[f"text_{place}"] = levels[random.choice(len(levels), rows, p=shares / shares.sum())]
    score = 1 / (1 + np.exp(-columns["number_0"]))
    return pl.DataFrame(columns | {"score": score, "label": (random.random(rows) < score).astype(np.int8)})


def _write_project(folder: Path, reference: Any) -> None:
    """Write params.yaml with one rule, and a bundle with the content of its reference.json."""
    import yaml

    from trunkline.core import files

    params = yaml.safe_load(Path("params.yaml").read_text(encoding="utf-8"))
    rule = {"of": "feature", "measure": "psi", "above": BOUND}
    files.write_text(folder / "params.yaml", yaml.safe_dump(params | {"monitoring": {"rules": {"drift": rule}}}))
    bundle = folder / "bundle"
    files.write_json(bundle / "reference.json", reference)
    for name in ("contract.json", "model.onnx"):
        files.write_text(bundle / name, "")
    listed = {path.name: _digest(path) for path in bundle.iterdir()}
    about = {"format": 1, "name": "one", "runtime": "onnx", "task": "binary", "files": listed}
    files.write_json(bundle / "manifest.json", about)


def _digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def _write_log(folder: Path, rows: Any, days: int) -> None:
    """Write a day's rows as servers of the bundle do, and link the other days' segments to them."""
    import numpy as np
    import polars as pl

    from trunkline.serve.prediction_log.place import Place

    log = Place(str(folder / "log"))
    hours, digest = -(-rows.height // SEGMENT), _digest(folder / "bundle/manifest.json")
    for number, part in enumerate(rows.iter_slices(SEGMENT)):
        begin = DAY + timedelta(hours=number * 24 // hours)
        seconds = pl.Series(np.sort(np.random.default_rng(number).uniform(0, 3600e6, part.height)).astype(np.int64))
        about = {
            "request_id": pl.Series([f"{number:08x}-4a1f-4c6e-9d3b-{row:012x}" for row in range(part.height)]),
            "row": pl.zeros(part.height, pl.Int64, eager=True),
            "time": (pl.lit(begin).cast(pl.Datetime("us", "UTC")) + seconds.cast(pl.Duration("us"))),
            "version": pl.lit("v1"), "digest": pl.lit(digest), "arm": pl.lit(None, pl.String),
            "principal": pl.lit("key:one"), "route": pl.lit("/v1/predict"), "latency": seconds.cast(pl.Float64) / 1e11,
            "request_columns": pl.lit(None, pl.String), "prediction_time": pl.lit(None, pl.Datetime("us", "UTC")),
            "scoring": pl.lit(None, pl.Float64), "problem": pl.lit(None, pl.String), "environment": pl.lit("one"),
        }  # fmt: skip
        columns = [values.alias(name) for name, values in about.items()]
        table = part.select(*columns, "inputs", "score").to_arrow(compat_level=pl.CompatLevel.oldest())
        hour, first = f"v1/{begin:%Y-%m-%dT%H}", f"part-{number}-0.parquet"
        log.write(hour, first, table)
        for day in range(1, days):
            path = folder / "log" / hour / first
            path.with_name(f"part-{number}-{day}.parquet").hardlink_to(path)


def measured(commands: dict[str, list[str]], rounds: int, folder: Path) -> dict[str, Run]:
    """Run each command so many times in a folder, in turn; of its runs, return the median of seconds and of memory."""
    runs: dict[str, list[Run]] = {name: [] for name in commands}
    for _ in range(rounds):
        for name, command in commands.items():
            runs[name].append(run(command, folder))
    return {
        name: Run(
            statistics.median(each.seconds for each in of),
            statistics.median(each.cpu for each in of),
            int(statistics.median(each.memory for each in of)),
            of[0].flagged,
            of[0].rows,
        )
        for name, of in runs.items()
    }


def run(command: list[str], folder: Path) -> Run:
    """Run a command as a process in a folder; raises SystemExit with the end of what it said if it fails."""
    with tempfile.TemporaryFile() as said, tempfile.TemporaryFile() as output:
        start = time.perf_counter()
        process = subprocess.Popen(command, stdout=output, stderr=said, cwd=folder)  # noqa: S603
        _, status, usage = os.wait4(process.pid, 0)
        seconds = time.perf_counter() - start
        process.returncode = os.waitstatus_to_exitcode(status)
        output.seek(0)
        said.seek(0)
        if process.returncode not in ((1,) if command is OWN else (0,)):  # what has moved is an alert
            raise SystemExit(f"{' '.join(command)}: {said.read().decode(errors='replace')[-2000:]}")
        printed = output.read()
    own = command is OWN
    flagged, rows = _reported(folder / "report.json") if own else (json.loads(printed.splitlines()[-1]), None)
    return Run(seconds, usage.ru_utime + usage.ru_stime, usage.ru_maxrss * 1024, tuple(flagged), rows)


def _reported(path: Path) -> tuple[list[str], int]:
    """Return the features that a report has beyond the bound, and how many rows it is of."""
    table = json.loads(path.read_text(encoding="utf-8"))["table"]
    psi = [row for row in table if row["measure"] == "psi"]
    flagged = sorted(row["subject"] for row in psi if row["kind"] == "feature" and row["value"] >= BOUND)
    return flagged, sum(row["rows"] for row in psi if row["kind"] == "score")


def table(runs: dict[str, Run], rows: int) -> str:
    """Return the figures as a table, each beside how many times ours it is."""
    own = runs["trunkline"]
    lines = [
        f"{rows:,} rows of {NUMBERS + TEXTS} columns",
        "",
        "| | seconds | of the processor | memory, MB | flagged |",
    ]
    lines.append("|---|--:|--:|--:|---|")
    for name, each in runs.items():
        flagged = "the same" if each is not own and each.flagged == own.flagged else ", ".join(each.flagged)
        lines.append(
            f"| {name} | {each.seconds:.2f} ({each.seconds / own.seconds:.1f}) | {each.cpu:.2f} "
            f"({each.cpu / own.cpu:.1f}) | {each.memory / 1e6:,.0f} ({each.memory / own.memory:.1f}) | {flagged} |"
        )
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    main()
