"""The objects of DVC's cache on this machine, by hash; apart from `cache`, since a stage reads them too."""

import hashlib
from pathlib import Path

from trunkline.adapters.dvc.private import Config


def folder(root: Path) -> Path:
    """Return where the cache has its objects; raises ConfigError for a configuration that DVC cannot read."""
    home = root / ".dvc"
    configured = Config(str(home), validate=False).get("cache", {}).get("dir")
    return Path(configured or home / "cache") / "files" / "md5"


def content(root: Path, md5: str) -> bytes | None:
    """Return the bytes of an object; None where the cache has none, or other bytes than its name says."""
    try:
        found = (folder(root) / md5[:2] / md5[2:]).read_bytes()
    except OSError:
        return None
    return found if hashlib.md5(found, usedforsecurity=False).hexdigest() == md5.removesuffix(".dir") else None
