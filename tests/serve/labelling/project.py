"""A log of predictions of trips, of which some are unsure, some have an outcome and some are scored by two arms."""

import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from click.testing import CliRunner

from tests.serve.labels.project import OPEN, PARAMS, START, after
from trunkline.cli import trunkline
from trunkline.serve.log import DIGEST, REQUEST, TIME
from trunkline.serve.prediction_log import segments
from trunkline.serve.prediction_log.messages import Scorer
from trunkline.serve.prediction_log.place import Place, folder
from trunkline.serve.prediction_log.segments import ScoredRows

CITIES = ("Roma", "Bari", "Roma", "Roma", "Bari", "Pisa")
LOGGED = {"serving": {"log": {"to": "log"}}}
SCORES = (0.9, 0.55, 0.48, 0.1, 0.5, 0.7)


def write_project(folder_of_it: Path) -> None:
    """Write params.yaml and a log of six predictions, a to f, of which e has an outcome."""
    (folder_of_it / "params.yaml").write_text(json.dumps(PARAMS | LOGGED))
    arm(Place(str(folder_of_it / "log")), "v1", None, SCORES)


def arm(place: Place, version: str, name: str | None, scores: Sequence[float]) -> None:
    """Write a segment of an arm: requests a, b, … with a trip's number, its city and its hour."""
    scorer = Scorer(version[-1] * 64, version, [("hour", "integer")], ["score"])
    count = len(scores)
    trips = [{"city": city, "nr": number, "delay": 99} for number, city in enumerate(CITIES, 1)][:count]
    given = {
        REQUEST: list("abcdef")[:count],
        segments.ROW: [0] * count,
        TIME: [int(after(minute).timestamp() * 1e6) for minute in range(count)],
        "version": [version] * count,
        DIGEST: [version[-1] * 64] * count,
        segments.ARM: [name] * count,
        "route": ["/v1/predict"] * count,
        segments.COLUMNS: [json.dumps(trip) for trip in trips],
    }
    hours = np.arange(count, dtype=float)[:, None]
    scored = ScoredRows(hours, np.empty((count, 0), object), np.array(scores)[:, None])
    place.write(folder(version, "", START.timestamp()), "part-0.parquet", segments.table(scorer, OPEN, given, scored))


def run(*arguments: str, code: int = 0) -> str:
    """Return what a verb prints."""
    done = CliRunner().invoke(trunkline, arguments, catch_exceptions=False)
    assert done.exit_code == code, done.output
    return done.output
