"""How a rule of each kind is judged: from a blank verdict, the declared rule, all gates and the evidence.

Every one yields verdicts, one or more, and raises UserError for what cannot be judged, which fails.
"""

import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from functools import partial

import numpy as np
import numpy.typing as npt

from trunkline.conf import gates as conf_gates
from trunkline.conf.evaluation import EXPECTED_COST, LABEL, WHOLE
from trunkline.conf.gates import Gates
from trunkline.core.arrays import Floats, Integers
from trunkline.core.errors import UserError
from trunkline.core.tasks import CLASSES
from trunkline.pipeline.evaluate import undefined
from trunkline.pipeline.evaluate.bootstrap import Resamples
from trunkline.pipeline.evaluate.metrics.kinds import Metric, point
from trunkline.pipeline.evaluate.metrics.registry import named
from trunkline.pipeline.gate import calibration, comparison, fairness
from trunkline.pipeline.gate.comparison import ScoreDifference
from trunkline.pipeline.gate.evidence import Evidence
from trunkline.pipeline.reports import Answer, Verdict

DELONG = (0.5, 2.0)  # of the bootstrap's standard error to DeLong's: outside, one of them is wrong
EQUAL = 1e-9  # a model's graph scores as its pipeline does to this
NO_CHAMPION = "production has no champion yet"
SAME_MODEL = "same model"


def answered(blank: Verdict, judged: Callable[[], Iterator[Verdict]]) -> list[Verdict]:
    """Return the verdicts of a rule, or one that fails where the rule cannot be judged."""
    try:
        verdicts = list(judged())
    except UserError as error:
        return [replace(blank, reason=f"cannot be judged, so it fails: {error}")]
    return verdicts or [replace(blank, reason="cannot be judged, so it fails: there is nothing to judge")]


def limited(blank: Verdict, limits: conf_gates.Limits, value: float, tested: tuple[float, float], what: str) -> Verdict:
    """Judge a number by limits; `tested` are its lower and upper end, or the number itself twice."""
    if not all(map(math.isfinite, (value, *tested))):
        raise UserError(f"{what} is {value}, which is no number")
    low = limits.minimum is not None and tested[0] < limits.minimum
    high = limits.maximum is not None and tested[1] > limits.maximum
    limit = limits.minimum if low or limits.maximum is None else limits.maximum
    side = f"below {limits.minimum:g}" if low else f"above {limits.maximum:g}" if high else "within its limits"
    shown = f"{value:.4g}" if tested[0] == tested[1] else f"{value:.4g} ({tested[0]:.4g} to {tested[1]:.4g})"
    reason = f"{what} is {shown}, {side}"
    return replace(blank, verdict="fail" if low or high else "pass", reason=reason, observed=value, threshold=limit)


def threshold(blank: Verdict, rule: conf_gates.Threshold, _: Gates, evidence: Evidence) -> Iterator[Verdict]:
    """Judge a reported metric, of the whole holdout or of each value of a slice."""
    if rule.metric == EXPECTED_COST:
        yield _cost(blank, rule, evidence)
        return
    slices = evidence.reports.slices
    if (rule.slice or WHOLE) not in slices:
        raise UserError(f"reports/slices.json has no slice {rule.slice}")
    for label, part in slices[rule.slice or WHOLE].items():
        if not part.metrics:  # too few rows
            continue
        estimate = part.metrics.get(rule.metric)
        if estimate is None:
            raise UserError(f"reports/slices.json has no {rule.metric} of {rule.slice or WHOLE} {label}")
        if estimate.value is None:
            why = _undefined(named(rule.metric, evidence.task), evidence, _rows(rule.slice, evidence).get(label))
            raise UserError(f"{rule.metric} of {rule.slice or WHOLE} {label} is not defined: {why}")
        if rule.tested == "interval" and estimate.interval is None:
            raise UserError(f"reports/slices.json has no interval of {rule.metric} of {rule.slice or WHOLE} {label}")
        ends = estimate.interval if rule.tested == "interval" and estimate.interval else (estimate.value,) * 2
        verdict = limited(blank, rule.limits, estimate.value, ends, rule.metric)
        yield replace(verdict, slice=_slice(rule.slice, label), interval=estimate.interval)


def _cost(blank: Verdict, rule: conf_gates.Threshold, evidence: Evidence) -> Verdict:
    """Judge what deciding by the chosen threshold costs on the holdout."""
    decided = evidence.reports.decision.decided
    if decided is None or decided.expected_cost.value is None:
        raise UserError("reports/decision.json has no threshold: declare evaluation.decision, and run: dvc repro")
    estimate, value = decided.expected_cost, decided.expected_cost.value
    if rule.tested == "interval" and estimate.interval is None:
        raise UserError(f"reports/decision.json has no interval of {rule.metric}")
    ends = estimate.interval if rule.tested == "interval" and estimate.interval else (value, value)
    what = f"{rule.metric} of deciding from a score of {decided.chosen.threshold:.4g} on"
    return replace(limited(blank, rule.limits, value, ends, what), interval=estimate.interval)


def backtest(blank: Verdict, rule: conf_gates.OverOrigins, _: Gates, evidence: Evidence) -> Iterator[Verdict]:
    """Judge a metric of the backtest: at every origin, or by the interval of its mean over them."""
    measured = evidence.reports.backtest
    if rule.tested == "interval":
        mean = measured.metrics.get(rule.metric)
        if mean is None or mean.value is None or mean.interval is None:
            why = mean.undefined if mean else "reports/backtest.json does not have it; run: dvc repro"
            raise UserError(f"{rule.metric} has no mean over origins: {why}")
        verdict = limited(blank, rule.limits, mean.value, mean.interval, f"the mean {rule.metric} over origins")
        yield replace(verdict, interval=mean.interval)
        return
    for origin in measured.origins:
        value = origin.metrics.get(rule.metric)
        if value is None:
            raise UserError(f"{rule.metric} is not defined at the origin {origin.origin}; {undefined.REMEDY}")
        verdict = limited(blank, rule.limits, value, (value, value), rule.metric)
        yield replace(verdict, slice=f"origin {origin.origin}")


def _slice(name: str | None, label: str) -> str | None:
    return None if name is None else f"{name} {label}"


def champion(blank: Verdict, rule: conf_gates.Champion, gates: Gates, evidence: Evidence) -> Iterator[Verdict]:
    """Judge whether the challenger is shown to be better than the champion, or not inferior by more than a margin."""
    against = opponent(evidence)
    if isinstance(against, str):
        yield replace(blank, verdict="not_applicable", reason=against)
        return
    margin = -rule.margin if rule.test == "non_inferiority" else rule.margin
    differences = {
        label: paired_difference(rule.metric, against.scores, gates, evidence, rows)
        for label, rows in _rows(rule.slice, evidence).items()
    }
    _can_be_shown(differences, gates)
    p_values = comparison.holm({label: difference.p_value(margin) for label, difference in differences.items()})
    worse = rule.test == "non_inferiority"
    claim = f"at most {rule.margin:g} worse" if worse else f"better by more than {rule.margin:g}"
    for label, difference in differences.items():
        judged = _compared(blank, difference, p_values[label], margin, gates)
        shown = f"{'' if judged.verdict == 'pass' else 'not '}shown to be {claim}"
        how = f"(p {p_values[label]:.3g}, {difference.clusters} clusters)"
        reason = f"{_change(rule.metric, difference)} than {against.version}'s; {shown} {how}"
        yield replace(judged, slice=_slice(rule.slice, label), reason=reason)


@dataclass(frozen=True)
class Opponent:
    """A model in production that is not this commit's, and its scores of the holdout."""

    version: str
    bytes: int
    scores: Floats


def opponent(evidence: Evidence) -> Opponent | str:
    """Return the champion, or why there is none to compare with: none yet, or it is this commit's own model.

    Raises UserError for scores that must be of the other model: two models differ in some row.
    """
    champion, scores = evidence.champion, evidence.champion_scores
    if champion is None:
        return NO_CHAMPION
    if champion.digest == evidence.challenger.digest:
        return f"{SAME_MODEL}: the bundle is that of {champion.version} in production"
    if scores is None:
        raise UserError(f"the scores of {champion.version} are missing; run: dvc repro")
    if scores.shape != evidence.scores.shape or not np.allclose(scores, evidence.scores, rtol=0, atol=EQUAL):
        return Opponent(champion.version, champion.bytes, scores)
    if champion.model == evidence.challenger.model:
        return f"{SAME_MODEL}: every score, and the model's file, are those of {champion.version} in production"
    raise UserError(
        f"every score is that of {champion.version}, whose model is another: one was read for the other, or the change "
        "alters no score and nothing is to be gained by it"
    )


def _can_be_shown(differences: Mapping[str, ScoreDifference], gates: Gates) -> None:
    """Raise UserError if no data whatever could pass: with many values, Holm asks for p-values that are too small."""
    smallest = max(difference.smallest_p_value for difference in differences.values())
    if smallest * len(differences) >= 1 - gates.confidence:
        needed = (1 - gates.confidence) / len(differences)
        raise UserError(
            f"{gates.resamples} resamples of so few clusters show no p-value below {smallest:.2g}, and "
            f"{len(differences)} values together need {needed:.2g}: raise gates.resamples or group them"
        )


def _compared(blank: Verdict, difference: ScoreDifference, p_value: float, margin: float, gates: Gates) -> Verdict:
    return replace(
        blank,
        verdict="pass" if p_value < 1 - gates.confidence else "fail",
        observed=difference.observed,
        threshold=margin,
        interval=difference.interval(gates.confidence),
    )


def _change(metric: str, difference: ScoreDifference) -> str:
    return f"{metric} is {abs(difference.observed):.4g} {'better' if difference.observed >= 0 else 'worse'}"


def _rows(name: str | None, evidence: Evidence) -> Mapping[str, Integers]:
    every = np.arange(len(evidence.labels))
    if name is None:
        return {WHOLE: every}
    if name == LABEL and evidence.task == "multilabel":
        return dict.fromkeys(evidence.classes, every)
    if not evidence.slices.get(name):
        raise UserError(f"the slice {name} has no value with enough rows (evaluation.slice_min_rows)")
    return evidence.slices[name]


def paired_difference(
    metric: str, against: Floats, gates: Gates, evidence: Evidence, rows: Integers | None = None
) -> ScoreDifference:
    """Compare the challenger with other scores of the same rows; for AUC, DeLong's error is asked too.

    Raises UserError for a metric that is not defined on them, or where the two errors disagree.
    """
    champion, challenger = (evidence.sample(scores, rows) for scores in (against, evidence.scores))
    measured = named(metric, evidence.task)
    if not math.isfinite(point([measured], challenger)[0]):
        raise UserError(f"{metric} is not defined: {undefined.reason(measured, challenger, evidence.classes)}")
    resamples = Resamples(int(evidence.clusters.max(initial=0)) + 1, gates.resamples, evidence.seed)
    difference = comparison.difference(measured, champion, challenger, resamples)
    if metric == "roc_auc" and difference.draws.std() > 0:
        ratio = difference.draws.std() / max(comparison.delong(champion, challenger)[1], 1e-12)
        if not DELONG[0] <= ratio <= DELONG[1]:
            raise UserError(f"the bootstrap's standard error is {ratio:.2g} times DeLong's: one of them is wrong")
    return difference


def noise_floor(blank: Verdict, rule: conf_gates.NoiseFloor, gates: Gates, evidence: Evidence) -> Iterator[Verdict]:
    """Judge whether the change from the champion is more than what another seed changes."""
    metric, fitted = named(rule.metric, evidence.task), evidence.seed_scores
    if len(fitted) != gates.seeds:
        raise UserError(f"{len(fitted)} other seeds were fitted, not {gates.seeds}; run: dvc repro")
    values = [_value(metric, evidence, scores) for scores in (evidence.scores, *fitted)]
    spread = max(values) - min(values)  # between any two seeds, the model's own among them
    against = opponent(evidence)
    if isinstance(against, str):
        reason = f"{against}; {rule.metric} varies by {_seed_to_seed(spread)}"
        yield replace(blank, verdict="not_applicable", reason=reason, baseline=spread)
        return
    change = abs(values[0] - _value(metric, evidence, against.scores))
    words = f"{'more' if change > spread else 'no more'} than {_seed_to_seed(spread)}"
    reason = f"{rule.metric} differs by {change:.4g} from {against.version}'s, {words}"
    answer: Answer = "pass" if change > spread else "fail"
    yield replace(blank, verdict=answer, reason=reason, observed=change, baseline=spread)


def _seed_to_seed(spread: float) -> str:
    return f"{spread:.4g} from seed to seed" if spread else "nothing from seed to seed, on which it does not depend"


def _value(metric: Metric, evidence: Evidence, scores: Floats) -> float:
    value = float(point([metric], evidence.sample(scores))[0])
    if not math.isfinite(value):
        raise UserError(f"{metric.name} is not defined on the holdout: {_undefined(metric, evidence)}")
    return value


def _undefined(metric: Metric, evidence: Evidence, rows: Integers | None = None) -> str:
    """Return why a metric has no value on the holdout, or on some of its rows."""
    return undefined.reason(metric, evidence.sample(evidence.scores, rows), evidence.classes)


def simplicity(blank: Verdict, rule: conf_gates.Simplicity, gates: Gates, evidence: Evidence) -> Iterator[Verdict]:
    """Judge whether the model is shown to be worth more than a simple one."""
    what, simple = _simple(rule.than, evidence)
    rows = np.flatnonzero(_has_naive(evidence)) if rule.than == "naive" else None
    difference = paired_difference(rule.metric, simple, gates, evidence, rows)
    p_value = difference.p_value(rule.margin)
    judged = _compared(blank, difference, p_value, rule.margin, gates)
    change = f"{_change(rule.metric, difference)} than of {what}"
    advice = (
        f"shown to be worth more than {rule.margin:g}" if judged.verdict == "pass" else f"use {what}: it is simpler"
    )
    yield replace(judged, reason=f"{change} (p {p_value:.3g}); {advice}")


def _simple(than: str, evidence: Evidence) -> tuple[str, Floats]:
    if than == "base_rate":
        window = evidence.reports.dataset.windows.train
        rate = [(window.class_shares or window.quantiles or {}).get(name) for name in evidence.classes] or [
            window.base_rate
        ]
        if None in rate:
            raise UserError("reports/dataset.json has no base rate of the training rows")
        shares = np.array(rate, dtype=np.float64)
        if evidence.task in CLASSES:
            shares /= shares.sum()  # rounded as the report has them, they sum to 0.999999
        scores = np.tile(shares, (len(evidence.labels), 1))
        what = "an order at random" if evidence.task == "ranking" else "the base rate"
        return what, scores if evidence.classes else scores[:, 0]
    if than == "naive":
        return f"{evidence.naive} as it is", _naive_scores(evidence)
    if evidence.baseline_scores is None:
        raise UserError("the baseline's scores are missing; run: dvc repro")
    return "the baseline", evidence.baseline_scores


def _has_naive(evidence: Evidence) -> npt.NDArray[np.bool_]:
    """Return which rows have a naive forecast; raises UserError where none has."""
    there = evidence.inputs.features[evidence.naive or ""].fill_nan(None).is_not_null().to_numpy()
    if not there.any():
        raise UserError(f"data.target.naive: '{evidence.naive}' is missing in every row of the holdout")
    return np.asarray(there)


def _naive_scores(evidence: Evidence) -> Floats:
    """Return the naive forecast, as each quantile where there are several; 0 where there is none."""
    column = evidence.inputs.features[evidence.naive or ""].fill_nan(None).fill_null(0.0)
    values = np.asarray(column.to_numpy(), dtype=np.float64)
    return np.tile(values[:, None], (1, len(evidence.classes))) if evidence.classes else values


def sanity(blank: Verdict, rule: conf_gates.Sanity, _: Gates, evidence: Evidence) -> Iterator[Verdict]:
    """Judge that scores differ, and the calibration slope."""
    sample = evidence.sample(evidence.scores)
    if len(np.unique(sample.scores, axis=0)) < 2:
        raise UserError(f"all {len(sample.scores)} scores are the same")
    slope = calibration.SLOPES[sample.task](sample.labels, sample.scores)
    yield limited(blank, conf_gates.Limits(*rule.slope), slope, (slope, slope), "the calibration slope")


def data_shift(blank: Verdict, rule: conf_gates.DataShift, _: Gates, evidence: Evidence) -> Iterator[Verdict]:
    """Judge a measure of the data: of quarantine, labels or features."""
    name, value = _DATA[rule.measure](evidence)
    yield limited(blank, rule.limits, value, (value, value), name)


def _quarantined(evidence: Evidence) -> tuple[str, float]:
    shares = {name: table.quarantined / table.rows for name, table in evidence.reports.validation.items() if table.rows}
    if not shares:
        raise UserError("reports/validation.json has no table with rows")
    worst = max(sorted(shares), key=lambda name: shares[name])
    return f"the quarantined share of {worst}", shares[worst]


def _base_rate(evidence: Evidence) -> tuple[str, float]:
    windows = evidence.reports.dataset.windows
    if not windows.train.base_rate or windows.holdout.base_rate is None:
        raise UserError("reports/dataset.json has no base rate of both windows")
    return "the holdout's base rate over the training rows'", windows.holdout.base_rate / windows.train.base_rate


def _shift(measure: str, evidence: Evidence) -> tuple[str, float]:
    if not evidence.shifts:
        raise UserError("no feature was compared between training and holdout")
    values = {name: float(getattr(shift, measure)) for name, shift in evidence.shifts.items()}
    worst = max(sorted(values), key=lambda name: values[name])
    return f"the {measure} of {worst}", values[worst]


def operational(blank: Verdict, rule: conf_gates.Operational, _: Gates, evidence: Evidence) -> Iterator[Verdict]:
    """Judge the size of the bundle, in itself or beside the champion's."""
    size, champion = evidence.challenger.bytes, evidence.champion
    if rule.measure == "megabytes":
        value, what = size / 1e6, "the bundle's size in MB"
    elif champion is None:
        yield replace(blank, verdict="not_applicable", reason=NO_CHAMPION)
        return
    else:
        value, what = size / champion.bytes, f"the bundle's size over that of {champion.version}"
    yield limited(blank, rule.limits, value, (value, value), what)


def runtime(blank: Verdict, rule: conf_gates.Runtime, _: Gates, evidence: Evidence) -> Iterator[Verdict]:
    """Judge what the bundle runs on."""
    bundle = evidence.reports.bundle
    why = f": {bundle.reason}" if bundle.reason else ""
    answer: Answer = "pass" if bundle.runtime == rule.required else "fail"
    yield replace(blank, verdict=answer, reason=f"the bundle's runtime is {bundle.runtime}{why}")


def fairness_gap(blank: Verdict, rule: conf_gates.Fairness, gates: Gates, evidence: Evidence) -> Iterator[Verdict]:
    """Judge the gap of a rate between the groups that are furthest apart."""
    groups = _rows(rule.group, evidence)
    resamples = Resamples(int(evidence.clusters.max(initial=0)) + 1, gates.resamples, evidence.seed)
    rate = fairness.Rate(rule.measure, rule.compared, rule.selected_above)
    gap = fairness.compare(evidence.sample(evidence.scores), groups, rate, resamples)
    ends = gap.interval(gates.confidence)
    what = f"the {rule.compared} of {rule.measure} between {rule.group} {gap.lowest} and {gap.highest}"
    small = sorted(set(evidence.reports.slices.get(rule.group, {})) - set(groups))
    left_out = f"; too few rows to judge: {', '.join(small)}" if small else ""
    judged = limited(blank, rule.limits, gap.observed, (gap.observed, gap.observed), what)
    yield replace(judged, slice=rule.group, interval=ends, reason=judged.reason + left_out)


_DATA: dict[str, Callable[[Evidence], tuple[str, float]]] = {
    "quarantined_share": _quarantined,
    "base_rate_ratio": _base_rate,
    "psi": partial(_shift, "psi"),
    "jensen_shannon": partial(_shift, "jensen_shannon"),
}
