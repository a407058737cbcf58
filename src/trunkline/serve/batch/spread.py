"""Scores the parts of a job on an executor: each task reads its own rows, and leaves its parts in the job's folder."""

from collections.abc import Callable, Iterator
from functools import partial

from trunkline.core.errors import UserError
from trunkline.pipeline.features.executors.executor import Executor
from trunkline.serve.batch import parts
from trunkline.serve.batch import run as batch_run
from trunkline.serve.batch.job import Job
from trunkline.serve.batch.parts import Part
from trunkline.serve.batch.run import Summary
from trunkline.serve.engine import choose
from trunkline.serve.engine.choose import Engine

TASK = 8  # parts of a task: a model is loaded once for as many
LARGE = 1 << 24  # bytes of a file of which compiling the trees is worth its time


def run(job: Job, executor: Executor, advance: Callable[[int], None]) -> Summary:
    """Score every row and write the output, as `run.run` does: the same bytes.

    Raises UserError for a CSV, and for the first refused row, if the policy is to stop.
    """
    if job.table.rows is None:
        advice = "write it as Parquet, or declare engine.executor: local"
        raise UserError(f"{job.table.path}: a CSV is read from its beginning, not by several machines: {advice}")
    return batch_run.collect(job, partial(_parts, job.placed(), executor, -(-job.table.rows // job.part_rows)), advance)


def _parts(job: Job, executor: Executor, count: int, finished: dict[int, Part]) -> Iterator[Part]:
    """Yield all parts in order; those that are not finished are made by tasks."""
    tasks = [range(first, min(first + TASK, count)) for first in range(0, count, TASK)]
    missing = [numbers for numbers in tasks if not finished.keys() >= set(numbers)]
    batches = executor.run([partial(make, job, numbers, frozenset(finished)) for numbers in missing])
    for numbers in tasks:
        new = {part.number: part for part in next(batches)} if numbers in missing else {}
        yield from (new.get(number) or finished[number] for number in numbers)


def make(job: Job, numbers: range, finished: frozenset[int]) -> list[Part]:
    """Make the parts of these numbers, but for those that are finished."""
    score = scorer(job).scores
    chunks = zip(numbers, job.table.chunks(job.part_rows, numbers.start * job.part_rows), strict=False)
    return [parts.make(job, score, number, chunk) for number, chunk in chunks if number not in finished]


def scorer(job: Job) -> Engine:
    """Return what scores a job's rows."""
    if job.runtime == "onnx":
        return choose.fastest(job.model, parts.CALL, compiled=job.table.path.stat().st_size >= LARGE)
    return choose.scikit_learn(job.model, job.contract)
