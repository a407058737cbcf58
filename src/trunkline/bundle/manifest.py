"""Whether a folder is, byte for byte, the bundle that its manifest lists; nothing of the bundle is run or parsed.

Needs neither numpy nor a runtime, so that a bundle can be checked anywhere, offline. The manifest lists the
sha256 of every other file, so its own sha256, the digest, stands for the whole bundle. Every file is opened
once, without following links, and hashed from the bytes that the caller then gets: what was checked is what is used.
"""

import hashlib
import os
import re
import stat
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import msgspec

from trunkline.core.errors import UserError
from trunkline.core.tasks import Task

FORMAT = 1
MANIFEST = "manifest.json"
CONTRACT, GOLDEN = "contract.json", "golden.json"
MODELS = {"onnx": "model.onnx", "sklearn": "model.skops"}

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")
_HASH = re.compile(r"[0-9a-f]{64}")
_ADVICE = "do not use it; fetch or build the bundle again"


class BundleError(UserError):
    """A bundle that is not what its manifest says, or that cannot be what a bundle is."""


class Manifest(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What a bundle is; `files` holds the sha256, in hex, of every file of the folder but the manifest."""

    format: int = FORMAT
    name: str
    runtime: Literal["onnx", "sklearn"]
    task: Task
    files: dict[str, str]

    @property
    def model(self) -> str:
        """Name of the model's file."""
        return MODELS[self.runtime]


@dataclass(frozen=True)
class VerifiedBundle:
    """A folder that is what its manifest says; `kept` holds the verified bytes of the files that were asked for."""

    digest: str
    manifest: Manifest
    kept: Mapping[str, bytes]


def digest(folder: Path) -> str:
    """Return the sha256, in hex, of the manifest; raises UserError if the folder has none, and verifies nothing."""
    _is_bundle(folder)
    return _hash(_read(folder, MANIFEST))


def verify(folder: Path) -> str:
    """Return the digest of a bundle that is what its manifest says.

    Raises UserError for a path that is no bundle: none there, not a folder, no manifest. Raises BundleError for a
    symlink (the folder or a file), a manifest that is not JSON or of an unknown format, a name in it that is
    not a plain file name, a folder or anything else that is no file, a missing, an extra or a changed file.
    """
    return read(folder).digest


def read(folder: Path, keep: frozenset[str] = frozenset()) -> VerifiedBundle:
    """Verify a bundle and keep the bytes of some of its files; raises as `verify` does."""
    _is_bundle(folder)
    content = _read(folder, MANIFEST)
    manifest = _parsed(folder, content)
    _same_names(folder, manifest)
    kept = {}
    for name, expected in sorted(manifest.files.items()):
        contents = _read(folder, name)
        if _hash(contents) != expected:
            raise BundleError(f"{folder / name}: was changed: its sha256 is not the one in {MANIFEST}; {_ADVICE}")
        if name in keep:
            kept[name] = contents
    return VerifiedBundle(_hash(content), manifest, kept)


def _is_bundle(folder: Path) -> None:
    if folder.is_symlink():
        raise BundleError(f"{folder}: is a symlink, which could lead anywhere; name the folder itself")
    if not folder.is_dir():
        raise UserError(f"{folder}: is {'not a folder' if folder.exists() else 'missing'}; name a bundle's folder")
    if not os.path.lexists(folder / MANIFEST):
        raise UserError(f"{folder}: is not a bundle: it has no {MANIFEST}; name a bundle's folder")


def _parsed(folder: Path, content: bytes) -> Manifest:
    where = folder / MANIFEST
    try:
        format = msgspec.json.decode(content, type=_Format).format
        if format != FORMAT:
            raise BundleError(f"{where}: is of format {format}, not {FORMAT}; install the version that made it")
        manifest = msgspec.json.decode(content, type=Manifest)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise BundleError(f"{where}: is not a manifest: {error}; {_ADVICE}") from None
    for name, value in manifest.files.items():
        if not _NAME.fullmatch(name) or name.casefold() == MANIFEST:
            raise BundleError(f"{where}: files: {name!r} is not a plain file name of this folder; {_ADVICE}")
        if not _HASH.fullmatch(value):
            raise BundleError(f"{where}: files.{name}: is not a sha256 of 64 lower-case hex digits; {_ADVICE}")
    for name in (CONTRACT, manifest.model):
        if name not in manifest.files:
            raise BundleError(f"{where}: files: lists no {name}, without which nothing can be scored; {_ADVICE}")
    return manifest


class _Format(msgspec.Struct):
    format: int


def _same_names(folder: Path, manifest: Manifest) -> None:
    """Compare the folder with the manifest before any file is opened."""
    listed = {MANIFEST, *manifest.files}
    with os.scandir(folder) as entries:
        present = sorted(entries, key=lambda entry: entry.name)
    for entry in present:
        if entry.is_symlink():
            raise BundleError(f"{folder / entry.name}: is a symlink, which could lead anywhere; {_ADVICE}")
        if entry.is_dir():
            raise BundleError(f"{folder / entry.name}: is a folder, but a bundle is flat; {_ADVICE}")
        if not entry.is_file():
            raise BundleError(f"{folder / entry.name}: is not a regular file; {_ADVICE}")
        if entry.name not in listed:
            raise BundleError(f"{folder / entry.name}: is not listed in {MANIFEST}; {_ADVICE}")
    for name in sorted(listed - {entry.name for entry in present}):
        raise BundleError(f"{folder / name}: is missing, but is listed in {MANIFEST}; {_ADVICE}")


def _read(folder: Path, name: str) -> bytes:
    """Read a regular file; a link or a pipe put in its place since is refused, not followed or waited for."""
    path = folder / name
    flags = os.O_RDONLY | getattr(os, "O_BINARY", 0) | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0)
    if path.is_symlink():
        raise BundleError(f"{path}: is a symlink, which could lead anywhere; {_ADVICE}")
    with open(os.open(path, flags), "rb") as file:  # noqa: PTH123  a descriptor, which pathlib cannot open
        if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
            raise BundleError(f"{path}: is not a regular file; {_ADVICE}")
        return file.read()


def _hash(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


@dataclass(frozen=True)
class Identity:
    """A version's name, the digest of its bundle, the sha256 of its model file, and the bundle's bytes."""

    version: str
    digest: str
    model: str
    bytes: int


def identify(version: str, folder: Path) -> Identity:
    """Return what the bundle in a folder is; raises UserError as `manifest.verify` does."""
    verified = read(folder)
    size = sum(path.stat().st_size for path in folder.iterdir())
    return Identity(version, verified.digest, verified.manifest.files[verified.manifest.model], size)
