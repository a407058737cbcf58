"""Finds the step that an environment's rollout is in: what the registry file declares, and since when."""

from datetime import UTC, datetime
from pathlib import Path

from trunkline.adapters.git import ancestry
from trunkline.conf import registry, versions
from trunkline.conf.registry import NOTHING, Candidate, Registry
from trunkline.conf.rollout import Rollout
from trunkline.core import paths
from trunkline.core.errors import UserError
from trunkline.deploy import history
from trunkline.deploy.rollout import step
from trunkline.deploy.rollout.step import Step


def find(folder: Path, name: str, environment: str, rollout: Rollout, since: datetime | None) -> Step | None:
    """Return the step that a model's environment is in; None where no rollout runs there.

    `since` is UTC; None: when the commit that declared the step came to the line of HEAD. Raises UserError for a step
    that conf/deploy does not have, or that nothing has committed.
    """
    registered = registry.read(folder / paths.REGISTRY, name)
    candidate = registered.environments.get(environment, NOTHING).candidate
    if candidate is None:
        return None
    number = step.place(rollout, environment, candidate.kind, candidate.share)
    began = since or _since(folder, name, environment, candidate)
    current = _current(folder, registered, environment)
    return Step(environment, registry.label(candidate.version), current, began, rollout, number)


def _current(folder: Path, registered: Registry, environment: str) -> str:
    """Return the label of the version that a candidate is tried beside."""
    desired = registered.environments[environment].version
    if desired != registry.LATEST:
        return registry.label(desired) if desired is not None else "null"
    released = versions.of(registered.name, (tag.name for tag in ancestry.annotated(folder)))
    current = registered.resolve(released)[environment].current
    return current.label if current else registry.LATEST


def _since(folder: Path, name: str, environment: str, candidate: Candidate) -> datetime:
    """Return when the line of HEAD came to declare a candidate as it is declared now."""
    change = history.rollout_since(history.changes(folder, "HEAD", name), environment)
    if change is None or change.after.candidate != candidate:
        raise UserError(
            f"{paths.REGISTRY}: {name}.{environment}: no commit declares it as it is here; commit it, or say since "
            "when: --since"
        )
    return datetime.fromisoformat(change.date).astimezone(UTC)
