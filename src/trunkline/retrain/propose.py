"""Decides what is proposed: one branch of the trunk, whatever asks for a retraining and however often.

Everything is told by what origin and the forge have, so that a run that is killed, two at once, and a forge that fails
end with the same branch and the same pull request. The user's working tree is neither read nor changed.
"""

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Literal

from trunkline.adapters.forge import api
from trunkline.adapters.forge.api import BranchPullRequest, Forge
from trunkline.adapters.git import remote, repository
from trunkline.conf.data import Windows
from trunkline.conf.project import Project
from trunkline.core.errors import UserError
from trunkline.monitor.alerts import Alert
from trunkline.monitor.report import Report
from trunkline.pipeline.ingest.pins import PinMove
from trunkline.release.verify import RefusedError
from trunkline.retrain import attempt, causes, text, windows
from trunkline.retrain.attempt import Attempt
from trunkline.retrain.causes import Cause
from trunkline.retrain.change import Change, Declaration, opened
from trunkline.retrain.windows import Known

# new: there is no branch, or it is history. again: it is made anew at the trunk's tip. kept: it has what is to be
# tried. left closed: a person has closed it, or has taken back what it brought. a person's: somebody has changed it.
Step = Literal["new", "again", "kept", "left closed", "a person's"]


@dataclass(frozen=True)
class Where:
    """Where a retraining is proposed: a repository, the trunk of its origin, and the forge, None where none is asked.

    With `local`, its branch is one of the repository, and not of origin. `tell` hears of what goes on.
    """

    root: Path
    trunk: str
    environ: Mapping[str, str]
    forge: Forge | None
    tell: Callable[[str], None]
    local: bool = False


@dataclass(frozen=True)
class Wish:
    """Why a retraining is asked for, as of when (UTC): alerts, or words, beside the schedule of conf/monitoring.

    `report` says what production does, None where that is not known.
    """

    as_of: datetime
    report: Report | None = None
    alerts: tuple[Alert, ...] = ()
    because: str | None = None


@dataclass(frozen=True)
class Nothing:
    """There is nothing to propose, and why."""

    reason: str


@dataclass(frozen=True)
class Branch:
    """The branch of a project's retrainings: its tip, what it tries, None where that is history, and its pull request.

    The pull request is the open one, or else the newest.
    """

    name: str
    tip: str | None
    attempt: Attempt | None
    pull: BranchPullRequest | None


@dataclass(frozen=True)
class Proposal:
    """A retraining on top of a commit of the trunk, `base`.

    `commit` is what its branch is to have; None: it is yet to be made. `computed`: the results are among it.
    """

    name: str
    branch: Branch
    step: Step
    change: Change
    causes: tuple[Cause, ...]
    report: Report | None
    base: str
    commit: str | None
    computed: bool
    automatic: bool

    @property
    def title(self) -> str:
        """The title of the pull request, and the subject of the commit."""
        return text.title(self.name, self.change)

    @property
    def key(self) -> str:
        """What is the same of two proposals that change the same."""
        content = "".join(f"{path}\0{content}\0" for path, content in sorted(self.change.new.items()))
        return hashlib.sha256(content.encode()).hexdigest()[:12]

    @property
    def settled(self) -> bool:
        """Whether nothing of ours is to be put on the branch: a person has changed it, or closed it."""
        return self.step in ("left closed", "a person's")


def prepare(where: Where, wish: Wish) -> Proposal | Nothing:
    """Fetch the trunk and the branch, and return what is to be proposed; nothing is written.

    Raises RefusedError where what the model is given is broken, so that nothing must be learnt from it, UserError for a
    conf/ that does not compose, OutsideError where the remote or the forge cannot be reached.
    """
    if repository.is_shallow(where.root):
        raise UserError("this clone is shallow: where the branch has left the trunk is not here; git fetch --unshallow")
    reason = causes.broken(wish.report)
    if reason is not None:
        raise RefusedError(reason)
    tip = remote.fetch(where.root, where.trunk, where.environ).tip
    with opened(where.root, tip) as declaration:
        project = declaration.project
        after = project.monitoring.matures or project.data.target.known_after or timedelta(0)
        newest = declaration.newest(Known(wish.as_of, after, project.data.timezone))
        asked = _causes(project, wish, newest)
        if not asked:
            return Nothing("nothing asks for a retraining: no alert that goes on does, and no schedule has come")
        branch = _branch(where, tip, declaration)
        step = _step(where.root, branch, newest or declaration.windows)
        moves = _moves(declaration, wish, newest) if step in ("new", "again") else ()
        if newest is None and not moves and step in ("new", "again"):
            return Nothing(_nothing_newer(declaration))
        change = _change(declaration, branch.attempt, step, newest, moves)
        return _proposal(tip, project, branch, step, change, asked, wish.report)


def _branch(where: Where, tip: str, declaration: Declaration) -> Branch:
    """Return what there is of the branch: in this repository, or else at origin and on the forge."""
    name = f"retrain/{declaration.project.name}"
    if where.local:
        there = repository.resolve(where.root, f"refs/heads/{name}")
    else:
        there = remote.fetch_branch(where.root, name, where.environ)
    tried = attempt.read(where.root, tip, there, declaration.windows) if there else None
    asking = partial(where.forge.pull_request_of, name, where.trunk) if where.forge else None
    return Branch(name, there, tried, api.retried(asking, where.tell) if asking else None)


def _step(root: Path, branch: Branch, target: Windows | None) -> Step:
    tried, pull = branch.attempt, branch.pull
    if tried is None:
        return "new"
    if not tried.ours:
        return "a person's"
    if _entirely_new(tried, target):
        return "again"
    closed = pull is not None and pull.state == "closed" and repository.is_ancestor(root, pull.sha, tried.commit)
    if closed or tried.reverted:
        return "left closed"
    return "again" if tried.conflicts else "kept"


def _moves(declaration: Declaration, wish: Wish, newest: Windows | None) -> tuple[PinMove, ...]:
    """Return the pins that move: with the windows, where a hash splits the rows, or because a person wants it.

    A source that grows each day would otherwise have an alert retrain on the same windows each day.
    """
    alone = declaration.windows is None or wish.because is not None
    return declaration.pins() if newest is not None or alone else ()


def _change(
    declaration: Declaration, tried: Attempt | None, step: Step, newest: Windows | None, moves: Sequence[PinMove]
) -> Change:
    """Return what changes: rows that were tried are tried on until their holdout is another one altogether."""
    target = newest or declaration.windows
    if tried is None or step in ("left closed", "a person's") or _entirely_new(tried, target):
        return declaration.change(target, moves)
    return declaration.change(tried.windows or target, tried.moves if step == "kept" else moves)


def _proposal(  # noqa: PLR0913, PLR0917  all that was found out
    tip: str,
    project: Project,
    branch: Branch,
    step: Step,
    change: Change,
    asked: tuple[Cause, ...],
    report: Report | None,
) -> Proposal:
    kept = branch.attempt if step not in ("new", "again") else None
    return Proposal(
        name=project.name,
        branch=branch,
        step=step,
        change=change,
        causes=asked,
        report=report,
        base=kept.base if kept else tip,
        commit=kept.commit if kept else None,
        computed=kept.computed if kept else False,
        automatic=project.deploy.retrain.merge == "automatic",
    )


def _entirely_new(tried: Attempt, target: Windows | None) -> bool:
    """Tell whether a holdout shares no row with the one that was tried; of a hash, it always does."""
    return tried.windows is not None and target is not None and windows.apart(tried.windows.holdout, target.holdout)


def _causes(project: Project, wish: Wish, newest: Windows | None) -> tuple[Cause, ...]:
    schedule = causes.of_schedule(project.monitoring.retrain.every, project.data.window, newest)
    return (*causes.of_alerts(wish.alerts), *schedule, *causes.of_person(wish.because))


def _nothing_newer(declaration: Declaration) -> str:
    if declaration.windows is None:
        return "there is nothing newer to learn from: every source is what conf/ has pinned"
    end = windows.written(declaration.windows.holdout, declaration.step)
    return (
        f"there is nothing newer to learn from: no outcomes are all known of a {declaration.step} after the declared "
        f"holdout, {end}, and every source is what conf/ has pinned"
    )
