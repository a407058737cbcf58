"""What jobs install from: uv's cache on this machine, with the bytecode of what locks/ci.txt lists.

A job installs into an empty workspace, which takes uv two seconds; but then it compiles all that it imports, as the
first ever to do so, and that takes longer than all the rest. Where bytecode lies beside the source in uv's cache, it is
installed as well. So the cache is copied once for a lock, as links, and compiled; and, for jobs that need not show that
40,000 files are installed once more, installed once for all of them.
"""

import os
import shutil
import subprocess
import sys
from pathlib import Path
from tempfile import TemporaryDirectory

from filelock import FileLock

from tests.rig import npm

LOCK = Path(__file__).parents[2] / "locks/ci.txt"
ARCHIVES = "archive-v0"  # of unpacked packages


def python() -> str:
    """Return the Python that this environment was made from."""
    return str(getattr(sys, "_base_executable", sys.executable))


def folder() -> Path:
    """Return the cache, which is made where it is not there yet."""
    made = _kept("uv")
    own = Path(os.environ.get("UV_CACHE_DIR") or npm.cache().parent / "uv")
    own.mkdir(parents=True, exist_ok=True)
    if own.stat().st_dev != made.parent.stat().st_dev:  # where there can be no links: without bytecode
        return own
    with FileLock(f"{made}.lock"):
        if not made.exists():
            with TemporaryDirectory(dir=made.parent) as temporary:
                compiled(own, Path(temporary)).rename(made)
    return made


def environment() -> Path:
    """Return an environment with what the lock lists, which is made where it is not there yet."""
    made, cache = _kept("environment"), folder()
    with FileLock(f"{made}.lock"):
        if not made.exists():
            with TemporaryDirectory(dir=made.parent) as temporary:
                environment = Path(temporary) / "environment"
                install(cache, environment)
                environment.rename(made)
    return made


def link(environment: Path, into: Path) -> None:
    """Fill a folder with the scripts and packages of an environment: as links, but for what uv looks at."""
    (site,) = environment.glob("lib/python*/site-packages")
    scripts, packages = into / "bin", into / site.relative_to(environment)
    for folder in (scripts, packages):
        folder.mkdir(parents=True)
    for path in site.iterdir():
        if path.suffix == ".dist-info":
            shutil.copytree(path, packages / path.name)
        else:
            (packages / path.name).symlink_to(path)
    for path in (environment / "bin").iterdir():
        if not path.name.startswith(("python", "activate", "Activate")):
            shutil.copy2(path, scripts)


def _kept(what: str) -> Path:
    """Return where something is kept on this machine that is made of the lock, by this Python."""
    return npm.cache() / f"{what}-{npm.digest(LOCK.read_bytes() + sys.version.encode())[:16]}"


def compiled(own: Path, temporary: Path) -> Path:
    """Copy what the lock needs of this machine's cache, and compile it; the source in it never changes."""
    made, environment = temporary / "uv", temporary / "environment"
    installed = install(own, environment)
    shutil.copytree(own, made, copy_function=os.link, symlinks=True, ignore=shutil.ignore_patterns(ARCHIVES))
    for archive in (own / ARCHIVES).iterdir():
        if any(path.stat().st_ino in installed for path in archive.rglob("*.py")):
            shutil.copytree(archive, made / ARCHIVES / archive.name, copy_function=os.link, symlinks=True)
    # Neither tests nor scripts, beside which uv wants no other file. Some of the rest is no Python of this version.
    options = ["-q", "-j", "0", "-x", r"\.data/|/tests/", "--invalidation-mode", "unchecked-hash"]
    subprocess.run([python(), "-m", "compileall", *options, made / ARCHIVES], check=False, capture_output=True)
    return made


def install(cache: Path, environment: Path) -> set[int]:
    """Install the lock into an environment as links to uv's cache; return the files' numbers in the file system."""
    uv = shutil.which("uv") or str(Path(sys.prefix) / "uv/bin/uv")
    subprocess.run([python(), "-m", "venv", "--without-pip", environment], check=True)
    with (environment / "pyvenv.cfg").open("a", encoding="utf-8") as settings:
        settings.write("relocatable = true\n")  # for uv: scripts begin with the Python beside them
    options = ["--quiet", "--require-hashes", "--python", environment / "bin/python", "--cache-dir", cache]
    subprocess.run([uv, "pip", "sync", *options, "--link-mode", "hardlink", LOCK], check=True)
    return {path.stat().st_ino for path in environment.rglob("*.py")}
