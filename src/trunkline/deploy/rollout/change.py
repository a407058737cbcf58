"""Acts on what was decided on a rollout: the next declaration, as a pull request or as a commit on the trunk.

Whatever is decided is about the declaration that was looked at: where the trunk has another one, nothing is done. So a
workflow that is killed, and begun again, does nothing twice.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from trunkline.adapters.git import remote
from trunkline.conf import registry as conf_registry
from trunkline.conf.registry import Declaration
from trunkline.conf.versions import Version
from trunkline.core import paths
from trunkline.core.errors import OutsideError, UserError
from trunkline.deploy import course, propose, registry_edit
from trunkline.deploy.propose import NoChange, Proposal, TrunkState
from trunkline.release import verify
from trunkline.release.verify import RefusedError
from trunkline.show.markdown import code, plain, text

Decision = Literal["step up", "finish", "go back"]
REASON = 2_000  # characters of a reason
_TRIES = 5  # of a commit, while others push to the trunk


@dataclass(frozen=True)
class RolloutIntent:
    """What was decided on the rollout of an environment; `seen` is what was declared when it was.

    `reason` is a sentence; `evidence` is Markdown, for the pull request.
    """

    environment: str
    decision: Decision
    seen: Declaration
    reason: str
    evidence: str = ""


@dataclass(frozen=True)
class Committed:
    """A commit that the trunk has now, and what it changes."""

    commit: str
    proposal: Proposal


def prepare(root: Path, trunk: str, intent: RolloutIntent, environ: Mapping[str, str]) -> Proposal | NoChange:
    """Fetch the trunk, and verify a candidate that is to go on; nothing is committed.

    Raises UserError where no rollout runs there, RefusedError for a candidate that must not be run, OutsideError where
    the remote cannot be reached.
    """
    tip = propose.look(root, trunk, environ)
    environment = intent.environment
    present = tip.registry.environments.get(environment, conf_registry.NOTHING)
    if present != intent.seen:
        return NoChange(environment, str(present))
    declared = _next(tip, intent)
    assert intent.seen.candidate, "`_next` refuses it"  # noqa: S101
    version = Version(tip.name, intent.seen.candidate.version)
    if intent.decision != "go back":
        if version.tag in tip.moved:
            why = "origin has another tag of this name: it was moved, and a version never changes"
            raise RefusedError(f"{version}: {why}")
        verify.chain(root, version, tip.declared.signers)
    return Proposal(
        trunk=tip,
        text=registry_edit.edited(tip.text, tip.registry, environment, declared),
        branch=f"rollout/{environment}-{_slug(version, declared)}",
        title=_title(intent, version, declared),
        body=_body(intent, present, declared),
        message=f"{_title(intent, version, declared)}\n\nReason: {plain(intent.reason, REASON).strip()}\n",
        facts={
            "environment": environment,
            "before": str(present),
            "after": str(declared),
            "version": version.label,
            "decision": intent.decision,
        },
        automatic=tip.declared.environments[environment].merge == "automatic",
    )


def commit(root: Path, trunk: str, intent: RolloutIntent, environ: Mapping[str, str]) -> Committed | NoChange:
    """Put the change on the trunk of origin itself, on top of what others push meanwhile; raises as `prepare`."""
    for _ in range(_TRIES):
        proposal = prepare(root, trunk, intent, environ)
        if isinstance(proposal, NoChange):
            return proposal
        commit = propose.committed(root, proposal)
        if remote.push(root, trunk, environ, commit=commit) != "moved":
            return Committed(commit, proposal)
    raise OutsideError(f"git push origin {trunk}: others pushed {_TRIES} times meanwhile; run it again")


def _next(tip: TrunkState, intent: RolloutIntent) -> Declaration:
    rollout = tip.declared.environments[intent.environment].rollout
    if rollout is None or intent.seen.candidate is None:
        raise UserError(f"{paths.REGISTRY}: {tip.name}.{intent.environment}: no rollout runs there")
    match intent.decision:
        case "step up":
            return course.stepped_up(intent.seen, rollout)
        case "finish":
            return course.finished(intent.seen)
        case "go back":
            return course.gone_back(intent.seen)


def _slug(version: Version, declared: Declaration) -> str:
    candidate = declared.candidate
    if candidate is None:
        return f"{version.label}-back" if version.number in declared.held else version.label
    return f"{version.label}-{candidate.kind}-{candidate.share or course.ALL:g}"


def _title(intent: RolloutIntent, version: Version, declared: Declaration) -> str:
    which, where = f"{version.name} {version.label}", intent.environment
    if intent.decision == "go back":
        return f"Take {which} back from {where}"
    if declared.candidate is None:
        return f"Promote {which} to {where}"
    return f"Have {which} answer {declared.candidate.share:g} % of {where}"


def _body(intent: RolloutIntent, present: Declaration, declared: Declaration) -> str:
    before, after = (f"{intent.environment}: {side}" for side in (present, declared))
    parts = [
        f"One value of `models/registry.yaml` changes: {code(before)} → {code(after)}.",
        f"Reason: {text(intent.reason, REASON)}",
        intent.evidence,
    ]
    return "\n\n".join(filter(None, parts)) + "\n"
