"""The bundle of a version, by its tag.

A version is an immutable annotated tag `<name>@v<N>`; the tagged commit says the digest of the bundle that it built,
and DVC has the files. The bundle is verified, and its digest compared, before anybody gets it.

Whoever may push a tag may tag any commit. So nothing but hashes is taken from it: DVC would open its configuration,
which may name a command that makes the keys of a remote.
"""

from collections.abc import Iterator
from contextlib import ExitStack
from functools import cache
from pathlib import Path

from trunkline.adapters.dvc import objects, remote_files
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
    tagged = Snapshot(home, tag.commit, (paths.BUNDLE_REPORT, paths.LOCK))
    announced, folder = tagged.text(paths.BUNDLE_REPORT), _hash(tagged)
    if announced is None or folder is None:
        raise UserError(f"{name}: its commit has no {paths.BUNDLE_REPORT}; tag a commit that built a bundle")
    target.mkdir(parents=True)
    try:
        for file, content in _files(home, tag.commit, folder):
            (target / file).write_bytes(content)
    except Exception as error:  # those of DVC's packages share no base
        message = one_line(error)
        raise OutsideError(f"{name}: its bundle could not be fetched ({message}); run: dvc fetch --all-tags") from error
    bundle, expected = manifest.identify(name, target), parse_json(announced)["digest"]
    if bundle.digest != expected:
        raise UserError(f"{name}: its bundle has the digest {bundle.digest[:12]}, but its commit says {expected[:12]}")
    return bundle


def _hash(tagged: Snapshot) -> str | None:
    """Return what dvc.lock of a commit has of the bundle; None where it has none."""
    try:
        outs = [out for stage in tagged.mapping(paths.LOCK)["stages"].values() for out in stage.get("outs", ())]
        return next(str(out["md5"]) for out in outs if out["path"] == paths.BUNDLE.as_posix())
    except (LookupError, TypeError, AttributeError, StopIteration):
        return None


def _files(home: Path, commit: str, folder: str) -> Iterator[tuple[str, bytes]]:
    """Yield the files of a folder by its hash: from the cache of this clone, and what that lacks from its remote."""
    with ExitStack() as stack:
        remote = cache(lambda: stack.enter_context(remote_files.opened(home, commit)))
        yield from remote_files.folder(folder, lambda md5: objects.content(home, md5) or remote().object(md5))
