"""Which commits report a bundle: what was built is in reports/bundle.json, whether it was released or not."""

import re
from collections.abc import Mapping
from pathlib import Path

from trunkline.adapters.git import ancestry, documents, repository
from trunkline.core import paths
from trunkline.core.params import dig


def reported(folder: Path, prefix: str) -> dict[str, tuple[str, ...]]:
    """Return the commits of any branch or tag that report a bundle, oldest first, by digest; `prefix` begins each."""
    commits_of: dict[str, tuple[str, ...]] = {}
    commits = ancestry.that_changed(folder, paths.BUNDLE_REPORT)
    for commit, files in repository.files_at(folder, commits, [paths.BUNDLE_REPORT]).items():
        digest = _digest(files)
        if digest is not None and digest.startswith(prefix):
            commits_of[digest] = (*commits_of.get(digest, ()), commit)
    return commits_of


def here(folder: Path) -> str | None:
    """Return the digest of the bundle that the working tree reports; None without one."""
    path = folder / paths.BUNDLE_REPORT
    return _digest({paths.BUNDLE_REPORT: path.read_bytes()}) if path.is_file() else None


def _digest(files: Mapping[Path, bytes]) -> str | None:
    digest = dig(documents.parsed(files, paths.BUNDLE_REPORT), "digest")
    return digest if isinstance(digest, str) and re.fullmatch(r"[0-9a-f]{64}", digest) else None
