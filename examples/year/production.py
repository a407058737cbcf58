"""The real server, and a day of it: what becomes known is pushed, flights are asked for, the log is put into its day.

The server's clock is the machine's, so its log says when the example ran. What is asked is answered as of the
prediction's own time, which is the time that the log gets here, in the folder of its hour.
"""

import json
import shutil
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import date
from functools import cached_property
from itertools import groupby
from pathlib import Path
from threading import Thread
from typing import Any

import polars as pl
import pyarrow as pa
import pyarrow.compute
import pyarrow.parquet as pq

from examples.year.plan import YEAR, Story
from examples.year.rows import METRIC
from examples.year.setting import LOG, World
from trunkline.conf import registry
from trunkline.conf.registry import Declaration
from trunkline.core.errors import OutsideError
from trunkline.serve.prediction_log.place import Place

ASKED = ("year", "month", "day", "sched_dep_time", "carrier", "flight", "tailnum", "origin", "dest", "distance")
ANSWERED = ("prediction_time", "version", "arm", "request_columns", "score")  # of the log: what is kept of each row
ROWS = 500  # of a body
AIRPORTS = 3
WAIT = 60.0  # seconds for the log's writer


@dataclass(frozen=True)
class Source:
    """The validated tables of the year, from which each day of a story takes its rows."""

    folder: Path
    story: Story = YEAR

    @cached_property
    def flights(self) -> pl.DataFrame:
        """All flights."""
        return pl.read_parquet(self.folder / "flights.parquet")

    @cached_property
    def weather(self) -> pl.DataFrame:
        """All readings of the weather, in the contract's units."""
        return pl.read_parquet(self.folder / "weather.parquet")

    def on(self, table: str, day: date) -> pl.DataFrame:
        """Return the rows of a local day; the weather as its source publishes it, in metric units during the fault."""
        content = (self.flights if table == "flights" else self.weather).filter(pl.date("year", "month", "day") == day)
        faulty = table == "weather" and self.story.fault <= day < self.story.mended
        return content.with_columns(**METRIC) if faulty else content

    def asked(self, day: date) -> pl.DataFrame:
        """Return the flights of a day that are asked for: each, or of a story with a `share` the first of so many."""
        return self.on("flights", day).gather_every(self.story.share).select(ASKED)

    def write(self, folder: Path, first: date, end: date) -> None:
        """Write the tables to a folder, of flights and weather what is of the days from `first` up to, not, `end`."""
        folder.mkdir(parents=True, exist_ok=True)
        shutil.copy2(self.folder / "planes.parquet", folder)
        for name, table in {"flights": self.flights, "weather": self.weather}.items():
            day = pl.date("year", "month", "day")
            table.filter(day.is_between(first, end, closed="left")).write_parquet(folder / f"{name}.parquet")


@dataclass
class Production:
    """A server that runs what production is to run; `beside` does one thing after the other beside the caller.

    `refused` has how many rows of each day that was pushed the contracts refuse.
    """

    world: World
    source: Source
    address: str
    beside: ThreadPoolExecutor
    shadowed: bool = False
    refused: dict[date, int] = field(default_factory=dict)

    def push(self, day: date) -> None:
        """Push the events of a day, unless that is done."""
        if day not in self.refused:
            self.refused[day] = self._push("weather", day) + self._push("flights", day)

    def ask(self, day: date) -> int:
        """Ask for the flights of a day, once its events are pushed; return for how many."""
        self.push(day)
        asked = self.source.asked(day)
        for part in asked.iter_slices(ROWS):
            self._post("/v1/predict", part.to_dicts())
        return asked.height

    def answered(self, day: date, asked: int) -> tuple[dict[str, int], pl.DataFrame]:
        """Put the log into the day; return its counts of rows, and what was answered."""
        expected = asked * (2 if self.shadowed else 1)
        answers = collect(self.world.project / "log", self.world.project / LOG, expected)
        pushed = self.source.on("flights", day).height
        counts = {"pushed": pushed, "refused": self.refused[day], "asked": asked, "logged": answers.height}
        return counts, answers

    def shows(self, declared: Declaration) -> None:
        """Wait until the server does what is declared; raises OutsideError where it does not."""
        candidate = declared.candidate
        wanted = (registry.label(declared.version), candidate and candidate.kind, candidate and candidate.share)
        end = time.monotonic() + WAIT
        while time.monotonic() < end:
            with urllib.request.urlopen(f"{self.address}/version", timeout=60) as answer:  # noqa: S310  ours
                content = json.loads(answer.read())
            rollout = content.get("rollout") or {}
            if (content["version"], rollout.get("kind"), _share(rollout)) == wanted:
                self.shadowed = candidate is not None and candidate.kind == "shadow"
                return
            time.sleep(0.1)
        raise OutsideError(f"{self.address}/version: is not {declared} after {WAIT:.0f} s, but {content}")

    def _push(self, table: str, day: date) -> int:
        """Push a day's rows of a table; return how many its contract refuses, which only the client is told.

        A body is taken as a whole: of one that is refused, an hour of the airports is pushed at a time.
        """
        refused = 0
        for part in self.source.on(table, day).iter_slices(ROWS):
            if not self._posted(table, part):
                refused += sum(few.height for few in part.iter_slices(AIRPORTS) if not self._posted(table, few))
        return refused

    def _posted(self, table: str, rows: pl.DataFrame) -> bool:
        return self._post("/v1/events", {"table": table, "rows": _json_rows(rows)})

    def _post(self, path: str, body: Any) -> bool:
        """Post a body; tell whether it was taken, or else refused for a row of it.

        Raises OutsideError for any other answer.
        """
        headers = {"Content-Type": "application/json"}
        request = urllib.request.Request(self.address + path, json.dumps(body).encode(), headers)  # noqa: S310  ours
        try:
            with urllib.request.urlopen(request, timeout=60) as answer:  # noqa: S310
                answer.read()
        except urllib.error.HTTPError as error:
            if error.code == 422 and path == "/v1/events":
                return False
            raise OutsideError(f"{path}: {error.code} {error.read()[:500].decode()}") from None
        return True


@contextmanager
def running(world: World, source: Source, day: date) -> Iterator[Production]:
    """Run the server of production; it ends when the block does."""
    command = [
        str(Path(sys.executable).with_name("trunkline")),
        "serve",
        "--env",
        "production",
        "--bind",
        "127.0.0.1:0",
    ]
    environment = world.environment(day)
    with subprocess.Popen(  # noqa: S603
        command, cwd=world.project, env=environment, stderr=subprocess.PIPE, text=True
    ) as process:
        try:
            with ThreadPoolExecutor(1) as beside:
                yield Production(world, source, _address(process), beside)
        finally:
            process.terminate()
            process.wait(60)


def _address(process: "subprocess.Popen[str]") -> str:
    """Wait until a server listens; what it says later is read by a thread, so that it never waits for a reader."""
    said, address = [], ""
    assert process.stderr  # noqa: S101  a pipe
    for line in process.stderr:
        said.append(line)
        address = line.split()[-1] if "listens on http" in line else address
        if "startup complete" in line:
            Thread(target=process.stderr.read, daemon=True).start()
            return address
    raise OutsideError(f"trunkline serve: does not start\n{''.join(said)[-2000:]}")


def collect(log: Path, days: Path, rows_asked: int) -> pl.DataFrame:
    """Move what the server has logged to the times of the predictions; return what was answered: columns ANSWERED.

    Raises OutsideError where not all rows arrive.
    """
    end, segments = time.monotonic() + WAIT, []
    while time.monotonic() < end:
        segments = sorted(log.glob("*/*/*.parquet"))
        if sum(pq.read_metadata(path).num_rows for path in segments) >= rows_asked:
            break
        time.sleep(0.05)
    else:
        raise OutsideError(f"{log}: fewer than {rows_asked} rows after {WAIT:.0f} s")
    answers = [_moved(list(group), days) for _, group in groupby(segments, key=lambda path: path.parent.parent.name)]
    for path in segments:
        path.unlink()
    return pl.concat(answers)


def _moved(segments: Sequence[Path], days: Path) -> pl.DataFrame:
    """Write a version's rows anew, each at the time of its prediction, as one segment in the folder of that hour."""
    place, version = Place(str(days)), segments[0].parent.parent.name
    table = pa.concat_tables(map(pq.read_table, segments), promote_options="permissive")
    times = table.column("prediction_time")
    table = table.set_column(table.schema.get_field_index("time"), table.schema.field("time"), times)
    hours = pa.compute.strftime(times, format="%Y-%m-%dT%H")
    for hour in pa.compute.unique(hours).to_pylist():
        place.write(f"{version}/{hour}", segments[0].name, table.filter(pa.compute.equal(hours, hour)))
    return pl.DataFrame(pl.from_arrow(table.select(ANSWERED)))


def _share(rollout: dict[str, Any]) -> float | None:
    """Return a canary's share; a shadow has none in the registry file."""
    return rollout.get("share") if rollout.get("kind") == "canary" else None


def _json_rows(table: pl.DataFrame) -> list[dict[str, Any]]:
    times = [column for column, kind in table.schema.items() if kind == pl.Datetime]
    return table.with_columns(pl.col(times).dt.strftime("%Y-%m-%dT%H:%M:%SZ")).to_dicts()
