"""The trunk's history as a model's history: what each commit declared, measured, was judged and put into production.

Pure: it is given the files of commits as bytes. An old commit may hold anything, and nothing in it stops the rest:
what cannot be read is a blank. Texts of others are stripped of what could steer a terminal.
"""

import json
import math
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import yaml

from trunkline.adapters.git.ancestry import Commit, GitTag
from trunkline.adapters.git.documents import parsed
from trunkline.conf.evaluation import WHOLE
from trunkline.conf.versions import Version
from trunkline.core import files as core_files
from trunkline.core import paths
from trunkline.core.errors import UserError, nearest
from trunkline.core.params import dig
from trunkline.pipeline.evaluate.estimate import Estimate, words
from trunkline.show import differences
from trunkline.show.text import clean

READ = (paths.PARAMS, paths.METRICS, paths.GATES_REPORT, paths.SLICES, paths.REGISTRY, paths.BUNDLE_REPORT)
CHANGED = (paths.PARAMS, paths.METRICS, paths.GATES_REPORT, paths.LOCK, paths.REGISTRY)
SHOWN = 3  # config keys of a commit
LONG = 24  # characters of a value that are shown

# What the parsers and their constructors raise for content that they cannot read; deep nesting included.
_UNREADABLE = (yaml.YAMLError, ValueError, TypeError, LookupError, AttributeError, RecursionError)


@dataclass(frozen=True)
class Record:
    """A commit, the versions that are tagged on it, and the files it has."""

    commit: Commit
    versions: tuple[str, ...]
    files: Mapping[Path, bytes]


@dataclass(frozen=True)
class ParamChange:
    """A key of params.yaml whose value changed; values are JSON, and None where there is no such key."""

    key: str
    before: str | None
    after: str | None


@dataclass(frozen=True)
class MeasuredMetric:
    """A metric on the whole holdout; `change` is to the entry before, None where that has no such metric."""

    metric: str
    value: float
    interval: tuple[float, float] | None
    confidence: float | None
    change: float | None


@dataclass(frozen=True)
class HistoryEntry:
    """A commit of the model's history.

    `undefined` says which metric has no value on the whole holdout, and why; then nothing is `measured`.
    `production` is what production runs, None if nothing or not known; it has changed if the entry before says another,
    or does not say. `notable` tells whether the model, what was measured of it or what runs is another than there, or a
    version is tagged here; the other entries changed what has no effect, or has not been run.
    """

    commit: str
    short: str
    date: str
    subject: str
    versions: tuple[str, ...]
    verdict: str | None
    measured: MeasuredMetric | None
    undefined: str | None
    config: tuple[ParamChange, ...]
    production: str | None
    production_changed: bool
    notable: bool


@dataclass(frozen=True)
class _State:
    """What the files of a commit say."""

    params: Mapping[str, Any] | None
    declared: tuple[str, ...]
    confidence: float | None
    verdict: str | None
    values: Mapping[str, float]
    undefined: Mapping[str, str]
    intervals: Mapping[str, tuple[float, float]]
    registered: bool
    production: str | None
    digest: str | None

    def shows_another_model(self, before: "_State") -> bool:
        """Whether the model, its verdict or a value that was measured is not that of another state."""
        now, then = ((state.digest, state.verdict, state.values, state.undefined) for state in (self, before))
        return now != then


def entries(records: Sequence[Record], limit: int, metric: str | None = None) -> tuple[HistoryEntry, ...]:
    """Return the entries of the first `limit` records, newest first; one more record is what the last is compared with.

    Raises UserError for a metric that no commit has.
    """
    states = [_state(record.files) for record in records]
    measured = {name for state in states for name in (*state.values, *state.undefined)}
    if metric is not None and metric not in measured:
        raise UserError(f"--metric {clean(metric)}: no commit shown has it{nearest(metric, measured)}")
    before = [*states[1:], None]
    rows = list(zip(records, states, before, strict=True))[:limit]
    return tuple(_entry(record, state, earlier, metric) for record, state, earlier in rows)


def of_one_metric(records: Sequence[Record], limit: int, metric: str | None = None) -> tuple[HistoryEntry, ...]:
    """Return the entries with the metric that the newest measured one has, so that they share an axis.

    Raises UserError where nothing is measured.
    """
    everything = entries(records, limit, metric)
    newest = next((entry.measured.metric for entry in everything if entry.measured), None)
    if newest is None:
        raise UserError("there is nothing to draw: no commit shown has a declared metric in reports/metrics.json")
    return entries(records, limit, newest)


def versions(tags: Iterable[GitTag]) -> dict[str, tuple[str, ...]]:
    """Return the versions of each commit, of annotated tags, by model and number."""
    tagged = [(version, tag.commit) for tag in tags if (version := Version.of_tag(tag.name))]
    by_commit: dict[str, tuple[str, ...]] = {}
    for version, commit in sorted(tagged):
        by_commit[commit] = (*by_commit.get(commit, ()), version.tag)
    return by_commit


def content(entries: Sequence[HistoryEntry]) -> dict[str, Any]:
    """Return entries as plain content; a value of a key that is not there is left out."""
    rows = []
    for entry in entries:
        config: list[dict[str, Any]] = []
        for change in entry.config:
            values = {"before": change.before, "after": change.after}
            there = {name: json.loads(text) for name, text in values.items() if text is not None}
            config.append({"key": change.key} | there)
        rows.append({**asdict(entry), "config": config})
    return {"entries": rows}


def changed_keys(entry: HistoryEntry) -> Iterator[str]:
    """Yield lines such as `model.max_iter 200 → 150`: a few, then how many more there are."""
    for change in entry.config[:SHOWN]:
        yield f"{_cut(change.key, 0, 2 * LONG)} {_change_in_words(change)}"
    if len(entry.config) > SHOWN:
        yield f"and {len(entry.config) - SHOWN} more"


def _entry(record: Record, state: _State, before: _State | None, metric: str | None) -> HistoryEntry:
    commit, earlier = record.commit, before or _EMPTY
    names = [metric] if metric else state.declared
    name = next((name for name in names if name in state.values or name in state.undefined), "")
    comparable = earlier.params is not None and state.params is not None
    changed = differences.differences(earlier.params or {}, state.params or {}) if comparable else ()
    moved = state.registered and state.production != earlier.production
    return HistoryEntry(
        commit=commit.hash,
        short=commit.short,
        date=commit.day,
        subject=clean(commit.subject),
        versions=tuple(map(clean, record.versions)),
        verdict=state.verdict,
        measured=_measured(state, earlier, name),
        undefined=clean(f"{name} is {state.undefined[name]}") if name in state.undefined else None,
        config=tuple(ParamChange(clean(item.key), _json(item.before), _json(item.after)) for item in changed),
        production=state.production,
        production_changed=moved,
        notable=before is None or moved or bool(record.versions) or state.shows_another_model(before),
    )


def _measured(state: _State, before: _State, name: str) -> MeasuredMetric | None:
    if name not in state.values:
        return None
    value = state.values[name]
    # Rounded: the difference of two rounded numbers has digits that mean nothing.
    change = core_files.rounded(value - before.values[name]) if name in before.values else None
    return MeasuredMetric(clean(name), value, state.intervals.get(name), state.confidence, change)


def _json(value: Any) -> str | None:
    """Write what `_leaves` made: JSON texts in mappings."""
    if isinstance(value, Mapping):
        return f"{{{', '.join(f'{json.dumps(clean(name))}: {_json(item)}' for name, item in value.items())}}}"
    return None if value == differences.MISSING else clean(value)


def _change_in_words(change: ParamChange) -> str:
    groups = [(text or "").startswith("{") for text in (change.before, change.after)]
    if any(groups):
        sizes = [differences.shown(json.loads(text)) if text else "" for text in (change.before, change.after)]
        return " → ".join(sizes) if all(sizes) else f"added {sizes[1]}" if sizes[1] else f"removed {sizes[0]}"
    before, after = _brief(change.before), _brief(change.after)
    alike = next((number for number, (old, new) in enumerate(zip(before, after, strict=False)) if old != new), 0)
    # Two long values are shown from about where they begin to differ.
    start = max(0, alike - LONG // 2) if max(len(before), len(after)) > LONG else 0
    return f"{_cut(before, start)} → {_cut(after, start)}"


def _brief(text: str | None) -> str:
    """Return a value as a person writes it; a window of one year names the year once."""
    if text is None:
        return "(none)"
    value = json.loads(text)
    shown = value if isinstance(value, str) and value else text
    return clean(re.sub(r"^(\d{4})-(\S+)\.\.\1-", r"\1-\2..", shown))


def _cut(text: str, start: int = 0, most: int = LONG) -> str:
    end = "…" if len(text) > start + most else ""
    return f"{'…' if start else ''}{text[start : start + most]}{end}"


def _state(files: Mapping[Path, bytes]) -> _State:
    params, registry = parsed(files, paths.PARAMS), parsed(files, paths.REGISTRY)
    # What the registry says of the model; of its only one where no params.yaml says which is meant.
    alone = next(iter(registry)) if isinstance(registry, Mapping) and len(registry) == 1 else None
    name = dig(params, "name")
    environments = dig(registry, alone if name is None else name)
    production = dig(environments, "production")
    if isinstance(production, Mapping):  # with the candidate of a rollout, or versions that are held
        production = production.get("version")
    declared = dig(params, "evaluation", "metrics")
    verdict = dig(parsed(files, paths.GATES_REPORT), "verdict")
    digest = dig(parsed(files, paths.BUNDLE_REPORT), "digest")
    measured = dig(parsed(files, paths.SLICES), WHOLE, WHOLE, "metrics")
    metrics = dig(parsed(files, paths.METRICS), "holdout")
    return _State(
        params=_params(params),
        declared=tuple(name for name in declared if isinstance(name, str)) if isinstance(declared, list) else (),
        confidence=_number(dig(params, "evaluation", "interval", "confidence")),
        verdict=verdict if verdict in ("pass", "fail") else None,
        values=_numbers(metrics),
        undefined=_undefined(metrics, measured),
        intervals=_intervals(measured),
        registered=isinstance(environments, Mapping) and "production" in environments,
        production=None if production is None else clean(str(production)),
        digest=digest if isinstance(digest, str) else None,
    )


def _params(value: Any) -> Mapping[str, Any] | None:
    try:
        return _leaves(value) if isinstance(value, Mapping) else None
    except _UNREADABLE:
        return None


def _leaves(value: Any) -> Any:
    """Return nested mappings whose leaves are JSON texts: values that can be compared, whatever they are."""
    if isinstance(value, Mapping) and value:
        return {str(key): _leaves(item) for key, item in value.items()}
    return json.dumps(core_files.rounded(value, None), default=str, ensure_ascii=False, sort_keys=True)


def _number(value: Any) -> float | None:
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    try:
        return float(value) if math.isfinite(value) else None
    except OverflowError:  # a whole number that no float can hold
        return None


def _numbers(value: Any) -> dict[str, float]:
    """Return the metrics of metrics.json; `n` counts rows and measures nothing."""
    if not isinstance(value, Mapping):
        return {}
    pairs = ((name, _number(item)) for name, item in value.items() if name != "n")
    return {name: number for name, number in pairs if number is not None}


def _undefined(metrics: Any, measured: Any) -> dict[str, str]:
    """Return the metrics that metrics.json has without a value, and what slices.json says of them."""
    if not isinstance(metrics, Mapping):
        return {}
    reasons = {name: dig(measured, name, "undefined") for name, value in metrics.items() if value is None}
    return {name: words(Estimate(None, None, reason and str(reason))) for name, reason in reasons.items()}


def _intervals(value: Any) -> dict[str, tuple[float, float]]:
    if not isinstance(value, Mapping):
        return {}
    pairs = ((name, _interval(dig(item, "interval"))) for name, item in value.items())
    return {name: interval for name, interval in pairs if interval is not None}


def _interval(value: Any) -> tuple[float, float] | None:
    ends = [_number(end) for end in value] if isinstance(value, list) and len(value) == 2 else [None]
    low, high = ends[0], ends[-1]
    return (low, high) if low is not None and high is not None and low <= high else None


_EMPTY = _state({})
