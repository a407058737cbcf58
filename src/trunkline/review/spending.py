"""What a change costs: measured here, by the prices of conf/deploy, and held against its budget and the base's."""

from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

from trunkline.adapters.dvc.survey import OPEN, Stage
from trunkline.adapters.git.snapshot import Since, Snapshot
from trunkline.conf.deploy import Deploy
from trunkline.conf.serving import Serving, is_url
from trunkline.core import paths
from trunkline.core.errors import TrunklineError, UserError
from trunkline.core.params import Params, dig
from trunkline.core.safe_yaml import parse_yaml
from trunkline.deploy import cost
from trunkline.deploy.cost import Cost, Measured
from trunkline.pipeline.gate import recompute, timing
from trunkline.pipeline.plan import workspace
from trunkline.pipeline.plan.reasons import ReproPlan
from trunkline.pipeline.reports import Verdict


def known(root: Path, params: Params, plan: ReproPlan, stages: Sequence[Stage]) -> tuple[Cost, ...]:
    """Return what is known to have a cost; without prices nothing is measured."""
    if not dig(params.content, Deploy.key, "prices"):
        return ()
    return shown(params, measure(root, params, plan, stages))


def shown(params: Params, measured: Measured) -> tuple[Cost, ...]:
    """Return what is known to have a cost, of what was measured."""
    prices = params.group(Deploy).prices
    return () if prices is None else tuple(each for each in cost.costs(prices, measured) if each.amount is not None)


def measure(root: Path, params: Params, plan: ReproPlan, stages: Sequence[Stage]) -> Measured:
    """Return what the change takes: of a tree whose results are not there, neither the bundle nor the bytes are known.

    It runs the stages that differ from what the plan compares with.
    """
    seconds = [step.seconds for step in plan.steps if step.reasons or step.action in OPEN]
    whole = None if None in seconds else sum(each for each in seconds if each is not None)
    pulled = sum(absent.bytes for absent in plan.needs if not absent.cached)
    measured = Measured(seconds=whole, pulled=pulled, rows=_rows(root, params))
    if any(step.action != "unchanged" for step in plan.steps):
        return measured
    return replace(measured, latency=timing.prediction(root / paths.BUNDLE), stored=_stored(root, stages))


def verdicts(before: Params, params: Params, measured: Measured) -> list[Verdict]:
    """Return what becomes of the budget, and of the base's, by its prices, if they differ."""
    now = _judged(params, measured)
    keys = [(Deploy.key, "budget"), (Deploy.key, "prices")]
    if all(dig(before.content, *key) == dig(params.content, *key) for key in keys):
        return now
    try:
        former = _judged(before, measured)
    except UserError as error:
        return [*now, Verdict(cost.KIND, cost.KIND, False, "fail", f"{recompute.UNREADABLE}{error}")]
    return [*now, *(replace(verdict, reason=f"{recompute.FORMER}{verdict.reason}") for verdict in former)]


def verdicts_here(root: Path, params: Params, base: Snapshot) -> list[Verdict]:
    """Return the same of the checked-out commit; without a budget on either side nothing is measured."""
    before = Params(base.mapping(paths.PARAMS), paths.PARAMS)
    if not any(dig(each.content, Deploy.key, "budget") for each in (before, params)):
        return []
    plan, stages = workspace.plan(root, params, Since(root, base))
    return verdicts(before, params, measure(root, params, plan, stages))


def _judged(params: Params, measured: Measured) -> list[Verdict]:
    declared = params.group(Deploy)
    if declared.budget is None or declared.prices is None:
        return []
    return list(cost.verdicts(declared.budget, cost.costs(declared.prices, measured)))


def _stored(root: Path, stages: Sequence[Stage]) -> int | None:
    """Return the bytes of all outputs that DVC keeps, equal ones once, as dvc.lock says."""
    in_git = {path for stage in stages for path in stage.uncached}
    locked = parse_yaml((root / paths.LOCK).read_text(encoding="utf-8"))["stages"].values()
    outs = [out for stage in locked for out in stage.get("outs", ()) if out["path"] not in in_git]
    if any("size" not in out for out in outs):
        return None
    return sum({str(out["md5"]): int(out["size"]) for out in outs}.values())


def _rows(root: Path, params: Params) -> float | None:
    """Return the rows that the declared log gets in a month; None where it is not declared, or cannot be read here."""
    log = params.group(Serving).log if dig(params.content, Serving.key) else None
    if log is None:
        return None
    from trunkline.serve.prediction_log import traffic  # noqa: PLC0415  imports pyarrow's file systems
    from trunkline.serve.prediction_log.place import Place  # noqa: PLC0415
    from trunkline.serve.prediction_log.sealed import Keys  # noqa: PLC0415

    try:
        place = Place(log.to if is_url(log.to) else str(root / log.to), Keys.of(log))
        return traffic.rows_in(place, datetime.now(UTC), timedelta(days=cost.DAYS))
    except (TrunklineError, OSError, ValueError):
        return None
