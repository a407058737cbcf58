"""The records of a CSV: one grammar for whoever reads one, so that no reader takes what another refuses.

Fast readers alone fill up a line that was cut off, skip empty lines, or give a repeated column a name of its own.
"""

import csv
import io
import re
from collections import Counter, deque
from collections.abc import Iterator
from dataclasses import dataclass
from typing import BinaryIO

import numpy as np

from trunkline.core.errors import UserError

MOST_BYTES = 16 << 20  # of a line
_FIELD_SIZE = csv.field_size_limit()
NO_NAME = "line 1: a column has no name; give each column a name of its own"
_BOM = b"\xef\xbb\xbf"
_FIELD = rb'(?:"(?:[^"]++|"")*+"|[^",\r\n]*+)'
_RECORD = re.compile(rb"%b(?:,%b)*+\r?\n?" % (_FIELD, _FIELD))
_BARE_CR = "ends with \\r alone; save the file with \\n at the end of lines"
_BARE_QUOTE = "has a quote inside a field without quotes; put the field in quotes and write the quote twice"


@dataclass(frozen=True)
class Block:
    """Whole records that follow each other, as they stand in the file."""

    content: bytes
    rows: int


class Records:
    """A CSV whose header has been read, and whose rows have not."""

    def __init__(self, name: str, source: BinaryIO) -> None:
        """Read the header; `name` is what messages call the file.

        Raises UserError if there is none, or it does not name every column once.
        """
        self._name, self._source = name, source
        self._ahead: deque[bytes] = deque()  # lines that are read, but not as records
        self._lines: list[bytes] = []  # of the records since the last block
        self._line = 0  # the number of the last one
        self._reader = csv.reader(self._texts(), strict=True)
        self.header = _header(name, self._record() or [])

    def blocks(self, size: int) -> Iterator[Block]:
        """Yield the rows in blocks of about `size` bytes, or of one record if that is longer.

        Raises UserError, with the line, for a row that has not a field per column or is not CSV in UTF-8.
        """
        while content := self._source.read(size) + self._source.readline(MOST_BYTES):
            rows = _plain_rows(content, len(self.header))
            if rows is not None:
                self._line += rows
                yield Block(content, rows)
            else:
                self._ahead.extend(io.BytesIO(content))
                yield self._block_of_records()

    def _block_of_records(self) -> Block:
        """Return the records that begin in the lines ahead, read one by one."""
        width, rows = len(self.header), 0
        self._lines.clear()
        while self._ahead:
            line = self._line + 1
            fields = self._record() or []
            if len(fields) != width and (fields or width > 1):  # an empty line is one empty field
                raise UserError(f"{self._name}: line {line}: has {len(fields)} fields, the header has {width}; fix it")
            rows += 1
        return Block(b"".join(self._lines), rows)

    def _record(self) -> list[str] | None:
        line, kept = self._line + 1, len(self._lines)
        try:
            fields = next(self._reader, None)
        except csv.Error as error:
            what = _BARE_CR if "new-line character" in str(error) else f"is not valid CSV ({error}); fix it"
            raise UserError(f"{self._name}: line {line}: {what}") from None
        # Python's reader is lenient where others are not, or read something else.
        content = self._lines[kept] if len(self._lines) == kept + 1 else b"".join(self._lines[kept:])
        inside = content.removesuffix(b"\n").removesuffix(b"\r")
        quoted = b'"' in inside
        if (quoted or b"\r" in inside) and not _RECORD.fullmatch(content):
            raise UserError(f"{self._name}: line {line}: {_BARE_QUOTE if quoted else _BARE_CR}")
        return fields

    def _texts(self) -> Iterator[str]:
        while line := self._ahead.popleft() if self._ahead else self._source.readline(MOST_BYTES):
            self._line += 1
            if len(line) >= MOST_BYTES:
                what = f"has {MOST_BYTES:,} bytes or more; supply a CSV with \\n at the end of lines"
                raise UserError(f"{self._name}: line {self._line}: {what}")
            content = line.removeprefix(_BOM) if self._line == 1 else line
            self._lines.append(content)
            yield self._decoded(content)

    def _decoded(self, line: bytes) -> str:
        try:
            return line.decode()
        except UnicodeDecodeError as error:
            what = f"byte 0x{line[error.start]:02x} is not UTF-8; save it as UTF-8"
            raise UserError(f"{self._name}: line {self._line}: {what}") from None


def _plain_rows(content: bytes, width: int) -> int | None:
    """Return how many rows there are in lines without quotes that are all of one width; None of any others."""
    if b'"' in content or content.count(b"\r") != content.count(b"\r\n") or not _is_utf8(content):
        return None
    whole = content if content.endswith(b"\n") else content + b"\n"
    codes = np.frombuffer(whole, np.uint8)
    ends = np.flatnonzero((codes == ord(",")) | (codes == ord("\n")))  # of fields
    rows = whole.count(b"\n")
    alike = len(ends) == rows * width and (codes[ends[width - 1 :: width]] == ord("\n")).all()
    return rows if alike and np.diff(ends, prepend=-1).max() <= _FIELD_SIZE else None


def _is_utf8(content: bytes) -> bool:
    try:
        content.decode()
    except UnicodeDecodeError:
        return False
    return True


def _header(name: str, header: list[str]) -> tuple[str, ...]:
    if not any(header):
        raise UserError(f"{name}: is empty or has no header; name the columns in its first line")
    repeated = sorted(column for column, count in Counter(header).items() if count > 1)
    if repeated:
        what = f"column '{repeated[0]}' appears more than once; give each column a name of its own"
        raise UserError(f"{name}: line 1: {what}")
    if "" in header[:-1]:
        raise UserError(f"{name}: {NO_NAME}")
    return tuple(header)
