"""Finds a prediction by its request id in prediction logs: tables of any number, of which only two columns are certain.

The format is in docs/lineage.md. A log is what others have written: every value is a text or a number, no row
stops the search, and what is shown of it cannot steer a terminal.
"""

import json
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from itertools import islice
from pathlib import Path
from typing import Any

import duckdb
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq

from trunkline.core.errors import OutsideError, UserError
from trunkline.serve.labels import join, store
from trunkline.serve.log import DIGEST, INPUTS, REQUEST, SCORE, TIME, Outcome, Prediction
from trunkline.serve.prediction_log import sealed
from trunkline.serve.prediction_log.place import LABELS, Place, is_of_labels
from trunkline.serve.prediction_log.sealed import Keys
from trunkline.serve.prediction_log.segments import ARM, COLUMNS, PROBLEM, ROW, SCORING
from trunkline.show.text import clean

MOST = 10_000  # files that a folder or a pattern may stand for

_TABLES = {
    ".parquet": "read_parquet(?, hive_partitioning=false)",
    ".csv": "read_csv(?, header=false, all_varchar=true, hive_partitioning=false)",
}
# Of a half-written last line, nothing.
_LINES = "SELECT json FROM read_ndjson_objects(?, ignore_errors=true) WHERE json->>'request_id' = ?"
_SUFFIXES = (*_TABLES, ".jsonl", ".ndjson")
_CURRENT, _SHADOW = "current", "shadow"  # arms
_OF_A_ROLLOUT = (ARM, SCORING, PROBLEM)


def find(logs: Sequence[str], request: str, keys: Keys | None = None) -> Prediction | None:
    """Look in files, folders and patterns for the row of a request id: of a rollout, that which was answered.

    Returns None if no row has it. Raises UserError for a file that is not a log, and for rows of one id by several
    bundles; OutsideError for a file that cannot be read.
    """
    files = expand(logs)
    with duckdb.connect(config={"autoinstall_known_extensions": "false", "TimeZone": "UTC"}) as connection:
        logged = [each for path in files for each in _rows(connection, path, request, keys)]
    answered = [each for each in logged if each[0].problem is None and each[0].arm != _SHADOW]
    beside = tuple(_beside(row, said) for row, said in logged if (row, said) not in answered)
    chosen = answered or [each for each in logged if each[0].arm == _CURRENT] or logged
    rows = [row for row, _ in chosen]
    digests = sorted({row.digest for row in rows})
    if len(digests) > 1:
        places = ", ".join(
            f"{digest[:12]} in {next(row.log for row in rows if row.digest == digest)}" for digest in digests
        )
        raise UserError(f"{clean(request)}: predictions by several bundles have this id: {places}; name one log")
    return replace(rows[0], outcomes=_outcomes(*chosen[0], keys), beside=beside if answered else ()) if rows else None


def _beside(row: Prediction, logged: Mapping[str, Any]) -> str:
    """Return what an arm said of a row that another one answered."""
    said = row.problem if row.problem is not None else "scored" if row.score is None else f"score {row.score:g}"
    return f"{row.arm} {clean(str(logged.get('version') or row.digest[:12]))}: {said}"


def _outcomes(prediction: Prediction, logged: Mapping[str, Any], keys: Keys | None) -> tuple[Outcome, ...]:
    """Return what has arrived of a prediction, as it is kept in the folder `labels` of its log."""
    folder = next((each for each in islice(Path(prediction.log).parents, 3) if (each / LABELS).is_dir()), None)
    outcomes = store.read(Place(str(folder), keys)) if folder is not None else None
    if outcomes is None or outcomes.rows.is_empty():
        return ()
    names = {name for key in outcomes.keys for name in key.names}
    inputs = {name: None if value is None else str(value) for name, value in logged.items() if name in names}
    number = str(logged.get(ROW, 0))
    one = {
        REQUEST: str(logged[REQUEST]),
        ROW: int(number) if number.isdecimal() else 0,
        COLUMNS: logged.get(COLUMNS),
        INPUTS: inputs,
    }
    texts = pl.Struct(dict.fromkeys(inputs, pl.String()))
    schema = {REQUEST: pl.String(), ROW: pl.Int64(), COLUMNS: pl.String(), INPUTS: texts}
    return tuple(join.of_one(outcomes, pl.DataFrame([one], schema)))


def expand(logs: Sequence[str]) -> tuple[Path, ...]:
    """Return the files that the logs stand for, sorted; raises UserError for none, or for too many."""
    files: dict[Path, None] = {}
    for text in logs:
        path = Path(text)
        candidates = path.rglob("*") if path.is_dir() else [path] if path.exists() else _glob(path)
        matched = sorted(each for each in candidates if each.suffix in _SUFFIXES and each.is_file())
        if not path.is_file():
            matched = [each for each in matched if not is_of_labels(each.as_posix())]
        if not matched:
            kinds = ", ".join(_SUFFIXES)
            raise UserError(
                f"--log {clean(text)}: no prediction log is there; name a file, a folder or a pattern of {kinds}"
            )
        files |= dict.fromkeys(matched)
    if len(files) > MOST:
        raise UserError(f"--log: {len(files):,} files are more than are searched at once ({MOST:,}); name fewer")
    return tuple(files)


def _glob(pattern: Path) -> Sequence[Path]:
    try:
        return tuple(Path(pattern.anchor).glob(str(pattern.relative_to(pattern.anchor))))
    except (ValueError, NotImplementedError):  # a pattern such as a**
        return ()


def _rows(connection: Any, path: Path, request: str, keys: Keys | None) -> Iterator[tuple[Prediction, dict[str, Any]]]:
    """Yield the rows of a request id, each also as it is logged."""
    try:
        rows = _matching(connection, path, request, keys)
    except (duckdb.Error, pa.ArrowException, OSError) as error:
        raise OutsideError(f"{path}: cannot be read: {clean(str(error).splitlines()[0])}") from None
    for row in rows:
        digest = row.get(DIGEST)
        if not isinstance(digest, str) or not digest:
            raise UserError(f"{path}: the row of {clean(request)} has no {DIGEST}, so nothing says what scored it")
        ours = isinstance(row.get(INPUTS), dict)  # a log that Trunkline has written
        inputs = row.pop(INPUTS) if ours else {}
        arm, problem = (clean(str(row[name])) if ours and row.get(name) else None for name in (ARM, PROBLEM))
        others = {
            clean(key): _plain(value)
            for key, value in sorted({**row, **inputs}.items())
            if key not in (REQUEST, DIGEST, TIME, SCORE, *(_OF_A_ROLLOUT if ours else ()))
        }
        time, score = _time(row.get(TIME)), _number(row.get(SCORE))
        prediction = Prediction(clean(request), clean(digest), time, score, str(path), others)
        yield replace(prediction, arm=arm, problem=problem), {**row, **inputs}


def _matching(connection: Any, path: Path, request: str, keys: Keys | None) -> list[dict[str, Any]]:
    """Return the rows of a request id as JSON has them, so that no column needs a declared type."""
    literal = "".join(f"[{letter}]" if letter in "*?[" else letter for letter in str(path))  # no pattern of DuckDB's
    if path.suffix not in _TABLES:
        return [json.loads(text) for (text,) in connection.execute(_LINES, [literal, request]).fetchall()]
    # Columns are named by their positions: DuckDB takes request_id for Request_ID, and would rename one of them.
    table, given = _TABLES[path.suffix], [literal]
    if path.suffix == ".parquet":
        with sealed.parquet(path, keys) as content:
            names = list(pq.read_schema(content).names)
            if content is not path:
                connection.register("unsealed", pq.read_table(content))
                table, given = "unsealed", []
    else:
        header = connection.execute(f"SELECT * FROM {table} LIMIT 1", [literal]).fetchone()
        names = [name or "" for name in header or ()]
    if names.count(REQUEST) != 1:
        has = f"has more than one column {REQUEST}" if REQUEST in names else f"has no column {REQUEST}"
        raise UserError(f"{path}: is no prediction log: it {has}; see docs/lineage.md of the framework")
    columns, column = ", ".join(f"c{number}" for number in range(len(names))), names.index(REQUEST)
    query = f"SELECT to_json(row) FROM {table} AS row({columns}) WHERE CAST(row.c{column} AS VARCHAR) = ?"
    rows = [json.loads(text) for (text,) in connection.execute(query, [*given, request]).fetchall()]
    return [{name: row[f"c{number}"] for number, name in enumerate(names)} for row in rows]


def _plain(value: Any) -> str | float | bool | None:
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, int | float):
        return value if math.isfinite(value) else None
    return clean(value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, sort_keys=True))


def _time(value: Any) -> str | None:
    """Return a time as ISO 8601, of a text or of seconds since 1970; any other text as it is."""
    if isinstance(value, int | float) and not isinstance(value, bool):
        try:
            return datetime.fromtimestamp(value, tz=UTC).isoformat(timespec="milliseconds")
        except (OverflowError, ValueError, OSError):
            return str(value)
    return clean(str(value)) if value is not None else None


def _number(value: Any) -> float | None:
    try:
        number = float(value)
    except (TypeError, ValueError):
        return None
    return number if math.isfinite(number) else None
