"""Every error that Trunkline raises on purpose, and the exit code that each one means.

    TrunklineError
    ├── UserError      2   the input is wrong: a config, a data file, a command line
    └── OutsideError   3   something outside failed: a remote, a server, the file system

Exit code 1 is not an error: it is the answer "no" (a failed gate, a difference found).
A message is one line that names the file and the key, column or row, and says what to do.
"""

import errno
import os
import re
from collections.abc import Iterable
from pathlib import Path


class TrunklineError(Exception):
    """Base of the errors that are shown as one message, without a traceback."""

    exit_code = 3


class UserError(TrunklineError):
    """What the user wrote or supplied is wrong; the message says where and what to do."""

    exit_code = 2


class OutsideError(TrunklineError):
    """Something that Trunkline depends on failed: a remote, a server, the file system."""

    exit_code = 3


def one_line(text: object) -> str:
    """Return a text, or what an error says, with any white space in it as single spaces: a message is one line."""
    return " ".join(str(text).split())


def nearest(name: str, valid: Iterable[str]) -> str:
    """Return `; did you mean 'x'?` for the valid name nearest to a wrong one, else the valid names."""
    names = sorted(set(valid))
    match = _closest(name, names)
    if match:
        return f"; did you mean '{match}'?"
    return f"; valid are: {', '.join(names)}" if names else ""


def _closest(name: str, names: list[str]) -> str | None:
    try:
        from rapidfuzz import fuzz, process  # noqa: PLC0415  the serving install has none, and most commands need none
    except ImportError:
        import difflib  # noqa: PLC0415

        return next(iter(difflib.get_close_matches(name, names, n=1)), None)
    match = process.extractOne(name, names, scorer=fuzz.ratio, score_cutoff=60)
    return match[0] if match else None


_ADVICE = {
    errno.ENOSPC: "free some space and run again",
    errno.EDQUOT: "free some space or raise the quota, and run again",
    errno.EFBIG: "raise the limit on the size of files (ulimit -f) and run again",
    errno.EROFS: "the file system is read-only; use a folder that can be written",
    errno.EACCES: "give yourself the permission and run again",
    errno.EPERM: "give yourself the permission and run again",
    errno.ENOENT: "run: dvc repro, which makes what each stage reads",
}


# How polars and DuckDB say that a Parquet file is none, whole; what users supply is judged where it is read.
_DAMAGED = re.compile(
    r"parquet: File out of specification|No magic bytes found|too small to be a Parquet file|likely corrupted"
    r"|Corrupted file|Decompression failure|Could not read enough bytes|don't know what type|invalid TType|TProtocol"
)


def explain(error: BaseException) -> TrunklineError | None:
    """Return the error as one message with an exit code, or None for a bug, which deserves its traceback."""
    if isinstance(error, TrunklineError):
        return error
    if isinstance(error, MemoryError):
        return OutsideError("out of memory; close other programs or use a machine with more, and run again")
    code, path = _system_error(error)
    if code in _ADVICE:
        outside = code == errno.ENOENT and not Path("dvc.yaml").is_file()
        advice = "run this in the root of a project" if outside else _ADVICE[code]
        return OutsideError(f"{path or 'a file'}: {os.strerror(code)}; {advice}")
    package = type(error).__module__.partition(".")[0]
    if (package in ("polars", "_duckdb") or isinstance(error, OSError)) and _DAMAGED.search(str(error)):
        what = one_line(str(error).splitlines()[0])
        return OutsideError(f"a Parquet file of data/ is cut off or damaged ({what}); run: dvc repro, to make it again")
    return None


def _system_error(error: BaseException) -> tuple[int, str]:
    if isinstance(error, OSError) and error.errno is not None:
        return error.errno, os.fsdecode(error.filename) if isinstance(error.filename, str | bytes) else ""
    # Libraries written in Rust, such as polars, put it into the text of exceptions of their own.
    native = re.search(r"\(os error (\d+)\)(?:: (.+))?", str(error))
    return (int(native[1]), native[2] or "") if native else (0, "")
