"""Every error that Trunkline raises on purpose, and the exit code that each one means.

    TrunklineError
    ├── UserError      2   the input is wrong: a config, a data file, a command line
    └── OutsideError   3   something outside failed: a remote, a server, the file system

Exit code 1 is not an error: it is the answer "no" (a failed gate, a difference found).
A message is one line that names the file and the key, column or row, and says what to do.
"""

from collections.abc import Iterable


class TrunklineError(Exception):
    """Base of the errors that are shown as one message, without a traceback."""

    exit_code = 3


class UserError(TrunklineError):
    """What the user wrote or supplied is wrong; the message says where and what to do."""

    exit_code = 2


class OutsideError(TrunklineError):
    """Something that Trunkline depends on failed: a remote, a server, the file system."""

    exit_code = 3


def nearest(name: str, valid: Iterable[str]) -> str:
    """Return `; did you mean 'x'?` for the valid name nearest to a wrong one, else the valid names."""
    names = sorted(set(valid))
    match = _closest(name, names)
    if match:
        return f"; did you mean '{match}'?"
    return f"; valid are: {', '.join(names)}" if names else ""


def _closest(name: str, names: list[str]) -> str | None:
    try:
        from rapidfuzz import process  # noqa: PLC0415  the serving install has none, and most commands need none
    except ImportError:
        import difflib  # noqa: PLC0415

        return next(iter(difflib.get_close_matches(name, names, n=1)), None)
    match = process.extractOne(name, names, score_cutoff=60)
    return match[0] if match else None
