"""Images without a registry, and without a daemon: buildah's, from scratch, over roots that are copied of this machine.

They run in a namespace of mounts: unshare.
"""

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest

_LIBRARY = f"lib/python{sys.version_info.major}.{sys.version_info.minor}"
_UNUSED = ("test", "tests", "idlelib", "turtledemo", "tkinter", "ensurepip", "site-packages", "config-*", "__pycache__")
_PIP = "[global]\nno-index = true\nfind-links = /wheels\n"  # the build asks no network


def required() -> None:
    """Skip the test where no image can be built or run."""
    for name in ("buildah", "unshare", "setpriv", "mount", "ldd"):
        if shutil.which(name) is None:
            pytest.skip(f"no image can be built here: {name} is not installed")
    if os.getuid() != 0:
        pytest.skip("no image can be built here: only root may")
    mounts = ["unshare", "--mount", "mount", "-t", "tmpfs", "none", "/mnt"]
    if refused := subprocess.run(mounts, capture_output=True, text=True, check=False).stderr:
        pytest.skip(f"no image can be run here: {refused.strip()}")
    if not (_packages() / "pip").exists():
        pytest.skip(f"no image can be built here: {sys.base_prefix} has no pip")


def python(root: Path, *programs: str) -> Path:
    """Copy this Python, without packages, and programs, with the libraries that they and wheels load, into a root."""
    prefix, real = Path(sys.base_prefix), Path(sys.executable).resolve()
    shutil.copytree(
        prefix / _LIBRARY, _in(root, prefix / _LIBRARY), ignore=shutil.ignore_patterns(*_UNUSED), symlinks=True
    )
    paths = [real, *(Path(shutil.which(name) or name) for name in programs)]
    wheels = [
        path
        for name in ("numpy", "onnxruntime")
        for path in (Path(sys.prefix) / _LIBRARY).glob(f"site-packages/{name}/**/*.so*")
    ]
    for path in {*paths, *_libraries([*paths, *prefix.glob(f"{_LIBRARY}/lib-dynload/*.so"), *wheels])}:
        _in(root, path).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(path, _in(root, path))
    for folder in ("usr/bin", "bin", "tmp", "proc", "dev", "store", "etc"):
        (root / folder).mkdir(parents=True, exist_ok=True)
    (root / "usr/bin/python3").symlink_to(real)
    return root


def builds(root: Path, wheels: Path) -> Path:
    """Copy into a root what a first stage runs, too: a shell, mkdir, and a pip that takes a folder of wheels."""
    python(root, "sh", "mkdir")
    shutil.copy(_in(root, Path(shutil.which("sh") or "")), root / "bin/sh")
    shutil.copytree(_packages() / "pip", _in(root, _packages()) / "pip")
    shutil.copytree(wheels, root / "wheels")
    (root / "etc/pip.conf").write_text(_PIP)
    return root


def wheels(locks: Sequence[Path], folder: Path) -> Path:
    """Fetch the wheels of locks, by hash, into a folder."""
    options = [option for lock in locks for option in ("-r", str(lock))]
    command = [str(Path(sys.executable).resolve()), "-m", "pip", "download", "--quiet", "--no-deps", "--require-hashes"]
    _run(*command, "--only-binary=:all:", "-d", str(folder), *options)
    return folder


@dataclass(frozen=True)
class Image:
    """An image, mounted: its root, and how it is started."""

    root: Path
    entry: list[str]
    environment: list[str]
    folder: str
    user: str

    def inside(self, mounts: Mapping[Path, str]) -> list[str]:
        """Return what a command begins with that is to run in it, as its user, with nothing to write into but /tmp.

        `mounts` are folders for reading, by the places that they have in it.
        """
        places = [part for path, place in mounts.items() for part in (str(path), f"{self.root}{place}")]
        uid, _, gid = self.user.partition(":")
        chroot = [f"--root={self.root}", f"--wd={self.folder}", f"--setuid={uid}", f"--setgid={gid}"]
        private = ["unshare", "--mount", "--", "sh", "-ec", _MOUNT, "sh", str(self.root), *places, "--"]
        bare = ["env", "-i", "HOME=/tmp", *self.environment]
        return [*private, *bare, "setpriv", "--no-new-privs", _BOUND, "--", "unshare", *chroot, "--"]


_BOUND = "--bounding-set=-all,+sys_chroot,+setuid,+setgid"  # what is left of root before it is nobody
# For this process and its children alone.
_MOUNT = """
root=$1; shift
mount --bind "$root" "$root"
while [ "$1" != -- ]; do mkdir -p "$2"; mount --bind "$1" "$2"; mount -o remount,bind,ro "$2"; shift 2; done
shift
mount --rbind /dev "$root/dev"
mount -t proc none "$root/proc"
mount -o remount,bind,ro "$root"
mount -t tmpfs -o mode=1777 none "$root/tmp"
exec "$@"
"""


@dataclass(frozen=True)
class Builder:
    """buildah, with what it stores in a folder."""

    folder: Path

    def from_scratch(self, root: Path) -> str:
        """Return the name of an image that is a root and nothing else, by its digest."""
        container = self._do("from", "scratch")
        self._do("copy", container, str(root), "/")
        self._do("commit", "--quiet", container, root.name)
        self._do("rm", container)
        digest = self._do("inspect", "--type=image", "--format={{.FromImageDigest}}", root.name)
        return f"localhost/{root.name}@{digest}"

    def build(self, dockerfile: Path, context: Path) -> Image:
        """Return the image of a Dockerfile, of which every step has run, mounted."""
        self._do("build", "--isolation=chroot", "-f", str(dockerfile), "-t", "built", str(context))
        container = self._do("from", "built")
        config = json.loads(self._do("inspect", container))["OCIv1"]["config"]
        root = Path(self._do("mount", container))
        return Image(root, config["Entrypoint"], config["Env"], config["WorkingDir"], config["User"])

    def remove(self) -> None:
        """Remove all of it."""
        self._do("rm", "--all")
        self._do("rmi", "--all", "--force")

    def _do(self, verb: str, *arguments: str) -> str:
        places = [
            "--root",
            str(self.folder / "storage"),
            "--runroot",
            str(self.folder / "run"),
            "--storage-driver",
            "vfs",
        ]
        return _run("buildah", *places, verb, *arguments).strip()


def _run(*command: str) -> str:
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=600)
    assert done.returncode == 0, done.stderr[-3000:]
    return done.stdout


def _in(root: Path, path: Path) -> Path:
    return root / path.relative_to("/")


def _packages() -> Path:
    return Path(sys.base_prefix) / _LIBRARY / "site-packages"


def _libraries(programs: Sequence[Path]) -> set[Path]:
    """Return the machine's libraries that programs load, as the linker finds them; not those that wheels bring."""
    text = subprocess.run(["ldd", *programs], capture_output=True, text=True, check=False).stdout
    paths = {Path(path) for path in re.findall(r"^\s(?:\S+ => )?(/\S+) \(", text, re.MULTILINE)}
    return {path for path in paths if not path.is_relative_to(sys.prefix)}
