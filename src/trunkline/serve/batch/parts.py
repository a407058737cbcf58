"""One part of the rows: checked, scored and written to files of its own, by any thread and at any time."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import numpy.typing as npt
import polars as pl
import pyarrow as pa

from trunkline.bundle import columns as bundle_columns
from trunkline.bundle.columns import CheckedRows
from trunkline.core import files
from trunkline.core.arrays import Floats
from trunkline.core.errors import UserError
from trunkline.core.tables.rows import UnfitError
from trunkline.serve import tables, unseen
from trunkline.serve.batch.job import Job
from trunkline.serve.log import REQUEST
from trunkline.serve.prediction_log.segments import ScoredRows
from trunkline.serve.raw import converted
from trunkline.serve.unseen import UnseenTexts

Scorer = Callable[[Floats, npt.NDArray[np.object_]], Floats]

CALL = 1 << 11  # rows that the model is given at once: few enough for the cache, enough for threads to run side by side


class Part(msgspec.Struct, frozen=True):
    """What became of one part's rows; `first` says what is wrong with the first one that was refused.

    `unseen` counts, by column, the rows whose text no training row has. `logged` is its segment's place in the log.
    """

    number: int
    rows: int
    rejected: int
    first: str | None
    unseen: dict[str, UnseenTexts] = {}
    logged: str | None = None


def make(job: Job, score: Scorer, number: int, chunk: Any) -> Part:
    """Check and score one part and write it; its JSON file comes last and says that it is finished."""
    rows, bad = _checked(job, chunk, number)
    numeric, categorical, good = rows.numeric, rows.categorical, chunk
    keep = np.ones(len(chunk), dtype=np.bool_)
    if bad:
        keep[list(bad)] = False
        numeric, categorical, good = numeric[keep], categorical[keep], chunk.filter(pa.array(keep))
        numbers = pa.array([number * job.part_rows + row + 1 for row in bad], pa.int64())
        columns = [pa.array(bad.values(), pa.string()), numbers, *chunk.take(pa.array(bad)).columns]
        _write_part(job.parts / f"{number:08}.rejected.arrow", pa.table(columns, schema=job.rejected_schema))
    graph_scores = _score(score, numeric, categorical, len(job.contract.scores))
    scores = (pl.Series(column).to_arrow() for column in graph_scores.T)  # pa.array would import pandas
    columns = [
        *(good[name] for name in job.passed),
        *scores,
        *_ids(job, number * job.part_rows + 1 + np.flatnonzero(keep)),
    ]
    _write_part(job.parts / f"{number:08}.arrow", pa.table(columns, schema=job.output_schema))
    where = None
    if job.log:
        requests = _request_ids(job, good, number * job.part_rows + 1 + np.flatnonzero(keep))
        scored = ScoredRows(numeric, categorical, graph_scores)
        where = job.log.write(segment(job, number), number, requests, _request_columns(job, good), scored)
    first = next((f"row {number * job.part_rows + row + 1}: {why}" for row, why in bad.items()), None)
    part = Part(number, len(chunk), len(bad), first, unseen.count(rows, keep), where)
    with files.atomic_path(job.parts / f"{number:08}.json") as temporary:
        temporary.write_bytes(msgspec.json.encode(part))
    return part


def _checked(job: Job, chunk: Any, number: int) -> tuple[CheckedRows, dict[int, str]]:
    """Return a chunk as the model takes it, computed if its rows are raw, and why rows are refused."""
    read = _without_nulls(job, chunk)
    if job.raw is None:
        rows = bundle_columns.check_rows(read, job.contract)
        return rows, bundle_columns.reasons(chunk, rows.breaches)
    try:
        inputs, breaches = job.raw.inputs(read)
    except UnfitError as error:
        first, last = number * job.part_rows + 1, number * job.part_rows + len(chunk)
        raise UserError(f"{job.table.path}: rows {first:,} to {last:,}: feature {error}") from error
    rows = bundle_columns.check_rows(inputs, job.contract)
    refused = bundle_columns.reasons(chunk, breaches)
    computed = bundle_columns.reasons(inputs, rows.breaches)
    return rows, dict(sorted((computed | refused).items()))


def _without_nulls(job: Job, chunk: Any) -> Any:
    """Return a chunk in which texts of a CSV that mean missing are missing."""
    declared = job.raw.declared.items() if job.raw else ((field.name, field) for field in job.contract.inputs)
    return (
        tables.without_nulls(chunk, {name: of.nulls for name, of in declared}) if job.table.format == "csv" else chunk
    )


def _request_columns(job: Job, good: Any) -> list[str] | None:
    """Return for each raw row the columns that a request has, in their types, as JSON; None where rows are not raw."""
    if job.raw is None:
        return None
    declared, schema = job.raw.declared, good.schema
    own = (name for name in sorted(declared) if name in schema.names)
    names = [name for name in own if tables.fits(schema.field(name).type, declared[name].type, declared[name].formats)]
    read = _without_nulls(job, good)
    frame, _ = converted(pl.DataFrame([pl.Series(name, pl.from_arrow(read[name])) for name in names]), declared, {})
    return frame.select(pl.struct(names).struct.json_encode()).to_series().to_list()


def _request_ids(job: Job, good: Any, numbers: npt.NDArray[np.int64]) -> list[str]:
    """Return the request ids of rows: their own, or one of their number."""
    own = good[REQUEST].cast(pa.string()).to_pylist() if REQUEST in job.passed else [None] * len(numbers)
    return [given or f"{job.ids}-{number}" for given, number in zip(own, numbers, strict=True)]


def segment(job: Job, number: int) -> Path:
    """Return where a part's segment of the log is until it is put in place."""
    return job.parts / f"{number:08}.log.parquet"


def _ids(job: Job, numbers: npt.NDArray[np.int64]) -> Iterator[Any]:
    """Yield what makes a prediction log of the output, for rows of these numbers."""
    if job.ids is None:
        return
    if REQUEST not in job.passed:
        yield pl.Series([f"{job.ids}-{number}" for number in numbers], dtype=pl.String).to_arrow().cast(pa.string())
    yield pl.Series([job.digest] * len(numbers), dtype=pl.String).to_arrow().cast(pa.string())


def _score(score: Scorer, numeric: Floats, categorical: npt.NDArray[np.object_], width: int) -> Floats:
    """Return the scores of a row in a row of their own."""
    scores = np.empty((len(numeric), width))
    for start in range(0, len(numeric), CALL):
        block = slice(start, start + CALL)
        scores[block] = score(numeric[block], categorical[block]).reshape(-1, width)
    return scores


def _write_part(path: Path, table: Any) -> None:
    with files.atomic_path(path) as temporary, pa.ipc.new_file(temporary, table.schema) as writer:
        writer.write_table(table)
