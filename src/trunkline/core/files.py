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
from typing import Any, cast

import yaml

DIGITS = 6

# Far above what a file of ours needs, far below what crashes the parser (a nesting of 30,000) or fills the memory.
YAML_DEPTH = 50
YAML_NODES = 1_000_000
YAML_SCALAR = 20_000  # characters: some readers of numbers take quadratic time


class _Loader(yaml.CSafeLoader):
    """YAML as Hydra reads it: 1e-3 is a number, 2013-07-01 is a text."""


_Loader.yaml_implicit_resolvers = {
    first: [(tag, pattern) for tag, pattern in resolvers if tag != "tag:yaml.org,2002:timestamp"]
    for first, resolvers in yaml.CSafeLoader.yaml_implicit_resolvers.items()
}
_Loader.add_implicit_resolver(
    "tag:yaml.org,2002:float",
    re.compile(r"^[-+]?(\d[\d_]*(\.[\d_]*)?|\.\d[\d_]*)[eE][-+]?\d+$"),
    list("-+.0123456789"),
)


def parse_yaml(text: str) -> Any:
    """Parse YAML of whatever origin; raises yaml.YAMLError, also for what could take all time, memory or the stack."""
    for _ in yaml_events(text):
        pass
    try:
        return yaml.load(text, Loader=_Loader)  # noqa: S506  a safe loader
    except (ValueError, LookupError, TypeError, AttributeError, OverflowError) as error:
        # Its constructors raise these for a value that its tag does not fit, such as `!!bool perhaps`.
        raise yaml.YAMLError(f"a value that does not fit its type ({error})") from error


def yaml_events(text: str) -> Iterator[yaml.Event]:
    """Yield the parser's events, which take no stack, as long as what they build stays within the limits above.

    Raises yaml.MarkedYAMLError for what is not YAML or beyond them.
    """
    built, sizes = [0], dict[str, int]()
    anchors = list[str | None]()
    for event in yaml.parse(text, Loader=yaml.CSafeLoader):
        if isinstance(event, yaml.CollectionStartEvent):
            built.append(0)
            anchors.append(event.anchor)
        elif isinstance(event, yaml.CollectionEndEvent):
            size = built.pop() + 1
            built[-1] += size
            sizes[anchors.pop() or ""] = size
        elif isinstance(event, yaml.NodeEvent):
            built[-1] += sizes.get(event.anchor or "", 1) if isinstance(event, yaml.AliasEvent) else 1
        if isinstance(event, yaml.AliasEvent) and event.anchor in anchors:
            raise _bomb("a value that holds itself", event)
        _refuse_bomb(event, len(anchors), sum(built))
        yield event


def _refuse_bomb(event: yaml.Event, depth: int, nodes: int) -> None:
    problem = None
    if depth > YAML_DEPTH:
        problem = f"nested deeper than {YAML_DEPTH} levels"
    elif nodes > YAML_NODES:
        problem = f"more than {YAML_NODES} values, with its aliases written out"
    elif isinstance(event, yaml.ScalarEvent) and len(event.value) > YAML_SCALAR:
        problem = f"a value of more than {YAML_SCALAR} characters"
    if problem:
        raise _bomb(problem, event)


def _bomb(problem: str, event: yaml.Event) -> yaml.MarkedYAMLError:
    return yaml.MarkedYAMLError(problem=problem, problem_mark=cast("yaml.Mark | None", event.start_mark))


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


def write_json(path: Path, value: Any, digits: int | None = DIGITS) -> None:
    """Write canonical JSON, atomically."""
    write_text(path, canonical_json(value, digits))
