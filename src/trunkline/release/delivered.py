"""Whether what is delivered to a server is a version that a declared signer released: offline, without git or DVC.

The pointer carries the provenance that was signed at the release, so that who may write the pointer decides nothing
but which released version is served. `verify.chain` checks more, for which it needs the version's commit.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from trunkline.conf.deploy import Deploy
from trunkline.conf.signers import Key, Keyless
from trunkline.core import paths
from trunkline.core.errors import UserError
from trunkline.core.params import Params
from trunkline.release import provenance, signing
from trunkline.release.verify import RefusedError
from trunkline.serve.model import Pointer


@dataclass(frozen=True)
class Trust:
    """What a server believes: versions of one model, signed by one of these."""

    name: str
    signers: Mapping[str, Key | Keyless]

    @classmethod
    def read(cls, project: Path) -> "Trust":
        """Return what the params.yaml of a project declares; raises UserError for one that declares no signer."""
        where = project / paths.PARAMS
        if not where.exists():
            raise UserError(
                f"{where}: is missing, and so is who signs what may be served; name the project's folder: --project"
            )
        params = Params.read(project)
        signers = params.group(Deploy).signers
        if not signers:
            raise UserError(
                f"{where}: deploy.signers: declares nobody, so that no version may be served; see --project"
            )
        return cls(params.name, signers)

    def check(self, pointer: Pointer) -> None:
        """Raise RefusedError for what is no version of the model, or was not released so by one of the signers.

        Raises UserError where a library that verifies the signature is not installed.
        """
        label = f"{pointer.name}@{pointer.version}"
        if not pointer.provenance:
            raise RefusedError(f"{label}: carries no signed provenance; deliver it by trunkline reconcile")
        signing.installed(signing.KEYED)
        try:
            facts, _ = provenance.decode(signing.verify(pointer.provenance, self.signers).payload)
        except signing.MissingError:
            raise
        except UserError as error:
            raise RefusedError(f"{label}: {error}") from None
        pairs = (
            (self.name, facts.version.name, "is of the model"),
            (pointer.name, facts.version.name, "is of the model"),
            (pointer.version, facts.version.label, "is of the version"),
            (pointer.digest, facts.digest, "is of the bundle"),
            (pointer.commit, facts.commit, "is of the commit"),
            ("pass", facts.verdict, "is of gates that say"),
        )
        for expected, signed, words in pairs:
            if signed != expected:
                raise RefusedError(f"{label}: its provenance {words} {signed}, not {expected}")
