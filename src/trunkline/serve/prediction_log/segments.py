"""The table of a segment: a row for each scored row of a request, in columns of the same types for all of a bundle.

While a rollout runs, also one for each row that has no score, with the reason. The inputs are one column, a struct, so
that none of their names can be that of another column.
"""

import json
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from trunkline.core.arrays import Floats
from trunkline.core.graphs import MISSING
from trunkline.serve.log import DIGEST, INPUTS, REQUEST, TIME
from trunkline.serve.prediction_log.messages import Kind, Scorer
from trunkline.serve.prediction_log.privacy import Privacy

ROW = "row"
COLUMNS, PREDICTION_TIME, ENVIRONMENT = "request_columns", "prediction_time", "environment"
ARM, SCORING, PROBLEM = "arm", "scoring", "problem"  # of a rollout
ABOUT = b"trunkline.prediction_log"  # in the schema's metadata: which inputs are not as the model saw them

_INSTANT = pa.timestamp("us", tz="UTC")
_TYPES = {"integer": pa.int64(), "number": pa.float64(), "boolean": pa.bool_(), "text": pa.string()}
_OF_A_REQUEST = (
    pa.field(REQUEST, pa.string(), nullable=False),
    pa.field(ROW, pa.int64(), nullable=False),
    pa.field(TIME, _INSTANT, nullable=False),
    pa.field("version", pa.string()),
    pa.field(DIGEST, pa.string(), nullable=False),
    pa.field(ARM, pa.string()),
    pa.field("principal", pa.string()),
    pa.field("route", pa.string(), nullable=False),
    pa.field("latency", pa.float64()),
    pa.field(COLUMNS, pa.string()),
    pa.field(PREDICTION_TIME, _INSTANT),
    pa.field(SCORING, pa.float64()),
    pa.field(PROBLEM, pa.string()),
    pa.field(ENVIRONMENT, pa.string()),
)
_NO_INPUTS = pa.field(INPUTS, pa.null())  # Parquet has no struct without a field


def schema(scorer: Scorer, privacy: Privacy) -> Any:
    """Return the columns of a bundle's segments, as a pa.Schema."""
    treatments = {name: privacy.treatment(name) for name, _ in scorer.inputs}
    fields = [
        pa.field(name, pa.string() if treatments[name] == "hash" else _TYPES[kind])
        for name, kind in scorer.inputs
        if treatments[name] != "leave_out"
    ]
    inputs = pa.field(INPUTS, pa.struct(fields)) if fields else _NO_INPUTS
    scores = [pa.field(name, pa.float64()) for name in scorer.scores]
    about = {
        treatment: [name for name in treatments if treatments[name] == treatment] for treatment in ("hash", "leave_out")
    }
    return pa.schema([*_OF_A_REQUEST, inputs, *scores], metadata={ABOUT: json.dumps(about)})


class ScoredRows(NamedTuple):
    """Rows as a model saw them, with their scores.

    `numbers` (n, numeric inputs) has NaN for missing, `texts` (n, text inputs) the contract's mark; `scores` is
    (n, scores).
    """

    numbers: Floats
    texts: npt.NDArray[np.object_]
    scores: Floats


def table(scorer: Scorer, privacy: Privacy, given: Mapping[str, Sequence[Any]], rows: ScoredRows) -> Any:
    """Return rows as a pa.Table.

    `given` has the columns of the request by name, each with a value for each row, times in microseconds since 1970;
    what it lacks is null. A row with a problem has null for a score.
    """
    columns, count = schema(scorer, privacy), len(rows.scores)
    of_request = [
        pa.array(given[field.name], field.type) if field.name in given else pa.nulls(count, field.type)
        for field in _OF_A_REQUEST
    ]
    unscored = np.array([problem is not None for problem in given.get(PROBLEM, [None] * count)], np.bool_)
    of_scores = [pa.array(np.ascontiguousarray(column), mask=unscored) for column in rows.scores.T]
    inputs = _inputs(columns.field(INPUTS), scorer, privacy, [*rows.numbers.T, *rows.texts.T], count)
    return pa.Table.from_arrays([*of_request, inputs, *of_scores], schema=columns)


def _inputs(field: Any, scorer: Scorer, privacy: Privacy, values: Sequence[Any], rows: int) -> Any:
    """Return the column of the inputs, of which each is kept, hashed or left out."""
    arrays = [
        _array(name, kind, column, privacy)
        for (name, kind), column in zip(scorer.inputs, values, strict=True)
        if privacy.treatment(name) != "leave_out"
    ]
    return pa.StructArray.from_arrays(arrays, fields=list(field.type)) if arrays else pa.nulls(rows)


def _array(name: str, kind: Kind, values: Any, privacy: Privacy) -> Any:
    if kind == "text":
        plain = pa.array([None if value in (None, MISSING) else value for value in values.tolist()], pa.string())
    else:
        missing = np.isnan(values)
        whole: npt.NDArray[Any] = np.where(missing, 0, values).astype(
            {"integer": np.int64, "boolean": np.bool_}.get(kind, np.float64)
        )
        plain = pa.array(whole, mask=missing)
    if privacy.treatment(name) == "keep":
        return plain
    return pa.array([privacy.hashed(name, value) for value in plain.to_pylist()], pa.string())
