"""Brings a file from elsewhere, however often the way breaks off: resumed, verified, and kept under its own hash.

What has arrived stays beside its validator (an ETag), so that the next attempt, or the next run, goes on where this one
ended; if the file has changed in between, it starts again. A place (http, stores) only says how to open at an offset.
Kept files are found by their sha256, so that a month more downloads one month.
"""

import hashlib
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path

from filelock import FileLock
from tenacity import RetryCallState, Retrying, retry_if_exception_type

from trunkline.core.errors import OutsideError
from trunkline.core.files import sha256
from trunkline.core.progress import CONSOLE, Bar

PAUSES = (1.0, 2.0, 4.0, 8.0, 16.0)  # seconds before the next attempt, while nothing arrives
PATIENCE = 120.0  # the longest time in seconds that a server may ask for
CHUNK = 2**16  # bytes; what has arrived of a chunk is lost where the connection breaks off


class BrokenOffError(Exception):
    """An attempt that failed in a way that the next may not.

    `wait` is what the server asks for, in seconds; `anew` says that what has arrived does not belong to the rest.
    """

    def __init__(self, message: str, *, wait: float | None = None, anew: bool = False) -> None:
        super().__init__(message)
        self.wait = wait
        self.anew = anew


@dataclass(frozen=True)
class Stream:
    """What a place sends: bytes from `offset` on, of `total` in all, if it says so, and whose validator is this."""

    offset: int
    total: int | None
    validator: str
    chunks: Iterator[bytes]


@dataclass(frozen=True)
class Remote:
    """A file elsewhere: its whole address, what of that is shown, and how to open it.

    `open_at` takes an offset and the validator of what has arrived, and may begin at 0 all the same. It raises
    BrokenOffError where another attempt may help, UserError or OutsideError where none will.
    """

    address: str
    title: str
    open_at: Callable[[int, str], AbstractContextManager[Stream]]


def fetch(remote: Remote, pinned: str | None, folder: Path, sleep: Callable[[float], None] = time.sleep) -> Path:
    """Return the downloaded file, whose name in the folder is its sha256; that may be another than the pinned one.

    Raises OutsideError if it does not arrive whole.
    """
    folder.mkdir(parents=True, exist_ok=True)
    with FileLock(folder / ".lock"):
        if pinned and (folder / pinned).is_file() and sha256(folder / pinned) == pinned:
            return folder / pinned
        part = _Part.of(folder, remote.address)
        resumed = part.size > 0
        digest = _arrived(remote, part, sleep)
        if pinned not in (None, digest) and (resumed or part.resumed):  # a server may change a file and not say so
            part.restart("")
            digest = _arrived(remote, part, sleep)
        return part.keep(folder / digest)


class _Part:
    """What has arrived of a file, and the validator that it belongs to."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._tag = path.with_suffix(".tag")
        self.resumed = False

    @classmethod
    def of(cls, folder: Path, address: str) -> "_Part":
        return cls(folder / f"{hashlib.sha256(address.encode()).hexdigest()[:32]}.part")

    @property
    def size(self) -> int:
        return self._path.stat().st_size if self._path.exists() else 0

    @property
    def validator(self) -> str:
        return self._tag.read_text(encoding="utf-8") if self._tag.exists() else ""

    def restart(self, validator: str) -> None:
        self._tag.unlink(missing_ok=True)  # first: bytes without a validator are never gone on with
        self._path.write_bytes(b"")
        self._tag.write_text(validator, encoding="utf-8")

    def append(self, chunks: Iterator[bytes], seen: Callable[[int], None]) -> None:
        with self._path.open("ab") as file:
            for chunk in chunks:
                file.write(chunk)
                seen(file.tell())

    def digest(self) -> str:
        return sha256(self._path)

    def keep(self, target: Path) -> Path:
        self._path.replace(target)
        self._tag.unlink()
        return target


def _arrived(remote: Remote, part: _Part, sleep: Callable[[float], None]) -> str:
    """Try until all has arrived, and return its sha256; give up when nothing more arrives for some attempts."""
    attempts = _Attempts(part)
    with Bar(remote.title, unit="bytes") as bar:

        def announce(state: RetryCallState) -> None:
            words = f"{remote.title}: {attempts.error}; trying again in {state.upcoming_sleep:.0f} s"
            CONSOLE.print(words, markup=False)

        retrying = Retrying(
            retry=retry_if_exception_type(BrokenOffError),
            after=attempts.record,
            wait=attempts.wait,
            stop=attempts.exhausted,
            before_sleep=announce,
            sleep=sleep,
            reraise=True,
        )
        try:
            retrying(_attempt, remote, part, lambda total, size: bar.update(size, total=total))
        except BrokenOffError as error:
            raise OutsideError(f"{remote.title}: {error}; run again, which goes on from there") from None
    return part.digest()


class _Attempts:
    """What the attempts at a file have come to: one that brings more of it than any before is no failure."""

    def __init__(self, part: _Part) -> None:
        self._part = part
        self._most = part.size
        self._failures = 0
        self.error = BrokenOffError("")  # of the last attempt

    def record(self, state: RetryCallState) -> None:
        """Take in an attempt that broke off, and drop what does not belong to the rest."""
        error = state.outcome and state.outcome.exception()
        self.error = error if isinstance(error, BrokenOffError) else self.error
        self._failures = 0 if self._part.size > self._most else self._failures + 1
        self._most = max(self._most, self._part.size)
        if self.error.anew:
            self._part.restart("")

    def wait(self, _: RetryCallState) -> float:
        """Return the seconds that the server asks for, else those of the schedule."""
        step = min(max(self._failures, 1), len(PAUSES)) - 1
        return PAUSES[step] if self.error.wait is None else self.error.wait

    def exhausted(self, _: RetryCallState) -> bool:
        """Tell whether another attempt is worth nothing, or is asked to wait for too long."""
        return self._failures > len(PAUSES) or (self.error.wait or 0) > PATIENCE


def _attempt(remote: Remote, part: _Part, seen: Callable[[int | None, int], None]) -> None:
    with remote.open_at(part.size, part.validator) as stream:
        if stream.offset == 0:
            part.restart(stream.validator)
        elif stream.validator not in ("", part.validator):
            raise BrokenOffError("has changed", anew=True)
        else:
            part.resumed = True
        part.append(stream.chunks, lambda size: seen(stream.total, size))
        if stream.total is not None and part.size < stream.total:
            raise BrokenOffError(f"ended after {part.size:,} of {stream.total:,} bytes")
        if stream.total is not None and part.size > stream.total:
            raise BrokenOffError(f"sent more than the {stream.total:,} bytes that it has said", anew=True)
