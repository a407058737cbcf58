"""The working tree as it is: what `dvc repro` would do here, and why."""

from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

from trunkline.adapters.dvc import survey
from trunkline.adapters.dvc.survey import Stage
from trunkline.adapters.git import repository
from trunkline.adapters.git.snapshot import Since, Snapshot
from trunkline.core import durations, paths, safe_yaml
from trunkline.core.errors import UserError, one_line
from trunkline.core.params import Params
from trunkline.pipeline.plan import reasons
from trunkline.pipeline.plan.reasons import LockedStage, ReproPlan


def plan(root: Path, params: Params, base: Since | None) -> tuple[ReproPlan, list[Stage]]:
    """Return the plan, with reasons against dvc.lock or against that of a base, and its stages.

    Raises UserError for a conf/ that the compose stage would refuse, or files that cannot be read.
    """
    stages = survey.survey(root, params.content, partial(_composed, params.content))
    since = base
    if since is None:  # what has changed since the last commit that changed dvc.lock
        last = repository.last_commit(root, paths.LOCK)
        since = Since(root, Snapshot(root, last) if last else None)
    locked = _entries(since.current(str(paths.LOCK)), str(paths.LOCK))
    commit = base.before.commit if base and base.before else None
    before = locked if commit is None else _entries(since.text(str(paths.LOCK)), f"{commit[:10]}:{paths.LOCK}")
    return reasons.plan(stages, before, locked, durations.read(root), since, commit), stages


def _composed(params: Mapping[str, Any]) -> Mapping[str, Any]:
    """Compose conf/, and refuse what the compose stage would refuse; params.yaml has passed that already."""
    from trunkline.pipeline.compose import compose, judge  # noqa: PLC0415  imports Hydra

    composed = compose.compose(paths.CONF)
    if composed.content != params:
        judge.check(composed, paths.CONF)
    return composed.content


def _entries(text: str | None, where: str) -> dict[str, LockedStage]:
    try:
        return reasons.entries(safe_yaml.parse_yaml(text or ""))
    except Exception as error:  # of a file that anybody may have edited, DVC's parser raises what it comes across
        message = one_line(error)
        raise UserError(
            f"{where}: is no lock file of DVC ({message}); restore it with: git restore {paths.LOCK}"
        ) from None
