"""Where segments are: a folder, or a folder of an object store such as s3://bucket/log, which pyarrow speaks to.

VERSION/HOUR/NAME.parquet, the hour in UTC, and labels/NAME.parquet for outcomes. A file is under its name whole or not
at all.
"""

import re
import shutil
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
from pyarrow.fs import FileSelector, FileSystem, FileType, LocalFileSystem

from trunkline.conf.serving import is_url
from trunkline.core import files
from trunkline.core.errors import OutsideError, one_line
from trunkline.serve.log import REQUEST
from trunkline.serve.prediction_log import sealed
from trunkline.serve.prediction_log.sealed import Keys

LABELS = "labels"  # the folder of outcomes

_HOUR, _HOUR_FORM = "%Y-%m-%dT%H", re.compile(r"\d{4}-\d{2}-\d{2}T\d{2}")


class Place:
    """A folder of segments, which are encrypted where there are keys."""

    def __init__(self, to: str, keys: Keys | None = None) -> None:
        """Take a path or a URL; raises ValueError or OSError (pyarrow's) for a URL that means nothing."""
        self._keys = keys
        self._files, root = FileSystem.from_uri(to) if is_url(to) else (LocalFileSystem(), str(Path(to).absolute()))
        self._root = root.rstrip("/")
        self.is_local = isinstance(self._files, LocalFileSystem)

    def write(self, folder: str, name: str, table: Any) -> None:
        """Write a segment (a pa.Table) whole, or raise OSError."""
        path = f"{self._root}/{folder}/{name}"
        if self.is_local:
            with files.atomic_path(Path(path)) as temporary:
                write(table, temporary, keys=self._keys)
        else:  # an object is there once all of it has arrived
            write(table, path, self._files, self._keys)

    def remove(self, folder: str, name: str) -> None:
        """Remove a segment, or raise OSError; one that is gone stays so."""
        with suppress(FileNotFoundError):
            self._files.delete_file(f"{self._root}/{folder}/{name}")

    def names(self, folder: str) -> list[str]:
        """Return the names of a folder's files; none if there is no such folder."""
        return [each.base_name for each in self._listed(folder) if each.type == FileType.File]

    def segments(self) -> Iterator[tuple[str, str]]:
        """Yield the folder, VERSION/HOUR, and the name of each segment, sorted."""
        for folder in sorted(self._hours()):
            yield from ((folder, name) for name in sorted(self.names(folder)) if name.endswith(".parquet"))

    def unfinished(self, before: datetime) -> list[tuple[str, str]]:
        """Return the folder and the name of what a process that was killed before a moment (UTC) has left."""
        return [
            (folder, each.base_name)
            for folder in (*sorted(self._hours()), LABELS)
            for each in self._listed(folder)
            if each.type == FileType.File and _is_unfinished(each.base_name) and each.mtime < before
        ]

    def labels(self) -> list[str]:
        """Return the names of the files of outcomes, sorted."""
        return sorted(name for name in self.names(LABELS) if is_of_labels(f"{LABELS}/{name}"))

    def is_log(self) -> bool:
        """Tell whether the folder is of a log: it has segments or outcomes, or nothing yet, or nothing any more."""
        [root] = self._files.get_file_info([self._root])
        if root.type != FileType.Directory:
            return False
        if next(self.segments(), None) is not None or self.labels():
            return True
        below = self._files.get_file_info(FileSelector(self._root, recursive=True, allow_not_found=True))
        return all(
            each.type == FileType.Directory or _is_of_log(each.path.removeprefix(f"{self._root}/")) for each in below
        )

    @contextmanager
    def open(self, folder: str, name: str, dictionaries: Sequence[str] = ()) -> Iterator[Any]:
        """Yield a segment as a pq.ParquetFile; raises OutsideError where it cannot be read, UserError without its key.

        Columns of texts whose paths are among `dictionaries`, of those that it has, are read as such.
        """
        metadata, there = None, list[str]()
        try:
            with self._content(folder, name) as content:
                if dictionaries:  # a column that is not there cannot be asked for
                    metadata = pq.read_metadata(content)
                    there = [each for each in dictionaries if each in columns(metadata)]
                with pq.ParquetFile(content, metadata=metadata, read_dictionary=there) as file:
                    yield file
        except (OSError, pa.ArrowException) as error:
            if self._keys is None:
                self._refuse_sealed(folder, name)
            raise OutsideError(f"{folder}/{name}: cannot be read: {one_line(error)}; run again, or fetch it") from None

    @contextmanager
    def _content(self, folder: str, name: str) -> Iterator[Any]:
        """Yield the file of a segment, of one that is encrypted its content in memory."""
        with self._files.open_input_file(f"{self._root}/{folder}/{name}") as file:
            begins = file.read_at(len(sealed.MAGIC), 0) if self._keys else b""  # a store is not asked in vain
            content = file.read_at(file.size(), 0) if sealed.is_sealed(begins) else None
            yield file if content is None else pa.BufferReader(sealed.unsealed(content, f"{folder}/{name}", self._keys))

    def _refuse_sealed(self, folder: str, name: str) -> None:
        """Raise UserError for a segment that is encrypted, where no keys are declared."""
        with suppress(OSError), self._files.open_input_file(f"{self._root}/{folder}/{name}") as file:
            sealed.unsealed(file.read_at(len(sealed.MAGIC), 0), f"{folder}/{name}", None)

    def remove_before(self, moment: datetime) -> None:
        """Remove the hours of all versions that ended at or before a moment."""
        for folder in self._hours():
            if hour_of(folder) + timedelta(hours=1) <= moment:
                if self.is_local:  # another process may be removing it too
                    shutil.rmtree(f"{self._root}/{folder}", ignore_errors=True)
                else:
                    self._files.delete_dir_contents(f"{self._root}/{folder}")
                    with suppress(OSError):  # an empty object that stands for the folder: not every store has one
                        self._files.delete_dir(f"{self._root}/{folder}")

    def _hours(self) -> Iterator[str]:
        for version in self._listed(""):
            for hour in self._listed(version.base_name) if version.type == FileType.Directory else ():
                if hour.type == FileType.Directory and _HOUR_FORM.fullmatch(hour.base_name):
                    yield f"{version.base_name}/{hour.base_name}"

    def _listed(self, folder: str) -> list[Any]:
        listed: list[Any] = self._files.get_file_info(
            FileSelector(f"{self._root}/{folder}".rstrip("/"), allow_not_found=True)
        )
        return listed


def write(table: Any, to: Any, filesystem: Any = None, keys: Keys | None = None) -> None:
    """Write a pa.Table as a segment is stored, encrypted where there are keys.

    Numbers are split by their bytes and times are differences, which is smaller and read in less time; so is LZ4, but
    for the ids of requests, of which Zstandard leaves half as much.
    """
    if keys is not None:
        plain = pa.BufferOutputStream()
        write(table, plain)
        content = keys.seal(plain.getvalue().to_pybytes())
        with (filesystem or LocalFileSystem()).open_output_stream(str(to)) as file:
            file.write(content)
        return
    kinds = dict(_leaves(table.schema))
    encodings = {path: encoding for path, kind in kinds.items() if (encoding := _encoding(kind))}
    pq.write_table(
        table,
        to,
        compression={path: "zstd" if path == REQUEST else "lz4" for path in kinds},
        use_dictionary=[path for path in kinds if path not in encodings],
        column_encoding=encodings,
        filesystem=filesystem,
    )


def _encoding(kind: Any) -> str | None:
    """Return the encoding of Parquet for columns of a type; None: a dictionary of their values."""
    if pa.types.is_floating(kind):
        return "BYTE_STREAM_SPLIT"
    return "DELTA_BINARY_PACKED" if pa.types.is_timestamp(kind) else None


def columns(metadata: Any) -> list[str]:
    """Return the paths of a segment's columns in their order; none of one without rows.

    `metadata.schema` has them too, but it and the metadata would hold each other until the garbage collector looks.
    """
    if not metadata.num_row_groups:
        return []
    group = metadata.row_group(0)
    return [group.column(place).path_in_schema for place in range(metadata.num_columns)]


def is_of_labels(path: str) -> bool:
    """Tell whether a path is that of a file of outcomes: labels/labels-….parquet."""
    return re.search(rf"(^|/){LABELS}/{LABELS}-[^/]+\.parquet$", path) is not None


def _is_of_log(path: str) -> bool:
    """Tell whether a path below a folder can be a log's: that of a segment, of outcomes, or of what becomes one."""
    folder, _, name = path.rpartition("/")
    is_segment = _HOUR_FORM.fullmatch(folder.partition("/")[2]) is not None and name.endswith(".parquet")
    return is_segment or is_of_labels(path) or _is_unfinished(name)


def _is_unfinished(name: str) -> bool:
    return name.startswith(".") and name.endswith(".part")


def _leaves(fields: Iterable[Any], above: str = "") -> Iterator[tuple[str, Any]]:
    """Yield the path and the type of each column of Parquet: those within structs, too."""
    for field in fields:
        path = f"{above}{field.name}"
        if pa.types.is_struct(field.type):
            yield from _leaves(field.type, f"{path}.")
        else:
            yield path, field.type


def hour_of(folder: str) -> datetime:
    """Return when the hour of a folder, VERSION/HOUR, begins."""
    return datetime.strptime(folder.rpartition("/")[2], _HOUR).replace(tzinfo=UTC)


def folder(version: str | None, digest: str, time: float) -> str:
    """Return the folder of a row: its version, or what begins its digest, and the hour of its time."""
    return f"{version or digest[:12]}/{datetime.fromtimestamp(time, UTC):{_HOUR}}"
