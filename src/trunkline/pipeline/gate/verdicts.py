"""Judges a model by the declared rules: pure, so that anyone can compute a verdict again from the same evidence.

A rule that cannot be evaluated fails, and says why: a metric that is not there, a slice without rows, scores that are
not numbers, a champion that could not be fetched. Only what needs a champion may be not applicable, and only where
production has none.
"""

from collections.abc import Callable, Iterator
from dataclasses import asdict
from functools import partial
from typing import Any

from trunkline.conf import gates as conf_gates
from trunkline.conf.gates import Gates
from trunkline.pipeline.gate import evasion, leak_rules, membership, monotonic, poisoning, rules
from trunkline.pipeline.gate.evidence import Evidence
from trunkline.pipeline.reports import Verdict, passes

_KINDS: dict[str, Callable[..., Iterator[Verdict]]] = {
    "threshold": rules.threshold,
    "backtest": rules.backtest,
    "champion": rules.champion,
    "noise_floor": rules.noise_floor,
    "simplicity": rules.simplicity,
    "fairness": rules.fairness_gap,
    "data": rules.data_shift,
    "operational": rules.operational,
    "runtime": rules.runtime,
    "sanity": rules.sanity,
    "leak": leak_rules.leak,
    "monotonic": monotonic.monotonic,
    "membership": membership.membership,
    "evasion": evasion.evasion,
    "poisoning": poisoning.poisoning,
}


def judge(gates: Gates, evidence: Evidence) -> list[Verdict]:
    """Return the verdicts on every rule, in the order of their names; a rule that cannot be judged has failed.

    Rules of times are left to `timing`: a measured time is no function of the evidence.
    """
    verdicts: list[Verdict] = []
    for name, rule in sorted(gates.rules.items()):
        if not conf_gates.is_timed(rule):
            blank = Verdict(name, rule.kind, not rule.advisory, "fail", "", metric=getattr(rule, "metric", None))
            verdicts += rules.answered(blank, partial(_KINDS[rule.kind], blank, rule, gates, evidence))
    return verdicts


def content(verdicts: list[Verdict], evidence: Evidence) -> dict[str, Any]:
    """Return the content of reports/gates.json."""
    champion = evidence.champion
    return {
        "verdict": "pass" if passes(verdicts) else "fail",
        "challenger": evidence.challenger.digest,
        "champion": champion and {"version": champion.version, "digest": champion.digest},
        "gates": [asdict(verdict) for verdict in verdicts],
    }
