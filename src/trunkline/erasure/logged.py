"""The subject in a prediction log: segments and outcomes, which are rewritten without their rows.

Outcomes come first: those by request id are known by the predictions alone. A segment is written by one process once
and never changed, so that one which is replaced whole loses nothing of others; a run that was killed is run again.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

import polars as pl

from trunkline.core.errors import OutsideError, one_line
from trunkline.erasure.place import GONE, HERE, Kind
from trunkline.erasure.place import Place as Where
from trunkline.erasure.subject import Subject
from trunkline.serve.labels.identity import KEY
from trunkline.serve.log import INPUTS, REQUEST
from trunkline.serve.prediction_log.place import LABELS, Place
from trunkline.serve.prediction_log.segments import COLUMNS, ROW

_LEFT = timedelta(hours=1)  # after which nobody is writing a file any more


@dataclass
class Logged:
    """How many rows of the subject a log has, and with `rows` themselves, as they are stored."""

    segments: int = 0
    outcomes: int = 0
    unfinished: int = 0
    rows: list[dict[str, Any]] = field(default_factory=list)

    def places(self, name: str, *, erased: bool) -> list[Where]:
        """Return the log and its outcomes as places; none that hold nothing."""
        then, state = ("was rewritten without them", GONE) if erased else ("is rewritten without them", HERE)
        counts: dict[Kind, int] = {"log": self.segments, "outcomes": self.outcomes}
        places = [Where(kind, name, count, state, then) for kind, count in counts.items() if count]
        if self.unfinished:
            left = "left by processes that were killed; nobody looks into them, they are deleted"
            places.append(Where("log", f"{name}: {self.unfinished:,} unfinished files", None, state, left))
        return places


def search(place: Place, subject: Subject, now: datetime, *, export: bool = False) -> Logged:
    """Return what a log has of the subject as of now (UTC); nothing is written."""
    logged, ids = Logged(unfinished=len(place.unfinished(now - _LEFT))), _ids(place, subject)
    for table, mask in _segments(place, subject):
        logged.segments += int(mask.sum())
        logged.rows += _dicts("log", table, mask) if export else []
    for table, mask in _outcomes(place, subject, ids):
        logged.outcomes += int(mask.sum())
        logged.rows += _dicts("outcomes", table, mask) if export else []
    return logged


def erase(place: Place, subject: Subject, now: datetime) -> Logged:
    """Rewrite the outcomes, then the segments, that have rows of the subject, and delete what killed processes left.

    Raises OutsideError where that fails.
    """
    logged, ids = Logged(), _ids(place, subject)
    for folder, name in place.unfinished(now - _LEFT):
        place.remove(folder, name)
        logged.unfinished += 1
    for name in place.labels():
        logged.outcomes += _rewrite(place, LABELS, name, lambda table: _of_outcomes(table, subject, ids))
    for folder, name in place.segments():
        logged.segments += _rewrite(place, folder, name, lambda table: _of_segment(table, subject))
    return logged


def _rewrite(place: Place, folder: str, name: str, of: Callable[[Any], pl.Series]) -> int:
    """Write a file anew without the rows of the subject, and return how many those were."""
    with place.open(folder, name) as file:
        table = file.read()
    mask = of(table)
    if not mask.any():
        return 0
    kept = table.filter((~mask).to_arrow())
    try:
        if kept.num_rows:
            place.write(folder, name, kept)
        else:
            place.remove(folder, name)
    except OSError as error:
        raise OutsideError(f"{folder}/{name}: cannot be written: {one_line(error)}; run again") from None
    return int(mask.sum())


def _segments(place: Place, subject: Subject) -> Iterator[tuple[Any, pl.Series]]:
    for folder, name in place.segments():
        with place.open(folder, name) as file:
            table = file.read()
        yield table, _of_segment(table, subject)


def _outcomes(place: Place, subject: Subject, ids: set[tuple[str, int]]) -> Iterator[tuple[Any, pl.Series]]:
    for name in place.labels():
        with place.open(LABELS, name) as file:
            table = file.read()
        yield table, _of_outcomes(table, subject, ids)


def _ids(place: Place, subject: Subject) -> set[tuple[str, int]]:
    """Return request id and row of each prediction of the subject."""
    return {
        each
        for table, mask in _segments(place, subject)
        for each in pl.DataFrame(pl.from_arrow(table.select([REQUEST, ROW]))).filter(mask).iter_rows()
    }


def _of_segment(table: Any, subject: Subject) -> pl.Series:
    """Return which rows of a segment have the subject among the request's columns or the inputs."""
    frame = pl.DataFrame(pl.from_arrow(table.select([COLUMNS, INPUTS])))
    mask = pl.Series([subject.is_in(text) for text in frame[COLUMNS]], dtype=pl.Boolean)
    inputs = frame.schema[INPUTS]
    if isinstance(inputs, pl.Struct) and subject.column in (each.name for each in inputs.fields):
        mask |= subject.matches(frame[INPUTS].struct.field(subject.column))
    return mask


def _of_outcomes(table: Any, subject: Subject, ids: set[tuple[str, int]]) -> pl.Series:
    """Return which outcomes are of the subject's key, or of one of their predictions."""
    frame = pl.DataFrame(pl.from_arrow(table.select([KEY, REQUEST, ROW])))
    return pl.Series(
        [subject.is_in(key) or (request, row) in ids for key, request, row in frame.iter_rows()], dtype=pl.Boolean
    )


def _dicts(kind: str, table: Any, mask: pl.Series) -> list[dict[str, Any]]:
    rows = pl.DataFrame(pl.from_arrow(table)).filter(mask)
    return [{"place": kind, **row} for row in rows.to_dicts()]
