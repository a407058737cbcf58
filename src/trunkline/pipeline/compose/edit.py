"""Changes one value in a YAML file and nothing else: comments, order and layout stay as a person has written them.

Whoever wants more than a scalar edits the file: a change that does not parse back to exactly what was asked for is
refused.
"""

import copy
import json
from collections.abc import Sequence
from typing import Any

import yaml

from trunkline.core import safe_yaml
from trunkline.core.errors import UserError

Scalar = str | int | None


def put(text: str, key: Sequence[str], value: Scalar) -> str:
    """Return the text with a key set to a scalar, which is added after its neighbours if it is not there yet.

    Raises UserError where that cannot be done without touching anything else.
    """
    expected = _content(text)
    inner = expected
    for part in key[:-1]:
        inner[part] = inner.get(part) or {}
        inner = inner[part]
    inner[key[-1]] = value
    return _sure(_put(text, key, value), expected, f"{'.'.join(key)}: {_scalar(value)}")


def drop(text: str, key: Sequence[str]) -> str:
    """Return the text without a key and its value; raises UserError where there is no such line."""
    expected = _content(text)
    inner = expected
    for part in key[:-1]:
        inner = inner[part]
    inner.pop(key[-1])
    parent = _node(text, key[:-1])
    name, value = next(entry for entry in parent.value if entry[0].value == key[-1])
    begin, end = name.start_mark.index, value.end_mark.index
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


def _put(text: str, key: Sequence[str], value: Scalar) -> str:
    node = _node(text, ())
    for depth, part in enumerate(key):
        entry = next((entry for entry in node.value if entry[0].value == part), None)
        if entry is None:
            return _insert(text, node, key[depth:], value)
        name, inner = entry
        if isinstance(inner, yaml.ScalarNode):  # the value itself, or nothing yet below a key
            rest = key[depth + 1 :]
            new = f"{{{_flow(rest, value)}}}" if rest else _scalar(value)
            return _replace(text, name, inner, new)
        node = inner
    return text


def _replace(text: str, name: yaml.Node, old: yaml.Node, new: str) -> str:
    begin, end = old.start_mark.index, old.end_mark.index
    end = begin + len(text[begin:end].rstrip())  # that of a block is the end of its last line
    if begin == end:  # a key without a value; in {a, b} without a colon too
        key_end = name.end_mark.index
        colon = text[key_end:].lstrip().startswith(":")
        begin = end = text.index(":", key_end) + 1 if colon else key_end
        new = f" {new}" if colon else f": {new}"
    return text[:begin] + new + text[end:]


def _insert(text: str, mapping: yaml.MappingNode, key: Sequence[str], value: Scalar) -> str:
    if mapping.flow_style:
        end = mapping.value[-1][1].end_mark.index if mapping.value else mapping.end_mark.index - 1
        comma = ", " if mapping.value else ""
        return f"{text[:end]}{comma}{_flow(key, value)}{text[end:]}"
    short = [inner for _, inner in mapping.value if inner.start_mark.line == inner.end_mark.line]
    if not short:
        raise UserError(f"{'.'.join(key)}: {_scalar(value)}: finds no place to stand; write it by hand")
    end = _line_end(text, short[-1].end_mark.index)
    return f"{text[:end]}\n{_block(key, value, mapping.start_mark.column)}{text[end:]}"


def _flow(key: Sequence[str], value: Scalar) -> str:
    return f"{_scalar(key[0])}: " + (f"{{{_flow(key[1:], value)}}}" if len(key) > 1 else _scalar(value))


def _block(key: Sequence[str], value: Scalar, indent: int) -> str:
    begin = f"{' ' * indent}{_scalar(key[0])}:"
    return f"{begin}\n{_block(key[1:], value, indent + 2)}" if len(key) > 1 else f"{begin} {_scalar(value)}"


def _scalar(value: Scalar) -> str:
    plain = yaml.safe_dump([value], default_flow_style=True, allow_unicode=True, width=10_000)[1:-2]
    return plain if safe_yaml.parse_yaml(plain) == value else json.dumps(value, ensure_ascii=False)


def _node(text: str, key: Sequence[str]) -> yaml.MappingNode:
    node: Any = yaml.compose(text, Loader=yaml.CSafeLoader)
    for part in key:
        node = next(inner for name, inner in node.value if name.value == part)
    if not isinstance(node, yaml.MappingNode):
        raise UserError(f"{'.'.join(key)}: is not a mapping; write it by hand")
    return node


def _line_end(text: str, start: int) -> int:
    end = text.find("\n", start)
    return len(text) if end < 0 else end
