"""What becomes of a rollout: each rule of its step by the evidence, and from them hold, step up, finish or go back."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Literal

from trunkline.core.tasks import Task
from trunkline.core.values import duration_text
from trunkline.deploy.rollout import difference, performance
from trunkline.deploy.rollout.difference import Sums
from trunkline.deploy.rollout.evidence import (
    CHANGED,
    DECILES,
    QUANTILES,
    REQUESTS,
    ROWS,
    SCORED,
    WHOLE,
    Evidence,
    Part,
    below,
    total,
)
from trunkline.deploy.rollout.finding import Finding, Limit, weighed
from trunkline.deploy.rollout.rows import ERROR, REFUSAL
from trunkline.deploy.rollout.step import Step

Answer = Literal["hold", "step up", "finish", "go back"]
RULES = ("errors", "refusals", *QUANTILES, "mean", "distance", "disagreement", "performance")


@dataclass(frozen=True)
class Scores:
    """Of a column of scores, at the current version's deciles: the share of each arm's rows at or below."""

    name: str
    levels: tuple[float, ...]
    candidate: tuple[float, ...]
    current: tuple[float, ...]


@dataclass(frozen=True)
class Verdict:
    """What is to become of a rollout, and why; `history` has the findings of all rows at the end of each hour."""

    step: Step
    until: datetime
    answer: Answer
    reasons: tuple[str, ...]
    findings: tuple[Finding, ...]
    rows: int
    history: tuple[tuple[datetime, tuple[Finding, ...]], ...] = ()
    scores: tuple[Scores, ...] = ()


@dataclass(frozen=True)
class Comparison:
    """One mean that is compared: `sign` -1 asks for less instead of more; `scale` is what 1 of the bound is."""

    rows: str
    values: str
    bound: float
    words: str
    share: bool = True
    sign: int = 1
    scale: float = 1.0


def verdict(step: Step, evidences: Iterable[Evidence], until: datetime, task: Task) -> Verdict:
    """Judge a step by what is known at the end of each hour, in order, up to a moment (UTC)."""
    history, last = [], None
    by_sums = [rule for rule in active(step) if rule != "performance"]
    for last in evidences:
        history.append((last.end, tuple(_judged(last, WHOLE, rule, _error_rate(step)) for rule in by_sums)))
    final = findings(last, task) if last else tuple(_nothing(rule) for rule in active(step))
    rows = last.rows if last else 0
    answer, reasons = _answer(step, final, rows, until)
    return Verdict(step, until, answer, reasons, final, rows, tuple(history), tuple(_scores(last)) if last else ())


def _scores(evidence: Evidence) -> Iterator[Scores]:
    for name in evidence.levels.scores:
        sums = [evidence.sums(WHOLE, SCORED, below(name, number)) for number in range(len(DECILES))]
        ours, theirs = (tuple(_share(both[side]) for both in sums) for side in (0, 1))
        yield Scores(name, tuple(evidence.levels.deciles[name].tolist()), ours, theirs)


def _share(arm: Sums) -> float:
    rows = float(arm.rows.sum())
    return float(arm.values.sum()) / rows if rows else 0.0


def active(step: Step) -> tuple[str, ...]:
    """Return the names of the rules that judge a step."""
    declared = [rule for rule in RULES if getattr(step.rules, rule) is not None]
    return tuple(rule for rule in declared if rule != "disagreement" or step.kind == "shadow")


def _error_rate(step: Step) -> float:
    """Return the share that a rule may spend on all rows: half of its own, if slices have the other half."""
    return step.error_rate / max(1, len(active(step))) / (2 if step.rules.slices else 1)


def findings(evidence: Evidence, task: Task) -> tuple[Finding, ...]:
    """Return what is found of each rule: of all rows, then of each value of each slice."""
    step, rate, listed = evidence.step, _error_rate(evidence.step), list[Finding]()
    for rule in active(step):
        listed.append(_judged(evidence, WHOLE, rule, rate, task))
        for name in step.rules.slices:
            parts = [part for part in evidence.parts if part.slice == name]
            # The values share a rate in the order in which they appear: a half, a sixth, a twelfth, …; 1 in all.
            for number, part in enumerate(parts, 1):
                own = rate / len(step.rules.slices) / (number * (number + 1))
                listed.append(_judged(evidence, part, rule, own, task))
    return tuple(listed)


def _nothing(rule: str) -> Finding:
    return Finding(rule, WHOLE, "waits", "no rows of both versions yet")


def _judged(evidence: Evidence, part: Part, rule: str, error_rate: float, task: Task = "binary") -> Finding:
    if rule == "performance":
        return performance.judged(evidence, part, error_rate, task)
    comparisons = _comparisons(rule, evidence)
    each = [_compared(evidence, part, rule, one, error_rate / len(comparisons)) for one in comparisons]
    return max(each, key=lambda finding: (finding.excess, finding.value or 0.0)) if each else _nothing(rule)


def _compared(evidence: Evidence, part: Part, rule: str, of: Comparison, error_rate: float) -> Finding:
    candidate, current = evidence.sums(part, of.rows, of.values)
    compare = difference.paired if evidence.step.kind == "shadow" else difference.apart
    measured = compare(candidate, current, share=of.share)
    if measured is None:
        return replace(_nothing(rule), part=part)
    ours, theirs = (float(arm.values.sum() / arm.rows.sum()) for arm in (candidate, current))
    size = of.sign / of.scale
    measured = replace(measured, value=measured.value * size, error=measured.error / of.scale)
    why = of.words.format(ours=ours, theirs=theirs, by=measured.value, current=evidence.step.current)
    limit = Limit(of.bound, error_rate, evidence.step.declared.requests)
    return weighed(rule, part, measured, limit, why)


def _comparisons(rule: str, evidence: Evidence) -> list[Comparison]:
    """Return the means that a rule compares; it breaks where one of them does."""
    rules, levels = evidence.step.rules, evidence.levels
    bound = getattr(rules, rule)
    if rule == "errors":
        return [Comparison(ROWS, ERROR, bound, "{ours:.2%} of its rows failed, of {current}'s {theirs:.2%}")]
    if rule == "refusals":
        return [Comparison(ROWS, REFUSAL, bound, "{ours:.2%} of its rows were refused, of {current}'s {theirs:.2%}")]
    if rule in QUANTILES:
        return [_slower(rule, bound, levels.seconds[rule])] if rule in levels.seconds else []
    if rule == "disagreement":
        at = f"at {rules.threshold:g}" if len(levels.scores) == 1 else "of the likeliest class"
        return [Comparison(SCORED, CHANGED, bound, f"{{ours:.2%}} of the decisions change {at}")]
    if rule == "mean":
        return [_moved(name, bound, levels.deviation[name], sign) for name in levels.scores for sign in (1, -1)]
    words = "{{ours:.1%}} of its {name}s are at most {level:.4g}, of {{current}}'s {{theirs:.1%}}"
    return [
        Comparison(
            SCORED, below(name, number), bound, words.format(name=name, level=levels.deciles[name][number]), sign=sign
        )
        for name in levels.scores
        for number in range(len(DECILES))
        for sign in (1, -1)
    ]


def _slower(rule: str, ratio: float, seconds: float) -> Comparison:
    """Compare the share of requests beyond the current version's quantile with that beyond so many times of it."""
    name, milliseconds = rule.removeprefix("latency_"), f"{1000 * seconds:.3g} ms"
    words = f"{{ours:.2%}} of its requests took longer than {ratio:g} times {{current}}'s {name}, {milliseconds}"
    return Comparison(REQUESTS, rule, 0.0, f"{words}; {{theirs:.2%}} may")


def _moved(name: str, bound: float, deviation: float, sign: int) -> Comparison:
    direction = "above" if sign > 0 else "below"
    words = (
        f"the mean of its {name} is {{ours:.4g}}, of {{current}}'s {{theirs:.4g}}: {{by:.2f}} deviations {direction}"
    )
    return Comparison(SCORED, total(name), bound, words, share=False, sign=sign, scale=deviation or 1.0)


def _answer(step: Step, findings: Sequence[Finding], rows: int, until: datetime) -> tuple[Answer, tuple[str, ...]]:
    broken = [finding for finding in findings if finding.verdict == "breaks"]
    if broken:
        return "go back", tuple(str(finding) for finding in broken)
    waits = [*_unfinished(step, rows, until), *_waiting(step, findings, until)]
    if waits:
        return "hold", tuple(waits)
    passed = f"{rows:,} rows in {duration_text(step.declared.for_)} or more, and every rule passes"
    return ("finish" if step.is_last else "step up"), (passed,)


def _unfinished(step: Step, rows: int, until: datetime) -> Iterable[str]:
    declared, elapsed = step.declared, until - step.since
    if elapsed < declared.for_:
        yield f"{elapsed.total_seconds() / 3600:.1f} h of {declared.for_.total_seconds() / 3600:.1f} h have passed"
    if rows < declared.requests:
        yield f"{rows:,} of {declared.requests:,} rows of {step.candidate} are there"


def _waiting(step: Step, findings: Sequence[Finding], until: datetime) -> Iterable[str]:
    """Say what all rows do not show yet; the values of slices can only break."""
    wanted = step.rules.performance
    for finding in findings:
        if finding.part == WHOLE and finding.verdict == "waits":
            late = wanted and finding.rule == "performance" and until - step.since > step.declared.for_ + wanted.wait
            yield str(finding) + (
                f"; they are late, so import them (trunkline labels import), or take {step.candidate} out of "
                "models/registry.yaml"
                if late and finding.value is None
                else ""
            )
