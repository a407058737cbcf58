"""Programs of others that read rendered files: locks/validators.txt, in an environment of the user's cache."""

import shutil
import subprocess
import sys
from functools import cache
from pathlib import Path

from filelock import FileLock

from tests.rig import npm, packages

LOCK = Path(__file__).parents[3] / "locks/validators.txt"


@cache
def environment() -> Path:
    """Return the environment's folder, which is made where it is not there yet."""
    folder = npm.cache() / f"validators-{npm.digest(LOCK.read_bytes() + sys.version.encode())[:16]}"
    with FileLock(f"{folder}.lock"):
        if not (folder / "whole").exists():
            shutil.rmtree(folder, ignore_errors=True)
            subprocess.run([packages.python(), "-m", "venv", "--without-pip", folder], check=True)
            uv = shutil.which("uv") or str(Path(sys.prefix) / "uv/bin/uv")
            command = [
                uv,
                "pip",
                "sync",
                "--quiet",
                "--no-config",
                "--require-hashes",
                "--python",
                folder / "bin/python",
                LOCK,
            ]
            done = subprocess.run(command, capture_output=True, text=True, check=False)
            if done.returncode:
                npm.missing(f"locks/validators.txt cannot be installed: {done.stderr.strip()}")
            (folder / "whole").touch()
    return folder


def run(name: str, *arguments: object, cwd: Path | None = None) -> "subprocess.CompletedProcess[str]":
    """Run a program of the environment."""
    command = [environment() / "bin" / name, *map(str, arguments)]
    return subprocess.run(command, cwd=cwd, capture_output=True, text=True, check=False, timeout=120)
