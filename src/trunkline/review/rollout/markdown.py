"""The evidence of a rollout in a pull request: what each rule found, the worst first."""

from trunkline.deploy.rollout.evidence import WHOLE
from trunkline.deploy.rollout.finding import Finding
from trunkline.deploy.rollout.judge import Verdict
from trunkline.show import markdown

_ORDER = ("breaks", "waits", "passes")


def evidence(judged: Verdict) -> str:
    """Return a verdict as Markdown: the step, and a table of all rules on all rows, and of those that break on some."""
    step = judged.step
    head = (
        f"{markdown.code(step.candidate)} as {step.kind} of {step.declared.share:g} % beside "
        f"{markdown.code(step.current)}, since {step.since:%Y-%m-%d %H:%M} UTC: {judged.rows:,} rows by "
        f"{judged.until:%Y-%m-%d %H:%M}."
    )
    shown = [each for each in judged.findings if each.part == WHOLE or each.verdict == "breaks"]
    rows = [_row(each) for each in sorted(shown, key=lambda each: _ORDER.index(each.verdict))]
    names = ("Rule", "Rows of", "Verdict", "Value", "Bound", "Interval", "Rows", "Why")
    return f"{head}\n\n{markdown.table(names, rows)}"


def verdict(judged: Verdict) -> str:
    """Return a verdict as Markdown, with the answer and its first reason above the evidence."""
    return f"**{judged.answer}**: {markdown.text(judged.reasons[0])}\n\n{evidence(judged)}"


def _row(finding: Finding) -> tuple[str, ...]:
    low, high = finding.interval or (None, None)
    return (
        finding.rule,
        markdown.text(finding.where, 60),
        finding.verdict,
        _number(finding.value),
        _number(finding.bound),
        "" if low is None else f"{_number(low)} … {_number(high)}",
        f"{finding.rows:,}",
        markdown.text(finding.reason),
    )


def _number(value: float | None) -> str:
    return "" if value is None else f"{value:.3g}"
