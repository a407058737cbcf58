"""A project that predicts whether a trip is late, and a log of its predictions."""

import json
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from trunkline.core.params import Params
from trunkline.serve.labels.declared import Declared
from trunkline.serve.labels.file import Columns, OutcomesFile
from trunkline.serve.log import DIGEST, REQUEST, TIME
from trunkline.serve.prediction_log import segments
from trunkline.serve.prediction_log.messages import Scorer
from trunkline.serve.prediction_log.place import Place, folder
from trunkline.serve.prediction_log.privacy import Privacy
from trunkline.serve.prediction_log.segments import ScoredRows
from trunkline.serve.tables import open_table

START = datetime(2026, 11, 1, tzinfo=UTC)
NOW = datetime(2026, 11, 29, tzinfo=UTC)
BY_EVENT = Columns()
OPEN = Privacy({}, "keep", frozenset(), None)
COLUMNS = {
    "nr": {"type": "integer", "min": 0},
    "at": {"type": "time"},
    "city": {"type": "text", "nullable": True},
    "delay": {"type": "integer", "nullable": True, "known": "outcome"},
}
PARAMS: dict[str, Any] = {
    "data": {
        "sources": {"trips": {"kind": "files", "url": "in/", "files": {"trips.csv": None}}},
        "observations": "trips",
        "unique_key": ["nr"],
        "event_time": "at",
        "prediction_lead": "1h",
        "target": {"name": "late", "expression": "delay > 5", "known_after": "1d"},
        "window": {"train": "2026-09", "holdout": "2026-10"},
    },
    "contract": {
        "tables": {
            "trips": {
                "privacy": "public",
                "unique": ["nr"],
                "columns": {name: {"description": "What it is"} | column for name, column in COLUMNS.items()},
            }
        }
    },
}
WINE = {"window": None, "split": {"holdout": 0.3}, "event_time": None, "prediction_lead": None}


def after(minutes: float) -> datetime:
    return START + timedelta(minutes=minutes)


def declared(privacy: Privacy = OPEN, target: dict[str, Any] | None = None, **data: Any) -> Declared:
    changed = PARAMS["data"] | data | ({"target": target} if target else {})
    return Declared.of(Params(PARAMS | {"data": changed}), privacy)


def file(
    path: Path, content: dict[str, Sequence[Any]], by: Columns = BY_EVENT, of: Declared | None = None
) -> OutcomesFile:
    frame = pl.DataFrame(content, strict=False)
    frame.write_csv(path) if path.suffix == ".csv" else frame.write_parquet(path)
    return OutcomesFile(open_table(path), of or declared(), by)


def log(
    place: Place,
    rows: Sequence[tuple[str, int, datetime, int | None]],
    privacy: Privacy = OPEN,
    environment: str | None = None,
) -> None:
    """Write a segment of predictions: request id, row, when it was made, and the trip's number if the log has it."""
    scorer = Scorer("d" * 64, "v1", [("hour", "integer")], ["score"])
    keys = [None if nr is None else privacy.request_columns(json.dumps({"city": "Roma", "nr": nr})) for *_, nr in rows]
    given = {
        REQUEST: [request for request, *_ in rows],
        segments.ROW: [row for _, row, *_ in rows],
        TIME: [int(time.timestamp() * 1e6) for _, _, time, _ in rows],
        "version": ["v1"] * len(rows),
        DIGEST: ["d" * 64] * len(rows),
        "route": ["/v1/predict"] * len(rows),
        segments.COLUMNS: keys,
        segments.ENVIRONMENT: [environment] * len(rows),
    }
    scored = ScoredRows(np.zeros((len(rows), 1)), np.empty((len(rows), 0), object), np.full((len(rows), 1), 0.5))
    where = folder("v1", "d" * 64, START.timestamp())
    place.write(where, f"part-{len(place.names(where))}.parquet", segments.table(scorer, privacy, given, scored))
