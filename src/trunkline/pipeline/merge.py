"""Three-way merges of the files that `dvc repro` writes, so that two branches meet in a state that DVC can judge.

Git merges lines, and lines of two runs put together are a state that no run has left. Here the unit is what one run of
one stage wrote: an entry of dvc.lock and a report are taken whole or not at all. An entry that does not fit the merged
inputs is no harm: `dvc status` shows it, and `dvc repro` makes it again. What two people decided differently, which no
rerun can settle, is a conflict. params.yaml is such decisions only, so it is merged by key.
"""

import json
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from enum import Enum
from pathlib import PurePosixPath
from typing import Any, TypeAlias

import yaml

from trunkline.core import paths, safe_yaml
from trunkline.core.errors import UserError, one_line

# Settings of git, once per clone, so that it calls the driver.
SETTINGS = {
    "merge.trunkline.name": "Trunkline: dvc.lock by stage, params.yaml by key, reports as a whole",
    "merge.trunkline.driver": "trunkline ci merge-driver %O %A %B %P",
}
SHOWN = 3  # changes of a side in one message: an edit of the locked environment changes every stage
WIDTH = 60  # of a value in a message

_SECTION = re.compile(r"^(?=[^\s#-])", re.MULTILINE)
_STAGE = re.compile(r"^(?=  [^\s#])", re.MULTILINE)
_STAGES = "stages"


class _Absent(Enum):
    KEY = "(none)"


Key: TypeAlias = tuple[str, ...]
Inputs: TypeAlias = dict[Key, str]


@dataclass(frozen=True)
class Sides:
    """The texts of a file: where the branches parted, on ours, on theirs."""

    base: str
    ours: str
    theirs: str


@dataclass(frozen=True)
class Conflict:
    """A stage or a dotted key that both sides changed, and what each of them changed."""

    name: str
    ours: tuple[str, ...]
    theirs: tuple[str, ...]


@dataclass(frozen=True)
class MergedFile:
    """The merged text, in which a conflict is kept as ours, and the stages or reports that must be made again."""

    text: str
    conflicts: tuple[Conflict, ...] = ()
    stale: tuple[str, ...] = ()


@dataclass(frozen=True)
class _Entry:
    """A stage of dvc.lock, or another section of it: the exact text, and what it says."""

    text: str
    content: Any


_Lock: TypeAlias = dict[Key, _Entry]


def merge(path: str, sides: Sides, render: Callable[[Mapping[str, Any]], str]) -> MergedFile:
    """Merge dvc.lock, params.yaml or a JSON report; `render` writes params.yaml of its content.

    Raises UserError for a side that cannot be read, and for a path that is not one of these files.
    """
    name = PurePosixPath(path).name
    if name == "dvc.lock":
        return merge_lock(path, sides)
    if name == "params.yaml":
        return merge_params(path, sides, render)
    if name.endswith(".json"):
        return merge_report(path, sides)
    raise UserError(f"{path}: only dvc.lock, params.yaml and JSON are merged; fix .gitattributes")


def merge_report(path: str, sides: Sides) -> MergedFile:
    """Take the side that changed; where both did, ours, which must be made again: keys of two runs are of no run."""
    for text in (sides.ours, sides.theirs):
        try:
            json.loads(text)
        except ValueError as error:
            raise UserError(f"{path}: is not JSON on one side of the merge: {error}; run there: dvc repro") from None
    if sides.theirs in (sides.base, sides.ours):
        return MergedFile(sides.ours)
    return MergedFile(sides.theirs) if sides.ours == sides.base else MergedFile(sides.ours, stale=("the report",))


def merge_params(path: str, sides: Sides, render: Callable[[Mapping[str, Any]], str]) -> MergedFile:
    """Merge params.yaml by key; a list is one value."""
    base, ours, theirs = (_mapping(path, text) for text in (sides.base, sides.ours, sides.theirs))
    conflicts: list[Conflict] = []
    merged = _merge_value((), base, ours, theirs, conflicts)
    if _same(merged, ours):
        return MergedFile(sides.ours, tuple(conflicts))
    text = sides.theirs if _same(merged, theirs) else render(merged)
    return MergedFile(text, tuple(conflicts))


def _merge_value(key: Key, base: Any, ours: Any, theirs: Any, conflicts: list[Conflict]) -> Any:
    if _same(ours, theirs) or _same(theirs, base):
        return ours
    if _same(ours, base):
        return theirs
    if _has_keys(ours) and _has_keys(theirs):
        return _merge_keys(key, base, ours, theirs, conflicts)
    changes = [f"{_shown(base)} → {_shown(value)}" for value in (ours, theirs)]
    conflicts.append(Conflict(".".join(key), (changes[0],), (changes[1],)))
    return ours


def _merge_keys(key: Key, base: Any, ours: Any, theirs: Any, conflicts: list[Conflict]) -> Any:
    nodes = [side if isinstance(side, dict) else {} for side in (base, ours, theirs)]
    merged: dict[Any, Any] = {}
    for name in dict.fromkeys([*nodes[1], *nodes[2]]):
        before, own, other = (node.get(name, _Absent.KEY) for node in nodes)
        merged[name] = _merge_value((*key, str(name)), before, own, other, conflicts)
    kept = {name: value for name, value in merged.items() if value is not _Absent.KEY}
    # A mapping that one side removed comes back only with what the other side put into it.
    return kept if kept or _Absent.KEY not in (ours, theirs) else _Absent.KEY


def _has_keys(value: Any) -> bool:
    """Tell whether to look into a value: an absent mapping is one whose keys are all removed."""
    return value is _Absent.KEY or isinstance(value, dict)


def _same(left: Any, other: Any) -> bool:
    """Compare values with their types: to Python, 1 equals 1.0 and True, but an estimator can tell them apart."""
    if isinstance(left, dict) and isinstance(other, dict):
        return left.keys() == other.keys() and all(_same(left[key], other[key]) for key in left)
    return _text(left) == _text(other)


def _text(value: Any) -> str:
    return value.value if isinstance(value, _Absent) else json.dumps(value, ensure_ascii=False, default=str)


def _shown(value: Any) -> str:
    return _shortened(_text(value))


def _shortened(text: str) -> str:
    return text if len(text) <= WIDTH else f"{text[: WIDTH - 1]}…"


def merge_lock(path: str, sides: Sides) -> MergedFile:
    """Merge dvc.lock by stage: every entry of the result is, byte for byte, an entry of one side."""
    base, ours, theirs = (_entries(path, text) for text in (sides.base, sides.ours, sides.theirs))
    merged: _Lock = {}
    conflicts: list[Conflict] = []
    stale: list[str] = []
    for key in dict.fromkeys([*ours, *theirs]):  # the order of DVC, which writes a new stage last
        kept = _merge_entry(key, (base, ours, theirs), conflicts, stale)
        if kept:
            merged[key] = kept
    if merged in (ours, theirs):
        return MergedFile(sides.ours if merged == ours else sides.theirs, tuple(conflicts), tuple(stale))
    sections = {name: f"{_STAGES}:\n" if name == _STAGES else "" for name, *_ in merged}
    for key, entry in merged.items():
        sections[key[0]] += entry.text
    return MergedFile("".join(sections.values()), tuple(conflicts), tuple(stale))


def _merge_entry(
    key: Key, locks: tuple[_Lock, _Lock, _Lock], conflicts: list[Conflict], stale: list[str]
) -> _Entry | None:
    base, ours, theirs = (lock.get(key) for lock in locks)
    if theirs in (base, ours):
        return ours
    if ours == base:
        return theirs
    before, *inputs = (_direct_inputs(lock, key) for lock in locks)
    if any(entry and _makes_params(entry) for entry in (ours, theirs)):
        before, inputs = None, [None, None]  # what it decides is in params.yaml, where conflicts are by key
    if before not in inputs and inputs[0] != inputs[1]:
        conflicts.append(Conflict(key[-1], *(_changes(before, side) for side in inputs)))
        return ours
    kept = theirs if inputs[0] == before != inputs[1] else ours
    if kept:
        stale.append(key[-1])
    return kept


def _direct_inputs(lock: _Lock, key: Key) -> Inputs | None:
    """Return what a person changes to change a stage.

    Not the outputs of others, which follow from their stages; nor what a stage before it reads as well, whose change is
    first of all that stage's: a model card reads all parameters, and is not what a change of any of them is about.
    """
    inputs = _inputs(lock, key)
    if inputs is None or key[0] != _STAGES:
        return inputs
    earlier = {name for other in _upstream(lock, key) for name in _inputs(lock, other) or () if name != ("cmd",)}
    return {name: value for name, value in inputs.items() if name not in earlier}


def _upstream(lock: _Lock, key: Key) -> set[Key]:
    """Return the stages that a stage depends on, directly or not."""
    before: set[Key] = set()
    waiting = [key]
    while waiting:
        reads = [dep["path"] for dep in lock[waiting.pop()].content.get("deps", ())]
        for other, entry in lock.items():
            makes = [out["path"] for out in entry.content.get("outs", ())] if other[0] == _STAGES else []
            if other != key and other not in before and any(_overlaps(path, makes) for path in reads):
                before.add(other)
                waiting.append(other)
    return before


def _inputs(lock: _Lock, key: Key) -> Inputs | None:
    """Return the command, the files that no other stage makes, and the parameters by their dotted names."""
    if key not in lock:
        return None
    content = lock[key].content
    if key[0] != _STAGES:
        return {key: _text(content)}
    others = [entry.content for other, entry in lock.items() if other[0] == _STAGES and other != key]
    outs = [out["path"] for other in others for out in other.get("outs", ())]
    deps = {("deps", dep["path"]): _text(dep) for dep in content.get("deps", ()) if not _overlaps(dep["path"], outs)}
    inputs: Inputs = {("cmd",): _text(content.get("cmd"))}
    files = content.get("params", {})
    params = [
        _leaves(("params", file, *name.split(".")), value) for file in files for name, value in files[file].items()
    ]
    return inputs | deps | {name: text for leaves in params for name, text in leaves.items()}


def _makes_params(entry: _Entry) -> bool:
    outs = entry.content.get("outs", ()) if isinstance(entry.content, dict) else ()
    return any(out["path"] == paths.PARAMS.as_posix() for out in outs)


def _overlaps(path: str, others: list[str]) -> bool:
    return any(f"{path}/".startswith(f"{other}/") or f"{other}/".startswith(f"{path}/") for other in others)


def _leaves(key: Key, value: Any) -> Inputs:
    if not isinstance(value, dict) or not value:
        return {key: _text(value)}
    nested = [_leaves((*key, str(name)), item) for name, item in value.items()]
    return {leaf: text for leaves in nested for leaf, text in leaves.items()}


def _changes(before: Inputs | None, after: Inputs | None) -> tuple[str, ...]:
    if before is None or after is None:
        return ("the whole stage added" if before is None else "the whole stage removed",)
    different = [key for key in before | after if before.get(key) != after.get(key)]
    return tuple(_change(key, before.get(key), after.get(key)) for key in different)


def _change(key: Key, before: str | None, after: str | None) -> str:
    if key[0] == "params":
        file = "" if key[1:2] in ((), ("params.yaml",)) else f"{key[1]}:"
        values = [_Absent.KEY.value if text is None else _shortened(text) for text in (before, after)]
        return f"params {file}{'.'.join(key[2:])} {' → '.join(values)}"
    return f"{key[-1]} {'added' if before is None else 'removed' if after is None else 'changed'}"


def _entries(path: str, text: str) -> _Lock:
    """Cut dvc.lock into its entries, in their order."""
    entries: _Lock = {}
    for key, piece in _pieces(path, text):
        content = _mapping(path, piece)
        names = tuple(map(str, content))
        if len(names) != 1 or (*key, *names) in entries:
            raise _no_lock(path, piece)
        value = next(iter(content.values()))
        if key and not _is_stage(value):
            raise _no_lock(path, piece)
        entries[(*key, *names)] = _Entry(piece, value)
    return entries


def _pieces(path: str, text: str) -> Iterator[tuple[Key, str]]:
    whole = text if text.endswith("\n") or not text else f"{text}\n"
    for section in filter(str.strip, _SECTION.split(whole)):
        head, *stages = _STAGE.split(section) if section.startswith(f"{_STAGES}:") else ("", section)
        if head.split() not in ([], [f"{_STAGES}:"], [f"{_STAGES}:", "{}"]):
            raise _no_lock(path, head)
        yield from (((_STAGES,) if head else (), piece) for piece in stages)


def _is_stage(value: Any) -> bool:
    lists = [value.get("deps", []), value.get("outs", [])] if isinstance(value, dict) else [None]
    return all(
        isinstance(items, list) and all(isinstance(item, dict) and isinstance(item.get("path"), str) for item in items)
        for items in lists
    )


def _no_lock(path: str, piece: str) -> UserError:
    line = next(iter(piece.strip().splitlines()), "")
    return UserError(f"{path}: is not as DVC writes it on one side of the merge, at `{line}`; run there: dvc repro")


def _mapping(path: str, text: str) -> dict[str, Any]:
    try:
        content = safe_yaml.parse_yaml(text)
    except (yaml.YAMLError, ValueError) as error:
        reason = one_line(error)
        raise UserError(f"{path}: is not YAML on one side of the merge: {reason}; run there: dvc repro") from None
    if not isinstance(content, dict | None):
        raise UserError(f"{path}: is no mapping on one side of the merge; run there: dvc repro")
    return content or {}
