"""Files of an installed package, without importing anything of it: its own checksums say if they are whole."""

import base64
import csv
import hashlib
from importlib.metadata import Distribution, PackageNotFoundError, distribution
from pathlib import Path

from trunkline.conf.data.sources import Package
from trunkline.core.errors import UserError, nearest
from trunkline.pipeline.ingest.decode import File


def fetch(name: str, source: Package) -> list[File]:
    """Return the declared file of an installed distribution, and those that stand beside it.

    Raises UserError if it is not installed in the declared version, or a file is missing or was changed since.
    """
    return [_fetched(name, source, path) for path in (source.path, *source.beside)]


def _fetched(name: str, source: Package, path: str) -> File:
    pinned = f"{source.package}=={source.version}"
    package = _package(f"data.sources.{name}", source)
    recorded = _recorded(f"data.sources.{name}.path", path, package)
    title = f"{source.package} {source.version}: {path}"
    try:
        content = Path(str(package.locate_file(path))).read_bytes()
    except FileNotFoundError:
        raise UserError(f"{title}: is missing; run: pip install --force-reinstall {pinned}") from None
    if recorded and _hash(content, recorded.partition("=")[0]) != recorded:
        raise UserError(f"{title}: was changed after it was installed; run: pip install --force-reinstall {pinned}")
    return File(title, content)


def _package(key: str, source: Package) -> Distribution:
    pinned = f"{source.package}=={source.version}"
    try:
        package = distribution(source.package)
    except PackageNotFoundError:
        raise UserError(f"{key}: {source.package} is not installed; run: pip install {pinned}") from None
    if package.version != source.version:
        raise UserError(
            f"{key}: {source.package} {package.version} is installed, but {source.version} is declared; "
            f"run: pip install {pinned}, or change {key}.version"
        )
    return package


def _recorded(key: str, path: str, package: Distribution) -> str:
    """Return the hash that the distribution's RECORD has of a file, "" where it has none.

    RECORD is read here, since `Distribution.files` leaves missing files out where the process holds a later
    importlib_metadata, and keeps them where it does not.
    """
    rows = csv.reader((package.read_text("RECORD") or "").splitlines())
    hashes = {file: digest for file, digest, _ in rows if ".." not in file.split("/")}
    if path not in hashes:
        raise UserError(f"{key}: {package.name} {package.version} has no file '{path}'{nearest(path, hashes)}")
    return hashes[path]


def _hash(content: bytes, algorithm: str) -> str:
    """Hash in the notation of RECORD (packaging.python.org, Recording installed projects)."""
    digest = base64.urlsafe_b64encode(hashlib.new(algorithm, content).digest()).rstrip(b"=").decode()
    return f"{algorithm}={digest}"
