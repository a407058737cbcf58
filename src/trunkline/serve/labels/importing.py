"""Adds the outcomes of a file to those of a log, and says which predictions they are of.

Nothing is ever overwritten: an outcome that is corrected is one more, which arrives later. What is there already is not
added again, so that an import that was killed goes on when it is run again.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime

import polars as pl

from trunkline.serve.labels import identity, join, store
from trunkline.serve.labels.file import NUMBER, OutcomesFile, Part
from trunkline.serve.labels.identity import IDENTITY, PLACE, Key
from trunkline.serve.labels.store import ARRIVED, INSTANT, OUTCOME
from trunkline.serve.log import REQUEST, TIME
from trunkline.serve.prediction_log.place import Place
from trunkline.serve.prediction_log.segments import PREDICTION_TIME, ROW

CONTRADICTS = "another outcome arrived at the same time; a corrected one arrives later: --at names its column"

_PREDICTION, _PREDICTED = "prediction", "predicted_at"
_TIME = "%Y-%m-%dT%H:%M:%SZ"


@dataclass
class Imported:
    """What became of the rows of a file; all but `matched`, `unmatched` and `early` are a part of `rows` each.

    `matched` are outcomes of which the log has a prediction, `early` those that arrived before it was made, in words by
    number; `refused` says why, by number.
    """

    rows: int = 0
    stored: int = 0
    before: int = 0
    missing: int = 0
    later: int = 0
    refused: dict[int, str] = field(default_factory=dict)
    matched: int = 0
    unmatched: int = 0
    early: dict[int, str] = field(default_factory=dict)


def run(
    file: OutcomesFile, place: Place, now: datetime, advance: Callable[[int], object], *, dry_run: bool = False
) -> Imported:
    """Store what a file has and the log has not; `advance` is called with numbers of rows, `now` is UTC.

    Raises UserError for a file that as a whole is not as declared, OutsideError for a log that cannot be read.
    """
    file.check()
    about = file.declared.about(by_key=file.by.id is None)
    kept, predicted, done = store.read(place, about.task), _predictions(place, about.key), Imported()
    for part in file.parts(now):
        rows = identity.identified(part.outcomes)
        new, contradicting = _new(rows, kept.rows, says_when=file.says_when)
        _count(done, part, new, contradicting)
        _match(done, rows.join(contradicting, on=NUMBER, how="anti", maintain_order="left"), predicted)
        if new.height and not dry_run:
            store.write(place, about, new, now)
        kept = kept.with_rows(new, now)
        advance(part.rows)
    return done


def _new(rows: pl.DataFrame, kept: pl.DataFrame, *, says_when: bool) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Return the outcomes that are not kept yet, and those that contradict one which arrived at the same time."""
    known = kept.select(IDENTITY, OUTCOME, ARRIVED)
    if not says_when:  # each arrives as it is imported, so what is known already is not new
        last = known.sort(ARRIVED).unique(IDENTITY, keep="last")
        rows = rows.join(last, on=[IDENTITY, OUTCOME], how="anti", maintain_order="left")
    fresh = rows.join(known, on=[IDENTITY, OUTCOME, ARRIVED], how="anti", maintain_order="left")
    fresh = fresh.unique([IDENTITY, OUTCOME, ARRIVED], keep="first", maintain_order=True)
    new = fresh.join(known, on=[IDENTITY, ARRIVED], how="anti", maintain_order="left")
    new = new.unique([IDENTITY, ARRIVED], keep="first", maintain_order=True)
    return new, fresh.join(new, on=NUMBER, how="anti", maintain_order="left")


def _count(done: Imported, part: Part, new: pl.DataFrame, contradicting: pl.DataFrame) -> None:
    done.rows += part.rows
    done.missing += part.missing
    done.later += part.later
    done.stored += new.height
    done.before += part.outcomes.height - new.height - contradicting.height
    refused = part.refused | dict.fromkeys(contradicting[NUMBER], CONTRADICTS)
    done.refused |= dict(sorted(refused.items()))


def _match(done: Imported, rows: pl.DataFrame, predicted: pl.DataFrame) -> None:
    """Count the outcomes of which the log has a prediction, and note those that arrived before it was made."""
    matched = rows.join(predicted, on=IDENTITY, maintain_order="left")
    done.matched += matched.height
    done.unmatched += rows.height - matched.height
    early = matched.filter(pl.col(ARRIVED) < pl.col(_PREDICTED))
    for number, arrived, request, predicted_at in early.select(NUMBER, ARRIVED, _PREDICTION, _PREDICTED).iter_rows():
        done.early[number] = (
            f"arrived at {arrived:{_TIME}}, before the prediction {request}, made at {predicted_at:{_TIME}}"
        )


def _predictions(place: Place, key: Key | None) -> pl.DataFrame:
    """Return the identities of all predictions, with the last that has each, and when that was made."""
    keys = () if key is None else (key,)
    columns = (REQUEST, ROW, TIME, PREDICTION_TIME)
    moment = pl.coalesce(PREDICTION_TIME, TIME).alias(_PREDICTED)
    pieces = [pl.DataFrame(schema={IDENTITY: pl.String(), _PREDICTION: pl.String(), _PREDICTED: INSTANT})]
    for rows in join.predictions(place, *columns, keys=bool(keys)):
        numbered = rows.select(pl.int_range(pl.len()).alias(PLACE), pl.col(REQUEST).alias(_PREDICTION), moment)
        pieces.append(identity.of_predictions(rows, keys).join(numbered, on=PLACE).drop(PLACE))
    return pl.concat(pieces).sort(_PREDICTED).unique(IDENTITY, keep="last")
