"""Why each stage will run, in the words of whoever made the change; pure."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from trunkline.adapters.dvc.survey import OPEN, Absent, Action, Stage
from trunkline.show import differences
from trunkline.show.text import clean

LOCKS = "locks/"


class History(Protocol):
    """What git knows of the commit that a stage is compared with."""

    def text(self, path: str) -> str | None:
        """Return the text of a file as it was; None if there was none."""

    def current(self, path: str) -> str | None:
        """Return the text of a file as it is."""

    def changed(self, folder: str) -> Sequence[str]:
        """Return the files of a folder that have changed since."""


@dataclass(frozen=True)
class LockedStage:
    """A stage as a dvc.lock has it: its command, its params by key, the hashes of its inputs and outputs by path."""

    cmd: str
    params: Mapping[str, Any]
    deps: Mapping[str, str | None]
    outs: Mapping[str, str | None]


@dataclass(frozen=True)
class Step:
    """A stage of the plan: what happens to it and why, how long that took last, what it needs and is not here."""

    name: str
    action: Action
    reasons: tuple[str, ...]
    seconds: float | None
    needs: tuple[Absent, ...]


@dataclass(frozen=True)
class ReproPlan:
    """What `dvc repro` would do, stage by stage; `base` is the commit that reasons are against, if one was named."""

    base: str | None
    steps: tuple[Step, ...]

    @property
    def seconds(self) -> float | None:
        """How long the stages that may run took last, together; None if that of one is not known."""
        durations = [step.seconds for step in self.steps if step.action in OPEN]
        return None if None in durations else sum(seconds for seconds in durations if seconds is not None)

    @property
    def needs(self) -> tuple[Absent, ...]:
        """What has to be fetched or checked out, each once, by path."""
        by_path = {absent.path: absent for step in self.steps for absent in step.needs}
        return tuple(absent for _, absent in sorted(by_path.items()))


def entries(lock: Any) -> dict[str, LockedStage]:
    """Return the stages of a parsed dvc.lock, by name; raises various errors for another file."""
    return {name: _entry(stage) for name, stage in ((lock or {}).get("stages") or {}).items()}


def _entry(stage: Mapping[str, Any]) -> LockedStage:
    params = {key: value for values in stage.get("params", {}).values() for key, value in values.items()}
    hashes = [{item["path"]: item.get("md5") for item in stage.get(kind, ())} for kind in ("deps", "outs")]
    return LockedStage(stage["cmd"], params, *hashes)


def plan(  # noqa: PLR0913, PLR0917  one argument per source of facts
    stages: Sequence[Stage],
    before: Mapping[str, LockedStage],
    locked: Mapping[str, LockedStage],
    seconds: Mapping[str, float],
    history: History,
    base: str | None = None,
) -> ReproPlan:
    """Return what happens to each stage and why.

    `before` is what reasons are against: dvc.lock itself, or that of the base; `locked` is dvc.lock, and `seconds` the
    time that each stage took last.
    """
    changed_upstream: set[str] = set()
    steps = []
    for stage in stages:
        why = reasons(stage, before.get(stage.name), locked.get(stage.name), history, changed_upstream)
        if stage.action != "unchanged" or why:
            changed_upstream.add(stage.name)
        steps.append(Step(stage.name, stage.action, tuple(why), seconds.get(stage.name), stage.needs))
    return ReproPlan(base, tuple(steps))


def reasons(
    stage: Stage,
    before: LockedStage | None,
    locked: LockedStage | None,
    history: History,
    changed_upstream: Iterable[str] = (),
) -> list[str]:
    """Return what differs, the author's own changes first; `changed_upstream` are the stages before that change."""
    if before is None:
        return ["has never run" if locked is None else "is new"]
    why = [*_own(stage, before, history)]
    makers = {name for path, names in stage.upstream.items() if _moved(path, before, locked) for name in names}
    if stage.action != "unchanged" and not changed_upstream and not why and not stage.outputs:
        makers = {name for names in stage.upstream.values() for name in names}  # after a merge of locks
    makers |= {name for names in stage.upstream.values() for name in names if name in set(changed_upstream)}
    if (makers and stage.action != "unchanged") or any(_moved(path, before, locked) for path in stage.upstream):
        why.append(f"upstream: {', '.join(sorted(makers))}")
    if stage.action != "unchanged":
        why += [f"{path} {_WORDS.get(word, word)}" for path, word in sorted(stage.outputs.items())]
    return why


_WORDS = {
    "deleted": "is missing",
    "modified": "is not what dvc.lock says",
    "not in cache": "is not in the cache",
    "new": "is new",
}


def _own(stage: Stage, before: LockedStage, history: History) -> Iterator[str]:
    """Yield the changes of command, parameters and files."""
    if stage.cmd != before.cmd:
        yield f"its command changed: {before.cmd} → {stage.cmd}"
    yield from map(str, differences.differences(before.params, stage.params))
    for path in sorted({*stage.inputs, *before.deps} - {*stage.upstream}):
        if path not in stage.inputs:
            yield f"{path} is no longer read"
        elif path not in before.deps:
            yield f"{path} is read now"
        elif stage.inputs[path] is None:
            yield f"{path} is missing"
        elif stage.inputs[path] != before.deps[path]:
            yield from _content(path, history)


def _content(path: str, history: History) -> Iterator[str]:
    """Yield what changed in a file or folder: versions in a lock, files in a folder."""
    if path.startswith(LOCKS):
        versions = differences.versions(history.text(path) or "", history.current(path) or "")
        if versions:
            yield from (f"{item.key} {item.before} → {item.after} in {path}" for item in versions)
            return
    inside = history.changed(path)
    yield from (f"{clean(name)} changed" for name in inside or [path])


def _moved(path: str, before: LockedStage, locked: LockedStage | None) -> bool:
    """Whether an input that another stage makes is, in dvc.lock, not what it was before."""
    return locked is not None and before.deps.get(path) != locked.deps.get(path)


def content(plan: ReproPlan) -> dict[str, Any]:
    """Return the plan as JSON has it."""
    return {
        "base": plan.base,
        "seconds": plan.seconds,
        "stages": [
            {
                "name": step.name,
                "action": step.action,
                "reasons": list(step.reasons),
                "seconds": step.seconds,
                "needs": [vars(absent) for absent in step.needs],
            }
            for step in plan.steps
        ],
    }
