"""How Argo Rollouts or KServe split requests between a version and its candidate, by models/registry.yaml. Pure.

New pods of Argo serve the candidate while there is one, else the version; the old pods go on answering meanwhile.
The pods of a candidate are those of the version that it becomes, and a version that is gone back to is the one that
Argo calls stable, so that neither end of a rollout starts another pod.
"""

from dataclasses import dataclass
from typing import Any

from trunkline.conf.deploy import Deploy
from trunkline.conf.registry import Kind, Registry, label
from trunkline.core.errors import UserError
from trunkline.deploy import course

ROUTE = "shadow"  # the one that Argo adds to the VirtualService, and removes


@dataclass(frozen=True)
class Split:
    """The version of an environment, None if what is delivered, and its candidate, with its share in percent."""

    version: str | None
    candidate: str | None = None
    kind: Kind = "canary"
    share: int = 0

    @property
    def only(self) -> str | None:
        """What new pods of Argo Rollouts serve."""
        return self.candidate or self.version

    @property
    def steps(self) -> tuple[dict[str, Any], ...]:
        """The steps of Argo Rollouts: to the candidate's share, where it stays until the next commit."""
        if self.candidate is None:
            return ()
        if self.kind == "shadow":
            mirror = {"name": ROUTE, "percentage": self.share, "match": [{"path": {"prefix": "/"}}]}
            return {"setCanaryScale": {"weight": self.share}}, {"setMirrorRoute": mirror}, {"pause": {}}
        unmirrored = {"setMirrorRoute": {"name": ROUTE}}  # without a match, the route is removed
        return unmirrored, {"setCanaryScale": {"matchTrafficWeight": True}}, {"setWeight": self.share}, {"pause": {}}


def of(registered: Registry, environment: str, deploy: Deploy) -> Split:
    """Return the split of an environment; raises UserError for a candidate that cannot be beside it in a cluster."""
    declared, rollout = registered.environments[environment], deploy.environments[environment].rollout
    where = f"{registered.where}: {registered.name}.{environment}"
    version = label(declared.version) if isinstance(declared.version, int) else None
    candidate = declared.candidate
    if candidate is None or rollout is None:
        return Split(version)
    if version is None:
        raise UserError(f"{where}.version: latest moves on by itself beside a candidate; write the version, such as v4")
    share = candidate.share if candidate.share is not None else course.shadow_share(rollout)
    if share != int(share):
        raise UserError(
            f"{where}: {share} %: a cluster splits by whole percent alone; declare such steps in conf/deploy"
        )
    return Split(version, label(candidate.version), candidate.kind, int(share))
