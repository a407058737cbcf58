"""What DVC's cache on this machine has, by hash, without opening a repository: half a second less than DVC takes."""

import json
import re
from pathlib import Path

from dvc.config import Config, ConfigError

from trunkline.history import clean


def listing(root: Path, md5: str) -> tuple[tuple[str, str], ...] | None:
    """Return the name and the MD5 of every file of a folder that DVC has hashed; None if its list is not here."""
    try:
        content = json.loads(_place(root, md5).read_bytes())
        return tuple(sorted((clean(str(item["relpath"])), clean(str(item["md5"]))) for item in content))
    except (ConfigError, OSError, ValueError, TypeError, KeyError):
        return None


def _place(root: Path, md5: str) -> Path:
    if not re.fullmatch(r"[0-9a-f]{32}\.dir", md5):
        raise ValueError(f"{md5} is not the hash of a folder")
    home = root / ".dvc"
    configured = Config(str(home), validate=False).get("cache", {}).get("dir")
    return Path(configured or home / "cache") / "files" / "md5" / md5[:2] / md5[2:]
