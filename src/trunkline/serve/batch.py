"""Scores files of any size with a bundle: in parallel, in bounded memory, and never leaving a half-written file.

The rows are cut into parts of equal length. Each part, once scored, is a file in OUTPUT.parts/, and the parts
are joined in order as they come; only then does OUTPUT appear. A run that was killed is resumed by running it
again: what it finished is kept if the input, the bundle and the runtime are the same, and dropped otherwise.
What is written depends on the rows and the bundle alone, not on the number of threads.
"""

import hashlib
import os
import re
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import msgspec
import numpy as np
import numpy.typing as npt
import polars as pl
import pyarrow as pa
import pyarrow.csv
from filelock import FileLock, Timeout

from trunkline.bundle import columns as bundle_columns
from trunkline.bundle import manifest
from trunkline.bundle.columns import CheckedRows
from trunkline.bundle.contract import Contract, read_contract
from trunkline.core import files
from trunkline.core.arrays import Floats
from trunkline.core.errors import UserError
from trunkline.serve import tables, unseen, writing
from trunkline.serve.batch_log import BatchLog
from trunkline.serve.log import DIGEST, REQUEST
from trunkline.serve.prediction_log.privacy import Privacy
from trunkline.serve.prediction_log.segments import ScoredRows
from trunkline.serve.raw import RawRows, converted, raw_rows
from trunkline.serve.tables import REASONS, ROW, RowsFile
from trunkline.serve.unseen import UnseenTexts
from trunkline.tables.rows import UnfitError

Runtime = Literal["onnx", "sklearn"]
Policy = Literal["stop", "quarantine"]
Scorer = Callable[[Floats, npt.NDArray[np.object_]], Floats]

FEATURES = "features.json"
PART = 1 << 16  # rows of a part, which is also a row group of the output
CALL = 1 << 11  # rows that the model is given at once: few enough for the cache, enough for threads to run side by side
_OURS = re.compile(r"run\.json|lock|joined|rejected|\d{8}\.(arrow|rejected\.arrow|log\.parquet|json)|\..*\.part")


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


@dataclass(frozen=True)
class Job:
    """A file to score, where the scores go, and with what."""

    table: RowsFile
    output: Path
    contract: Contract
    digest: str  # of the bundle
    runtime: Runtime
    model: Path  # that the runtime loads: the bundle, or a skops file
    policy: Policy
    raw: RawRows | None  # what computes the inputs, where the rows have them not
    passed: tuple[str, ...]  # columns that are no inputs; the output has them besides the scores
    ids: str | None = None  # what its request ids begin with, where the output is to be a prediction log
    log: BatchLog | None = None

    @property
    def rejected(self) -> Path:
        """Where refused rows go."""
        return self.output.with_suffix(f".rejected{self.output.suffix}")

    @property
    def parts(self) -> Path:
        """The folder of the finished parts."""
        return self.output.with_name(f"{self.output.name}.parts")

    @property
    def output_schema(self) -> Any:
        """The columns of the output, as a pa.Schema."""
        passed = [self.table.schema.field(name) for name in self.passed]
        texts = (REQUEST, DIGEST) if self.ids else ()
        added = [pa.field(name, pa.string(), nullable=False) for name in texts if name not in self.passed]
        scores = (pa.field(name, pa.float64(), nullable=False) for name in self.contract.scores)
        return pa.schema([*passed, *scores, *added])

    @property
    def rejected_schema(self) -> Any:
        """The columns of the refused rows, as a pa.Schema: the reasons, their number, and what came."""
        return pa.schema([pa.field(REASONS, pa.string()), pa.field(ROW, pa.int64()), *self.table.schema])

    def identity(self) -> dict[str, Any]:
        """Return what the parts are made of: runs with the same identity make the same parts."""
        model = "" if self.runtime == "onnx" else hashlib.sha256(self.model.read_bytes()).hexdigest()
        log = {"log": f"{self.log.folder.resolve()} {self.log.privacy}"} if self.log else {}
        return log | {
            "input": {"path": str(self.table.path.resolve())} | _state(self.table.path),
            "bundle": self.digest,
            "runtime": self.runtime,
            "model": model,
            "part": PART,
            "ids": self.ids,
            "tables": {str(path.resolve()): _state(path) for path in self.joined_from},
        }

    @property
    def joined_from(self) -> list[Path]:
        """The files of the tables that features are joined from."""
        return self.raw.tables.files(self.raw.plan) if self.raw and self.raw.tables else []


@dataclass(frozen=True)
class Summary:
    """What a run did: rows by fate, how many parts there were and were already finished, and texts never trained on."""

    rows: int
    rejected: int
    parts: int
    reused: int
    unseen: Mapping[str, UnseenTexts]
    first: str | None  # what is wrong with the first row that was refused


@dataclass(frozen=True)
class Options:
    """What scores and what becomes of bad rows, as the bundle says where that is None.

    `tables` is a folder that the features of raw rows are joined from.
    """

    runtime: Runtime | None = None
    policy: Policy | None = None
    tables: Path | None = None


def plan(source: Path, output: Path, folder: Path, options: Options = Options()) -> Job:
    """Check the bundle, the paths and the input's columns; no row is read.

    Raises UserError for whatever would make the run fail before its first row.
    """
    table = tables.open_table(source)
    tables.format_of(output)
    if output.resolve() == source.resolve():
        raise UserError(f"{output}: is the input; name another file for the scores")
    verified = manifest.read(folder, keep=frozenset({manifest.CONTRACT, FEATURES}))
    contract = read_contract(folder, verified.kept[manifest.CONTRACT])
    chosen = options.runtime or verified.manifest.runtime
    raw = raw_rows(source, table.schema.names, contract, verified.kept.get(FEATURES), options.tables)
    job = Job(
        table=table,
        output=output,
        contract=contract,
        digest=verified.digest,
        runtime=chosen,
        model=folder if chosen == "onnx" else _skops(folder),
        policy=options.policy or contract.on_bad_row,
        raw=raw,
        passed=tables.check_raw_columns(table, contract, raw) if raw else tables.check_columns(table, contract),
    )
    if tables.format_of(output) == "csv":
        for field in job.rejected_schema:
            if not writing.fits_csv(field):
                raise UserError(f"{output}: column {field.name}: CSV cannot hold {field.type}; write .parquet instead")
    return job


def _state(path: Path) -> dict[str, int]:
    status = path.stat()
    return {"bytes": status.st_size, "modified": status.st_mtime_ns}


def traceable(job: Job) -> Job:
    """Return a job whose output is a prediction log: each row has the bundle's digest, and a request id unless it had.

    An id is made of the bundle, the input's content and the row's number: it is the same in every run. Reads the input
    once. Raises UserError for an input that has a column of the digest's name.
    """
    if DIGEST in job.passed:
        raise UserError(f"{job.table.path}: column {DIGEST}: is the name of a column that is added; rename yours")
    with job.table.path.open("rb") as content:
        rows = hashlib.file_digest(content, "sha256").hexdigest()
    return replace(job, ids=hashlib.sha256(f"{job.digest} {rows}".encode()).hexdigest()[:12])


def logged(job: Job, folder: Path, privacy: Privacy) -> Job:
    """Return a job as `traceable` does, whose rows are also logged to a folder as a server logs them."""
    job = traceable(job)
    assert job.ids  # noqa: S101  as it is traceable
    return replace(job, log=BatchLog(folder, privacy, job.contract, job.digest, job.ids))


def run(job: Job, score: Scorer, threads: int, advance: Callable[[int], None]) -> Summary:
    """Score every row and write the output; `advance` is called with the number of rows that are done.

    Several threads call `score` at once, with matrices as intake.Rows has them.

    Raises UserError for the first refused row, if the policy is to stop.
    """
    with _locked(job):
        path, identity = job.parts / "run.json", job.identity()
        if not path.exists() or path.read_text(encoding="utf-8") != files.canonical_json(identity):
            _clear(job.parts)  # all but what an equal run has finished
            files.write_json(path, identity)
        parts = (msgspec.json.decode(file.read_bytes(), type=Part) for file in job.parts.glob("[0-9]*.json"))
        finished = {part.number: part for part in parts}
        done: list[Part] = []
        with writing.open_output(job.parts / "joined", job.output_schema, job.output) as writer:
            for part in _parts(job, score, threads, finished):
                if part.first is not None and job.policy == "stop":
                    raise UserError(
                        f"{job.table.path}: {part.first}, counted from 1 below the header; correct it, "
                        "or set such rows aside: --on-bad-row quarantine"
                    )
                writing.append(writer, job.parts / f"{part.number:08}.arrow")
                done.append(part)
                advance(part.rows)
        _publish(job, done)
    return Summary(
        rows=sum(part.rows for part in done),
        rejected=sum(part.rejected for part in done),
        parts=len(done),
        reused=len(finished),
        unseen=unseen.together(part.unseen for part in done),
        first=next((part.first for part in done if part.first is not None), None),
    )


def _parts(job: Job, score: Scorer, threads: int, finished: dict[int, Part]) -> Iterator[Part]:
    """Yield the parts in order; those that are not finished are made by a pool, a few ahead of the reader."""
    pending: deque[Part | Future[Part]] = deque()
    with ThreadPoolExecutor(threads) as pool:
        try:
            for number, chunk in enumerate(job.table.chunks(PART)):
                if number in finished:
                    pending.append(finished[number])
                else:
                    pending.append(pool.submit(_make, job, score, number, chunk))
                while len(pending) > threads + 1:
                    yield _result(pending.popleft())
            while pending:
                yield _result(pending.popleft())
        finally:
            pool.shutdown(cancel_futures=True)


def _result(item: Part | Future[Part]) -> Part:
    return item if isinstance(item, Part) else item.result()


def _make(job: Job, score: Scorer, number: int, chunk: Any) -> Part:
    """Check and score one part and write it; its JSON file comes last and says that it is finished."""
    rows, bad = _checked(job, chunk, number)
    numeric, categorical, good = rows.numeric, rows.categorical, chunk
    keep = np.ones(len(chunk), dtype=np.bool_)
    if bad:
        keep[list(bad)] = False
        numeric, categorical, good = numeric[keep], categorical[keep], chunk.filter(pa.array(keep))
        numbers = pa.array([number * PART + row + 1 for row in bad], pa.int64())
        columns = [pa.array(bad.values(), pa.string()), numbers, *chunk.take(pa.array(bad)).columns]
        _write_part(job.parts / f"{number:08}.rejected.arrow", pa.table(columns, schema=job.rejected_schema))
    graph_scores = _score(score, numeric, categorical, len(job.contract.scores))
    scores = (pl.Series(column).to_arrow() for column in graph_scores.T)  # pa.array would import pandas
    columns = [*(good[name] for name in job.passed), *scores, *_ids(job, number * PART + 1 + np.flatnonzero(keep))]
    _write_part(job.parts / f"{number:08}.arrow", pa.table(columns, schema=job.output_schema))
    where = None
    if job.log:
        requests = _request_ids(job, good, number * PART + 1 + np.flatnonzero(keep))
        scored = ScoredRows(numeric, categorical, graph_scores)
        where = job.log.write(_segment(job, number), number, requests, _request_columns(job, good), scored)
    first = next((f"row {number * PART + row + 1}: {why}" for row, why in bad.items()), None)
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
        first, last = number * PART + 1, number * PART + len(chunk)
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


def _segment(job: Job, number: int) -> Path:
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


@contextmanager
def _locked(job: Job) -> Iterator[None]:
    """Hold the folder of the parts; raises UserError if another run does, or if it holds others' files."""
    job.parts.mkdir(parents=True, exist_ok=True)
    foreign = sorted(path.name for path in job.parts.iterdir() if not _OURS.fullmatch(path.name))
    if foreign:
        raise UserError(f"{job.parts}: holds {foreign[0]}, which is no part of a prediction; move it away")
    try:
        with FileLock(job.parts / "lock", timeout=0):
            yield
    except Timeout:
        raise UserError(f"{job.output}: another run is writing it; wait for its end") from None


def _clear(folder: Path) -> None:
    for path in folder.iterdir():
        if path.name != "lock":
            path.unlink()


def _publish(job: Job, done: list[Part]) -> None:
    """Put the files in their places, the output last; then the parts have served."""
    refused = [part for part in done if part.rejected]
    if refused:
        with writing.open_output(job.parts / "rejected", job.rejected_schema, job.output) as writer:
            for part in refused:
                writing.append(writer, job.parts / f"{part.number:08}.rejected.arrow")
        _replace(job.parts / "rejected", job.rejected)
    else:
        job.rejected.unlink(missing_ok=True)  # of an earlier run
    for part in done:
        if job.log and part.logged:
            job.log.publish(_segment(job, part.number), part.logged)
    _replace(job.parts / "joined", job.output)
    _clear(job.parts)
    with suppress(OSError):  # another run has begun to wait for it
        (job.parts / "lock").unlink(missing_ok=True)
        job.parts.rmdir()


def _replace(path: Path, target: Path) -> None:
    with path.open("rb") as written:
        os.fsync(written.fileno())
    path.replace(target)


def _skops(folder: Path) -> Path:
    """Return the scikit-learn model that a bundle has, or was made from and stands beside."""
    inside = folder / "model.skops"
    path = inside if inside.exists() else folder.parent / "model.skops"
    if not path.is_file():
        raise UserError(f"{path}: is missing, and is what --runtime sklearn scores with; run: dvc repro")
    return path
