"""Programs of others that read rendered files: each lock of them in an environment of the user's cache."""

import json
import shutil
import subprocess
import sys
from functools import cache
from pathlib import Path
from tempfile import NamedTemporaryFile
from typing import Any

from filelock import FileLock

from tests.rig import npm, packages

ROOT = Path(__file__).parents[3]


@cache
def environment(lock: str = "validators") -> Path:
    """Return the folder of the environment of a lock, which is made where it is not there yet."""
    path = ROOT / f"locks/{lock}.txt"
    folder = npm.cache() / f"{lock}-{npm.digest(path.read_bytes() + sys.version.encode())[:16]}"
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
                path,
            ]
            done = subprocess.run(command, capture_output=True, text=True, check=False)
            if done.returncode:
                npm.missing(f"locks/{lock}.txt cannot be installed: {done.stderr.strip()}")
            (folder / "whole").touch()
    return folder


def run(name: str, *arguments: object, cwd: Path | None = None) -> "subprocess.CompletedProcess[str]":
    """Run a program of the environment."""
    command = [environment() / "bin" / name, *map(str, arguments)]
    return subprocess.run(command, cwd=cwd, capture_output=True, text=True, check=False, timeout=120)


def packages_of(locks: list[Path], folder: Path) -> Path:
    """Install what locks list, and this tree's trunkline, into a folder, as images and archives have it."""
    uv = shutil.which("uv") or str(Path(sys.prefix) / "uv/bin/uv")
    command = [uv, "pip", "install", "--quiet", "--no-config", "--require-hashes", "--no-deps"]
    options = [option for lock in locks for option in ("-r", lock)]
    subprocess.run([*command, "--python", sys.executable, "--target", folder, *options], check=True, timeout=300)
    ignored = shutil.ignore_patterns("__pycache__", "files")
    shutil.copytree(ROOT / "src/trunkline", folder / "trunkline", ignore=ignored)
    return folder


CRDS = Path(__file__).with_name("crds")


@cache
def schemas() -> Path:
    """Return a folder of npm packages of crds/package-lock.json, which is made where it is not there yet."""
    files = [CRDS / "package.json", CRDS / "package-lock.json"]
    folder = npm.cache() / f"crds-{npm.digest(b''.join(file.read_bytes() for file in files))[:16]}"
    with FileLock(f"{folder}.lock"):
        if not (folder / "whole").exists():
            shutil.rmtree(folder, ignore_errors=True)
            folder.mkdir()
            for file in files:
                shutil.copy(file, folder)
            command = [shutil.which("npm") or npm.missing("npm is not installed: Node.js 20 or newer brings it")]
            command += ["ci", "--ignore-scripts", "--no-audit", "--no-fund"]
            done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
            if done.returncode:
                npm.missing(f"npm cannot fetch the schemas of crds/package-lock.json: {done.stderr.strip()}")
            (folder / "whole").touch()
    return folder


def complaints(resources: list[Any]) -> list[list[str]]:
    """Return what the published schema of each custom resource has against it."""
    with NamedTemporaryFile("w", suffix=".json") as file:
        json.dump(resources, file)
        file.flush()
        command = ["node", CRDS / "check.mjs", schemas(), file.name]
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=120)
    assert done.returncode == 0, done.stderr
    answers: list[list[str]] = json.loads(done.stdout)
    return answers
