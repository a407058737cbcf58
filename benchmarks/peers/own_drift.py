"""Measures a log as `trunkline monitor` does, as a process of its own: a folder with log/ and reference.json.

Printed as JSON are the columns whose PSI is above a bound in the last window, and how many rows it has.
"""

import json
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path

import polars as pl

from trunkline.core.files import parse_json
from trunkline.monitor.measure import Plan, Source, measure
from trunkline.serve.labels import store
from trunkline.serve.prediction_log.place import Place


def main(folder: Path, bound: float) -> None:
    """Measure windows of a day."""
    reference, place = parse_json((folder / "reference.json").read_text(encoding="utf-8")), Place(str(folder / "log"))
    plan = Plan(datetime(2026, 1, 1, tzinfo=UTC), datetime(2027, 1, 1, tzinfo=UTC), timedelta(days=1))
    table = measure(Source(place, reference, store.read(place, "binary")), plan).table
    drifted = table.filter(pl.col("value") >= bound, kind="feature", measure="psi")["subject"].unique().sort()
    rows = table.filter(kind="score", measure="psi")["rows"].sum()
    sys.stdout.write(json.dumps({"flagged": drifted.to_list(), "rows": rows}) + "\n")


if __name__ == "__main__":
    main(Path(sys.argv[1]), float(sys.argv[2]))
