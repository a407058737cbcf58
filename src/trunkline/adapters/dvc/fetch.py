"""The bundle of a version, by its tag.

A version is an immutable annotated tag `<name>@v<N>`; the tagged commit says the digest of the bundle that it built,
and DVC has the files. The bundle is verified, and its digest compared, before anybody gets it.
"""

import json
from pathlib import Path

from dvc.api import DVCFileSystem

from trunkline.adapters.git import repository
from trunkline.bundle import manifest
from trunkline.bundle.manifest import Identity
from trunkline.conf.versions import Version
from trunkline.core import paths
from trunkline.core.errors import OutsideError, UserError


def fetch(home: Path, version: Version, target: Path) -> Identity:
    """Get a version's bundle into a folder that does not exist.

    `home` is the repository with the tags and DVC's remotes. Raises OutsideError for a version that cannot be had,
    UserError for one that is not what its tag says.
    """
    tag = version.tag
    commit = repository.annotated_tag(home, tag)
    if commit is None:
        raise OutsideError(f"{paths.REGISTRY}: there is no annotated tag {tag} here; run: git fetch --tags")
    announced = repository.file_at(home, commit, paths.BUNDLE_REPORT)
    if announced is None:
        raise UserError(f"{tag}: its commit has no {paths.BUNDLE_REPORT}; tag a commit that built a bundle")
    _get(home, commit, tag, target)
    found, expected = manifest.identify(tag, target), json.loads(announced)["digest"]
    if found.digest != expected:
        raise UserError(f"{tag}: its bundle has the digest {found.digest[:12]}, but its commit says {expected[:12]}")
    return found


def _get(home: Path, commit: str, tag: str, target: Path) -> None:
    target.mkdir(parents=True)
    try:
        files = DVCFileSystem(str(home), rev=commit)
        for path in files.find(paths.BUNDLE.as_posix()):
            (target / Path(path).name).write_bytes(files.read_bytes(path))
    except Exception as error:  # those of DVC's packages share no base
        message = " ".join(str(error).split())
        raise OutsideError(f"{tag}: its bundle cannot be had ({message}); run: dvc fetch --all-tags") from error
