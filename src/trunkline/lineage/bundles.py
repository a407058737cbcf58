"""Finds the bundle of a digest on this machine, in folders or in DVC's cache; nothing is fetched."""

import json
from collections.abc import Sequence
from pathlib import Path

from trunkline.adapters.dvc import cache
from trunkline.bundle import manifest
from trunkline.core import paths
from trunkline.core.errors import OutsideError, UserError
from trunkline.lineage import builds


def find(root: Path, digest: str, folders: Sequence[Path], target: Path) -> Path:
    """Return a folder with the bundle of a digest, every byte of it verified.

    `folders` are looked at first; what only DVC's cache has is copied below `target`. Raises UserError where it is
    nowhere.
    """
    for folder in folders:
        if _is(folder, digest):
            return folder
    for commit in _commits(root, digest):
        folder = target / digest
        if _copied(root, commit, folder) and _is(folder, digest):
            return folder
    raise UserError(
        f"the bundle {digest[:12]} is neither in {', '.join(map(str, folders))} nor in DVC's cache; run: "
        "dvc fetch --all-commits models/bundle, or name its folder: --bundle"
    )


def _commits(root: Path, digest: str) -> Sequence[str]:
    try:
        return builds.reported(root, digest).get(digest, ())
    except OutsideError:  # there is no repository here
        return ()


def _is(folder: Path, digest: str) -> bool:
    try:
        return manifest.verify(folder) == digest
    except (UserError, OSError):
        return False


def _copied(root: Path, commit: str, folder: Path) -> bool:
    """Copy the bundle of a commit from DVC's cache; tell whether all of it is there."""
    listed = cache.cached_file(root, commit, paths.BUNDLE / manifest.MANIFEST)
    if listed is None:
        return False
    folder.mkdir(parents=True, exist_ok=True)
    (folder / manifest.MANIFEST).write_bytes(listed)
    for name in json.loads(listed)["files"]:
        content = cache.cached_file(root, commit, paths.BUNDLE / name)
        if content is None:
            return False
        (folder / Path(name).name).write_bytes(content)
    return True
