"""Reading and writing files so that equal content gives equal bytes and a crash leaves no half file."""

import hashlib
import json
import math
import os
import re
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

DIGITS = 6


@contextmanager
def atomic_path(path: Path) -> Iterator[Path]:
    """Yield a temporary path in the same folder that replaces `path` when the block ends without an error."""
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.", suffix=".part")
    except OSError as error:
        error.filename = str(path)  # not the temporary name, which says nothing to anybody
        raise
    os.close(handle)
    temporary = Path(name)
    try:
        yield temporary
        with temporary.open("rb") as written:
            os.fsync(written.fileno())
        temporary.chmod(0o644)
        temporary.replace(path)
    except OSError as error:
        error.filename = error.filename or str(path)  # a full disk does not say where it is full
        raise
    except Exception as error:
        native = re.search(r"\(os error (\d+)\)", str(error))  # libraries written in Rust, such as polars
        if not native:
            raise
        raise OSError(int(native[1]), os.strerror(int(native[1])), str(path)) from error
    finally:
        temporary.unlink(missing_ok=True)


def sha256(path: Path) -> str:
    """Return the sha256 of a file, as hex."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def write_text(path: Path, text: str) -> None:
    """Write UTF-8 text with Unix line ends, atomically."""
    with atomic_path(path) as temporary:
        temporary.write_bytes(text.encode())


def rounded(value: Any, digits: int | None = DIGITS) -> Any:
    """Round every float inside nested dicts and lists to `digits` significant digits; NaN becomes None.

    No digits: floats stay as they are.
    """
    if isinstance(value, float):
        if not math.isfinite(value):
            return None
        return value if digits is None else float(f"{value:.{digits}g}")
    if isinstance(value, dict):
        return {str(key): rounded(item, digits) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [rounded(item, digits) for item in value]
    return value


def canonical_json(value: Any, digits: int | None = DIGITS) -> str:
    """Render JSON that depends on the content only: sorted keys, rounded floats, one final line end."""
    return json.dumps(rounded(value, digits), sort_keys=True, indent=2, ensure_ascii=False, allow_nan=False) + "\n"


def parse_json(text: str | bytes) -> Any:
    """Parse JSON of whatever origin; raises ValueError, also for a repeated key, on which readers disagree."""
    return json.loads(text, object_pairs_hook=_unique)


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    mapping = dict(pairs)
    if len(mapping) < len(pairs):
        twice = next(key for number, (key, _) in enumerate(pairs) if key in dict(pairs[:number]))
        raise ValueError(f"the key {twice!r} stands twice")
    return mapping


def write_json(path: Path, value: Any, digits: int | None = DIGITS) -> None:
    """Write canonical JSON, atomically."""
    write_text(path, canonical_json(value, digits))
