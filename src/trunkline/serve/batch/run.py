"""Scores all rows of a job, in parallel and in order; a run that was killed keeps what it finished."""

import os
import re
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import msgspec
from filelock import FileLock, Timeout

from trunkline.core import files
from trunkline.core.errors import UserError
from trunkline.serve import unseen, writing
from trunkline.serve.batch import parts
from trunkline.serve.batch.job import Job
from trunkline.serve.batch.parts import Part, Scorer
from trunkline.serve.unseen import UnseenTexts

_OURS = re.compile(r"run\.json|lock|joined|rejected|\d{8}\.(arrow|rejected\.arrow|log\.parquet|json)|\..*\.part")


@dataclass(frozen=True)
class Summary:
    """What a run did: rows by fate, how many parts there were and were already finished, and texts never trained on."""

    rows: int
    rejected: int
    parts: int
    reused: int
    unseen: Mapping[str, UnseenTexts]
    first: str | None  # what is wrong with the first row that was refused


def run(job: Job, score: Scorer, threads: int, advance: Callable[[int], None]) -> Summary:
    """Score every row and write the output; `advance` is called with the number of rows that are done.

    Several threads call `score` at once, with matrices as intake.Rows has them.

    Raises UserError for the first refused row, if the policy is to stop.
    """
    return collect(job, partial(_parts, job, score, threads), advance)


def collect(job: Job, make: Callable[[dict[int, Part]], Iterator[Part]], advance: Callable[[int], None]) -> Summary:
    """Write the output of all parts, which `make` yields in order, given those that a run before has finished.

    Raises UserError for the first refused row, if the policy is to stop.
    """
    with _locked(job):
        path, identity = job.parts / "run.json", job.identity()
        if not path.exists() or path.read_text(encoding="utf-8") != files.canonical_json(identity):
            _clear(job.parts)  # all but what an equal run has finished
            files.write_json(path, identity)
        written = (msgspec.json.decode(file.read_bytes(), type=Part) for file in job.parts.glob("[0-9]*.json"))
        finished = {part.number: part for part in written}
        done: list[Part] = []
        with writing.open_output(job.parts / "joined", job.output_schema, job.output) as writer:
            for part in make(finished):
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
            for number, chunk in enumerate(job.table.chunks(job.part_rows)):
                if number in finished:
                    pending.append(finished[number])
                else:
                    pending.append(pool.submit(parts.make, job, score, number, chunk))
                while len(pending) > threads + 1:
                    yield _result(pending.popleft())
            while pending:
                yield _result(pending.popleft())
        finally:
            pool.shutdown(cancel_futures=True)


def _result(item: Part | Future[Part]) -> Part:
    return item if isinstance(item, Part) else item.result()


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
            job.log.publish(parts.segment(job, part.number), part.logged)
    _replace(job.parts / "joined", job.output)
    _clear(job.parts)
    with suppress(OSError):  # another run has begun to wait for it
        (job.parts / "lock").unlink(missing_ok=True)
        job.parts.rmdir()


def _replace(path: Path, target: Path) -> None:
    with path.open("rb") as written:
        os.fsync(written.fileno())
    path.replace(target)
