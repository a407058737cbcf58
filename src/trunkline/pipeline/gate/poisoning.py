"""How much worse the model gets where somebody has flipped labels of its training rows.

The same model is fitted once more, to rows of which the declared share has another class, chosen at random, and both
are compared on the holdout, whose labels are as they are (after Biggio, Nelson and Laskov, "Support vector machines
under adversarial label noise", ACML 2011). A model that learns single rows by heart hands each flip on; one that learns
what many rows have in common hardly moves. Flips that are chosen to harm do more, so it is the least that they do.
"""

from collections.abc import Iterator
from dataclasses import replace

from trunkline.conf import gates as conf_gates
from trunkline.conf.gates import Gates
from trunkline.core.errors import UserError
from trunkline.pipeline.gate.evidence import Evidence
from trunkline.pipeline.gate.rules import limited, paired_difference
from trunkline.pipeline.reports import Verdict


def poisoning(blank: Verdict, rule: conf_gates.Poisoning, gates: Gates, evidence: Evidence) -> Iterator[Verdict]:
    """Judge what the metric loses for each percent of the labels that flips."""
    if gates.poisoned is None or evidence.poisoned_scores is None:
        raise UserError("the scores of the model of flipped labels are missing; run: dvc repro")
    lost, percent = paired_difference(rule.metric, evidence.poisoned_scores, gates, evidence), 100 * gates.poisoned
    low, high = (end / percent for end in lost.interval(gates.confidence))
    value = lost.observed / percent
    ends = (low, high) if rule.tested == "interval" else (value, value)
    what = f"what {rule.metric} loses for each percent of {percent:g} % of the training labels that flip"
    judged = limited(blank, conf_gates.Limits(None, rule.maximum), value, ends, what)
    yield replace(judged, interval=(low, high))
