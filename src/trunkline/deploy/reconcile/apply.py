"""The effects of a plan, one by one: each can be repeated, and none is half when the process is killed in it."""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar

from tenacity import Retrying, retry_if_exception_type, stop_after_attempt, stop_after_delay, wait_chain, wait_fixed

from trunkline.conf.versions import Version
from trunkline.core.errors import OutsideError, explain
from trunkline.deploy.mlflow import record
from trunkline.deploy.mlflow.registry import ModelRegistry
from trunkline.deploy.mlflow.state import Registered, Release
from trunkline.deploy.reconcile.actions import (
    IN_MLFLOW,
    Action,
    Alias,
    Deliver,
    Fetch,
    InMlflow,
    InStore,
    Note,
    Register,
    Render,
    Tag,
    Unalias,
    Withdraw,
)
from trunkline.deploy.reconcile.state import Trouble
from trunkline.deploy.reconcile.store import BundleStore

_WAITS = (0.5, 1.0, 2.0)  # seconds between the tries of what MLflow did not answer
_PATIENCE = 8.0  # seconds after which it is not tried again: a rollback must not wait for MLflow

Result = TypeVar("Result")
Tell = Callable[[str], object]


def patiently(call: Callable[[], Result], sleep: Callable[[float], None] = time.sleep) -> Result:
    """Call MLflow, again and later each time if it fails, for some seconds in all; raises its last OutsideError."""
    retrying = Retrying(
        retry=retry_if_exception_type(OutsideError),
        wait=wait_chain(*map(wait_fixed, _WAITS)),
        stop=stop_after_attempt(len(_WAITS) + 1) | stop_after_delay(_PATIENCE),
        sleep=sleep,
        reraise=True,
    )
    return retrying(call)


@dataclass
class Work:
    """Applies actions; what fails of an environment stops no other one, and MLflow no delivery."""

    clone: Path
    store: BundleStore
    name: str
    mlflow: ModelRegistry
    registered: Registered | Trouble
    tell: Tell
    failed: dict[str, Trouble] = field(default_factory=dict)
    done: list[Action] = field(default_factory=list)
    _without: dict[str, Trouble] = field(default_factory=dict)  # digests of bundles that could not be fetched
    _numbers: dict[Version, str] = field(default_factory=dict)

    def all(self, actions: Sequence[Action]) -> None:
        """Apply actions in their order, leaving out what needs one that failed."""
        for action in actions:
            trouble = self._hindered(action) or self._tried(action)
            if trouble is None:
                self.done.append(action)
                continue
            self.failed.setdefault(action.environment, trouble)
            if isinstance(action, Fetch):
                self._without[action.release.digest] = trouble

    def _hindered(self, action: Action) -> Trouble | None:
        """Return what failed before that this action needs: for MLflow all of the environment, else the bundle."""
        if isinstance(action, IN_MLFLOW) and action.environment in self.failed:
            return self.failed[action.environment]
        return self._without.get(action.release.digest) if isinstance(action, Alias | Deliver | Register) else None

    def _tried(self, action: Action) -> Trouble | None:
        if not isinstance(action, Note):
            self.tell(f"{action.environment}: {action}")
        try:
            if isinstance(action, IN_MLFLOW):
                self._in_mlflow(action)
            else:
                self._in_store(action)
        except Exception as error:  # whatever it is: an explained error is reported, a bug is raised
            explained = explain(error)
            if explained is None:
                raise
            return Trouble(str(explained), explained.exit_code)
        return None

    def _in_mlflow(self, action: InMlflow) -> None:
        match action:
            case Register(_, release):
                self._number(release)
            case Tag(_, number, key, value):
                patiently(lambda: self.mlflow.tag(self.name, number, key, value))
            case Unalias(_, alias):
                patiently(lambda: self.mlflow.unalias(self.name, alias))
            case Alias(_, alias, release):
                number = self._number(release)
                patiently(lambda: self.mlflow.alias(self.name, alias, number))
            case Note(environment, label):
                self.store.note(environment, label)

    def _in_store(self, action: InStore) -> None:
        match action:
            case Fetch(_, release):
                from trunkline.adapters.dvc import fetch  # noqa: PLC0415  DVC takes a second, and is needed here only

                self.store.put(release.digest, lambda folder: fetch.fetch(self.clone, release.version, folder))
            case Withdraw(environment):
                self.store.withdraw(environment)
            case Deliver(environment, release, tried):
                without = tried is None or tried.release is None or tried.release.digest in self._without
                self.store.deliver(environment, release, None if without else tried)
            case Render(environment, name, text):
                self.store.write_manifest(environment, name, text)

    def _number(self, release: Release) -> str:
        """Return MLflow's number of a release, which is registered if it is not."""
        if release.version not in self._numbers:
            there = self.registered
            entry = there.find(release.version.label, release.digest) if isinstance(there, Registered) else None
            if entry:
                number = entry.number
            else:
                bundle, shown = self.store.bundle(release.digest), record.read(self.clone, release)
                number = patiently(lambda: self.mlflow.register(release, bundle, shown))
            self._numbers[release.version] = number
        return self._numbers[release.version]
