"""Environments of peers whose requirements are not ours: made once by uv, in the user's cache folder."""

import hashlib
import os
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from filelock import FileLock

_SECONDS = 600


class MissingError(Exception):
    """What a peer needs cannot be had here; the message says why."""


def python(requirements: Sequence[str]) -> Path:
    """Return the Python of an environment that holds the requirements; raises MissingError if it cannot be made."""
    named = hashlib.sha256("\n".join((sys.version, *requirements)).encode()).hexdigest()[:16]
    folder = _cache() / named
    folder.parent.mkdir(parents=True, exist_ok=True)
    complete = folder / "complete"
    with FileLock(f"{folder}.lock"):
        if not complete.exists():
            _make(folder, requirements)
            complete.touch()
    return folder / "bin/python"


def _make(folder: Path, requirements: Sequence[str]) -> None:
    uv = shutil.which("uv") or str(Path(sys.prefix) / "uv/bin/uv")
    install = [
        uv,
        "pip",
        "install",
        "--quiet",
        "--compile-bytecode",
        "--python",
        str(folder / "bin/python"),
        *requirements,
    ]
    try:
        for command in ([uv, "venv", "--quiet", "--clear", "--python", sys.executable, str(folder)], install):
            done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=_SECONDS)  # noqa: S603
            if done.returncode:
                raise MissingError(done.stderr.strip().splitlines()[-1])
    except (OSError, subprocess.TimeoutExpired) as error:
        raise MissingError(str(error)) from None


def _cache() -> Path:
    home = os.environ.get("XDG_CACHE_HOME")
    return (Path(home) if home else Path.home() / ".cache") / "trunkline/peers"
