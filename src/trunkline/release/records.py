"""Stage records: what a stage gave for which inputs, signed by a workflow of the trunk that has seen it run.

An entry of dvc.lock is a claim; where a record says the same, the stage need not run again to prove it. A record is a
file beside the objects of DVC's remote, named by the stage's inputs. Whoever may write there can delete one, but
cannot forge one that is believed.
"""

import hashlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

from trunkline.adapters.dvc import remote_files
from trunkline.adapters.dvc.remote_files import RemoteFiles
from trunkline.adapters.git.snapshot import Snapshot
from trunkline.conf.signers import Key, Keyless
from trunkline.core import files, paths
from trunkline.core.errors import OutsideError, UserError
from trunkline.core.files import parse_json
from trunkline.pipeline import claims
from trunkline.release import provenance, releases, signing

PREDICATE = "urn:trunkline:stage-record:v1"
FOLDER = "records"  # of the remote

Signers = Mapping[str, Key | Keyless]
Tell = Callable[[str], object]


@dataclass(frozen=True)
class StageRecord:
    """That a stage, when it ran, had this entry of dvc.lock: command, inputs, parameters, and what they gave.

    `run` is the address of the run, or what `provenance.LOCAL` says.
    """

    stage: str
    entry: Mapping[str, Any]
    run: str

    @property
    def path(self) -> str:
        """Where the record is on the remote, which its stage and inputs alone decide."""
        inputs = files.canonical_json([self.stage, *claims.inputs(self.entry)], digits=None)
        name = hashlib.sha256(inputs.encode()).hexdigest()
        return f"{FOLDER}/{name[:2]}/{name[2:]}.json"


def encode(record: StageRecord) -> bytes:
    """Return the record as an in-toto statement on the stage's outputs; equal records give equal bytes."""
    outputs = claims.outputs(record.entry).items()
    statement = {
        "_type": provenance.STATEMENT,
        "subject": [{"name": name, "digest": provenance.md5_digest(md5)} for name, md5 in outputs],
        "predicateType": PREDICATE,
        "predicate": {"stage": record.stage, "entry": record.entry, "run": record.run},
    }
    return files.canonical_json(statement, digits=None).encode()


def decode(payload: bytes) -> StageRecord:
    """Return what a statement says; raises UserError for bytes that `encode` would not have written."""
    try:
        predicate = parse_json(payload)["predicate"]
        record = StageRecord(predicate["stage"], predicate["entry"], predicate["run"])
        if encode(record) == payload:
            return record
    except (ValueError, LookupError, TypeError, AttributeError, RecursionError):
        pass  # in which way it is another document says nothing
    raise UserError("is no statement as trunkline ci record writes it")


@dataclass(frozen=True)
class Trust:
    """What of a dvc.lock is believed: entries that a trusted commit has, and entries that a record confirms.

    `doubted` are the other stages of the dvc.lock that was read, in its order; `believed` has all believed entries.
    """

    believed: Mapping[str, Any]
    doubted: tuple[str, ...]

    @classmethod
    def of(cls, root: Path, trusted: Snapshot | None, tell: Tell) -> Self:
        """Judge the dvc.lock of a working tree by the results of a commit, if any, and by the records on the remote.

        `tell` says which records are not believed, and why. Who may record is declared in the trusted commit and at
        HEAD: a change cannot add a signer whom its own check would then trust.
        """
        lock = claims.read(root)
        believed = claims.entries(trusted.mapping(paths.LOCK)) if trusted else {}
        doubted = claims.unproven(lock, believed)
        if not trusted or not doubted:
            return cls(believed, doubted)
        declared = (releases.promoted(commit.mapping(paths.PARAMS)) for commit in (Snapshot(root, "HEAD"), trusted))
        now, before = (deploy.recorders if deploy else {} for deploy in declared)
        signers = {name: signer for name, signer in now.items() if signer in before.values()}
        if signers:
            entries = claims.entries(lock)
            recorded = {name: entries[name] for name in _recorded(root, entries, doubted, signers, tell)}
            return cls(believed | recorded, tuple(name for name in doubted if name not in recorded))
        return cls(believed, doubted)

    def computed(self, root: Path) -> dict[str, Any]:
        """Return the entries of a working tree's dvc.lock not believed before, once all that is doubted has run."""
        lock = claims.read(root)
        entries = claims.entries(lock)
        return {name: entries[name] for name in claims.unproven(lock, self.believed)}


def _recorded(
    root: Path, entries: Mapping[str, Any], stages: Sequence[str], signers: Signers, tell: Tell
) -> Iterator[str]:
    """Yield the stages whose entry a record confirms; none if the remote cannot be read."""
    try:
        with remote_files.opened(root) as remote:
            for stage in stages:
                claim = StageRecord(stage, entries[stage], "")
                record = read(remote, claim.path, signers, tell)
                if record and record.entry == claim.entry:
                    yield stage
                elif record:
                    tell(f"{stage}: has given other results for the same inputs before: {record.run}")
    except (UserError, OutsideError) as error:
        tell(f"no record is believed: {error}")


def read(remote: RemoteFiles, path: str, signers: Signers, tell: Tell) -> StageRecord | None:
    """Return the record at a path of the remote; None without one that is believed: `tell` says why not."""
    content = remote.read(path)
    if content is None:
        return None
    try:
        record = decode(signing.verify(content.decode(errors="replace"), signers).payload)
    except UserError as error:
        tell(f"{path}: is not believed: {error}")
        return None
    if record.path != path:
        tell(f"{path}: is not believed: it is the record of another stage, or of other inputs")
        return None
    return record


def parse(content: bytes) -> dict[str, dict[str, Any]]:
    """Return the entries that `Trust.computed` gave, as JSON; raises UserError for anything else."""
    try:
        entries = parse_json(content)
    except (ValueError, RecursionError):
        entries = None
    if not isinstance(entries, dict) or not all(isinstance(entry, dict) for entry in entries.values()):
        raise UserError("what was computed: is not what trunkline ci reproduce run --computed writes")
    return entries


def put(record: StageRecord, remote: RemoteFiles, signers: Signers, environ: Mapping[str, str], tell: Tell) -> bool:
    """Sign a record and write it to the remote; return whether there was none before that is believed.

    Raises UserError where one of the signers has recorded other results, and where the signer here is not one of them.
    """
    present = read(remote, record.path, signers, tell)
    if present and present.entry != record.entry:
        raise UserError(
            f"{record.stage}: has given other results for the same inputs before: {present.run}; find out why, and "
            f"delete {record.path} of the remote if that was wrong"
        )
    if present is None:
        signed = signing.sign(encode(record), environ)
        signing.verify(signed, signers)
        remote.write(record.path, signed.encode())
    return present is None
