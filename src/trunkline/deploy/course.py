"""The course of a rollout: what an environment is declared to run when one begins, at each step, and at its end. Pure.

A shadow has no share in the registry file: it is in the first shadow of conf/deploy.
"""

from dataclasses import replace

from trunkline.conf.registry import Candidate, Declaration
from trunkline.conf.rollout import Rollout, RolloutStep
from trunkline.core.errors import UserError

ALL = 100.0  # percent


def begun(present: Declaration, version: int, rollout: Rollout) -> Declaration:
    """Return what is declared where a version becomes the candidate, at the first step."""
    return replace(present, candidate=_at(version, rollout.steps[0]))


def stepped_up(present: Declaration, rollout: Rollout) -> Declaration:
    """Return what is declared one step further: after the last step, the candidate is the version.

    A share that is none of the steps' goes on to the next larger one. Raises UserError where no rollout runs.
    """
    candidate = _running(present)
    further = (step for step in rollout.steps if step.kind == "canary" and step.share > (candidate.share or 0.0))
    following = next(further, None)  # every canary is further than a shadow
    if following is None:
        return finished(present)
    return replace(present, candidate=_at(candidate.version, following))


def finished(present: Declaration) -> Declaration:
    """Return what is declared where the candidate becomes the version; raises UserError where no rollout runs."""
    return Declaration(_running(present).version, None, present.held)


def gone_back(present: Declaration) -> Declaration:
    """Return what is declared where the candidate is taken back, and held; raises UserError where no rollout runs."""
    return Declaration(present.version, None, (*present.held, _running(present).version))


def may_commit(before: Declaration, after: Declaration, rollout: Rollout) -> bool:
    """Tell whether conf/deploy lets a change of a rollout be a commit on the trunk, without a pull request.

    Going back always may be; a step further only where the step that is passed says so.
    """
    candidate = before.candidate
    if candidate is None:
        return False
    passed = number(candidate, rollout)
    free = passed is not None and rollout.steps[passed - 1].change == "commit"
    return after == gone_back(before) or (free and after == stepped_up(before, rollout))


def number(candidate: Candidate, rollout: Rollout) -> int | None:
    """Return at which step a candidate is, from 1 on; None for a share that is no step's."""
    steps = (number for number, step in enumerate(rollout.steps, 1) if _at(candidate.version, step) == candidate)
    return next(steps, None)


def shadow_share(rollout: Rollout) -> float:
    """Return the share of requests that a shadow scores, in percent; all where there is no such step."""
    return next((step.share for step in rollout.steps if step.kind == "shadow"), ALL)


def _running(present: Declaration) -> Candidate:
    if present.candidate is None:
        raise UserError(f"{present}: no rollout runs there")
    return present.candidate


def _at(version: int, step: RolloutStep) -> Candidate:
    return Candidate(step.kind, version, None if step.kind == "shadow" else step.share)
