"""What DVC's cache on this machine has, by hash, without opening a repository: half a second less than DVC takes."""

import hashlib
import json
import re
from contextlib import chdir
from pathlib import Path

from trunkline.adapters.dvc import objects
from trunkline.adapters.dvc.parses import kept_parses
from trunkline.adapters.dvc.private import ConfigError, DvcException, Repo
from trunkline.show.text import clean


def listing(root: Path, md5: str) -> tuple[tuple[str, str], ...] | None:
    """Return the name and the MD5 of every file of a folder that DVC has hashed; None if its list is not here."""
    if not re.fullmatch(r"[0-9a-f]{32}\.dir", md5):
        return None
    try:
        content = json.loads((objects.folder(root) / md5[:2] / md5[2:]).read_bytes())
        return tuple(sorted((clean(str(item["relpath"])), clean(str(item["md5"]))) for item in content))
    except (ConfigError, OSError, ValueError, TypeError, KeyError):
        return None


def holds(root: Path, md5: str) -> bool:
    """Tell whether the cache has an object, and of a folder all files; looks for names, and reads none of the files."""
    if not md5.endswith(".dir"):
        return (objects.folder(root) / md5[:2] / md5[2:]).is_file()
    files = listing(root, md5)
    return files is not None and all(holds(root, each) for _, each in files)


def file(root: Path, md5: str) -> Path | None:
    """Return the file of an object that is no folder; None where the cache has none."""
    if not re.fullmatch(r"[0-9a-f]{32}", md5):
        return None
    path = objects.folder(root) / md5[:2] / md5[2:]
    return path if path.is_file() else None


def sweep(root: Path, sound: set[str]) -> list[str]:
    """Delete the objects of the cache whose bytes are not those of their names, and return their names.

    DVC trusts a file of the cache that is read-only, and what a remote sends. `sound` are names that need no look, and
    those that were found so are added.
    """
    broken = []
    for path in sorted(objects.folder(root).glob("[0-9a-f][0-9a-f]/*")):
        name = f"{path.parent.name}{path.name}"
        if name in sound:
            continue
        with path.open("rb") as opened:
            actual = hashlib.file_digest(opened, lambda: hashlib.md5(usedforsecurity=False)).hexdigest()
        if actual == name.removesuffix(".dir"):
            sound.add(name)
        else:
            path.unlink()
            broken.append(name)
    return broken


def cached_file(root: Path, commit: str, path: Path) -> bytes | None:
    """Return a file of a commit's outputs if this machine's cache has it; nothing is fetched."""
    try:
        with chdir(root), kept_parses(), Repo(rev=commit) as repo:
            out = next(out for out in repo.index.outs if path.is_relative_to(out.def_path))
            name = path.relative_to(out.def_path).parts
            oid = out.hash_info if not name else out.get_obj().get(name)[1]
            return Path(repo.cache.local.oid_to_path(oid.value)).read_bytes()
    except (DvcException, OSError, StopIteration, TypeError, AttributeError, KeyError):  # not there, in DVC's many ways
        return None
