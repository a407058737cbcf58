"""The files of conf/ as text: what must not be in them, and in which file and line a key was written.

A config arrives in pull requests, so what could reach outside it is refused before Hydra reads it: resolvers such as
`${oc.env:HOME}` (they would write the environment into a committed file), YAML anchors (a few lines can grow to
gigabytes), Hydra's own settings and foreign search paths.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from trunkline.core import files
from trunkline.core.errors import UserError

MAX_BYTES = 1_000_000
ROOT = "config"
EXPERIMENT = "experiment"

_RESOLVER = re.compile(r"\$\{[^}]*:")


@dataclass(frozen=True)
class Place:
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
    for path in sorted(conf.rglob("*")):
        if path.is_symlink():
            raise UserError(f"{path}: is a symbolic link; conf/ holds plain files only")
        if path.suffix == ".yml":
            raise UserError(f"{path}: Hydra reads .yaml only; rename it to {path.stem}.yaml")
        if path.suffix == ".yaml":
            lint_file(path)


def lint_file(path: Path) -> None:
    """Refuse what `lint` refuses in one file of hand-written YAML: doubled keys, anchors, resolvers, huge numbers.

    Raises UserError naming file and line, and OSError for a file that cannot be read.
    """
    if path.stat().st_size > MAX_BYTES:
        raise UserError(f"{path}: has more than {MAX_BYTES} bytes; a config is written by hand")
    try:
        text = path.read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise UserError(f"{path}: not UTF-8 text: {error.reason} at byte {error.start}") from None
    lint_text(path, text)


def lint_text(path: Path, text: str) -> None:
    """Refuse the same in a text; `path` is what messages name."""
    try:
        marked = [(event, event.start_mark) for event in yaml.parse(text, Loader=yaml.CSafeLoader)]
    except yaml.YAMLError as error:
        raise UserError(f"{_yaml_place(path, error)}: not YAML: {_yaml_problem(error)}") from None
    for event, mark in marked:
        where = f"{path}:{mark.line + 1 if mark else 1}"
        if isinstance(event, yaml.AliasEvent) or getattr(event, "anchor", None):
            raise UserError(f"{where}: YAML anchors are not used in conf/; write the value out, or use ${{key}}")
        if isinstance(event, yaml.ScalarEvent) and _RESOLVER.search(event.value):
            raise UserError(
                f"{where}: '{event.value}' calls a resolver, which would write the machine's state into a committed "
                "file; write the value, or refer to another key as ${group.key}"
            )
    _lint_nodes(path, yaml.compose(text, Loader=yaml.CSafeLoader), ())
    _refuse_hydra_settings(path, files.parse_yaml(text))


def _lint_nodes(path: Path, node: yaml.Node | None, key: tuple[str, ...]) -> None:
    """Refuse a key that is written twice, of which YAML would keep one, and a number beyond 64 bits."""
    if isinstance(node, yaml.MappingNode):
        lines: dict[str, int] = {}
        for name, value in node.value:
            line, inner = name.start_mark.line + 1, (*key, str(name.value))
            if name.value in lines:
                raise UserError(
                    f"{path}:{line}: {'.'.join(inner)}: is also in line {lines[name.value]}; remove one of them"
                )
            lines[name.value] = line
            _lint_nodes(path, value, inner)
    elif isinstance(node, yaml.SequenceNode):
        for item in node.value:
            _lint_nodes(path, item, key)
    elif isinstance(node, yaml.ScalarNode) and node.tag.endswith(":int") and len(node.value) > 18:
        line = node.start_mark.line + 1 if node.start_mark else 1
        raise UserError(
            f"{path}:{line}: {'.'.join(key)}: {node.value[:30]} does not fit 64 bits; "
            "write a smaller number, or an id in quotes"
        )


def _yaml_place(path: Path, error: yaml.YAMLError) -> str:
    mark = getattr(error, "problem_mark", None)
    return f"{path}:{mark.line + 1}" if mark else str(path)


def _yaml_problem(error: yaml.YAMLError) -> str:
    return str(getattr(error, "problem", None) or error).replace("\n", " ")


def _refuse_hydra_settings(path: Path, content: Any) -> None:
    if content is None:
        return
    if not isinstance(content, dict):
        raise UserError(f"{path}: must be a mapping of keys")
    if "hydra" in content:
        raise UserError(f"{path}: hydra: Hydra's own settings are not part of a project; remove the key")
    defaults = content.get("defaults")
    for entry in defaults if isinstance(defaults, list) else []:
        text = ": ".join(map(str, next(iter(entry.items()), ()))) if isinstance(entry, dict) else str(entry)
        if text.startswith("optional "):
            raise UserError(f"{path}: defaults: {text} would be passed over if misspelled; leave out `optional`")
        if "://" in text or ".." in text or "hydra/" in text:
            raise UserError(f"{path}: defaults: {text} leaves conf/; name an option of a group")


def chosen(conf: Path, group: str, option: str) -> Place | None:
    """Return where an option of a group is chosen in a defaults list."""
    line_of = re.compile(rf"\s*-\s*(?:override\s+)?/?{re.escape(group)}\s*:\s*{re.escape(option)}\s*(?:#.*)?")
    for path in [conf / f"{ROOT}.yaml", *sorted(conf.glob("*/*.yaml"))]:
        for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
            if line_of.fullmatch(line):
                return Place(path, number)
    return None


def layers(conf: Path, choices: Mapping[str, str | None]) -> Iterator[tuple[Path, tuple[str, ...]]]:
    """Yield the files that were merged, strongest first, each with the key that its content stands under."""
    experiment = choices.get(EXPERIMENT)
    if experiment:
        yield from ((path, ()) for path in _inherited(conf / EXPERIMENT, experiment))
    for group, option in choices.items():
        if option and group != EXPERIMENT:
            yield from ((path, (group,)) for path in _inherited(conf / group, option))
    yield conf / f"{ROOT}.yaml", ()


def _inherited(folder: Path, option: str) -> Iterator[Path]:
    path = folder / f"{option}.yaml"
    if not path.is_file():
        return
    yield path
    content = files.parse_yaml(path.read_text(encoding="utf-8")) or {}
    for entry in reversed(content.get("defaults") or []):
        if isinstance(entry, str) and entry != "_self_":
            yield from _inherited(folder, entry)


def locate(merged: Sequence[tuple[Path, tuple[str, ...]]], key: Sequence[str]) -> Place | None:
    """Return where a key, or else its nearest written parent, was set last."""
    best: tuple[int, Place] | None = None
    for path, prefix in merged:
        if tuple(key[: len(prefix)]) != prefix:
            continue
        depth, line = _depth(path, key[len(prefix) :])
        if depth + len(prefix) > 0 and (best is None or depth + len(prefix) > best[0]):
            best = (depth + len(prefix), Place(path, line))
    return best[1] if best else None


def holder(merged: Sequence[tuple[Path, tuple[str, ...]]], key: Sequence[str]) -> tuple[Path, tuple[str, ...]]:
    """Return the file that holds a key, or most of the way to it, and the key as it is called in there."""
    ways = [(path, tuple(key[len(prefix) :])) for path, prefix in merged if tuple(key[: len(prefix)]) == prefix]
    return max(ways, key=lambda way: _depth(*way)[0] - len(way[1]))  # the first, which is the strongest, of equals


def _depth(path: Path, key: Sequence[str]) -> tuple[int, int]:
    node = yaml.compose(path.read_text(encoding="utf-8"), Loader=yaml.CSafeLoader)
    line = 1
    for depth, part in enumerate(key):
        found = _child(node, part)
        if found is None:
            return depth, line
        node, line = found
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
