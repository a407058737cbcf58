"""What is to be scored, checked before a row is read: a file, the bundle, the columns, and what becomes of bad rows."""

import hashlib
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal, Self

import pyarrow as pa

from trunkline.bundle import manifest
from trunkline.bundle.contract import Contract, read_contract
from trunkline.core.errors import UserError
from trunkline.serve import tables, writing
from trunkline.serve.batch.log import BatchLog
from trunkline.serve.log import DIGEST, REQUEST
from trunkline.serve.prediction_log.privacy import Privacy
from trunkline.serve.prediction_log.sealed import Keys
from trunkline.serve.raw import RawRows, raw_rows
from trunkline.serve.tables import REASONS, ROW, RowsFile

Runtime = Literal["onnx", "sklearn"]
Policy = Literal["stop", "quarantine"]

FEATURES = "features.json"
PART = 1 << 16  # rows of a part, which is also a row group of the output


@dataclass(frozen=True)
class Options:
    """What scores and what becomes of bad rows, as the bundle says where that is None.

    `tables` is a folder that the features of raw rows are joined from.
    """

    runtime: Runtime | None = None
    policy: Policy | None = None
    tables: Path | None = None


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
    part_rows: int = PART

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

    def placed(self) -> Self:
        """Return the same with absolute paths, for processes that work in other folders."""
        raw, log = self.raw, self.log
        if raw and raw.tables:
            raw = replace(raw, tables=replace(raw.tables, folder=raw.tables.folder.resolve()))
        return replace(
            self,
            table=replace(self.table, path=self.table.path.resolve()),
            output=self.output.resolve(),
            model=self.model.resolve(),
            raw=raw,
            log=log and replace(log, folder=log.folder.resolve()),
        )

    def identity(self) -> dict[str, Any]:
        """Return what the parts are made of: runs with the same identity make the same parts."""
        model = "" if self.runtime == "onnx" else hashlib.sha256(self.model.read_bytes()).hexdigest()
        log = {"log": f"{self.log.folder.resolve()} {self.log.privacy}"} if self.log else {}
        return log | {
            "input": {"path": str(self.table.path.resolve())} | _state(self.table.path),
            "bundle": self.digest,
            "runtime": self.runtime,
            "model": model,
            "part": self.part_rows,
            "ids": self.ids,
            "tables": {str(path.resolve()): _state(path) for path in self.joined_from},
        }

    @property
    def joined_from(self) -> list[Path]:
        """The files of the tables that features are joined from."""
        return self.raw.tables.files(self.raw.plan) if self.raw and self.raw.tables else []


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


def logged(job: Job, folder: Path, privacy: Privacy, keys: Keys | None = None) -> Job:
    """Return a job as `traceable` does, whose rows are also logged to a folder as a server logs them."""
    job = traceable(job)
    assert job.ids  # noqa: S101  as it is traceable
    return replace(job, log=BatchLog(folder, privacy, job.contract, job.digest, job.ids, keys))


def _state(path: Path) -> dict[str, int]:
    status = path.stat()
    return {"bytes": status.st_size, "modified": status.st_mtime_ns}


def _skops(folder: Path) -> Path:
    """Return the scikit-learn model that a bundle has, or was made from and stands beside."""
    inside = folder / "model.skops"
    path = inside if inside.exists() else folder.parent / "model.skops"
    if not path.is_file():
        raise UserError(f"{path}: is missing, and is what --runtime sklearn scores with; run: dvc repro")
    return path
