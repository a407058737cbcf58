"""Judges a model by the declared rules: pure, so that anyone can compute a verdict again from the same evidence.

A rule that cannot be evaluated fails, and says why: a metric that is not there, a slice without rows, scores that are
not numbers, a champion that could not be fetched. Only what needs a champion may be not applicable, and only where
production has none.
"""

import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass, replace
from functools import partial
from typing import Any

import numpy as np

from trunkline.conf import gates as conf_gates
from trunkline.conf.evaluation import WHOLE
from trunkline.conf.gates import AnyRule, Gates
from trunkline.core.arrays import Floats, Integers
from trunkline.core.errors import UserError, nearest
from trunkline.pipeline.evaluate import undefined
from trunkline.pipeline.evaluate.bootstrap import Resamples
from trunkline.pipeline.evaluate.estimate import Slice
from trunkline.pipeline.evaluate.metrics.kinds import Metric, point
from trunkline.pipeline.evaluate.metrics.registry import named
from trunkline.pipeline.gate import calibration, comparison, fairness, leaks
from trunkline.pipeline.gate.comparison import ScoreDifference
from trunkline.pipeline.gate.evidence import Evidence
from trunkline.pipeline.reports import Answer, Verdict, passes

DELONG = (0.5, 2.0)  # of the bootstrap's standard error to DeLong's: outside, one of them is wrong
EQUAL = 1e-9  # a model's graph scores as its pipeline does to this
NO_CHAMPION = "production has no champion yet"
SAME_MODEL = "same model"


def judge(gates: Gates, evidence: Evidence) -> list[Verdict]:
    """Return the verdicts on every rule, in the order of their names; a rule that cannot be judged has failed.

    Rules of times are left to `timing`: a measured time is no function of the evidence.
    """
    judged = {name: rule for name, rule in sorted(gates.rules.items()) if not conf_gates.is_timed(rule)}
    return [verdict for name, rule in judged.items() for verdict in _judged(name, rule, gates, evidence)]


def content(verdicts: list[Verdict], evidence: Evidence) -> dict[str, Any]:
    """Return the content of reports/gates.json."""
    champion = evidence.champion
    return {
        "verdict": "pass" if passes(verdicts) else "fail",
        "challenger": evidence.challenger.digest,
        "champion": champion and {"version": champion.version, "digest": champion.digest},
        "gates": [asdict(verdict) for verdict in verdicts],
    }


def _judged(name: str, rule: AnyRule, gates: Gates, evidence: Evidence) -> list[Verdict]:
    blank = Verdict(name, rule.kind, not rule.advisory, "fail", "", metric=getattr(rule, "metric", None))
    return _answered(blank, lambda: _KINDS[rule.kind](blank, rule, gates, evidence))


def _answered(blank: Verdict, judged: Callable[[], Iterator[Verdict]]) -> list[Verdict]:
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


def _threshold(blank: Verdict, rule: conf_gates.Threshold, _: Gates, evidence: Evidence) -> Iterator[Verdict]:
    for label, part in _reported(rule.slice, evidence).items():
        estimate = part.metrics.get(rule.metric)
        if estimate is None:
            raise UserError(f"reports/slices.json has no {rule.metric} of {rule.slice or WHOLE} {label}")
        if estimate.value is None:
            why = _undefined(named(rule.metric, evidence.task), evidence, _places(rule.slice, evidence).get(label))
            raise UserError(f"{rule.metric} of {rule.slice or WHOLE} {label} is not defined: {why}")
        if rule.tested == "interval" and estimate.interval is None:
            raise UserError(f"reports/slices.json has no interval of {rule.metric} of {rule.slice or WHOLE} {label}")
        ends = estimate.interval if rule.tested == "interval" and estimate.interval else (estimate.value,) * 2
        verdict = limited(blank, rule.limits, estimate.value, ends, rule.metric)
        yield replace(verdict, slice=_slice(rule.slice, label), interval=estimate.interval)


def _reported(name: str | None, evidence: Evidence) -> dict[str, Slice]:
    """Return the measured values of a slice, or the whole holdout."""
    if (name or WHOLE) not in evidence.reports.slices:
        raise UserError(f"reports/slices.json has no slice {name}")
    return {label: part for label, part in evidence.reports.slices[name or WHOLE].items() if part.metrics}


def _slice(name: str | None, label: str) -> str | None:
    return None if name is None else f"{name} {label}"


def _champion(blank: Verdict, rule: conf_gates.Champion, gates: Gates, evidence: Evidence) -> Iterator[Verdict]:
    against = _opponent(evidence)
    if isinstance(against, str):
        yield replace(blank, verdict="not_applicable", reason=against)
        return
    margin = -rule.margin if rule.test == "non_inferiority" else rule.margin
    differences = {
        label: _difference(rule.metric, against.scores, gates, evidence, places)
        for label, places in _places(rule.slice, evidence).items()
    }
    _can_be_shown(differences, gates)
    p_values = comparison.holm({label: difference.p_value(margin) for label, difference in differences.items()})
    for label, difference in differences.items():
        yield replace(
            _compared(blank, difference, p_values[label], margin, gates),
            slice=_slice(rule.slice, label),
            reason=_words(rule, difference, p_values[label], gates, against.version),
        )


@dataclass(frozen=True)
class _Opponent:
    """A model in production that is not this commit's, and its scores of the holdout."""

    version: str
    bytes: int
    scores: Floats


def _opponent(evidence: Evidence) -> _Opponent | str:
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
        return _Opponent(champion.version, champion.bytes, scores)
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
    sure = p_value < 1 - gates.confidence
    return replace(
        blank,
        verdict="pass" if sure else "fail",
        observed=difference.observed,
        threshold=margin,
        interval=difference.interval(gates.confidence),
    )


def _words(rule: conf_gates.Champion, difference: ScoreDifference, p_value: float, gates: Gates, name: str) -> str:
    sure = p_value < 1 - gates.confidence
    claim = (
        f"at most {rule.margin:g} worse" if rule.test == "non_inferiority" else f"better by more than {rule.margin:g}"
    )
    shown = f"{'' if sure else 'not '}shown to be {claim} (p {p_value:.3g}, {difference.clusters} clusters)"
    return f"{_change(rule.metric, difference)} than {name}'s; {shown}"


def _change(metric: str, difference: ScoreDifference) -> str:
    return f"{metric} is {abs(difference.observed):.4g} {'better' if difference.observed >= 0 else 'worse'}"


def _places(name: str | None, evidence: Evidence) -> Mapping[str, Integers]:
    if name is None:
        return {WHOLE: np.arange(len(evidence.labels))}
    if not evidence.slices.get(name):
        raise UserError(f"the slice {name} has no value with enough rows (evaluation.slice_min_rows)")
    return evidence.slices[name]


def _difference(
    metric: str, against: Floats, gates: Gates, evidence: Evidence, places: Integers | None = None
) -> ScoreDifference:
    """Compare the challenger with other scores of the same rows; for AUC, DeLong's error is asked too."""
    champion, challenger = (evidence.sample(scores, places) for scores in (against, evidence.scores))
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


def _noise_floor(blank: Verdict, rule: conf_gates.NoiseFloor, gates: Gates, evidence: Evidence) -> Iterator[Verdict]:
    metric, spread = named(rule.metric, evidence.task), _spread(rule.metric, gates, evidence)
    against = _opponent(evidence)
    if isinstance(against, str):
        reason = f"{against}; {rule.metric} varies by {_seed_to_seed(spread)}"
        yield replace(blank, verdict="not_applicable", reason=reason, baseline=spread)
        return
    sides = [_value(metric, evidence, scores) for scores in (evidence.scores, against.scores)]
    change = abs(sides[0] - sides[1])
    words = f"{'more' if change > spread else 'no more'} than {_seed_to_seed(spread)}"
    reason = f"{rule.metric} differs by {change:.4g} from {against.version}'s, {words}"
    answer: Answer = "pass" if change > spread else "fail"
    yield replace(blank, verdict=answer, reason=reason, observed=change, baseline=spread)


def _seed_to_seed(spread: float) -> str:
    return f"{spread:.4g} from seed to seed" if spread else "nothing from seed to seed, on which it does not depend"


def _spread(metric: str, gates: Gates, evidence: Evidence) -> float:
    """Return the largest difference of a metric between any two seeds, the model's own among them."""
    fitted = evidence.seed_scores
    if len(fitted) != gates.seeds:
        raise UserError(f"{len(fitted)} other seeds were fitted, not {gates.seeds}; run: dvc repro")
    values = [_value(named(metric, evidence.task), evidence, scores) for scores in (evidence.scores, *fitted)]
    return max(values) - min(values)


def _value(metric: Metric, evidence: Evidence, scores: Floats) -> float:
    value = float(point([metric], evidence.sample(scores))[0])
    if not math.isfinite(value):
        raise UserError(f"{metric.name} is not defined on the holdout: {_undefined(metric, evidence)}")
    return value


def _undefined(metric: Metric, evidence: Evidence, places: Integers | None = None) -> str:
    """Return why a metric has no value on the holdout, or on some of its rows."""
    return undefined.reason(metric, evidence.sample(evidence.scores, places), evidence.classes)


def _simplicity(blank: Verdict, rule: conf_gates.Simplicity, gates: Gates, evidence: Evidence) -> Iterator[Verdict]:
    what, simple = _simple(rule.than, evidence)
    difference = _difference(rule.metric, simple, gates, evidence)
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
        rate = [(window.class_shares or {}).get(name) for name in evidence.classes] or [window.base_rate]
        if None in rate:
            raise UserError("reports/dataset.json has no base rate of the training rows")
        scores = np.tile(np.array(rate, dtype=np.float64), (len(evidence.labels), 1))
        return "the base rate", scores if evidence.classes else scores[:, 0]
    if evidence.baseline_scores is None:
        raise UserError("the baseline's scores are missing; run: dvc repro")
    return "the baseline", evidence.baseline_scores


def _sanity(blank: Verdict, rule: conf_gates.Sanity, _: Gates, evidence: Evidence) -> Iterator[Verdict]:
    sample = evidence.sample(evidence.scores)
    if len(np.unique(sample.scores, axis=0)) < 2:
        raise UserError(f"all {len(sample.scores)} scores are the same")
    slope = calibration.SLOPES[sample.task](sample.labels, sample.scores)
    yield limited(blank, conf_gates.Limits(*rule.slope), slope, (slope, slope), "the calibration slope")


def _data(blank: Verdict, rule: conf_gates.DataShift, _: Gates, evidence: Evidence) -> Iterator[Verdict]:
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


def _operational(blank: Verdict, rule: conf_gates.Operational, _: Gates, evidence: Evidence) -> Iterator[Verdict]:
    size, champion = evidence.challenger.bytes, evidence.champion
    if rule.measure == "megabytes":
        value, what = size / 1e6, "the bundle's size in MB"
    elif champion is None:
        yield replace(blank, verdict="not_applicable", reason=NO_CHAMPION)
        return
    else:
        value, what = size / champion.bytes, f"the bundle's size over that of {champion.version}"
    yield limited(blank, rule.limits, value, (value, value), what)


def _runtime(blank: Verdict, rule: conf_gates.Runtime, _: Gates, evidence: Evidence) -> Iterator[Verdict]:
    bundle = evidence.reports.bundle
    why = f": {bundle.reason}" if bundle.reason else ""
    answer: Answer = "pass" if bundle.runtime == rule.required else "fail"
    yield replace(blank, verdict=answer, reason=f"the bundle's runtime is {bundle.runtime}{why}")


def _fairness(blank: Verdict, rule: conf_gates.Fairness, gates: Gates, evidence: Evidence) -> Iterator[Verdict]:
    groups = _places(rule.group, evidence)
    resamples = Resamples(int(evidence.clusters.max(initial=0)) + 1, gates.resamples, evidence.seed)
    rate = fairness.Rate(rule.measure, rule.compared, rule.selected_above)
    gap = fairness.compare(evidence.sample(evidence.scores), groups, rate, resamples)
    ends = gap.interval(gates.confidence)
    what = f"the {rule.compared} of {rule.measure} between {rule.group} {gap.lowest} and {gap.highest}"
    small = sorted(set(evidence.reports.slices.get(rule.group, {})) - set(groups))
    left_out = f"; too few rows to judge: {', '.join(small)}" if small else ""
    judged = limited(blank, rule.limits, gap.observed, (gap.observed, gap.observed), what)
    yield replace(judged, slice=rule.group, interval=ends, reason=judged.reason + left_out)


def _leak(blank: Verdict, rule: conf_gates.Leak, _: Gates, evidence: Evidence) -> Iterator[Verdict]:
    for name, signs in _SIGNS.items():
        yield from _answered(replace(blank, metric=name), partial(signs, replace(blank, metric=name), rule, evidence))


def _alone(blank: Verdict, rule: conf_gates.Leak, evidence: Evidence) -> Iterator[Verdict]:
    strengths = evidence.inputs.strengths
    if not strengths:
        raise UserError("the holdout has no feature, or its labels are all alike")
    for name in rule.explained:
        if name not in strengths:
            raise UserError(f"explained: no feature '{name}'{nearest(name, strengths)}")
    name = _most(strengths, rule)
    yield _explained(blank, rule, (name, strengths[name]), rule.alone, f"how well {name} alone ranks")


def _leans(blank: Verdict, rule: conf_gates.Leak, evidence: Evidence) -> Iterator[Verdict]:
    found = leaks.dwarfing(evidence.importances)
    if found is None:
        yield replace(blank, verdict="not_applicable", reason="there are too few features for one to dwarf the rest")
        return
    yield _explained(blank, rule, found, rule.importance, f"the share of {found[0]} in all importance")


def _most(values: Mapping[str, float], rule: conf_gates.Leak) -> str:
    """Return the feature with the largest value, of those that have no reason if one of them is above the limit."""
    open_ones = [name for name, value in values.items() if value > rule.alone and name not in rule.explained]
    return max(sorted(open_ones or values), key=lambda name: values[name])


def _explained(blank: Verdict, rule: conf_gates.Leak, found: tuple[str, float], maximum: float, what: str) -> Verdict:
    name, value = found
    judged = limited(blank, conf_gates.Limits(None, maximum), value, (value, value), what)
    return _with_reason(judged, rule.explained.get(name), f"explained: {{{name}: …}}")


def _with_reason(judged: Verdict, reason: str | None, key: str) -> Verdict:
    """Let a verdict pass that has a declared reason, and say where to declare it to one that has none."""
    if judged.verdict == "pass":
        return judged
    if reason is None:
        return replace(judged, reason=f"{judged.reason}: mend the leak, or say why it is none under {key}")
    return replace(judged, verdict="pass", reason=f"{judged.reason}, which is explained: {reason}")


def _jumped(blank: Verdict, rule: conf_gates.Leak, evidence: Evidence) -> Iterator[Verdict]:
    against = _opponent(evidence)
    if isinstance(against, str):
        yield replace(blank, verdict="not_applicable", reason=against)
        return
    sides = [
        leaks.ranking(evidence.sample(scores).scores, evidence.labels, evidence.task)
        for scores in (evidence.scores, against.scores)
    ]
    if sides[0] is None or sides[1] is None:
        raise UserError("the holdout's labels are all alike")
    jump = sides[0] - sides[1]
    what = f"how much better it ranks than {against.version}"
    judged = limited(blank, conf_gates.Limits(None, rule.jump), jump, (jump, jump), what)
    yield _with_reason(judged, rule.explained_jump.get(against.version), f"explained_jump: {{{against.version}: …}}")


def _repeated(blank: Verdict, rule: conf_gates.Leak, evidence: Evidence) -> Iterator[Verdict]:
    inputs = evidence.inputs
    if not inputs.features.width or inputs.features.schema != inputs.trained.schema:
        raise UserError("the features of the holdout are missing, or others than the training rows'; run: dvc repro")
    share = inputs.repeated
    what = "the share of the holdout's rows that stand among the training rows"
    yield limited(blank, conf_gates.Limits(None, rule.repeated), share, (share, share), what)


_SIGNS: dict[str, Callable[[Verdict, conf_gates.Leak, Evidence], Iterator[Verdict]]] = {
    "alone": _alone,
    "importance": _leans,
    "jump": _jumped,
    "repeated": _repeated,
}
_DATA: dict[str, Callable[[Evidence], tuple[str, float]]] = {
    "quarantined_share": _quarantined,
    "base_rate_ratio": _base_rate,
    "psi": partial(_shift, "psi"),
    "jensen_shannon": partial(_shift, "jensen_shannon"),
}
_KINDS: dict[str, Callable[..., Iterator[Verdict]]] = {
    "threshold": _threshold,
    "champion": _champion,
    "noise_floor": _noise_floor,
    "simplicity": _simplicity,
    "fairness": _fairness,
    "data": _data,
    "operational": _operational,
    "runtime": _runtime,
    "sanity": _sanity,
    "leak": _leak,
}
