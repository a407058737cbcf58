"""Whether a version may be run anywhere: its tag is a release, and the gates passed the bundle that it is of."""

import json
from dataclasses import dataclass
from pathlib import Path

from trunkline import git
from trunkline.core import paths
from trunkline.core.errors import UserError
from trunkline.params.promotion import Promotion
from trunkline.reports import Gates
from trunkline.versions import Version


class RefusedError(UserError):
    """A version that must not be run; the message says why."""


@dataclass(frozen=True)
class Standing:
    """A version that may be run: the commit of its tag, its bundle's digest, who signed it, and its gates' verdict."""

    version: Version
    commit: str
    digest: str
    signer: str | None
    gates: Gates


def check(folder: Path, version: Version, declared: Promotion) -> Standing:
    """Return what is known of a version; nothing is fetched. Raises RefusedError for one that must not be run.

    `declared` is conf/promotion of now, whose signers are believed.
    """
    commit = git.annotated_tag(folder, version.tag)
    if commit is None:
        raise RefusedError(f"{version}: there is no annotated tag of this name here; it is no release")
    found = git.files_at(folder, [commit], [paths.GATES_REPORT, paths.BUNDLE_REPORT])[commit]
    try:
        gates = Gates.model_validate(json.loads(found[paths.GATES_REPORT]))
        digest = str(json.loads(found[paths.BUNDLE_REPORT])["digest"])
    except (LookupError, TypeError, ValueError):
        raise RefusedError(f"{version}: its commit has no verdict and bundle in reports/ that can be read") from None
    if gates.verdict != "pass":
        raise RefusedError(
            f"{version}: the verdict of its commit is {gates.verdict}; it should never have been released"
        )
    if gates.challenger != digest:
        raise RefusedError(f"{version}: the verdict of its commit is on another bundle, {gates.challenger[:12]}")
    return Standing(version, commit, digest, None, gates)
