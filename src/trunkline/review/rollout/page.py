"""The verdict of a rollout as one HTML file, for a browser without a network: as the page of a review."""

from trunkline.deploy.rollout.evidence import WHOLE
from trunkline.deploy.rollout.finding import Finding
from trunkline.deploy.rollout.judge import Verdict
from trunkline.review import page
from trunkline.review.rollout import pictures

TEMPLATE = "rollout/page.html.j2"

_STATES = {"go back": "blocked", "hold": "stale", "step up": "free", "finish": "free"}
_LOOKS = {"breaks": "bad", "waits": "warn", "passes": "good"}


def render(verdict: Verdict) -> str:
    """Return the page; equal verdicts give equal text."""
    return page.filled(
        TEMPLATE,
        {
            "verdict": verdict,
            "step": verdict.step,
            "state": _STATES[verdict.answer],
            "whole": [_row(each) for each in verdict.findings if each.part == WHOLE],
            "parts": [_row(each) for each in verdict.findings if each.part != WHOLE],
            "pictures": [*pictures.over_time(verdict)],
            "scores": [*pictures.scores(verdict)],
            "slices": [*pictures.slices(verdict)],
        },
    )


def _row(finding: Finding) -> dict[str, str]:
    """Return the cells of a finding."""
    low, high = finding.interval or (None, None)
    return {
        "look": _LOOKS[finding.verdict],
        "verdict": finding.verdict,
        "rule": finding.rule,
        "where": finding.where,
        "value": number(finding.value),
        "bound": number(finding.bound),
        "interval": "" if low is None else f"{number(low)} … {number(high)}",
        "rows": f"{finding.rows:,}",
        "reason": finding.reason,
    }


def number(value: float | None) -> str:
    """Return a number as people read it, nothing for None."""
    return "" if value is None else f"{value:.4g}"
