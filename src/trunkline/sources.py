"""Reads the declared tables from where they are kept; a broken file gives one message, never a partial table.

A source is fetched as a file (one function per place: today an installed distribution) and then decoded (one
function per format). A CSV is checked field by field before it is read: a fast reader alone would fill up a
line that was cut off, and give a repeated column a name of its own.
"""

import base64
import csv
import gzip
import hashlib
import io
import zipfile
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.metadata import Distribution, PackageNotFoundError, PackagePath, distribution
from pathlib import Path

import polars as pl

from trunkline import headless
from trunkline.core.errors import UserError, nearest
from trunkline.params.data import Source


@dataclass(frozen=True)
class File:
    """The bytes of a file, and how messages call it."""

    name: str
    content: bytes


def read(name: str, source: Source) -> pl.DataFrame:
    """Return the table of the source called `name`: a CSV with every column as text, a Parquet file as it is.

    Raises UserError if the package is not installed in the declared version, or the file is missing, changed
    since it was installed, broken or empty.
    """
    file = _installed(name, source, source.path)
    frame = _parquet(file) if source.format == "parquet" else _csv(_plain(name, file, source), source.nulls)
    if frame.is_empty():
        raise UserError(f"{file.name}: has no rows; supply a file with data")
    return frame


def _plain(name: str, file: File, source: Source) -> File:
    """Return a CSV with a header and commas, made of more files if more are declared."""
    unpacked = _unpacked(file)
    if not headless.needed(source):
        return unpacked
    others = (_unpacked(_installed(name, source, path)) for path in source.beside)
    texts = [(one.name, _decoded(one)) for one in (unpacked, *others)]
    return File(file.name, headless.rewritten(texts, source).encode())


def _installed(name: str, source: Source, path: str) -> File:
    """Fetch a file of an installed distribution, without importing anything of it."""
    pinned = f"{source.package}=={source.version}"
    package = _package(f"data.sources.{name}", source)
    record = _recorded(f"data.sources.{name}.path", path, package)
    title = f"{source.package} {source.version}: {path}"
    try:
        content = Path(record.locate()).read_bytes()
    except FileNotFoundError:
        raise UserError(f"{title}: is missing; run: pip install --force-reinstall {pinned}") from None
    if record.hash and _digest(content, record.hash.mode) != record.hash.value:
        raise UserError(f"{title}: was changed after it was installed; run: pip install --force-reinstall {pinned}")
    return File(title, content)


def _package(key: str, source: Source) -> Distribution:
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


def _recorded(key: str, path: str, package: Distribution) -> PackagePath:
    files = {str(file): file for file in package.files or () if ".." not in file.parts}
    if path not in files:
        raise UserError(f"{key}: {package.name} {package.version} has no file '{path}'{nearest(path, files)}")
    return files[path]


def _digest(content: bytes, algorithm: str) -> str:
    """Digest in the notation of RECORD (packaging.python.org, Recording installed projects)."""
    return base64.urlsafe_b64encode(hashlib.new(algorithm, content).digest()).rstrip(b"=").decode()


def _unpacked(file: File) -> File:
    if file.name.endswith(".gz"):
        return _gunzipped(file)
    return _unzipped(file) if file.name.endswith(".zip") else file


def _gunzipped(file: File) -> File:
    try:
        return File(file.name.removesuffix(".gz"), gzip.decompress(file.content))
    except (OSError, EOFError, zlib.error) as error:
        raise UserError(f"{file.name}: is not a readable gzip file ({error}); supply a whole one") from error


def _unzipped(file: File) -> File:
    try:
        with zipfile.ZipFile(io.BytesIO(file.content)) as archive:
            members = archive.namelist()
            if len(members) != 1:
                raise UserError(f"{file.name}: holds {len(members)} files; a zipped CSV holds exactly one")
            return File(f"{file.name}/{members[0]}", archive.read(members[0]))
    except (zipfile.BadZipFile, zlib.error, EOFError, RuntimeError, NotImplementedError) as error:
        raise UserError(f"{file.name}: is not a readable zip file ({error}); supply a whole one") from error


def _parquet(file: File) -> pl.DataFrame:
    try:
        return pl.read_parquet(io.BytesIO(file.content))
    except pl.exceptions.PolarsError as error:
        raise UserError(f"{file.name}: is not a readable Parquet file ({_first_line(error)})") from error


def _csv(file: File, nulls: Sequence[str]) -> pl.DataFrame:
    text = _decoded(file)
    header, rows = _records(file.name, text)
    try:
        frame = pl.read_csv(
            text.encode(), infer_schema=False, null_values=list(nulls), empty_string_is_null="" in nulls
        )
    except pl.exceptions.PolarsError as error:
        raise UserError(f"{file.name}: is not valid CSV ({_first_line(error)}); mend it") from error
    if frame.columns != header or frame.height != rows:
        raise UserError(f"{file.name}: can be read in more than one way; save it with \\n at the end of lines")
    return frame


def _decoded(file: File) -> str:
    try:
        return file.content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = file.content.count(b"\n", 0, error.start) + 1
        raise UserError(
            f"{file.name}: line {line}: byte 0x{file.content[error.start]:02x} is not UTF-8; save it as UTF-8"
        ) from None


def _records(name: str, text: str) -> tuple[list[str], int]:
    """Return the header and the number of rows, after checking that each row has a field per column."""
    reader = csv.reader(io.StringIO(text, newline=""), strict=True)
    line, rows, header = 1, 0, []
    try:
        header = _header(name, next(reader, []))
        line = reader.line_num + 1
        for rows, fields in enumerate(reader, 1):  # noqa: B007  the count is the result
            if len(fields) != len(header) and (fields or len(header) > 1):  # an empty line is one empty field
                raise UserError(f"{name}: line {line}: has {len(fields)} fields, the header has {len(header)}; mend it")
            line = reader.line_num + 1
    except csv.Error as error:
        raise UserError(f"{name}: line {line}: is not valid CSV ({error}); mend it") from None
    return header, rows


def _header(name: str, header: list[str]) -> list[str]:
    if not any(header):
        raise UserError(f"{name}: is empty or has no header; name the columns in its first line")
    repeated = sorted({column for column in header if header.count(column) > 1})
    if repeated or "" in header:
        what = f"column '{repeated[0]}' appears more than once" if repeated else "a column has no name"
        raise UserError(f"{name}: line 1: {what}; give each column a name of its own")
    return header


def _first_line(error: Exception) -> str:
    return str(error).strip().partition("\n")[0]
