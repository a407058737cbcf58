"""Brings what runs in line with the registry file at the trunk's tip; `plan` says what that takes.

Every effect can be repeated and none is half: a process that is killed anywhere leaves what the next one finishes.
"""

import time
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import nullcontext
from dataclasses import dataclass, replace
from pathlib import Path

from trunkline.core.errors import OutsideError, TrunklineError
from trunkline.deploy.mlflow.registry import ModelRegistry
from trunkline.deploy.mlflow.state import Registered
from trunkline.deploy.reconcile import desired, endpoints
from trunkline.deploy.reconcile import plan as reconcile_plan
from trunkline.deploy.reconcile.actions import Action, Fetch, Note
from trunkline.deploy.reconcile.apply import Tell, Work, patiently
from trunkline.deploy.reconcile.desired import DesiredState
from trunkline.deploy.reconcile.plan import ReconcilePlan
from trunkline.deploy.reconcile.state import (
    Actual,
    LoadedNothing,
    Outcome,
    Reported,
    ReportedRollout,
    Trouble,
    Wanted,
)
from trunkline.deploy.reconcile.store import BundleStore
from trunkline.serve.model import Pointer, Rollout

KEEP = 5
LOADING = 120.0  # seconds after a delivery in which a server may say that it has loaded nothing


@dataclass(frozen=True)
class Site:
    """Where a reconcile runs: a clone, the branch of origin it follows, its store, and the environments it looks after.

    No environments: all that conf/deploy declares.
    """

    clone: Path
    trunk: str
    store: BundleStore
    environ: Mapping[str, str]
    only: tuple[str, ...] = ()
    keep: int = KEEP


@dataclass(frozen=True)
class Round:
    """One comparison: what is declared, what there was, what was done about it (or would be), and how it is now."""

    declared: DesiredState
    actual: Actual
    plan: ReconcilePlan
    outcomes: tuple[Outcome, ...]
    applied: tuple[Action, ...] = ()

    @property
    def undone(self) -> tuple[Action, ...]:
        """What was planned and is not applied, except the notes that this program keeps for itself."""
        return tuple(
            action for action in self.plan.actions if action not in self.applied and not isinstance(action, Note)
        )

    @property
    def code(self) -> int:
        """The exit code: the gravest of the environments'."""
        return max((outcome.code for outcome in self.outcomes), default=0)


def reconcile(site: Site, tell: Tell, *, write: bool = True) -> Round:
    """Compare once, and bring the environments in line; without `write`, only compare.

    `tell` gets each action before it is begun. Raises UserError where the trunk's declaration is wrong, so that
    nothing at all is done, and OutsideError where origin cannot be asked or the store is held by another process.
    """
    with site.store.alone() if write else nullcontext():
        declared = desired.read(site.clone, site.trunk, site.environ, site.only)
        mlflow = ModelRegistry.open(declared.tracking, site.clone, site.environ)
        actual = observe(site, declared, mlflow)
        plan = reconcile_plan.plan(declared.wanted, actual, correct=declared.promotion.mlflow == "correct")
        work = Work(site.clone, site.store, declared.name, mlflow, actual.registered, tell)
        if write:
            work.all(plan.actions)
            if any(isinstance(action, Fetch) for action in work.done):
                site.store.tidy(site.keep)
            delivered, recent = _pointers(site.store, declared.wanted), _recent(site.store, declared.wanted)
            actual = replace(actual, pointers=delivered, recent=recent)
        outcomes = tuple(
            reconcile_plan.outcome(wanted, actual, plan, work.failed, applied=write) for wanted in declared.wanted
        )
        return Round(declared, actual, plan, outcomes, tuple(work.done))


def observe(site: Site, declared: DesiredState, mlflow: ModelRegistry) -> Actual:
    """Return what the environments have now, or the trouble of what does not answer."""
    asked = {address: wanted.tls for wanted in declared.wanted if wanted.release for address in wanted.endpoints}
    digests = {release.digest for wanted in declared.wanted for release in wanted.releases}
    with ThreadPoolExecutor(1) as aside:
        answers = aside.submit(endpoints.ask, asked, site.clone)
        registered: Registered | Trouble
        try:
            registered = patiently(lambda: mlflow.look(declared.name))
        except TrunklineError as error:
            registered = Trouble(str(error), error.exit_code)
        bundles = frozenset(digest for digest in digests if site.store.has(digest))
        return Actual(
            registered=registered,
            bundles=bundles,
            pointers=_pointers(site.store, declared.wanted),
            recent=_recent(site.store, declared.wanted),
            noted={
                wanted.environment: text for wanted in declared.wanted if (text := site.store.noted(wanted.environment))
            },
            manifests={
                environment: {
                    name: text
                    for name in (Path(path).stem for path in declared.promotion.environments[environment].manifests)
                    if (text := site.store.manifest(environment, name)) is not None
                }
                for environment in (wanted.environment for wanted in declared.wanted)
            },
            endpoints={address: _reported(answer) for address, answer in answers.result().items()},
        )


def _reported(answer: endpoints.Served | OutsideError) -> Reported | Trouble:
    if isinstance(answer, OutsideError):
        kind = LoadedNothing if isinstance(answer, endpoints.LoadedNothingError) else Trouble
        return kind(str(answer), answer.exit_code)
    return Reported(answer.name, answer.version, answer.digest)


def _pointers(store: BundleStore, wanted: Sequence[Wanted]) -> dict[str, Reported]:
    pointers = {item.environment: store.delivered(item.environment) for item in wanted}
    return {
        name: replace(_pointed(pointer), rollout=_rollout(pointer.rollout))
        for name, pointer in pointers.items()
        if pointer
    }


def _pointed(pointer: Pointer) -> Reported:
    return Reported(pointer.name, pointer.version, pointer.digest, pointer.commit, pointer.provenance)


def _rollout(rollout: Rollout | None) -> ReportedRollout | None:
    if rollout is None:
        return None
    return ReportedRollout(rollout.kind, rollout.share, rollout.key, _pointed(rollout.candidate))


def _recent(store: BundleStore, wanted: Sequence[Wanted]) -> frozenset[str]:
    """Return the environments whose servers may still be loading; none by a clock that has gone back."""
    now = time.time()
    since = {item.environment: store.since(item.environment) for item in wanted}
    return frozenset(name for name, then in since.items() if then is not None and 0 <= now - then < LOADING)
