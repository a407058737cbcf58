"""Time and peak memory of ingest, validate and features for 1, 3, 10 and 30 years, each stage as its own process.

The reference year is replicated with shifted dates (flights keep their local schedule, the weather its UTC hours), one
Parquet file a year, and declared by overrides of conf/: the real stages run on it, in a folder of their own. Asked:
time grows no faster than rows, and peak memory stays below 2 GB at 30 years, which are 10 million flights.
Needs what `make repro` leaves. Run: python benchmarks/scale.py [--svg docs/scale.svg] [--years 1 3 10 30]
"""

import argparse
import hashlib
import os
import shutil
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
STAGES = ("ingest", "validate", "features")
FIRST = 2013  # the reference year
LIMIT = 2048.0  # MB
ZONE = "America/New_York"


@dataclass(frozen=True)
class Measured:
    """What a stage took: seconds of the clock and of all its threads, and its peak resident memory in MB."""

    years: int
    rows: int
    stage: str
    seconds: float
    processor: float
    megabytes: float


def main() -> None:
    """Make the years, run the stages on them, print the table, draw the picture."""
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--years", type=int, nargs="+", default=[1, 3, 10, 30])
    options.add_argument("--folder", type=Path, help="where the files go; a temporary folder if not given")
    options.add_argument("--svg", type=Path, help="where to draw the picture")
    options.add_argument("--make", type=int, help=argparse.SUPPRESS)
    given = options.parse_args()
    if given.make:
        make(given.folder, given.make)
        return
    with tempfile.TemporaryDirectory() as temporary:
        measured = [each for years in given.years for each in run(given.folder or Path(temporary), years)]
    sys.stdout.write(table(measured))
    if given.svg:
        draw(measured, given.svg)


def run(folder: Path, years: int) -> list[Measured]:
    """Run the stages on some years, in a folder that is made anew."""
    project = folder / "project"
    shutil.rmtree(project, ignore_errors=True)
    # In a process of its own, since a child's peak memory is never below its parent's at the time of its start.
    subprocess.run([sys.executable, __file__, "--folder", project, "--make", str(years)], check=True)  # noqa: S603
    rows = int((project / "rows").read_text())
    process(project, "compose")
    return [Measured(years, rows, stage, *process(project, stage)) for stage in STAGES]


def process(project: Path, stage: str) -> tuple[float, float, float]:
    """Run a stage; return its seconds, its processor seconds and its peak memory in MB."""
    return cost([sys.executable, str(ROOT / "stages" / f"{stage}.py")], project)


def cost(command: list[str], folder: Path, **variables: str) -> tuple[float, float, float]:
    """Run a command in a folder; return its seconds, its processor seconds and its peak memory in MB."""
    began = time.perf_counter()
    with subprocess.Popen(command, cwd=folder, env=os.environ | variables, stdout=sys.stderr) as child:  # noqa: S603
        _, status, usage = os.wait4(child.pid, 0)
        child.returncode = os.waitstatus_to_exitcode(status)
    if child.returncode:
        raise SystemExit(f"{' '.join(command)} exited with {child.returncode}")
    return time.perf_counter() - began, usage.ru_utime + usage.ru_stime, usage.ru_maxrss / 1024


def make(project: Path, years: int) -> None:
    """Write a project's conf/, and a Parquet file per table and year below data/incoming/."""
    import polars as pl
    import yaml

    shutil.copytree(ROOT / "conf", project / "conf")
    shutil.copytree(ROOT / "models", project / "models", ignore=lambda *_: ["bundle", "model.skops"])
    tables = {name: pl.read_parquet(ROOT / f"data/valid/{name}.parquet") for name in ("flights", "weather", "planes")}
    files: dict[str, dict[str, str]] = {name: {} for name in tables}
    for year in range(years):
        shifted = {"flights": flights(tables["flights"], year), "weather": weather(tables["weather"], year)}
        for name, frame in (shifted | ({} if year else {"planes": tables["planes"]})).items():
            path = project / "data/incoming" / name / f"{FIRST + year}.parquet"
            path.parent.mkdir(parents=True, exist_ok=True)
            frame.write_parquet(path)
            files[name][path.name] = hashlib.sha256(path.read_bytes()).hexdigest()
    declared = yaml.safe_load((ROOT / "conf/data/flights.yaml").read_text())
    declared["sources"] = {
        name: {"kind": "files", "url": f"data/incoming/{name}/", "format": "parquet", "files": of}
        for name, of in files.items()
    }
    last = FIRST + years - 1
    declared["window"] = {"train": f"{FIRST}-01..{last}-06", "holdout": f"{last}-07..{last}-12"}
    (project / "conf/data/years.yaml").write_text(yaml.safe_dump(declared))
    config = (ROOT / "conf/config.yaml").read_text()
    (project / "conf/config.yaml").write_text(config.replace("- data: flights", "- data: years"))
    (project / "rows").write_text(str(tables["flights"].height * years))


def flights(frame: Any, years: int) -> Any:
    """Move flights by whole years of the calendar; their UTC hour follows from their local schedule."""
    import polars as pl

    local = pl.datetime("year", "month", "day", "hour")
    hour = local.dt.replace_time_zone(ZONE, ambiguous="earliest").dt.convert_time_zone("UTC").dt.replace_time_zone(None)
    return frame.with_columns(year=pl.col("year") + years).with_columns(time_hour=hour)


def weather(frame: Any, years: int) -> Any:
    """Move observations by whole years of UTC; their local columns follow."""
    import polars as pl

    moved = frame.with_columns(time_hour=pl.col("time_hour").dt.offset_by(f"{years}y"))
    local = pl.col("time_hour").dt.replace_time_zone("UTC").dt.convert_time_zone(ZONE)
    parts = {name: getattr(local.dt, name)().cast(pl.Int64) for name in ("year", "month", "day", "hour")}
    return moved.with_columns(**parts)


def table(measured: list[Measured]) -> str:
    """Return the figures as text, with what is asked of them."""
    lines = [f"{'years':>5} {'flights':>11} {'stage':<9} {'seconds':>8} {'CPU s':>8} {'peak MB':>8} {'s/M rows':>9}"]
    lines += [
        f"{m.years:>5} {m.rows:>11,} {m.stage:<9} {m.seconds:>8.1f} {m.processor:>8.1f} {m.megabytes:>8,.0f} "
        f"{m.seconds / m.rows * 1e6:>9.2f}"
        for m in measured
    ]
    return "\n".join([*lines, *asked(measured)]) + "\n"


def asked(measured: list[Measured]) -> list[str]:
    """Return how the most years compare with the fewest, and with what is asked."""
    fewest, most = (edge(each.years for each in measured) for edge in (min, max))
    total = {years: sum(each.processor for each in measured if each.years == years) for years in (fewest, most)}
    peak = max(each.megabytes for each in measured if each.years == most)
    lines = [f"peak memory at {most} years: {peak:,.0f} MB, asked: below {LIMIT:,.0f}"]
    if most > fewest:
        growth = total[most] / total[fewest] / (most / fewest)
        lines.append(
            f"CPU time from {fewest} to {most} years: {growth:.2f} times the growth of the rows, asked: at most 1"
        )
    return lines


def draw(measured: list[Measured], path: Path) -> None:
    """Draw time and memory over the rows; the same figures give the same bytes."""
    import matplotlib as mpl

    mpl.use("svg")
    mpl.rcParams.update({"svg.hashsalt": "scale", "svg.fonttype": "none", "font.family": "sans-serif", "font.size": 10})
    from matplotlib import pyplot as plt

    figure, (left, right) = plt.subplots(1, 2, figsize=(9.5, 3.9), layout="constrained")
    for stage, colour, mark in zip(STAGES, ("#0072b2", "#e69f00", "#009e73"), "osD", strict=True):
        of = sorted((each for each in measured if each.stage == stage), key=lambda each: each.rows)
        rows, style = [each.rows for each in of], {"color": colour, "marker": mark, "markersize": 5}
        left.plot(rows, [each.processor for each in of], label=stage, **style)
        right.plot(rows, [each.megabytes for each in of], label=stage, **style)
    rows = sorted({each.rows for each in measured})
    first = max(each.processor for each in measured if each.rows == rows[0])
    left.plot(rows, [first * each / rows[0] for each in rows], "--", color="#888888", label="growth of the rows")
    right.axhline(LIMIT, linestyle="--", color="#888888")
    right.annotate("asked: below 2 GB", (rows[0], LIMIT), xytext=(0, 5), textcoords="offset points", color="#555555")
    years = dict(sorted({each.rows: each.years for each in measured}.items()))
    for axes, title in ((left, "Processor time, seconds"), (right, "Peak memory, MB")):
        axes.set(xscale="log", title=title, xlabel="years of flights, and million rows")
        labels = [f"{of}\n{each / 1e6:.2g}" for each, of in years.items()]
        axes.set_xticks(list(years), labels)
        axes.minorticks_off()
        axes.spines[["top", "right"]].set_visible(False)
        axes.grid(visible=True, color="#e5e5e5")
    left.set_yscale("log")
    left.legend(frameon=False)
    right.set_ylim(0, LIMIT * 1.25)
    figure.savefig(path, metadata={"Date": None, "Creator": None})
    text = path.read_text(encoding="utf-8")
    path.write_text("\n".join(line.rstrip() for line in text.splitlines()) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
