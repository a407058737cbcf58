"""The files of conf/ as text: what must not be in them, and in which file and line a key was written.

A config arrives in pull requests, so what could reach outside it is refused before Hydra reads it: resolvers such as
`${oc.env:HOME}` (they would write the environment into a committed file), YAML anchors (a few lines can grow to
gigabytes), Hydra's own settings and foreign search paths.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import yaml

from trunkline.conf import handwritten
from trunkline.core import safe_yaml
from trunkline.core.errors import UserError

MAX_INHERITED = 30
ROOT = "config"
EXPERIMENT = "experiment"
SEARCH = "search"
# What a defaults list may hold: options of its own group; in conf/search, models of its own families; in config.yaml
# and experiments, choices of groups as well.
OPTION = r"[A-Za-z_][\w-]*"
FAMILY = r"/model@families\.[a-z][a-z0-9_]*\.model"
_OPTION = re.compile(OPTION)
_FAMILY = re.compile(rf"{OPTION}|{FAMILY}: {OPTION}")
_CHOICE = re.compile(rf"_self_|(?:override /|/)?[a-z_]+: {OPTION}|[a-z_]+: None")
_HEADER = re.compile(r"\s*#[\s#]*@(.*)")  # what Hydra takes for a setting of its own


@dataclass(frozen=True)
class KeyPlace:
    """Where a key was written."""

    file: Path
    line: int

    def __str__(self) -> str:
        return f"{self.file}:{self.line}"


def groups(conf: Path) -> tuple[str, ...]:
    """Names of the groups: the folders of conf/ that hold an option."""
    return tuple(sorted(folder.name for folder in conf.iterdir() if folder.is_dir() and options(conf, folder.name)))


def options(conf: Path, group: str) -> tuple[str, ...]:
    """Names of a group's options."""
    return tuple(sorted(file.stem for file in (conf / group).glob("*.yaml")))


def lint(conf: Path) -> None:
    """Refuse files that no config needs and an attacker might want.

    Raises UserError naming file and line.
    """
    if not (conf / f"{ROOT}.yaml").is_file():
        raise UserError(f"{conf}/{ROOT}.yaml: there is no such file; run this in the root of a project")
    for path in [conf, *sorted(conf.rglob("*"))]:
        if path.is_symlink():
            raise UserError(f"{path}: is a symbolic link; conf/ holds plain files only")
        if path.suffix == ".yml":
            raise UserError(f"{path}: Hydra reads .yaml only; rename it to {path.stem}.yaml")
        if path.suffix == ".yaml":
            if not path.is_file():
                raise UserError(f"{path}: is no file; a config is one")
            _lint_file(path, path.relative_to(conf), _beginning(path))
    for group in groups(conf):
        for option in options(conf, group):
            _count(conf / group, option, ())


def _beginning(path: Path) -> bytes:
    """Return a file's content, or so much of it that it is too long."""
    with path.open("rb") as file:
        return file.read(handwritten.MAX_BYTES + 1)


@lru_cache(2**10)
def _lint_file(path: Path, relative: Path, content: bytes) -> None:
    """Refuse what must not be in a file; one whose content has passed is not read again by those who compose often."""
    handwritten.lint_file(path)
    _lint_layer(path, relative)


def _lint_layer(path: Path, relative: Path) -> None:
    """Refuse what would put a file's content elsewhere than under its group, or reach for other groups' options."""
    text = path.read_text(encoding="utf-8")
    overall = relative.parts[0] == EXPERIMENT
    for number, line in enumerate(text.splitlines(), 1):
        header = _HEADER.fullmatch(line)
        if header and not (overall and header[1].split() == ["package", "_global_"]):
            allowed = "only `# @package _global_`" if overall else "no comment that begins with @"
            raise UserError(f"{path}:{number}: @{header[1].strip()[:60]} is not allowed; write {allowed}")
    content = safe_yaml.parse_yaml(text) or {}
    entries = content.get("defaults", [])
    if not isinstance(entries, list):
        raise UserError(f"{path}: defaults: must be a list of options, such as [_self_, other]")
    own = _FAMILY if relative.parts[0] == SEARCH else _OPTION
    pattern = _CHOICE if overall or len(relative.parts) == 1 else own
    for entry in entries:
        chosen = next(iter(entry.items())) if isinstance(entry, dict) and len(entry) == 1 else None
        shown = "{}: {}".format(*chosen) if chosen else str(entry)
        if not isinstance(entry, str | dict) or not pattern.fullmatch(shown):
            raise UserError(f"{path}: defaults: {shown[:100]} {_advice(shown, pattern)}")


def _advice(shown: str, pattern: re.Pattern[str]) -> str:
    if shown.startswith("optional "):
        return "would be passed over if misspelled; leave out `optional`"
    if "://" in shown or ".." in shown or "hydra/" in shown:
        return "leaves conf/; name an option of a group"
    named = "this group, such as gbm" if pattern is not _CHOICE else "a group, such as model: gbm"
    return f"is not allowed here; name an option of {named}"


def _count(folder: Path, option: str, within: tuple[str, ...]) -> int:
    """Return how many files an option inherits from; raises UserError if they are too many, or endless."""
    path = folder / f"{option}.yaml"
    if option in within or len(within) > MAX_INHERITED:
        raise UserError(f"{path}: defaults: inherits from itself: {' -> '.join([*within, option])[:200]}")
    count = 1
    for name in _bases(path) if path.is_file() else ():
        count += _count(folder, name, (*within, option))
        if count > MAX_INHERITED:
            raise UserError(f"{path}: defaults: inherits from more than {MAX_INHERITED} files; name fewer")
    return count


def _bases(path: Path) -> tuple[str, ...]:
    return _named(path.read_text(encoding="utf-8"))


@lru_cache(2**10)
def _named(text: str) -> tuple[str, ...]:
    """Return the options of its own group that a file's list of defaults names."""
    content = safe_yaml.parse_yaml(text) or {}
    return tuple(entry for entry in content.get("defaults") or [] if isinstance(entry, str) and entry != "_self_")


def chosen(conf: Path, group: str, option: str) -> KeyPlace | None:
    """Return where an option of a group is chosen in a defaults list."""
    line_of = re.compile(rf"\s*-\s*(?:override\s+)?/?{re.escape(group)}\s*:\s*{re.escape(option)}\s*(?:#.*)?")
    for path in [conf / f"{ROOT}.yaml", *sorted(conf.glob("*/*.yaml"))]:
        for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
            if line_of.fullmatch(line):
                return KeyPlace(path, number)
    return None


def layers(conf: Path, choices: Mapping[str, str | None]) -> Iterator[tuple[Path, tuple[str, ...]]]:
    """Yield the files that were merged, strongest first, each with the key that its content stands under."""
    experiment = choices.get(EXPERIMENT)
    if experiment:
        yield from ((path, ()) for path in _inherited(conf / EXPERIMENT, experiment))
    for group, option in choices.items():
        if option and group != EXPERIMENT:
            folder, _, package = group.partition("@")  # such as model@search.families.gbm.model
            prefix = tuple((package or folder).split("."))
            yield from ((path, prefix) for path in _inherited(conf / folder, option))
    yield conf / f"{ROOT}.yaml", ()


def _inherited(folder: Path, option: str) -> Iterator[Path]:
    path = folder / f"{option}.yaml"
    if not path.is_file():
        return
    yield path
    for base in reversed(_bases(path)):
        yield from _inherited(folder, base)


def locate(merged: Sequence[tuple[Path, tuple[str, ...]]], key: Sequence[str]) -> KeyPlace | None:
    """Return where a key, or else its nearest written parent, was set last."""
    best: tuple[int, KeyPlace] | None = None
    for path, prefix in merged:
        if tuple(key[: len(prefix)]) != prefix:
            continue
        depth, line = _depth(path, key[len(prefix) :])
        if depth + len(prefix) > 0 and (best is None or depth + len(prefix) > best[0]):
            best = (depth + len(prefix), KeyPlace(path, line))
    return best[1] if best else None


def holder(merged: Sequence[tuple[Path, tuple[str, ...]]], key: Sequence[str]) -> tuple[Path, tuple[str, ...]]:
    """Return the file that holds a key, or most of the way to it, and the key as it is called in there."""
    ways = [(path, tuple(key[len(prefix) :])) for path, prefix in merged if tuple(key[: len(prefix)]) == prefix]
    return max(ways, key=lambda way: _depth(*way)[0] - len(way[1]))  # the first, which is the strongest, of equals


def _depth(path: Path, key: Sequence[str]) -> tuple[int, int]:
    node = yaml.compose(path.read_text(encoding="utf-8"), Loader=yaml.CSafeLoader)
    line = 1
    for depth, part in enumerate(key):
        child = _child(node, part)
        if child is None:
            return depth, line
        node, line = child
    return len(key), line


def _child(node: Any, part: str) -> tuple[Any, int] | None:
    if isinstance(node, yaml.MappingNode):
        for name, value in node.value:
            if name.value == part:
                return value, name.start_mark.line + 1
    if isinstance(node, yaml.SequenceNode) and part.isdigit() and int(part) < len(node.value):
        item = node.value[int(part)]
        return item, item.start_mark.line + 1
    return None


@dataclass(frozen=True)
class Composed:
    """Plain merged content, and the files that it was merged from, strongest first."""

    content: dict[str, Any]
    merged: tuple[tuple[Path, tuple[str, ...]], ...]


def placed(composed: Composed, fallback: Path, key: Sequence[str], message: str) -> str:
    """Return a message with the file and line that a key was written at, or with `fallback`."""
    where = locate(composed.merged, key) if key else None
    return f"{where or fallback}: {'.'.join(key)}: {message}" if key else f"{where or fallback}: {message}"
