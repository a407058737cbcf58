"""The chain behind a prediction, link by link: what each is, or why it is not known here and how to know it.

Pure: it is given what git, the tag, the log and the forge say. A link that is broken is told, never left out.
"""

import hashlib
import json
import re
import tomllib
from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict, dataclass, replace
from datetime import datetime
from pathlib import Path
from typing import Any, Literal, TypeVar

import yaml

from trunkline import changes
from trunkline.core import files, paths
from trunkline.declarations import Change
from trunkline.history import clean
from trunkline.prediction import Prediction
from trunkline.provenance import DATA, ENVIRONMENT
from trunkline.registry import LATEST, Desired
from trunkline.reports import Dataset, Gates, Verdict
from trunkline.versions import Version

PROJECT = Path("pyproject.toml")
READ = (paths.PARAMS, paths.LOCK, ENVIRONMENT, paths.GATES_REPORT, paths.DATASET, paths.CHOICE, PROJECT)
LIBRARIES = (
    "scikit-learn",
    "lightgbm",
    "numpy",
    "scipy",
    "pandas",
    "polars",
    "pyarrow",
    "duckdb",
    "onnx",
    "onnxruntime",
)
TOLD = ("model._target_", "data.target.expression", "data.window.train", "data.window.holdout", "seed")

Kind = Literal["version", "digest", "commit", "request"]
# signed: the forge told it at the release, and the tag's provenance signs it. tag: so says a tag that is refused.
# forge: it was asked now. message: a commit's message names the number, and nobody vouches for it.
Source = Literal["signed", "tag", "forge", "message"]
T = TypeVar("T")

_PINNED = re.compile(r"^([a-z0-9][a-z0-9._-]*)==([^\s\\;]+)", re.MULTILINE)


@dataclass(frozen=True)
class Reviewed:
    """A pull request; who wrote, approved and merged it is None where it is not known."""

    number: int
    source: Source
    url: str | None = None
    author: str | None = None
    approvers: tuple[str, ...] | None = None
    merged_by: str | None = None


@dataclass(frozen=True)
class Chain:
    """A version: its tag, who made it when, the bundle that it announces, and whether all that it says holds.

    `refused` says why it does not; `signer` is who signed it, None where that is not believed. `same` are other
    versions of the same bundle.
    """

    version: str
    tagger: str
    date: str
    digest: str | None
    signer: str | None
    refused: str | None
    same: tuple[str, ...]


@dataclass(frozen=True)
class Made:
    """A commit, and where it is on the trunk: after which version, and in which first; None where there is none."""

    hash: str
    author: str
    date: str
    subject: str
    on_trunk: bool
    after: str | None
    first_in: str | None


@dataclass(frozen=True)
class Judged:
    """The verdict of a commit, and on what: each rule with its numbers."""

    verdict: Literal["pass", "fail"]
    challenger: str
    champion: str | None
    rules: tuple[Verdict, ...]


@dataclass(frozen=True)
class Declared:
    """What a commit declared: some keys of params.yaml, and those that differ from the version before.

    `since` is that version; values are texts. `groups` is the sha256 of each group.
    """

    told: Mapping[str, str]
    groups: Mapping[str, str]
    since: str | None
    changed: tuple[str, ...]


@dataclass(frozen=True)
class Output:
    """Data of a commit: DVC's MD5, how many files and bytes, and each file's MD5 where the cache here has the list."""

    path: str
    md5: str
    count: int | None
    bytes: int | None
    files: tuple[tuple[str, str], ...] | None = None


@dataclass(frozen=True)
class Rows:
    """The windows of the source's rows, and how many rows each has; None where the commit does not say."""

    source: int | None
    train: str | None
    train_rows: int | None
    holdout: str | None
    holdout_rows: int | None


@dataclass(frozen=True)
class Environment:
    """What it was built on: the lock's sha256, the Pythons that are allowed, and versions of what computes."""

    path: str
    sha256: str
    python: str | None
    libraries: Mapping[str, str]


@dataclass(frozen=True)
class Stay:
    """When an environment was declared to run a version; `how` is `latest` where it followed the releases.

    `until` is None while it is; times are ISO 8601. `pull_request` and `commit` are of what brought it there: the
    promotion or rollback; None for a release that it followed.
    """

    environment: str
    version: str
    since: str
    until: str | None
    how: Literal["declared", "latest"]
    commit: str | None
    pull_request: str | None


@dataclass(frozen=True)
class Lineage:
    """All that is known behind what was asked for; None for a link that is not known, which `unknown` then says."""

    asked: str
    kind: Kind
    trunk: str
    notes: tuple[str, ...]
    prediction: Prediction | None
    chain: Chain | None
    commit: Made | None
    review: Reviewed | None
    verdict: Judged | None
    declared: Declared | None
    data: tuple[Output, ...]
    rows: Rows | None
    environment: Environment | None
    runs: tuple[Stay, ...]
    unknown: Mapping[str, str]

    @property
    def holds(self) -> bool:
        """Whether nothing of it is refused, and what was asked for leads to a commit."""
        return self.commit is not None and (self.chain is None or self.chain.refused is None)


def content(found: Lineage) -> dict[str, Any]:
    """Return a chain as plain content, and whether it holds."""
    return {**asdict(found), "holds": found.holds}


# What the files of a commit say


def judged(found: Mapping[Path, bytes]) -> Judged | None:
    """Return the verdict of a commit; None if it has none that can be read."""
    gates = _understood(lambda text: Gates.model_validate(json.loads(text)), found.get(paths.GATES_REPORT))
    if gates is None:
        return None
    champion = clean(gates.champion.version) if gates.champion else None
    return Judged(gates.verdict, clean(gates.challenger), champion, tuple(map(_cleaned, gates.gates)))


def _cleaned(rule: Verdict) -> Verdict:
    where = rule.slice and clean(rule.slice)
    named = replace(rule, id=clean(rule.id), kind=clean(rule.kind), reason=clean(rule.reason), slice=where)
    return replace(named, metric=rule.metric and clean(rule.metric))


def declared(found: Mapping[Path, bytes], before: Mapping[Path, bytes] | None, since: str | None) -> Declared | None:
    """Return what a commit declared, compared with the commit of the version before."""
    params = _params(found)
    if params is None:
        return None
    chosen = _dig(_mapping(found.get(paths.CHOICE)), "model") or params.get("model")  # what a search put in its place
    told = {key: _text(value) for key in TOLD if (value := _dig({**params, "model": chosen}, key)) is not None}
    groups = {clean(str(key)): _hash(value) for key, value in params.items()}
    earlier = _params(before) if before is not None else None
    changed = changes.differences(earlier, params) if earlier is not None else ()
    return Declared(told, groups, since if earlier is not None else None, tuple(clean(str(one)) for one in changed))


def outputs(
    found: Mapping[Path, bytes], listing: Callable[[str], tuple[tuple[str, str], ...] | None]
) -> tuple[Output, ...]:
    """Return the data that a commit's dvc.lock holds; `listing` returns the files of a folder's hash."""
    lock = _mapping(found.get(paths.LOCK))
    made = _understood(_outs, lock) or {}
    rows = ((path.as_posix(), made[path.as_posix()]) for path in DATA if path.as_posix() in made)
    return tuple(
        Output(path, clean(str(out.get("md5"))), _count(out.get("nfiles")), _count(out.get("size")),
               listing(str(out.get("md5"))) if path == paths.RAW.as_posix() else None)
        for path, out in rows
    )  # fmt: skip


def _outs(lock: Mapping[str, Any]) -> dict[str, Mapping[str, Any]]:
    return {out["path"]: out for stage in lock["stages"].values() for out in stage.get("outs", ())}


def rows(found: Mapping[Path, bytes]) -> Rows | None:
    """Return the windows of a commit's params.yaml, and the rows that reports/dataset.json counts in them."""
    params = _params(found) or {}
    dataset = _understood(lambda text: Dataset.model_validate(json.loads(text)), found.get(paths.DATASET))
    windows = [_dig(params, f"data.window.{name}") for name in ("train", "holdout")]
    if dataset is None and windows == [None, None]:
        return None
    train, holdout = (clean(str(one)) if one is not None else None for one in windows)
    counted = dataset.windows if dataset else None
    return Rows(
        source=dataset.source_rows if dataset else None,
        train=train,
        train_rows=counted.train.rows if counted else None,
        holdout=holdout,
        holdout_rows=counted.holdout.rows if counted else None,
    )


def environment(found: Mapping[Path, bytes]) -> Environment | None:
    """Return what the lock of a commit says of the environment; None if the commit has none."""
    lock = found.get(ENVIRONMENT)
    if lock is None:
        return None
    pinned = dict(_PINNED.findall(lock.decode(errors="replace")))
    project = _understood(lambda text: tomllib.loads(text.decode())["project"], found.get(PROJECT)) or {}
    python = _understood(lambda one: clean(str(one["requires-python"])), project)
    libraries = {name: clean(pinned[name]) for name in LIBRARIES if name in pinned}
    return Environment(ENVIRONMENT.as_posix(), hashlib.sha256(lock).hexdigest(), python, libraries)


# Where a version ran


@dataclass(frozen=True)
class Release:
    """A version, and when its tag was made (ISO 8601)."""

    version: Version
    date: str


def stays(declarations: Iterable[Change], releases: Iterable[Release]) -> tuple[Stay, ...]:
    """Return every version that an environment was declared to run and when, oldest first."""
    events: list[tuple[datetime, int, Release | Change]] = [(moment(one.date), 0, one) for one in releases]
    events += [(moment(one.date), 1, one) for one in reversed(tuple(declarations))]
    course = _Course()
    for _, _, event in sorted(events, key=lambda one: one[:2]):
        course.take(event)
    return tuple(sorted((*course.past, *course.now.values()), key=lambda stay: moment(stay.since)))


def moment(date: str) -> datetime:
    """Return the moment of a date of git's, ISO 8601 with its zone."""
    return datetime.fromisoformat(date)


class _Course:
    """What each environment is to run while time goes on."""

    def __init__(self) -> None:
        self.newest: Version | None = None
        self.desired: dict[str, Change] = {}
        self.now: dict[str, Stay] = {}
        self.past: list[Stay] = []

    def take(self, event: Release | Change) -> None:
        if isinstance(event, Change):
            self.desired[event.environment] = event
            self._go(event.environment, event.after, event.date, event)
            return
        self.newest = max(filter(None, (self.newest, event.version)))
        for name, change in self.desired.items():
            if change.after == LATEST:
                self._go(name, LATEST, event.date, None)

    def _go(self, environment: str, desired: Desired, date: str, cause: Change | None) -> None:
        label = f"v{desired}" if isinstance(desired, int) else self.newest.label if desired and self.newest else None
        old = self.now.get(environment)
        if old and old.version == label:
            return
        if old:
            self.past.append(_ended(self.now.pop(environment), date))
        if label:
            how: Literal["declared", "latest"] = "latest" if desired == LATEST else "declared"
            commit, reference = (cause.commit, cause.pull_request) if cause else (None, None)
            self.now[environment] = Stay(environment, label, date, None, how, commit, reference)


def _ended(stay: Stay, date: str) -> Stay:
    return Stay(stay.environment, stay.version, stay.since, date, stay.how, stay.commit, stay.pull_request)


# What others wrote is read with patience: what cannot be understood is a link that is not known


def _understood(read: Callable[[Any], T], given: Any) -> T | None:
    if given is None:
        return None
    try:
        return read(given)
    except (ValueError, TypeError, LookupError, AttributeError, RecursionError, yaml.YAMLError):
        return None


def _mapping(text: bytes | None) -> Mapping[str, Any] | None:
    parsed = _understood(lambda given: files.parse_yaml(given.decode()), text)
    return parsed if isinstance(parsed, dict) else None


def _params(found: Mapping[Path, bytes]) -> Mapping[str, Any] | None:
    return _mapping(found.get(paths.PARAMS))


def _dig(value: Any, key: str) -> Any:
    for part in key.split("."):
        value = value.get(part) if isinstance(value, Mapping) else None
    return value


def _text(value: Any) -> str:
    return clean(changes.shown(value))


def _hash(value: Any) -> str:
    return hashlib.sha256(json.dumps(value, sort_keys=True, default=str).encode()).hexdigest()


def _count(value: Any) -> int | None:
    return value if isinstance(value, int) and not isinstance(value, bool) else None
