"""What is to be done so that every environment runs what the trunk says: desired and actual in, a plan out. Pure.

The order of a plan is safe: an environment's version is brought here, then registered, then named in MLflow, then
delivered, then written into its manifests. Whoever stops anywhere in it, and plans again, gets the rest.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from trunkline.conf.registry import PRODUCTION
from trunkline.deploy.mlflow.state import CHAMPION, VERSION, Registered, Release
from trunkline.deploy.reconcile.actions import (
    Action,
    Alias,
    Deliver,
    Fetch,
    Note,
    Register,
    Render,
    Tag,
    Unalias,
    Withdraw,
)
from trunkline.deploy.reconcile.state import (
    NOTHING,
    Actual,
    LoadedNothing,
    Outcome,
    Reported,
    State,
    Tried,
    Trouble,
    Wanted,
)


@dataclass(frozen=True)
class ReconcilePlan:
    """What is to be done, in this order, and per environment the changes in MLflow that are only reported."""

    actions: tuple[Action, ...]
    drifts: Mapping[str, tuple[str, ...]]


def plan(wanted: Sequence[Wanted], actual: Actual, *, correct: bool) -> ReconcilePlan:
    """Return what makes the environments run what they are to run.

    `correct` says whether a change by hand in MLflow is undone or only reported. The sign of one: what MLflow was last
    brought in line with is still what is declared, but MLflow has something else.
    """
    actions: list[Action] = []
    drifts: dict[str, tuple[str, ...]] = {}
    for target in sorted(wanted, key=lambda target: (target.environment != PRODUCTION, target.environment)):
        if target.trouble:
            continue
        release = target.release
        fetch = [Fetch(target.environment, release)] if release and release.digest not in actual.bundles else []
        of_mlflow, drift = _of_mlflow(target, actual, correct=correct)
        if drift:
            drifts[target.environment] = drift
        for action in (*fetch, *of_mlflow, *_of_store(target, actual)):  # a candidate's bundle comes after all else
            if not _is_shared(action, actions):
                actions.append(action)
    return ReconcilePlan(tuple(actions), drifts)


def outcome(
    wanted: Wanted, actual: Actual, planned: ReconcilePlan, failed: Mapping[str, Trouble], *, applied: bool
) -> Outcome:
    """Say how an environment is after a plan was applied, or where it was not, is now."""
    own = [action for action in planned.actions if action.environment == wanted.environment]
    pending = () if applied else tuple(f"would {action}" for action in own if not isinstance(action, Note))
    troubles, drift = _troubles(wanted, actual, failed), planned.drifts.get(wanted.environment, ())
    if troubles or drift:
        code = max([trouble.code for trouble in troubles], default=1)
        reasons = (*(trouble.reason for trouble in troubles), *drift, *pending)
        return _outcome(wanted, actual, "degraded", tuple(dict.fromkeys(reasons)), code)
    late = (*_late(wanted, actual), *pending)
    return _outcome(wanted, actual, "progressing" if late else "in-sync", late, 1 if late else 0)


def _troubles(wanted: Wanted, actual: Actual, failed: Mapping[str, Trouble]) -> list[Trouble]:
    if wanted.trouble:
        return [wanted.trouble]
    answers = [actual.endpoints.get(address) for address in wanted.endpoints]
    loading = wanted.environment in actual.recent
    candidate = wanted.candidate and wanted.candidate.trouble
    states = (failed.get(wanted.environment), actual.registered, candidate, *answers)
    troubles = [state for state in states if isinstance(state, Trouble)]
    return [trouble for trouble in troubles if not (loading and isinstance(trouble, LoadedNothing))]


def _late(wanted: Wanted, actual: Actual) -> Iterator[str]:
    """Yield the endpoints that do not serve yet what the environment is to run."""
    for address in wanted.endpoints:
        answer = actual.endpoints.get(address)
        if isinstance(answer, LoadedNothing):
            yield f"{answer.reason}, and may still be loading"
        if isinstance(answer, Reported) and wanted.release and answer.digest != wanted.release.digest:
            yield f"{address} still serves {answer.version} ({answer.digest[:12]})"


def _outcome(wanted: Wanted, actual: Actual, state: State, why: tuple[str, ...], code: int) -> Outcome:
    pointer = actual.pointers.get(wanted.environment)
    delivered = pointer.version if pointer else NOTHING
    arms = pointer.arms if pointer else ()
    return Outcome(wanted.environment, wanted.declared, wanted.label, delivered, state, why, code, arms)


def _is_shared(action: Action, actions: Sequence[Action]) -> bool:
    """Tell whether another environment that is to run the same release asks for it already."""
    same = (other for other in actions if type(other) is type(action) and isinstance(other, Fetch | Register))
    return isinstance(action, Fetch | Register) and any(other.release == action.release for other in same)


def _of_mlflow(wanted: Wanted, actual: Actual, *, correct: bool) -> tuple[tuple[Action, ...], tuple[str, ...]]:
    """Return what is to be done in MLflow, and what is only reported.

    What was noted is forgotten before another declaration is begun: one that is half applied is not a change by hand.
    """
    if isinstance(actual.registered, Trouble):
        return (), ()
    changes = (*_of_entry(wanted, actual.registered), *_of_aliases(wanted, actual.registered))
    noted, label = actual.noted.get(wanted.environment), wanted.label
    if noted == label:
        notes = tuple(f"changed by hand in MLflow; not undone: {change}" for change in changes)
        return (changes, ()) if correct else ((), notes)
    forget = (Note(wanted.environment, None),) if noted and changes else ()
    return (*forget, *changes, Note(wanted.environment, label)), ()


def _of_entry(wanted: Wanted, registered: Registered) -> Iterator[Action]:
    if wanted.release is None:
        return
    entry = registered.find(wanted.label, wanted.release.digest)
    if entry is None:
        yield Register(wanted.environment, wanted.release)
        return
    for key, value in wanted.release.tags.items():
        if entry.tags.get(key) != value:
            yield Tag(wanted.environment, entry.number, key, value)


def _of_aliases(wanted: Wanted, registered: Registered) -> Iterator[Action]:
    target = registered.find(wanted.label, wanted.release.digest) if wanted.release else None
    for alias in (wanted.environment, CHAMPION) if wanted.environment == PRODUCTION else (wanted.environment,):
        number = registered.aliases.get(alias)
        if wanted.release:
            if target is None or number != target.number:
                yield Alias(wanted.environment, alias, wanted.release)
        elif any(VERSION in entry.tags for entry in registered.entries if entry.number == number):
            yield Unalias(wanted.environment, alias)  # an alias on somebody else's version is theirs


def _of_pointer(
    environment: str, release: Release, candidate: Tried | None, pointer: Reported | None, actual: Actual
) -> Iterator[Action]:
    """Yield what has the version served with its candidate; the version does not wait for the candidate's bundle."""
    tried = candidate if candidate and candidate.release else None
    missing = tried and tried.release and tried.release.digest not in actual.bundles
    if missing and (pointer is None or replace(pointer, rollout=None) != Reported.of(release)):
        yield Deliver(environment, release)
    if missing and tried and tried.release:
        yield Fetch(environment, tried.release)
    if missing or pointer != Reported.of(release, tried):
        yield Deliver(environment, release, tried)


def _of_store(wanted: Wanted, actual: Actual) -> Iterator[Action]:
    pointer, release = actual.pointers.get(wanted.environment), wanted.release
    if release:
        yield from _of_pointer(wanted.environment, release, wanted.candidate, pointer, actual)
    if release is None and pointer:
        yield Withdraw(wanted.environment)
    rendered = actual.manifests.get(wanted.environment, {})
    for name in sorted({*rendered, *wanted.manifests}):
        if rendered.get(name) != wanted.manifests.get(name):
            yield Render(wanted.environment, name, wanted.manifests.get(name))
