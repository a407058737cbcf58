"""The bundle of a commit that is no version, where a signed record says that the trunk's code has built it.

Nothing of the commit is believed but by the record: it names the MD5 of the bundle's folder and of its report, and the
report the bundle's digest. The commit's own configuration is not read, so that it decides nothing of what is fetched.
"""

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from trunkline.adapters.dvc import remote_files
from trunkline.adapters.dvc.remote_files import RemoteFiles
from trunkline.adapters.git.snapshot import Snapshot
from trunkline.bundle import manifest
from trunkline.bundle.manifest import Identity
from trunkline.core import paths
from trunkline.core.errors import UserError
from trunkline.core.files import parse_json
from trunkline.pipeline import claims
from trunkline.release import records
from trunkline.release.records import Signers, StageRecord, Tell

STAGE = "bundle"


@dataclass(frozen=True)
class Claim:
    """What dvc.lock of a commit says of its bundle: a claim, until a record says the same."""

    commit: str
    record: StageRecord
    report: bytes

    @classmethod
    def of(cls, root: Path, commit: str) -> Self | None:
        """Return what a commit claims; None where it has no bundle."""
        snapshot = Snapshot(root, commit, (paths.LOCK, paths.BUNDLE_REPORT))
        entry = claims.entries(snapshot.mapping(paths.LOCK)).get(STAGE)
        report = snapshot.content(paths.BUNDLE_REPORT)
        return None if entry is None or report is None else cls(commit, StageRecord(STAGE, entry, ""), report)

    @property
    def output(self) -> str | None:
        """Hash of the bundle's folder, as DVC has it."""
        return claims.outputs(self.record.entry).get(paths.BUNDLE.as_posix())

    @property
    def runtime(self) -> str:
        """What the bundle needs to score, as its report says."""
        return str(parse_json(self.report).get("runtime"))

    def confirmed(self, remote: RemoteFiles, signers: Signers, tell: Tell) -> bool:
        """Tell whether one of the signers has recorded the same; `tell` says what is not believed, and why."""
        record = records.read(remote, self.record.path, signers, tell)
        if record and record.entry != self.record.entry:
            tell(f"{STAGE}: has given other results for the same inputs before: {record.run}")
        return record is not None and record.entry == self.record.entry

    def fetch(self, remote: RemoteFiles, target: Path) -> Identity:
        """Get the bundle into a folder that does not exist, once it is `confirmed`.

        Raises OutsideError where the remote does not have it, UserError where it is not what the record says.
        """
        outputs, short = claims.outputs(self.record.entry), self.commit[:10]
        if hashlib.md5(self.report, usedforsecurity=False).hexdigest() != outputs.get(paths.BUNDLE_REPORT.as_posix()):
            raise UserError(f"{short}: {paths.BUNDLE_REPORT} is not the one that is recorded")
        target.mkdir(parents=True)
        for name, content in remote_files.folder(outputs[paths.BUNDLE.as_posix()], remote.object):
            (target / name).write_bytes(content)
        bundle, expected = manifest.identify(short, target), parse_json(self.report)["digest"]
        if bundle.digest != expected:
            raise UserError(
                f"{short}: its bundle has the digest {bundle.digest[:12]}, but what is recorded, {expected}"
            )
        return bundle
