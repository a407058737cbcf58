"""From a params.yaml that someone likes to the file in conf/experiment/ that composes to it."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from trunkline.pipeline.compose import files
from trunkline.pipeline.compose.compose import compose
from trunkline.show.differences import MISSING, Difference, differences


@dataclass(frozen=True)
class Suggestion:
    """How to keep what params.yaml holds: an experiment that exists, or the text of a new one.

    `beyond` are keys that no experiment file can express, since composing never removes a key.
    """

    existing: str | None
    text: str
    beyond: tuple[str, ...] = ()


def suggest(conf: Path, composed: Mapping[str, Any]) -> Suggestion:
    """Find the shortest experiment file that composes to `found`."""
    for name in files.options(conf, files.EXPERIMENT):
        if not differences(compose(conf, [f"experiment={name}"]).content, composed):
            return Suggestion(name, "")
    overrides = tuple(_choices(conf, composed))
    left = differences(compose(conf, [f"{group}={option}" for group, option in overrides]).content, composed)
    beyond = tuple(difference.key for difference in left if difference.after == MISSING)
    return Suggestion(None, _text(overrides, [item for item in left if item.after != MISSING]), beyond)


def _choices(conf: Path, composed: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """Yield the option of every group that is nearer to what was found than the default one."""
    default = compose(conf).content
    for group in files.groups(conf):
        if group == files.EXPERIMENT or not differences(default.get(group, {}), composed.get(group, {})):
            continue
        distance = {
            option: len(differences(compose(conf, [f"{group}={option}"]).content[group], composed.get(group, {})))
            for option in files.options(conf, group)
        }
        nearest = min(distance, key=lambda option: (distance[option], option))
        if distance[nearest] < len(differences(default.get(group, {}), composed.get(group, {}))):
            yield group, nearest


def _text(overrides: tuple[tuple[str, str], ...], left: list[Difference]) -> str:
    content: dict[str, Any] = {}
    for difference in left:
        *parents, last = difference.key.split(".")
        node = content
        for parent in parents:
            node = node.setdefault(parent, {})
        node[last] = difference.after
    header = "# @package _global_\n# yaml-language-server: $schema=../../docs/schemas/config.json\n"
    defaults = {"defaults": [{f"override /{group}": option} for group, option in overrides]} if overrides else {}
    body = yaml.safe_dump({**defaults, **content}, sort_keys=False, allow_unicode=True)
    return header + body
