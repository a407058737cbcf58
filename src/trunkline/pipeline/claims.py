"""What dvc.lock claims: results that nobody trusted has computed are computed again, and compared.

Whoever writes a commit writes its dvc.lock, with any hash for any file. Where a stage's entry is that of a trusted
commit, so are its results; any other entry is a claim, and the same inputs must give the same bytes again.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from trunkline.adapters.git import documents
from trunkline.adapters.git.snapshot import Snapshot
from trunkline.core import paths
from trunkline.core.errors import UserError
from trunkline.core.params import dig

Lock = Mapping[str, Any]


@dataclass(frozen=True)
class Refuted:
    """An output of a stage that its inputs do not give: its hash in the commit, and the hash that was computed."""

    stage: str
    path: str
    claimed: str
    computed: str

    def __str__(self) -> str:
        """Say what differs, with as much of the hashes as a person compares."""
        return f"{self.stage}: {self.path} is {self.claimed[:10]} in the commit, and {self.computed[:10]} when run"


def read(root: Path) -> Lock:
    """Return the dvc.lock of a working tree, nothing where there is none.

    Raises UserError for one that cannot be understood: DVC may read more of it, and believe that.
    """
    path = root / paths.LOCK
    if not path.exists():
        return {}
    lock = documents.mapping({path: path.read_bytes()}, path)
    stages = (lock or {}).get("stages", {})
    if lock is None or not isinstance(stages, dict) or not all(dig(entry, "cmd") for entry in stages.values()):
        raise UserError(f"{paths.LOCK}: cannot be understood as DVC writes it; run: dvc repro --force, and commit it")
    return lock


def refuted_here(root: Path, commit: str) -> tuple[Refuted, ...]:
    """Return what dvc.lock of a commit claims and the run that was made in its working tree did not give."""
    return refuted(Snapshot(root, commit).mapping(paths.LOCK), read(root))


def unproven(lock: Lock, believed: Mapping[str, Any]) -> tuple[str, ...]:
    """Return the stages of a dvc.lock with outputs whose entry is not the believed one, in the order of the file."""
    return tuple(name for name, entry in entries(lock).items() if outputs(entry) and entry != believed.get(name))


def refuted(claimed: Lock, computed: Lock) -> tuple[Refuted, ...]:
    """Return the outputs that differ although command, inputs and parameters of their stage are the same.

    A stage downstream of one of these has read other inputs, so its own claim is not judged.
    """
    now = entries(computed)
    return tuple(
        Refuted(name, path, claim, outputs(now[name]).get(path, ""))
        for name, entry in entries(claimed).items()
        if name in now and inputs(entry) == inputs(now[name])
        for path, claim in outputs(entry).items()
        if claim != outputs(now[name]).get(path)
    )


def entries(lock: Lock) -> dict[str, Any]:
    """Return what a dvc.lock says of each stage, in the order of the file."""
    stages = dig(lock, "stages")
    return dict(stages) if isinstance(stages, Mapping) else {}


def inputs(entry: Any) -> tuple[Any, ...]:
    """Return what an entry says of a stage's command, dependencies and parameters."""
    return tuple(dig(entry, key) for key in ("cmd", "deps", "params"))


def outputs(entry: Any) -> dict[str, str]:
    """Return the hashes of a stage's outputs by their paths."""
    listed = dig(entry, "outs")
    return {str(dig(out, "path")): str(dig(out, "md5")) for out in listed} if isinstance(listed, list) else {}
