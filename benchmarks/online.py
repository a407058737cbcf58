"""Online features: rows a second into each store and out of it, and requests over HTTP, beside Feast's online store.

Real flights, weather and planes of the last weeks before a day. Materialised is what was known until three days
before, rows of tables a second; pushed is what came since, 100 rows at once, each on disk when the call returns (in
Redis as `appendfsync everysec` has it); looked up are the requests of the day, one by one, all views of each.
Feast keeps values that something else has computed: it is given ours, for the same flights and views, and only stores
and finds them. A Feast of the same kind of store has an environment of its own, which uv makes in the user's cache.
Over HTTP, wrk asks one server with the day's rows that bring their features, and with requests that are joined, in
turn; behind a figure stands how many times that of the rows it is. Medians of the rounds.
Needs wrk, redis-server, what `make repro` leaves, and the package registry.
Run: python -m benchmarks.online [--days 30] [--lookups 2000] [--seconds 5] [--rounds 5] [--json FILE]
"""

import argparse
import contextlib
import dataclasses
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import cycle, islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec
import numpy as np
import polars as pl
from benchmarks.peers import environment, load
from benchmarks.peers.catalog import HEADERS, own
from benchmarks.peers.environment import MissingError
from benchmarks.peers.process import Question, free_port, once, running
from tests.servers import postgres, redis_server

from trunkline.core import paths

if TYPE_CHECKING:
    from trunkline.serve.online.features import OnlineFeatures

DAY = datetime(2013, 7, 16)  # UTC
PUSHED = timedelta(days=3)
KEPT = timedelta(days=1)
AT_ONCE = 100  # rows that are pushed by one call
CONNECTIONS = (1, 16)
WARM_UP = 1  # seconds
TOLERANCE = 1e-9
REQUESTED = ("year", "month", "day", "sched_dep_time", "carrier", "flight", "tailnum", "origin", "dest", "distance")
FEAST = ("feast[redis]==0.67.0",)


@dataclass(frozen=True)
class Work:
    """What is stored and asked for.

    `until` has the tables as they were until the push, `since` the rows that came then; `requests` are those of the
    day, `rows` the same with all inputs of the model.
    """

    until: Path
    since: Mapping[str, list[dict[str, Any]]]
    requests: list[dict[str, Any]]
    rows: list[dict[str, Any]]


@dataclass(frozen=True)
class Rates:
    """What a store does in a second: rows materialised and pushed, and lookups; and what a lookup takes, in ms."""

    materialized: float
    pushed: float
    lookups: float
    p50: float
    p99: float


@dataclass(frozen=True)
class Cell:
    """What answers took over HTTP, in ms, of rows that bring their features and of requests that are joined."""

    rows_p50: float
    rows_p99: float
    joined_p50: float
    joined_p99: float


def main() -> None:
    """Measure the stores and print two tables in Markdown."""
    given = _options().parse_args()
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        stores = _stores(stack, folder)
        work = prepared(folder, given.days)
        rates = {f"trunkline, {name}": ours(work, url, given.lookups) for name, url in stores.items()}
        feast, missing = _feast(folder, given.days, given.lookups, stores)
        cells = asked(work, stores, given.seconds, given.rounds, folder)
    if given.json:
        content = {name: dataclasses.asdict(each) for name, each in (rates | feast).items()}
        given.json.write_text(json.dumps({"rates": content, "http": _plain(cells)}, indent=2) + "\n", encoding="utf-8")
    sys.stdout.write(rates_table(rates | feast) + "\n" + http_table(cells))
    sys.stdout.writelines(f"\nleft out: {name}: {reason}\n" for name, reason in missing.items())


def _options() -> argparse.ArgumentParser:
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument(
        "--days", type=int, default=30, help="of the tables, before the day of the requests; 15 at least"
    )
    options.add_argument("--lookups", type=int, default=2000)
    options.add_argument("--seconds", type=int, default=5, help="of each measurement over HTTP")
    options.add_argument("--rounds", type=int, default=5)
    options.add_argument("--json", type=Path, help="where every figure is written as well")
    return options


def _stores(stack: ExitStack, folder: Path) -> dict[str, str]:
    """Start the stores; return their addresses by kind."""
    if shutil.which("redis-server") is None:
        raise SystemExit("redis-server is missing; install it, such as with: apt-get install redis-server")
    port = free_port()
    stack.enter_context(redis_server(port))
    return {
        "SQLite": f"sqlite:///{folder}/online.db",
        "PostgreSQL": stack.enter_context(postgres()),
        "Redis": f"redis://127.0.0.1:{port}/0",
    }


def prepared(folder: Path, days: int) -> Work:
    """Write the tables of so many days before the day into a folder, and return what is done with them."""
    since: dict[str, list[dict[str, Any]]] = {}
    (folder / "tables").mkdir()
    for name in ("flights", "weather", "planes"):
        table = pl.read_parquet(paths.VALID / f"{name}.parquet")
        if name != "planes":
            table = table.filter(pl.col("time_hour").is_between(DAY - timedelta(days=days), DAY + KEPT))
            since[name] = table.filter(pl.col("time_hour") >= DAY - PUSHED).to_dicts()
            table = table.filter(pl.col("time_hour") < DAY - PUSHED)
        table.write_parquet(folder / f"tables/{name}.parquet")
    rows = pl.read_parquet(paths.FEATURES / "holdout.parquet")
    rows = rows.filter(pl.date("year", "month", "day") == DAY.date())
    inputs = json.loads((paths.BUNDLE / "contract.json").read_text(encoding="utf-8"))["inputs"]
    complete = rows.select(each["name"] for each in inputs).to_dicts()
    return Work(folder / "tables", since, rows.select(REQUESTED).to_dicts(), complete)


def ours(work: Work, url: str, lookups: int) -> Rates:
    """Measure a store of ours, which is empty; leave all in it that the requests of the day need."""
    from trunkline.conf.serving import Online
    from trunkline.serve import materialize
    from trunkline.serve.online.features import put
    from trunkline.serve.online.values import micros

    online = materialize.opened(paths.BUNDLE, Online(store=url), url, os.environ)
    start = time.perf_counter()
    files = {name: work.until / f"{name}.parquet" for name in online.tables}
    filled = [materialize.materialize(online, name, path, None, lambda _: None) for name, path in files.items()]
    materialized = sum(each.rows for each in filled) / (time.perf_counter() - start)
    online.store.expire(micros(DAY - PUSHED - KEPT))
    start = time.perf_counter()
    for name, rows in work.since.items():
        table = online.tables[name]
        for place in range(0, len(rows), AT_ONCE):
            part = [table.reader.read(row, table.needed) for row in rows[place : place + AT_ONCE]]
            put(table, online.store, part)
    pushed = sum(map(len, work.since.values())) / (time.perf_counter() - start)
    online.store.expire(micros(DAY - KEPT))
    return Rates(materialized, pushed, *_lookups(online, list(islice(cycle(work.requests), lookups))))


def _lookups(online: "OnlineFeatures", requests: Sequence[Mapping[str, Any]]) -> tuple[float, float, float]:
    """Return how many requests are joined a second, one by one, and what one takes, in ms: p50 and p99."""
    taken = []
    for request in requests:
        start = time.perf_counter()
        online.requested([request])
        taken.append(time.perf_counter() - start)
    p50, p99 = 1e3 * np.percentile(taken, [50, 99])
    return len(taken) / sum(taken), float(p50), float(p99)


def _feast(folder: Path, days: int, lookups: int, stores: Mapping[str, str]) -> tuple[dict[str, Rates], dict[str, str]]:
    """Measure Feast's stores of the kinds it shares with us; return why one was left out, too."""
    rates, missing = {}, {}
    try:
        python = environment.python(FEAST)
    except MissingError as error:
        return {}, {"Feast": str(error)}
    _write_views(folder / "feast", days)
    online_stores = {
        "SQLite": {"type": "sqlite", "path": str(folder / "feast/online.db")},
        "Redis": {"type": "redis", "connection_string": stores["Redis"].removeprefix("redis://").removesuffix("/0")},
    }
    for name, declared in online_stores.items():
        given = {"store": declared, "folder": str(folder / "feast"), "lookups": lookups, "at_once": AT_ONCE}
        command = [str(python), str(Path(__file__).parent / "peers/feast_store.py"), json.dumps(given)]
        done = subprocess.run(command, capture_output=True, text=True, check=False)  # noqa: S603
        if done.returncode:
            missing[f"Feast, {name}"] = done.stderr.strip().splitlines()[-1]
        else:
            rates[f"Feast, {name}"] = Rates(**json.loads(done.stdout.strip().splitlines()[-1]))
    return rates, missing


def _write_views(folder: Path, days: int) -> None:
    """Write each view's keys and features of the flights, as they were before the push and since."""
    from trunkline.serve.online.plan import feature_names
    from trunkline.serve.raw import RawRows

    raw = RawRows.parse((paths.BUNDLE / "features.json").read_bytes())
    if raw is None:
        raise SystemExit(f"{paths.BUNDLE}: does not say how features are made; run: dvc repro")
    parts = [pl.read_parquet(paths.FEATURES / f"{name}.parquet") for name in ("train", "holdout")]
    rows = pl.concat(parts).with_columns(event_timestamp=pl.datetime("year", "month", "day", time_zone="UTC"))
    rows = rows.filter(pl.col("event_timestamp").dt.replace_time_zone(None) >= DAY - timedelta(days=days))
    views = {
        view.name: {"keys": view.keys, "features": [name for name in feature_names(view) if name in rows.columns]}
        for view in raw.plan.primitives
    }
    folder.mkdir()
    (folder / "views.json").write_text(json.dumps(views), encoding="utf-8")
    since = pl.col("event_timestamp").dt.replace_time_zone(None) >= DAY - PUSHED
    for name, view in views.items():
        columns = rows.select(*view["keys"], *view["features"], "event_timestamp").drop_nulls(view["keys"])
        columns.filter(~since).write_parquet(folder / f"{name}.until.parquet")
        columns.filter(since).write_parquet(folder / f"{name}.since.parquet")
    keys = sorted({key for view in views.values() for key in view["keys"]})
    rows.filter(pl.date("year", "month", "day") == DAY.date()).select(keys).write_parquet(folder / "requests.parquet")


def asked(
    work: Work, stores: Mapping[str, str], seconds: int, rounds: int, folder: Path
) -> dict[tuple[str, int], list[Cell]]:
    """Return what answers took in every round, by store and connections."""
    rows, requests = _question(work.rows), _question(work.requests)
    cells: dict[tuple[str, int], list[Cell]] = defaultdict(list)
    with ExitStack() as stack:
        ports = {
            name: stack.enter_context(_serving(url, work, folder / f"served-{name}")) for name, url in stores.items()
        }
        for _ in range(rounds):
            for name, port in ports.items():
                for count in CONNECTIONS:
                    of_rows, joined = (load.ask(port, each, count, seconds, folder) for each in (rows, requests))
                    cells[name, count].append(Cell(of_rows.p50, of_rows.p99, joined.p50, joined.p99))
                    if failed := of_rows.failed + joined.failed:
                        raise SystemExit(f"{name}: {failed:,} requests failed")
    return cells


@contextlib.contextmanager
def _serving(url: str, work: Work, folder: Path) -> Iterator[int]:
    """Yield the port of a server that joins from a store, once it gives a request the score of its row."""
    folder.mkdir()
    port = free_port()
    declared = {"bind": f"127.0.0.1:{port}", "online": {"store": url}}
    command = own(Path(sys.executable), paths.BUNDLE.absolute(), folder, 1, declared)
    row, request = (_question(each[:1]) for each in (work.rows, work.requests))
    with running(command, port, row, folder, {}) as server:
        joined = json.loads(once(port, request)[1])
        if not abs(joined.get("score", np.nan) - server.answer["score"]) <= TOLERANCE:
            raise SystemExit(f"{url}: a request is answered {joined}, and its row {server.answer}")
        for question in (row, request):
            load.ask(port, question, 1, WARM_UP, folder)
        yield port


def _question(rows: Sequence[Mapping[str, Any]]) -> Question:
    """Return a question for each row, asked in turn."""
    first, *others = map(msgspec.json.encode, rows)
    return Question("/v1/predict", first, HEADERS, others)


def rates_table(rates: Mapping[str, Rates]) -> str:
    """Return a table in Markdown."""
    header = ("store", "rows materialised/s", "rows pushed/s", "lookups/s", "p50, ms", "p99, ms")
    return _table(header, [(name, *map(_figure, dataclasses.astuple(each))) for name, each in rates.items()])


def http_table(cells: Mapping[tuple[str, int], Sequence[Cell]]) -> str:
    """Return a table in Markdown of medians; a ratio is the median of those of the rounds."""
    header = ("joined from", "connections", "rows p50, ms", "rows p99, ms", "joined p50, ms", "joined p99, ms")
    lines = []
    for (name, count), rounds in sorted(cells.items(), key=lambda item: item[0][1]):
        p50 = statistics.median(each.joined_p50 / each.rows_p50 for each in rounds)
        p99 = statistics.median(each.joined_p99 / each.rows_p99 for each in rounds)
        figures = [_figure(statistics.median(each)) for each in zip(*map(dataclasses.astuple, rounds), strict=True)]
        lines.append((name, str(count), *figures[:2], f"{figures[2]} ({p50:,.2f})", f"{figures[3]} ({p99:,.2f})"))
    return _table(header, lines)


def _table(header: Sequence[str], lines: Sequence[Sequence[str]]) -> str:
    rule = ("---", *["--:"] * (len(header) - 1))
    return "".join(f"| {' | '.join(line)} |\n" for line in (header, rule, *lines))


def _figure(value: float) -> str:
    return f"{value:,.{0 if value >= 100 else 2}f}"


def _plain(cells: Mapping[tuple[str, int], Sequence[Cell]]) -> list[dict[str, Any]]:
    return [
        {"store": name, "connections": count, "round": number} | dataclasses.asdict(cell)
        for (name, count), rounds in cells.items()
        for number, cell in enumerate(rounds, 1)
    ]


if __name__ == "__main__":
    main()
