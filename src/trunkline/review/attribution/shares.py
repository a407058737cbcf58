"""How much of a metric's move each thing that changed explains, one at a time from the base; pure.

f(S) is the metric of the base with the changes of the factors in S. The share of a factor is f({factor}) - f({}), the
move is f(all) - f({}), and what the shares leave of the move is their interaction.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from pathlib import PurePosixPath
from typing import Any

import yaml

from trunkline.adapters.git.repository import ABOVE
from trunkline.core import safe_yaml
from trunkline.show import differences

LOCKS = ("locks/pipeline.txt", "locks/trunkline.txt")
BASE, ALL = "the base", "everything"
ENVIRONMENT = "environment"
HIDDEN_WINDOW = (
    "data.window has changed in another way than by the value of `window:` in a file of conf/data that the base has "
    "too: it counts as config"
)

_CODE = ("src/", "stages/", "dvc.yaml", "pyproject.toml")
_ABOVE = tuple(f"{room}/" for room in ABOVE)
_WINDOW = re.compile(r"^window[ \t]*:.*(?:\n[ \t]+\S.*)*", re.MULTILINE)  # the line, and the indented ones below it


@dataclass(frozen=True)
class BranchChange:
    """What a branch changed: the paths, and before and after the texts of conf/data, params.yaml and the locks."""

    paths: tuple[str, ...]
    before: Mapping[str, str]
    after: Mapping[str, str]
    params_before: Mapping[str, Any]
    params_after: Mapping[str, Any]
    locks: tuple[str, str] = ("", "")


@dataclass(frozen=True)
class Factor:
    """One thing that changed: the paths to take from the head, texts to write after that, and how a person reads it."""

    name: str
    paths: tuple[str, ...]
    texts: Mapping[str, str]
    changes: tuple[str, ...]


@dataclass(frozen=True)
class MeasuredRun:
    """The result of a run: the metric and the number of rows of the holdout, or why there is none."""

    value: float | None
    rows: int | None = None
    error: str = ""


@dataclass(frozen=True)
class FactorShare:
    """What a factor does alone; without a value there is an error, and its effect is left to the interaction."""

    factor: str
    changes: tuple[str, ...]
    value: float | None
    share: float | None
    error: str


@dataclass(frozen=True)
class Attribution:
    """The move of a metric from the base to the head, by factor; None where nothing that moves it has changed."""

    metric: str
    better: str | None
    base: str
    head: str
    before: float | None
    after: float | None
    shares: tuple[FactorShare, ...]
    move: float | None
    interaction: float | None
    notes: tuple[str, ...] = field(default=())


def factors(change: BranchChange) -> tuple[Factor, ...]:
    """Return the factors that have changed: window, config, code, environment."""
    moved = _moved_windows(change)
    window = Factor("window", (), moved, tuple(map(str, _window_differences(change, moved))))
    code = (path for path in change.paths if path.startswith(_CODE[:2]) or path in _CODE[2:])
    own = tuple(path for path in code if not path.startswith(_ABOVE))
    lock = tuple(path for path in change.paths if path in LOCKS)
    environment = Factor(ENVIRONMENT, lock, {}, tuple(map(str, differences.versions(*change.locks))) or lock)
    candidates = (window, _config(change, moved), Factor("code", own, {}, own), environment)
    return tuple(factor for factor in candidates if factor.paths or factor.texts)


def in_base_environment(name: str, factors: Sequence[Factor]) -> bool:
    """Tell whether a combination runs in the base's environment: where that is another one, unless it is what changes.

    Elsewhere the present environment is that of both.
    """
    return any(factor.name == ENVIRONMENT for factor in factors) and name not in {ALL, ENVIRONMENT}


def notes(change: BranchChange) -> tuple[str, ...]:
    """Return what a reader of the numbers must know before believing them."""
    moved = _moved_windows(change)
    keys = {item.key for item in _window_differences(change, moved)}
    declared = {item.key for item in _differences(change) if _is_window(item.key)}
    remarks = [HIDDEN_WINDOW] if declared and not moved else []
    if "data.window.holdout" in keys | declared:
        remarks.append(
            "the holdout window has changed: the metrics are of other rows, so a move is not the model's alone"
        )
    return tuple(remarks)


def attribute(  # noqa: PLR0913  one argument per source of facts
    change: BranchChange, measured: Mapping[str, MeasuredRun], *, metric: str, better: str | None, base: str, head: str
) -> Attribution:
    """Put together what was measured, by the name of the combination: BASE, ALL, and each factor's own.

    Raises KeyError for a combination that is missing; none is needed where no factor has changed.
    """
    named = factors(change)
    if not named:
        return Attribution(metric, better, base, head, None, None, (), None, None, notes(change))
    before, after = measured[BASE].value, measured[ALL].value
    runs = [measured[factor.name] for factor in named]
    shares = tuple(
        FactorShare(factor.name, factor.changes, run.value, _minus(run.value, before), run.error)
        for factor, run in zip(named, runs, strict=True)
    )
    move = _minus(after, before)
    remarks, had, has = notes(change), measured[BASE].rows, measured[ALL].rows
    if had != has:
        remarks = (*remarks, f"the holdout has {has} rows and had {had}: the metrics are not of the same rows")
    rest = _minus(move, *(share.share for share in shares if share.share is not None))
    return Attribution(metric, better, base, head, before, after, shares, move, rest, remarks)


def content(attribution: Attribution) -> dict[str, Any]:
    """Return the attribution as JSON has it."""
    return {
        **vars(attribution),
        "shares": [{**vars(share), "changes": list(share.changes)} for share in attribution.shares],
    }


def last_error(log: str) -> str:
    """Return the line of a failed run's output that says most: a stage's own error, else DVC's, else the last."""
    for pattern in (r"^(?:error: |(?:\w+\.)*\w*(?:Error|Exception)\b).*$", r"^ERROR: .*$", r"^.*\S.*$"):
        lines = re.findall(pattern, log, re.MULTILINE)
        if lines:
            return str(lines[-1]).strip().removeprefix("error: ").removeprefix("ERROR: ")
    return "it said nothing"


def stages_before(pipeline: Mapping[str, Any], last: str) -> tuple[str, ...]:
    """Return a stage of a parsed dvc.yaml and all stages that it depends on, sorted."""
    stages = pipeline.get("stages") or {}
    wanted, order = [last], set[str]()
    while wanted:
        name = wanted.pop()
        if name not in order and name in stages:
            order.add(name)
            reader = stages[name]
            read = [*map(str, reader.get("deps") or ()), *(["params.yaml"] if reader.get("params") else [])]
            wanted += [other for other, stage in stages.items() if any(_meet(out, read) for out in _outs(stage))]
    return tuple(sorted(order))


def _outs(stage: Mapping[str, Any]) -> Iterator[str]:
    for kind in ("outs", "metrics", "plots"):
        for out in stage.get(kind) or ():
            yield next(iter(out)) if isinstance(out, Mapping) else str(out)


def _meet(out: str, read: Sequence[str]) -> bool:
    """Whether one of the paths is the output, is in it, or holds it."""
    paths = map(PurePosixPath, read)
    return any(path.is_relative_to(out) or PurePosixPath(out).is_relative_to(path) for path in paths)


def _minus(value: float | None, *others: float | None) -> float | None:
    """Subtract in decimal: 0.3 - 0.2 is 0.1, so that what is shown adds up to the last digit."""
    if value is None:
        return None
    terms = [Decimal(repr(other)) for other in others if other is not None]
    return float(Decimal(repr(value)) - sum(terms, Decimal(0))) if len(terms) == len(others) else None


def _config(change: BranchChange, moved: Mapping[str, str]) -> Factor:
    """All of conf/ that the head has, but with the base's windows where the window is a factor of its own."""
    kept = {path: _swapped(change.after[path], change.before[path]) for path in moved}
    paths = tuple(
        path for path in change.paths if path.startswith("conf/") and kept.get(path) != change.before.get(path, "")
    )
    keys = [str(item) for item in _differences(change) if not (moved and _is_window(item.key))]
    texts = {path: kept[path] for path in paths if path in kept}
    return Factor("config", paths, texts, tuple(keys) or paths)


def _moved_windows(change: BranchChange) -> dict[str, str]:
    """Return the base's files of conf/data with the head's window, where that is another one."""
    both = sorted({*change.before} & {*change.after})
    pairs = [(path, _value(change.before[path]), _value(change.after[path])) for path in both]
    return {
        path: _swapped(change.before[path], change.after[path])
        for path, old, new in pairs
        if old is not None and new is not None and old != new
    }


def _window_differences(change: BranchChange, moved: Mapping[str, str]) -> list[differences.Difference]:
    pairs = [
        ({"data": {"window": _value(text)}} for text in (change.before[path], change.after[path])) for path in moved
    ]
    return list(dict.fromkeys(item for old, new in pairs for item in differences.differences(old, new)))


def _value(text: str) -> Any:
    """Return the window that a file of conf/data declares; None where it is not in one block that can be exchanged."""
    blocks = _WINDOW.findall(text)
    try:
        return safe_yaml.parse_yaml(blocks[0])["window"] if len(blocks) == 1 else None
    except yaml.YAMLError:
        return None


def _swapped(text: str, other: str) -> str:
    """Return a text with the window of another one."""
    block = _WINDOW.findall(other)[0]
    return _WINDOW.sub(lambda _: block, text, count=1)


def _differences(change: BranchChange) -> tuple[differences.Difference, ...]:
    return differences.differences(change.params_before, change.params_after)


def _is_window(key: str) -> bool:
    return key == "data.window" or key.startswith("data.window.")
