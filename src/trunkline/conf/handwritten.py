"""Strict reading of YAML that people write: what it must not contain, so that it means what it seems to."""

import re
from collections.abc import Callable
from pathlib import Path

import yaml

from trunkline.core import safe_yaml
from trunkline.core.errors import UserError, one_line

MAX_BYTES = 200_000

# A reference to another key. Whatever else `${` begins could call a resolver: `${${a}:HOME}` with `a: oc.env` does.
REFERENCE = re.compile(r"\$\{([A-Za-z_][\w-]*(?:\.[\w-]+)*)\}")


# How people read what stands without quotes; YAML 1.1 has more words for truth, and other readings of 12:30 and 0123.
_READ: dict[str, Callable[[str], object]] = {
    "bool": lambda text: {"true": True, "false": False}[text.lower()],
    "int": lambda text: int(text, 0),
    "float": lambda text: float(text.lower().replace(".inf", "inf").replace(".nan", "nan")),
}


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
        for event in safe_yaml.yaml_events(text):
            _lint_event(f"{path}:{event.start_mark.line + 1 if event.start_mark else 1}", event)
        content = safe_yaml.parse_yaml(text, unique=False)  # a repeated key is reported with both lines
    except yaml.YAMLError as error:
        mark, problem = getattr(error, "problem_mark", None), getattr(error, "problem", None)
        where = f"{path}:{mark.line + 1}" if mark else path
        raise UserError(f"{where}: not YAML: {one_line(problem or error)}") from None
    _lint_nodes(path, yaml.compose(text, Loader=yaml.CSafeLoader), ())
    if not isinstance(content, dict | None):
        raise UserError(f"{path}: must be a mapping of keys")
    if content and "hydra" in content:
        raise UserError(f"{path}: hydra: Hydra's own settings are not part of a project; remove the key")


def _lint_event(where: str, event: yaml.Event) -> None:
    if isinstance(event, yaml.AliasEvent) or getattr(event, "anchor", None):
        raise UserError(f"{where}: YAML anchors are not used in conf/; write the value out, or use ${{key}}")
    if isinstance(event, yaml.NodeEvent) and (tag := getattr(event, "tag", None)) is not None:
        raise UserError(f"{where}: YAML tags are not used in conf/; leave out {tag[:60]}")
    if isinstance(event, yaml.ScalarEvent) and ("\0" in event.value or event.value == "???"):
        raise UserError(f"{where}: {event.value[:60]!r} is no value; write one")
    if isinstance(event, yaml.ScalarEvent) and calls(event.value):
        raise UserError(
            f"{where}: '{event.value[:100]}' calls a resolver, which would write the machine's state into a committed "
            "file; write the value, or refer to another key as ${group.key}"
        )


def calls(text: str) -> bool:
    """Tell whether a text has `${` in it that is no plain reference to another key."""
    return "${" in REFERENCE.sub("", text)


def _lint_nodes(path: Path, node: yaml.Node | None, key: tuple[str, ...]) -> None:
    """Refuse a key that is written twice, of which YAML would keep one, and a number beyond 64 bits."""
    if isinstance(node, yaml.MappingNode):
        lines: dict[str, int] = {}
        for name, value in node.value:
            if not isinstance(name, yaml.ScalarNode) or name.tag.rpartition(":")[2] not in ("str", "int", "bool"):
                raise UserError(f"{path}:{name.start_mark.line + 1}: a key must be a name; put it into quotes")
            _refuse_misread(path, name, key)
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
    elif isinstance(node, yaml.ScalarNode):
        _refuse_misread(path, node, key)


def _refuse_misread(path: Path, node: yaml.ScalarNode, key: tuple[str, ...]) -> None:
    """Refuse a text that YAML 1.1 takes for something else, and a number beyond 64 bits."""
    kind, shown = node.tag.rpartition(":")[2], node.value[:30]
    where = ": ".join(filter(None, [f"{path}:{node.start_mark.line + 1 if node.start_mark else 1}", ".".join(key)]))
    if kind == "int" and len(node.value) > 18:
        raise UserError(f"{where}: {shown} does not fit 64 bits; write a smaller number, or an id in quotes")
    try:
        _READ.get(kind, str)(node.value)
    except (ValueError, KeyError):
        meant = str(yaml.load(node.value, Loader=yaml.CSafeLoader)).lower()
        raise UserError(f"{where}: YAML reads {shown} as {meant}; put it in quotes, or write {meant}") from None
