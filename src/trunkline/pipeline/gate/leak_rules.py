"""How a leak rule is judged: by four signs, each of which gets its own verdict."""

from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial

from trunkline.conf import gates as conf_gates
from trunkline.conf.gates import Gates
from trunkline.core.errors import UserError, nearest
from trunkline.pipeline.gate import leaks
from trunkline.pipeline.gate.evidence import Evidence
from trunkline.pipeline.gate.rules import answered, limited, opponent
from trunkline.pipeline.reports import Verdict

_NONE = "the holdout has no feature; run: dvc repro"


def leak(blank: Verdict, rule: conf_gates.Leak, _: Gates, evidence: Evidence) -> Iterator[Verdict]:
    """Judge every sign of a leak; one that cannot be judged has failed."""
    for name, signs in _SIGNS.items():
        yield from answered(replace(blank, metric=name), partial(signs, replace(blank, metric=name), rule, evidence))


def _alone(blank: Verdict, rule: conf_gates.Leak, evidence: Evidence) -> Iterator[Verdict]:
    strengths = evidence.inputs.strengths
    if not strengths:
        raise UserError(leaks.unranked(evidence.labels, evidence.task) if evidence.inputs.features.width else _NONE)
    for name in rule.explained:
        if name not in strengths:
            raise UserError(f"explained: no feature '{name}'{nearest(name, strengths)}")
    above = [name for name, value in strengths.items() if value > rule.alone and name not in rule.explained]
    name = max(sorted(above or strengths), key=lambda name: strengths[name])  # first those without a declared reason
    yield _explained(blank, rule, name, strengths[name], f"how well {name} alone ranks", maximum=rule.alone)


def _importance(blank: Verdict, rule: conf_gates.Leak, evidence: Evidence) -> Iterator[Verdict]:
    largest = leaks.dwarfing(evidence.importances)
    if largest is None:
        yield replace(blank, verdict="not_applicable", reason="there are too few features for one to dwarf the rest")
        return
    name, share = largest
    yield _explained(blank, rule, name, share, f"the share of {name} in all importance", maximum=rule.importance)


def _explained(  # noqa: PLR0913  a feature and its value
    blank: Verdict, rule: conf_gates.Leak, name: str, value: float, what: str, *, maximum: float
) -> Verdict:
    judged = limited(blank, conf_gates.Limits(None, maximum), value, (value, value), what)
    return _with_reason(judged, rule.explained.get(name), f"explained: {{{name}: …}}")


def _with_reason(judged: Verdict, reason: str | None, key: str) -> Verdict:
    """Let a verdict pass that has a declared reason, and say where to declare it to one that has none."""
    if judged.verdict == "pass":
        return judged
    if reason is None:
        return replace(judged, reason=f"{judged.reason}: fix the leak, or say under {key} why it is not one")
    return replace(judged, verdict="pass", reason=f"{judged.reason}, which is explained: {reason}")


def _jump(blank: Verdict, rule: conf_gates.Leak, evidence: Evidence) -> Iterator[Verdict]:
    against = opponent(evidence)
    if isinstance(against, str):
        yield replace(blank, verdict="not_applicable", reason=against)
        return
    sides = [
        leaks.ranking(evidence.sample(scores).scores, evidence.labels, evidence.task)
        for scores in (evidence.scores, against.scores)
    ]
    if sides[0] is None or sides[1] is None:
        raise UserError(leaks.unranked(evidence.labels, evidence.task))
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
    "importance": _importance,
    "jump": _jump,
    "repeated": _repeated,
}
