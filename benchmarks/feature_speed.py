"""Feature building on the reference year beside the same joins written by hand in SQL, and beside Feast.

By hand: all features of all 336,776 flights, point in time, in one query of DuckDB, Parquet to Parquet, with the same
threads; every value is compared. Feast: its historical retrieval of the latest weather report for every flight, from
files to a frame in memory, where the engine writes a file; with its DuckDB store, in an environment of its own that is
made in a temporary folder. (Its file store joins every flight with every report of the airport, 2.9 billion rows,
before it picks the latest, and is killed for it.) Each is timed without its imports, in turn, in processes of their
own; the best round counts. Asked: at most 2 times the query, at least 5 times faster than Feast.
Needs what `make repro` leaves, and the package registry. Run: python benchmarks/feature_speed.py [--feast PYTHON]
"""

import argparse
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROUNDS = 5
KEY = ["year", "month", "day", "carrier", "flight", "sched_dep_time"]
WEATHER = {"dew_point": "dewp", "humidity": "humid", "precipitation": "precip", "pressure": "pressure"} | {
    "temperature": "temp", "visibility": "visib", "wind_direction": "wind_dir", "wind_speed": "wind_speed"
}  # fmt: skip
PARTS = {"engine": "the engine", "sql": "SQL by hand", "weather": "the engine, weather", "feast": "Feast, weather"}

# What each rolling view sums: its stream, its keys, its window in hours, and its sums by their names.
ROLLING = {
    "origin_1h": ("departure", "origin", 1, {"delay": "dep_delay"}),
    "origin_3h": ("departure", "origin", 3, {"delay": "dep_delay"}),
    "origin_24h": ("departure", "origin", 24, {"delay": "dep_delay"}),
    "origin_6h": ("arrival", "origin", 6, {"late": "(arr_delay > 15)::INT", "gain": "arr_delay - dep_delay"}),
    "carrier_6h": ("departure", "origin, carrier", 6, {"delay": "dep_delay"}),
    "carrier_7d": ("arrival", "origin, carrier", 168, {"delay": "arr_delay", "late": "(arr_delay > 15)::INT"}),
    "dest_8h": ("arrival", "dest", 8, {"delay": "arr_delay"}),
    "plane_3d": ("arrival", "tailnum", 72, {"delay": "arr_delay"}),
    "route_14d": ("arrival", "origin, dest", 336, {"delay": "arr_delay"}),
}
QUERY = """
WITH flight AS (
    SELECT *, timezone('UTC', timezone('America/New_York',
        make_timestamp(year, month, day, sched_dep_time // 100, sched_dep_time % 100, 0))) AS event_time
    FROM 'data/valid/flights.parquet'),
request AS (
    SELECT *, event_time - INTERVAL 2 HOURS AS now, timezone('America/New_York', timezone('UTC', event_time)) AS local
    FROM flight),
departure AS (
    SELECT *, greatest(event_time, event_time + to_minutes(dep_delay)) AS known
    FROM flight WHERE dep_delay IS NOT NULL),
arrival AS (
    SELECT *, greatest(event_time, event_time + to_minutes(dep_delay + air_time + 60)) AS known
    FROM flight WHERE air_time IS NOT NULL),
plane_event AS (
    SELECT *, max(event_time) OVER (PARTITION BY tailnum ORDER BY known, event_time, year, month, day, carrier, flight,
        sched_dep_time ROWS UNBOUNDED PRECEDING) AS newest
    FROM arrival WHERE tailnum IS NOT NULL),
plane_last AS (
    SELECT * FROM plane_event WHERE event_time = newest
    QUALIFY row_number() OVER (PARTITION BY tailnum, known ORDER BY event_time DESC, year DESC, month DESC, day DESC,
        carrier DESC, flight DESC, sched_dep_time DESC) = 1),
observation AS (SELECT *, time_hour + INTERVAL 1 HOUR AS known FROM 'data/valid/weather.parquet'),
{rolling}
SELECT
    request.year, request.month, request.day, request.carrier, request.flight, request.sched_dep_time,
    request.arr_delay > 15 AS late,
    extract('hour' FROM local) * 60 + extract('minute' FROM local) AS departure_minute,
    extract('isodow' FROM local) AS weekday, request.dest, request.distance, request.origin,
    origin_1h.delay / nullif(origin_1h.n, 0) AS origin_departure_delay_1h,
    origin_3h.delay / nullif(origin_3h.n, 0) AS origin_departure_delay_3h,
    coalesce(origin_3h.n, 0) AS origin_departures_3h,
    origin_24h.delay / nullif(origin_24h.n, 0) AS origin_departure_delay_24h,
    origin_6h.late / nullif(origin_6h.n, 0) AS origin_late_share_6h,
    origin_6h.gain / nullif(origin_6h.n, 0) AS origin_gain_6h,
    carrier_6h.delay / nullif(carrier_6h.n, 0) AS carrier_departure_delay_6h,
    carrier_7d.delay / nullif(carrier_7d.n, 0) AS carrier_arrival_delay_7d,
    carrier_7d.late / nullif(carrier_7d.n, 0) AS carrier_late_share_7d,
    dest_8h.delay / nullif(dest_8h.n, 0) AS dest_arrival_delay_8h,
    plane_3d.delay / nullif(plane_3d.n, 0) AS plane_arrival_delay_3d,
    route_14d.delay / nullif(route_14d.n, 0) AS route_arrival_delay_14d,
    CASE WHEN plane_last.event_time >= now - INTERVAL 2 DAYS THEN plane_last.arr_delay END AS plane_last_arrival_delay,
    CASE WHEN plane_last.event_time >= now - INTERVAL 2 DAYS
        THEN (epoch_us(request.event_time) - epoch_us(plane_last.event_time)) / 60000000.0
        END AS plane_minutes_since_last,
    plane.engines AS plane_engines, plane.seats AS plane_seats, request.year - plane.year AS plane_age,
    {weather}
FROM request
{joins}
ASOF LEFT JOIN plane_last ON request.tailnum = plane_last.tailnum AND now > plane_last.known
ASOF LEFT JOIN observation ON request.origin = observation.origin AND now > observation.known
LEFT JOIN 'data/valid/planes.parquet' AS plane ON request.tailnum = plane.tailnum
WHERE request.arr_delay IS NOT NULL
ORDER BY request.event_time, request.year, request.month, request.day, request.carrier, request.flight,
    request.sched_dep_time
"""
DECLARATION = """
from datetime import timedelta
from feast import Entity, FeatureView, Field, FileSource
from feast.types import Float64
from feast.value_type import ValueType
origin = Entity(name="origin", join_keys=["origin"], value_type=ValueType.STRING)
source = FileSource(path="reports.parquet", timestamp_field="known")
fields = [Field(name=name, dtype=Float64) for name in {names}]
# Fresh reports are at most six hours old, and known after one.
weather = FeatureView(name="weather", entities=[origin], ttl=timedelta(hours=5), schema=fields, source=source)
"""
STORE = """
project: speed
registry: registry.db
provider: local
online_store: null
offline_store: {type: duckdb}
entity_key_serialization_version: 3
"""


def main() -> None:
    """Make the environment and the files, run all in turn, compare, print the table."""
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--feast", help="a Python that has feast[duckdb], pandas and pyarrow already")
    options.add_argument("--part", choices=[*PARTS, "prepare", "compare"], help=argparse.SUPPRESS)
    options.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
    given = options.parse_args()
    if given.part:
        run = {"engine": engine, "sql": sql, "weather": weather, "feast": feast, "prepare": prepare, "compare": compare}
        run[given.part](given.folder)
    else:
        with tempfile.TemporaryDirectory() as temporary:
            report(Path(temporary), given.feast or environment(Path(temporary, "environment")))


def report(folder: Path, python: str) -> None:
    """Time the parts in turn, each in its process, and print the best rounds."""
    part(sys.executable, folder, "prepare")
    wall, processor = dict.fromkeys(PARTS, float("inf")), dict.fromkeys(PARTS, float("inf"))
    for _ in range(ROUNDS):
        for name in PARTS:
            found = json.loads(part(python if name == "feast" else sys.executable, folder, name))
            wall[name], processor[name] = min(wall[name], found["wall"]), min(processor[name], found["processor"])
    sys.stdout.write(part(sys.executable, folder, "compare"))
    sys.stdout.write(f"{'':<20} {'seconds':>8} {'CPU s':>8}\n")
    for name, title in PARTS.items():
        sys.stdout.write(f"{title:<20} {wall[name]:>8.2f} {processor[name]:>8.2f}\n")
    sys.stdout.write(
        f"engine / SQL by hand: {wall['engine'] / wall['sql']:.2f} times, asked: at most 2 "
        f"(CPU: {processor['engine'] / processor['sql']:.2f})\n"
        f"weather, Feast / engine: {wall['feast'] / wall['weather']:.1f} times, asked: at least 5 "
        f"(CPU: {processor['feast'] / processor['weather']:.1f})\n"
    )


def environment(folder: Path) -> str:
    """Make an environment with Feast; return its Python."""
    import venv

    sys.stderr.write("installing Feast into an environment of its own\n")
    venv.create(folder, with_pip=True)
    python = str(folder / "bin/python")
    subprocess.run([python, "-m", "pip", "install", "--quiet", "feast[duckdb]"], check=True, stderr=subprocess.DEVNULL)  # noqa: S603
    return python


def part(python: str, folder: Path, name: str) -> str:
    """Run a part in a process of its own; return what it printed."""
    command = [python, __file__, "--folder", str(folder), "--part", name]
    return subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout.splitlines(keepends=True)[-1]  # noqa: S603


class Timed:
    """Prints the seconds of the clock and of the processor that a block takes."""

    def __enter__(self) -> None:
        self._began = time.perf_counter(), time.process_time()

    def __exit__(self, *_: object) -> None:
        wall, processor = self._began
        taken = {"wall": time.perf_counter() - wall, "processor": time.process_time() - processor}
        sys.stdout.write(json.dumps(taken) + "\n")


def sql(folder: Path) -> None:
    """Run the query that was written by hand."""
    from trunkline.core import machine

    machine.pin()
    from trunkline.core.tables import rows

    with rows.connect() as connection, Timed():
        connection.execute(f"COPY ({query()}) TO '{folder}/sql.parquet' (FORMAT parquet, COMPRESSION zstd)")


def query() -> str:
    """Return the query; a window's sums are those of what entered less those of what left, as of the prediction."""
    rolling, joins = [], []
    for name, (stream, keys, hours, sums) in ROLLING.items():
        added = ", ".join(f"{expression} AS {of}" for of, expression in sums.items())
        left = ", ".join(f"-({expression})" for expression in sums.values())
        running = ", ".join(
            f"sum(sum({of})) OVER (PARTITION BY {keys} ORDER BY moment)::BIGINT AS {of}" for of in [*sums, "n"]
        )
        rolling.append(f"""{name} AS (
            SELECT {keys}, moment, {running} FROM (
                SELECT {keys}, known AS moment, {added}, 1 AS n FROM {stream}
                UNION ALL
                SELECT {keys}, greatest(known, event_time + INTERVAL {hours} HOURS), {left}, -1 FROM {stream})
            GROUP BY {keys}, moment)""")  # noqa: S608
        same = " AND ".join(f"request.{key} = {name}.{key}" for key in keys.split(", "))
        joins.append(f"ASOF LEFT JOIN {name} ON {same} AND now > {name}.moment")
    weather = ", ".join(
        f"CASE WHEN observation.time_hour >= now - INTERVAL 6 HOURS THEN observation.{theirs} END AS {ours}"
        for ours, theirs in WEATHER.items()
    )
    return QUERY.format(rolling=",\n".join(rolling), joins="\n".join(joins), weather=weather)


def engine(folder: Path) -> None:
    """Compute the declared plan for every flight of the year, as the features stage does."""
    plan, data = declared()
    from trunkline.core import paths
    from trunkline.pipeline.features import split
    from trunkline.pipeline.features.duckdb import DuckDBEngine

    with Timed(), DuckDBEngine(plan, paths.VALID) as computing:
        split.materialize(computing, plan, data, folder / "engine")


def weather(folder: Path) -> None:
    """Compute the weather alone."""
    import dataclasses

    plan, _ = declared()
    from trunkline.core import paths
    from trunkline.pipeline.features.duckdb import DuckDBEngine

    views = tuple(view for view in plan.primitives if view.name == "weather")
    outputs = tuple(feature for feature in plan.outputs if feature.name in WEATHER)
    alone = dataclasses.replace(plan, primitives=views, rows=(), outputs=outputs)
    with Timed(), DuckDBEngine(alone, paths.VALID) as computing:
        computing.load_requests()
        computing.compute(views[0])
        computing.write(folder / "weather.parquet")


def declared():  # type: ignore[no-untyped-def]
    """Return the project's plan and data, with windows that leave no flight of the year out."""
    from trunkline.core import machine

    machine.pin()
    from trunkline.conf.contract import Contract
    from trunkline.conf.data import Data
    from trunkline.conf.features import Features
    from trunkline.core.params import Params
    from trunkline.pipeline.features import compiler

    params = Params.read()
    content = params.content["data"]
    target = content["target"] | {"known_after": "0s"}
    data = Data.parse(
        content | {"target": target, "window": {"train": "2013-01..2013-06", "holdout": "2013-07..2013-12"}}
    )
    return compiler.plan(params.group(Features), data, params.group(Contract)), data


def prepare(folder: Path) -> None:
    """Write what Feast reads: when each flight's prediction is made, and when each report became known."""
    import polars as pl

    flights = pl.scan_parquet("data/valid/flights.parquet")
    local = pl.datetime("year", "month", "day", "hour", "minute", time_zone="America/New_York")
    now = (local.dt.convert_time_zone("UTC") - pl.duration(hours=2)).alias("event_timestamp")
    flights.select("origin", now, *KEY).sink_parquet(folder / "requests.parquet")
    # Feast takes what became known at the very time of the prediction; the engine, what was known before.
    known = pl.col("time_hour").dt.replace_time_zone("UTC") + pl.duration(hours=1, microseconds=1)
    reports = pl.scan_parquet("data/valid/weather.parquet")
    values = [pl.col(theirs).cast(pl.Float64).alias(ours) for ours, theirs in WEATHER.items()]
    reports.select("origin", known.alias("known"), *values).sink_parquet(folder / "reports.parquet")
    (folder / "feature_store.yaml").write_text(STORE)
    (folder / "declared.py").write_text(DECLARATION.format(names=list(WEATHER)))
    sys.stdout.write("\n")


def feast(folder: Path) -> None:
    """Retrieve the weather with Feast; runs with Feast's Python."""
    import os
    import warnings

    os.chdir(folder)
    os.environ["FEAST_USAGE"] = "False"
    warnings.simplefilter("ignore")
    import pandas as pd
    from feast import FeatureStore

    sys.path.insert(0, ".")
    import declared as objects

    store = FeatureStore(repo_path=".")
    store.apply([objects.origin, objects.weather])
    names = [f"weather:{name}" for name in WEATHER]
    requests = pd.read_parquet(folder / "requests.parquet")
    with Timed():
        found = store.get_historical_features(requests, names).to_df()
    found.to_parquet(folder / "feast.parquet")


def compare(folder: Path) -> None:
    """Compare every value of the parts, row by row."""
    import polars as pl

    ours = pl.concat([pl.read_parquet(folder / f"engine/{name}.parquet") for name in ("train", "holdout")])
    theirs = pl.read_parquet(folder / "sql.parquet")
    ours = ours.select(theirs.columns)
    if not ours.equals(theirs.cast(dict(ours.schema))):
        raise SystemExit("the query by hand gives other values")
    values = pl.col(list(WEATHER)).cast(pl.Float64).fill_nan(None)
    alone, found = (
        pl.read_parquet(folder / f"{name}.parquet").select(*KEY, values).sort(KEY) for name in ("weather", "feast")
    )
    if not found.equals(alone):
        raise SystemExit("Feast gives other values")
    sys.stdout.write(f"{ours.height:,} flights x {ours.width} columns; all values are equal\n")


if __name__ == "__main__":
    main()
