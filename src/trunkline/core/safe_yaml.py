"""YAML from files that others may have written: read within limits, and nothing in it is run."""

import re
from collections.abc import Iterable, Iterator
from typing import Any, cast

import yaml

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


def parse_yaml(text: str, *, unique: bool = True) -> Any:
    """Parse YAML of whatever origin; raises yaml.YAMLError, also for what could take all time, memory or the stack.

    A key that stands twice is refused where keys are to be `unique`; else the last one counts.
    """
    events = yaml_events(text)
    for _ in _keys_once(events) if unique else events:
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
            raise _refused("a value that holds itself", event)
        _refuse_bomb(event, len(anchors), sum(built))
        yield event


class _Keys:
    """The keys of a mapping that is being read; a value follows each."""

    def __init__(self) -> None:
        self._seen, self._expected = set[str](), True

    def take(self, event: yaml.NodeEvent) -> None:
        """Take the next node of the mapping; raises yaml.MarkedYAMLError for a key that stands twice."""
        if self._expected and isinstance(event, yaml.ScalarEvent) and event.value != "<<":
            if event.value in self._seen:
                raise _refused(f"the key '{event.value}' stands twice", event)
            self._seen.add(event.value)
        self._expected = not self._expected


def _keys_once(events: Iterable[yaml.Event]) -> Iterator[yaml.Event]:
    """Pass events on; a reader that takes the last of two equal keys sees another file than one who takes the first."""
    within: list[_Keys | None] = []
    for event in events:
        if isinstance(event, yaml.CollectionEndEvent):
            within.pop()
        elif isinstance(event, yaml.NodeEvent):
            if within and (keys := within[-1]):
                keys.take(event)
            if isinstance(event, yaml.CollectionStartEvent):
                within.append(_Keys() if isinstance(event, yaml.MappingStartEvent) else None)
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
        raise _refused(problem, event)


def _refused(problem: str, event: yaml.Event) -> yaml.MarkedYAMLError:
    return yaml.MarkedYAMLError(problem=problem, problem_mark=cast("yaml.Mark | None", event.start_mark))
