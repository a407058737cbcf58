"""The bundle of a version, by its tag.

A version is an immutable annotated tag `<name>@v<N>`; the tagged commit says the digest of the bundle that it built,
and DVC has the files. The bundle is verified, and its digest compared, before anybody gets it.
"""

from pathlib import Path

from dvc.api import DVCFileSystem

from trunkline.adapters.git import ancestry
from trunkline.adapters.git.snapshot import Snapshot
from trunkline.bundle import manifest
from trunkline.bundle.manifest import Identity
from trunkline.conf.versions import Version
from trunkline.core import paths
from trunkline.core.errors import OutsideError, UserError, one_line
from trunkline.core.files import parse_json


def fetch(home: Path, version: Version, target: Path) -> Identity:
    """Get a version's bundle into a folder that does not exist.

    `home` is the repository with the tags and DVC's remotes. Raises OutsideError for a version that could not be
    fetched, UserError for one that is not what its tag says.
    """
    name, tag = version.tag, ancestry.tag(home, version.tag)
    if tag is None:
        raise OutsideError(f"{paths.REGISTRY}: there is no annotated tag {name} here; run: git fetch --tags")
    announced = Snapshot(home, tag.commit).text(paths.BUNDLE_REPORT)
    if announced is None:
        raise UserError(f"{name}: its commit has no {paths.BUNDLE_REPORT}; tag a commit that built a bundle")
    target.mkdir(parents=True)
    try:
        files = DVCFileSystem(str(home), rev=tag.commit)
        for path in files.find(paths.BUNDLE.as_posix()):
            (target / Path(path).name).write_bytes(files.read_bytes(path))
    except Exception as error:  # those of DVC's packages share no base
        message = one_line(error)
        raise OutsideError(f"{name}: its bundle could not be fetched ({message}); run: dvc fetch --all-tags") from error
    bundle, expected = manifest.identify(name, target), parse_json(announced)["digest"]
    if bundle.digest != expected:
        raise UserError(f"{name}: its bundle has the digest {bundle.digest[:12]}, but its commit says {expected[:12]}")
    return bundle
