"""How Argo Rollouts splits requests between a version and its candidate, as models/registry.yaml declares both. Pure.

New pods serve the candidate while there is one, else the version; meanwhile Argo goes on answering with the old pods.
The pods of a candidate are those of the version that it becomes, and a version that is gone back to is the one that
Argo calls stable, so that neither end of a rollout starts another pod.
"""

from dataclasses import dataclass
from typing import Any

from trunkline.conf.deploy import Deploy
from trunkline.conf.registry import Candidate, Declaration, Registry, label
from trunkline.core.errors import UserError
from trunkline.deploy import course

ROUTE = "shadow"  # the one that Argo adds to the VirtualService, and removes


@dataclass(frozen=True)
class Split:
    """What new pods of an environment serve, None if what is delivered, and the steps by which they get requests."""

    only: str | None
    steps: tuple[dict[str, Any], ...] = ()


def of(registered: Registry, environment: str, deploy: Deploy) -> Split:
    """Return the split of an environment; raises UserError for a candidate that Argo Rollouts cannot have beside it."""
    declared, rollout = registered.environments[environment], deploy.environments[environment].rollout
    where = f"{registered.where}: {registered.name}.{environment}"
    if declared.candidate is None or rollout is None:
        return Split(_pinned(declared))
    if _pinned(declared) is None:
        raise UserError(f"{where}.version: latest moves on by itself beside a candidate; write the version, such as v4")
    share = declared.candidate.share if declared.candidate.share is not None else course.shadow_share(rollout)
    if share != int(share):
        raise UserError(
            f"{where}: {share} %: Argo Rollouts knows whole percent alone; declare steps of such in conf/deploy"
        )
    return Split(label(declared.candidate.version), _steps(declared.candidate, int(share)))


def _pinned(declared: Declaration) -> str | None:
    return label(declared.version) if isinstance(declared.version, int) else None


def _steps(candidate: Candidate, share: int) -> tuple[dict[str, Any], ...]:
    """Return the steps of a candidate: to its share, where it stays until the next commit."""
    if candidate.kind == "shadow":
        mirror = {"name": ROUTE, "percentage": share, "match": [{"path": {"prefix": "/"}}]}
        return {"setCanaryScale": {"weight": share}}, {"setMirrorRoute": mirror}, {"pause": {}}
    unmirrored = {"setMirrorRoute": {"name": ROUTE}}  # without a match, the route is removed
    return unmirrored, {"setCanaryScale": {"matchTrafficWeight": True}}, {"setWeight": share}, {"pause": {}}
