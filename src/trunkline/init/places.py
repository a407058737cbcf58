"""Where a guess stands: the file and the line of its key. Pure."""

from collections.abc import Mapping
from pathlib import Path

import yaml

from trunkline.init import conf_text
from trunkline.init.guess import Guess
from trunkline.init.problem import Problem


def place(problem: Problem, guess: Guess, texts: Mapping[Path, str]) -> str:
    """Return file:line of the key of a guess, or of its nearest parent that is written."""
    path = conf_text.place(problem, guess.group)
    node, line = yaml.compose(texts[path], Loader=yaml.CSafeLoader), 1
    for part in guess.key:
        entries = node.value if isinstance(node, yaml.MappingNode) else ()
        child = next(((name, value) for name, value in entries if name.value == part), None)
        if child is None:
            break
        line, node = child[0].start_mark.line + 1, child[1]
    return f"{path}:{line}"
