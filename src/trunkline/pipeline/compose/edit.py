"""Changes one value in a YAML file and nothing else: comments, order and layout stay as a person has written them.

A change that does not parse back to exactly what was asked for is refused: whoever wants that edits the file.
"""

import copy
import json
from collections.abc import Mapping, Sequence
from typing import Any

import yaml

from trunkline.core import safe_yaml
from trunkline.core.errors import UserError

Value = str | int | float | Sequence["Value"] | Mapping[str, "Value"] | None


def put(text: str, key: Sequence[str], value: Value) -> str:
    """Return the text with a key set to a value, which is added after its neighbours if it is not there yet.

    A mapping or a list is written on one line, in braces or brackets.

    Raises UserError where that cannot be done without touching anything else.
    """
    expected = _content(text)
    inner = expected
    for part in key[:-1]:
        inner[part] = inner.get(part) or {}
        inner = inner[part]
    inner[key[-1]] = value
    return _sure(_put(text, key, value), expected, f"{'.'.join(key)}: {_one_line(value)}")


def drop(text: str, key: Sequence[str]) -> str:
    """Return the text without a key and its value; raises UserError where there is no such line."""
    expected = _content(text)
    inner = expected
    for part in key[:-1]:
        inner = inner[part]
    inner.pop(key[-1])
    parent = _node(text, key[:-1])
    name, value = next(entry for entry in parent.value if entry[0].value == key[-1])
    begin, end = name.start_mark.index, max(name.end_mark.index, _end(text, value))
    if not parent.flow_style:
        begin, end = text.rfind("\n", 0, begin) + 1, _line_end(text, end) + 1
    elif name is parent.value[0][0]:
        end += len(text[end:]) - len(text[end:].lstrip(" ,\n"))
    else:
        begin = len(text[:begin].rstrip(" ,\n"))
    return _sure(text[:begin] + text[end:], expected, f"remove {'.'.join(key)}")


def _content(text: str) -> Any:
    return copy.deepcopy(safe_yaml.parse_yaml(text))


def _sure(edited: str, expected: Any, wanted: str) -> str:
    try:
        content = safe_yaml.parse_yaml(edited)
    except yaml.YAMLError:
        content = None
    if content != expected:
        raise UserError(f"{wanted}: cannot be written without touching more; write it by hand")
    return edited


def _put(text: str, key: Sequence[str], value: Value) -> str:
    node = _node(text, ())
    for depth, part in enumerate(key):
        entry = next((entry for entry in node.value if entry[0].value == part), None)
        if entry is None:
            return _insert(text, node, key[depth:], value)
        name, inner = entry
        rest = key[depth + 1 :]
        if isinstance(inner, yaml.ScalarNode) or not rest:  # the value itself, or nothing yet below a key
            new = f"{{{_flow(rest, value)}}}" if rest else _one_line(value)
            return _replace(text, name, inner, new)
        node = inner
    return text


def _replace(text: str, name: yaml.Node, old: yaml.Node, new: str) -> str:
    begin, end = old.start_mark.index, _end(text, old)
    if not isinstance(old, yaml.ScalarNode) and not text[name.end_mark.index : begin].strip(": \t\r\n"):
        begin, new = name.end_mark.index, f": {new}"  # a block's first line is below its key
    if begin == end:  # a key without a value; in {a, b} without a colon too
        key_end = name.end_mark.index
        colon = text[key_end:].lstrip().startswith(":")
        begin = end = text.index(":", key_end) + 1 if colon else key_end
        new = f" {new}" if colon else f": {new}"
    return text[:begin] + new + text[end:]


def _insert(text: str, mapping: yaml.MappingNode, key: Sequence[str], value: Value) -> str:
    if mapping.flow_style:
        end = mapping.value[-1][1].end_mark.index if mapping.value else mapping.end_mark.index - 1
        comma = ", " if mapping.value else ""
        return f"{text[:end]}{comma}{_flow(key, value)}{text[end:]}"
    short = [inner for _, inner in mapping.value if inner.start_mark.line == inner.end_mark.line]
    if not short:
        raise UserError(f"{'.'.join(key)}: {_one_line(value)}: finds no place to stand; write it by hand")
    end = _line_end(text, short[-1].end_mark.index)
    return f"{text[:end]}\n{_block(key, value, mapping.start_mark.column)}{text[end:]}"


def _flow(key: Sequence[str], value: Value) -> str:
    return f"{_one_line(key[0])}: " + (f"{{{_flow(key[1:], value)}}}" if len(key) > 1 else _one_line(value))


def _block(key: Sequence[str], value: Value, indent: int) -> str:
    begin = f"{' ' * indent}{_one_line(key[0])}:"
    return f"{begin}\n{_block(key[1:], value, indent + 2)}" if len(key) > 1 else f"{begin} {_one_line(value)}"


def _one_line(value: Value) -> str:
    plain = yaml.safe_dump([value], default_flow_style=True, sort_keys=False, allow_unicode=True, width=10_000)[1:-2]
    return plain if safe_yaml.parse_yaml(plain) == value else json.dumps(value, ensure_ascii=False)


def _node(text: str, key: Sequence[str]) -> yaml.MappingNode:
    node: Any = yaml.compose(text, Loader=yaml.CSafeLoader)
    for part in key:
        node = next(inner for name, inner in node.value if name.value == part)
    if not isinstance(node, yaml.MappingNode):
        raise UserError(f"{'.'.join(key)}: is not a mapping; write it by hand")
    return node


def _end(text: str, node: yaml.Node) -> int:
    """Return where a value ends; the parser says of a block that it ends where the next line's text begins."""
    if isinstance(node, yaml.CollectionNode) and not node.flow_style and node.value:
        last = node.value[-1]
        return max(_end(text, part) for part in (last if isinstance(last, tuple) else (last,)))
    begin, end = node.start_mark.index, node.end_mark.index
    return begin + len(text[begin:end].rstrip())


def _line_end(text: str, start: int) -> int:
    end = text.find("\n", start)
    return len(text) if end < 0 else end
