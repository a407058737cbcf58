"""What proves a point: each says what it shows, what to do where it is missing, and where it is found. Pure."""

import fnmatch
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from trunkline.adapters.git.documents import mapping
from trunkline.core import paths
from trunkline.core.params import dig
from trunkline.lineage.score.project import ENVIRONMENT, PIPELINE, Project
from trunkline.pipeline import claims
from trunkline.pipeline.reports import Verdict


@dataclass(frozen=True)
class Proof:
    """What is shown, what is missing otherwise, and what finds where it stands: a path with its line, tag or commit."""

    shows: str
    lacks: str
    find: Callable[[Project], str | None]


def unprovable(lacks: str) -> Proof:
    """Return a proof of what no file of a commit can show."""
    return Proof("", lacks, lambda _: None)


def workflow(pattern: str, shows: str, lacks: str) -> Proof:
    """Return the proof that a workflow runs a command."""
    return Proof(shows, lacks, lambda project: project.workflow(pattern))


def declared(*keys: str, shows: str, lacks: str) -> Proof:
    """Return the proof that a key of params.yaml has a value that is not empty, null or false."""
    return Proof(shows, lacks, lambda project: _at(project, keys) if dig(project.params, *keys) else None)


def any_of(*keys: str, wanted: Callable[[Any], bool], shows: str, lacks: str) -> Proof:
    """Return the proof that one of the entries of a mapping of params.yaml is as wanted."""
    return Proof(shows, lacks, partial(_any_of, keys, wanted))


def _any_of(keys: tuple[str, ...], wanted: Callable[[Any], bool], project: Project) -> str | None:
    entries = dig(project.params, *keys)
    fitting = [name for name, entry in entries.items() if wanted(entry)] if isinstance(entries, dict) else []
    return _at(project, (*keys, min(fitting))) if fitting else None


def _at(project: Project, keys: tuple[str, ...]) -> str | None:
    return project.at(paths.PARAMS, *keys)


def judged(
    *kinds: str, of: str, sliced: bool = False, wanted: Callable[[Verdict], bool] = lambda verdict: verdict.blocking
) -> Proof:
    """Return the proof that a verdict of a kind blocks, and none of them fails, by this commit's rules and dvc.lock."""
    rule = " or ".join(kinds)

    def find(project: Project) -> str | None:
        of_kind = [each for each in project.verdicts if each.kind in kinds and wanted(each)]
        of_kind = [each for each in of_kind if each.slice or not sliced]
        if not of_kind or any(each.verdict == "fail" for each in of_kind):
            return None
        if all(each.verdict == "not_applicable" for each in of_kind):
            return None
        return project.matching(paths.GATES_REPORT, rf'"id": "{of_kind[0].id}"')

    return Proof(
        f"the gates judge {of} and pass it",
        f"no rule of kind {rule}{' with a slice' if sliced else ''} that blocks has passed, by a verdict that dvc.lock "
        "holds: declare one in conf/gates",
        find,
    )


def report(path: Path, key: str, shows: str, lacks: str) -> Proof:
    """Return the proof that a report that dvc.lock holds has a value that is not empty, null or 0."""

    def find(project: Project) -> str | None:
        content = mapping(project.files, path) or {}
        return project.matching(path, f'"{key}"') if content.get(key) and project.is_kept(path) else None

    return Proof(shows, lacks, find)


def named(pattern: str, shows: str, lacks: str) -> Proof:
    """Return the proof that a file has a name that matches a pattern."""

    def find(project: Project) -> str | None:
        return min(fnmatch.filter(project.names, pattern), default=None)

    return Proof(shows, lacks, find)


def _whole(project: Project) -> str | None:
    stages = set((mapping(project.files, PIPELINE) or {}).get("stages", {}))
    return project.at(paths.LOCK, "stages") if stages and stages <= claims.entries(project.lock).keys() else None


def _composed(project: Project) -> str | None:
    """Return where dvc.lock has params.yaml, if it is the one of this commit."""
    return project.at(paths.LOCK, "stages", "compose") if project.is_kept(paths.PARAMS) else None


def _pinned(project: Project) -> str | None:
    sources = dig(project.params, "data", "sources")
    pins = ("sha256", "files", "version", "snapshot", "pin")
    whole = isinstance(sources, dict) and sources and all(_has(source, pins) for source in sources.values())
    return _at(project, ("data", "sources")) if whole else None


def _has(source: Any, pins: tuple[str, ...]) -> bool:
    return isinstance(source, dict) and any(source.get(pin) not in (None, {}) for pin in pins)


def _approved(project: Project) -> str | None:
    return next((version.tag for version in reversed(project.versions) if version.approvers), None)


def _delivered(project: Project) -> str | None:
    environments = mapping(project.files, paths.REGISTRY) or {}
    name = str(project.params.get("name"))
    running = [key for key, value in (environments.get(name) or {}).items() if value]
    return project.matching(paths.REGISTRY, min(running)) if project.versions and running else None


def _rolled_back(project: Project) -> str | None:
    for change in project.changes:
        after, before = change.after.version, change.before.version
        if isinstance(after, int) and isinstance(before, int) and after < before:
            return change.commit[:10]
    return None


REVIEWED = workflow(
    r"trunkline ci review",
    "each pull request is judged",
    "no workflow runs `trunkline ci review`: add pull-request.yml",
)
REPRODUCED = workflow(
    r"trunkline ci reproduce",
    "results are computed again",
    "no workflow runs `trunkline ci reproduce`: add reproduce.yml",
)
TESTED = workflow(
    r"\b(pytest|make test|tox|nox)\b", "tests run for each change", "no workflow runs tests: add one that runs pytest"
)
MONITORED = workflow(
    r"trunkline monitor", "what runs is watched on a schedule", "no workflow runs `trunkline monitor`: add monitor.yml"
)
WHOLE = Proof("each stage has its result", "a stage of dvc.yaml is not in dvc.lock: run dvc repro", _whole)
COMPOSED = Proof("params.yaml is what conf/ composes to", "params.yaml is not dvc.lock's: run dvc repro", _composed)
PINNED = Proof("each source is pinned", "a source has no version or hash: pin it with `trunkline pin`", _pinned)
LOCKED = Proof(
    "each library is pinned by its hash",
    f"{ENVIRONMENT.as_posix()} has no hashes: run locks/install",
    lambda project: project.matching(ENVIRONMENT, r"--hash=sha256:"),
)
DELIVERED = Proof(
    "an environment runs a version whose chain holds",
    "no environment runs a version whose chain holds: `trunkline release`, then `trunkline promote`",
    _delivered,
)
APPROVED = Proof(
    "a version's pull request was approved by a person",
    "no signed version names who approved its pull request: release one by main.yml",
    _approved,
)
ROLLED_BACK = Proof(
    "an environment went back to an earlier version",
    "no environment ever went back: try `trunkline rollback`",
    _rolled_back,
)
CANARIED = Proof(
    "a version ran beside the one before it was promoted",
    "no version ever ran as a shadow or canary: declare `rollout` in conf/deploy",
    lambda project: next((change.commit[:10] for change in project.changes if change.after.candidate), None),
)
RETRAINED = Proof(
    "a retraining was merged",
    "no retraining of `trunkline retrain` was ever merged",
    lambda project: project.retrained and project.retrained[:10],
)
FEATURED = Proof(
    "a feature came without a change of code",
    "no commit changes conf/features alone",
    lambda project: project.featured and project.featured[:10],
)
AUDITED = Proof(
    "an audit of the whole history, done now, finds nothing",
    "`trunkline audit` of the whole history finds fault, or no version to audit",
    lambda project: project.commit[:10] if project.versions and not project.audited else None,
)
