"""Whether the latest event of an entity is the same from run to run, where several happen at the same instant.

For each of 336,776 flights, the delay of the last one whose delay was known at its airport two hours before; several
become known in the same minute. By DuckDB's ASOF join, as one would write it; and by the engine of the features, where
the source's unique key orders what happens at once. Each is run so many times with so many threads; counted are the
rows whose delay is not that of the first run.
Needs what `make repro` leaves. Run: python -m benchmarks.ties [--runs 5] [--threads 4]
"""

import argparse
import os
import sys
import tempfile
from pathlib import Path

import duckdb
import polars as pl

KEY = ["year", "month", "day", "carrier", "flight", "sched_dep_time"]
ASOF = """
WITH flight AS (
    SELECT *, timezone('UTC', timezone('America/New_York',
        make_timestamp(year, month, day, sched_dep_time // 100, sched_dep_time % 100, 0))) AS event_time
    FROM 'data/valid/flights.parquet')
SELECT request.year, request.month, request.day, request.carrier, request.flight, request.sched_dep_time,
    event.dep_delay AS delay
FROM flight AS request
ASOF LEFT JOIN (
    SELECT origin, dep_delay, greatest(event_time, event_time + to_minutes(dep_delay)) AS known
    FROM flight WHERE dep_delay IS NOT NULL) AS event
ON request.origin = event.origin AND request.event_time - INTERVAL 2 HOURS > event.known
"""
FEATURES = {
    "streams": {
        "departures": {
            "table": "flights",
            "event_time": "local_time(year, month, day, sched_dep_time)",
            "available_at": "event_time + minutes(dep_delay)",
        }
    },
    "views": {
        "last": {"kind": "latest", "stream": "departures", "keys": ["origin"], "features": {"delay": "dep_delay"}}
    },
}


def main() -> None:
    """Run both, and print how many rows differ in Markdown."""
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--runs", type=int, default=5)
    options.add_argument("--threads", type=int, default=4)
    given = options.parse_args()
    sys.stdout.write("| by | rows | of these, other than in the first run |\n|---|--:|---|\n")
    for name, delays in (("ASOF join", asof), ("the engine", engine)):
        runs = [delays(given.threads) for _ in range(given.runs)]
        different = [int(runs[0].ne_missing(other).sum()) for other in runs[1:]]
        sys.stdout.write(f"| {name} | {len(runs[0]):,} | {', '.join(f'{count:,}' for count in different)} |\n")


def asof(threads: int) -> pl.Series:
    """Return the delays in order of the flights' key, by an ASOF join."""
    with duckdb.connect() as connection:
        connection.execute(f"SET threads={threads}")
        return pl.DataFrame(connection.sql(ASOF).to_arrow_table()).sort(KEY)["delay"]


def engine(threads: int) -> pl.Series:
    """Return the delays in order of the flights' key, by a view of kind `latest`."""
    from trunkline.conf.contract import Contract
    from trunkline.conf.data import Data
    from trunkline.conf.features import Features
    from trunkline.core import paths
    from trunkline.core.params import Params
    from trunkline.pipeline.features import compiler
    from trunkline.pipeline.features.duckdb import DuckDBEngine

    params = Params.read()
    plan = compiler.plan(Features.parse(FEATURES), params.group(Data), params.group(Contract))
    os.environ["OMP_NUM_THREADS"] = str(threads)  # as many as a connection of ours takes
    with tempfile.TemporaryDirectory() as folder, DuckDBEngine(plan, paths.VALID) as computed:
        computed.load_requests()
        for view in plan.primitives:
            computed.compute(view)
        computed.write(Path(folder, "features.parquet"))
        return pl.read_parquet(Path(folder, "features.parquet")).sort(KEY)["delay"]


if __name__ == "__main__":
    main()
