"""What a case of the self-test came to: a few words where the rules did what they should, None where they did not."""

from collections.abc import Callable, Iterable, Sequence

from trunkline.pipeline.evaluate.metrics.registry import better
from trunkline.pipeline.gate import rules
from trunkline.pipeline.reports import Verdict, passes


def passed(verdicts: Sequence[Verdict]) -> str | None:
    """Return "pass" where all rules let a model pass, else None."""
    return "pass" if passes(verdicts) else None


def too_good(verdict: Verdict) -> bool:
    """Tell whether a threshold stopped a model for being better than is believed."""
    side = "above" if better(verdict.metric or "") == "larger" else "below"
    return verdict.kind == "threshold" and side in verdict.reason


def was_judged(verdict: Verdict) -> bool:
    """Tell whether a rule has measured something."""
    return verdict.observed is not None


def stopped(verdicts: Sequence[Verdict], rightly: Callable[[Verdict], bool]) -> str | None:
    """Return the rules that stopped a model for the right reason; None if there is none."""
    stopping = {
        verdict.id for verdict in verdicts if verdict.verdict == "fail" and verdict.blocking and rightly(verdict)
    }
    return f"stopped by {', '.join(sorted(stopping))}" if stopping else None


def failed(verdicts: Sequence[Verdict], name: str, where: str | None) -> str | None:
    """Return that a rule fails wherever it was judged, in a slice or over all; None if it does not."""
    matching = [
        verdict for verdict in verdicts if verdict.id == name and verdict.slice == where and was_judged(verdict)
    ]
    return f"{name} fails" if matching and all(verdict.verdict == "fail" for verdict in matching) else None


def same_model(verdicts: Sequence[Verdict], names: Iterable[str]) -> str | None:
    """Return the reason of rules that do not judge a model beside itself; None if one of them does."""
    judged = [verdict for verdict in verdicts if verdict.id in set(names)]
    same = all(
        verdict.verdict == "not_applicable" and verdict.reason.startswith(rules.SAME_MODEL) for verdict in judged
    )
    return rules.SAME_MODEL if judged and same else None
