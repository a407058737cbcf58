"""All verdicts that decide: those of reports/gates.json, held against the declared rules, and those on times."""

from dataclasses import replace
from pathlib import Path

from trunkline.conf.gates import AnyRule, Gates, is_timed
from trunkline.pipeline.gate import timing
from trunkline.pipeline.reports import GatesReport, Verdict

MISSING = "reports/gates.json has no verdict on this rule; run: dvc repro"
ANOTHER = "conf/gates declares no such rule, or another one of this name; run: dvc repro"


def decide(gates: Gates, judged: GatesReport, root: Path = Path()) -> list[Verdict]:
    """Return the verdicts of a report, as `reported` does, and those on times, which are measured now."""
    return [*reported(gates, judged), *timing.judge(gates, judged, root)]


def reported(gates: Gates, judged: GatesReport) -> list[Verdict]:
    """Return the verdicts of a report; a rule that was left out, or is not as declared, has failed.

    A report is a claim: one that leaves out a rule that would block must not pass.
    """
    rules = {name: rule for name, rule in sorted(gates.rules.items()) if not is_timed(rule)}
    judged_rules = {verdict.id for verdict in judged.gates}
    missing = [
        Verdict(name, rule.kind, not rule.advisory, "fail", MISSING)
        for name, rule in rules.items()
        if name not in judged_rules
    ]
    held = [_held(verdict, rules.get(verdict.id)) for verdict in judged.gates]
    return [*held, *missing]


def _held(verdict: Verdict, rule: AnyRule | None) -> Verdict:
    """Return the verdict, failed and blocking if it is not on the declared rule."""
    if rule is not None and (verdict.kind, verdict.blocking) == (rule.kind, not rule.advisory):
        return verdict
    return replace(verdict, blocking=True, verdict="fail", reason=ANOTHER)
