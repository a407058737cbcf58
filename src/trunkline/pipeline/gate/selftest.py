"""Whether the declared rules can say no, and yes: known-bad and known-good models, planted under the same rules.

What is planted is made of this commit's holdout and of a model that passes: the one in production, or else this
commit's own. A bad one must be stopped by a rule that names what is wrong with it; being stopped by chance is not
enough. Where one gets through, the case says what the rule set lacks.
"""

import os
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import asdict, dataclass
from typing import Any

from trunkline.conf.evaluation import Evaluation
from trunkline.conf.gates import Gates
from trunkline.core.errors import UserError
from trunkline.pipeline.gate.evidence import Evidence
from trunkline.pipeline.gate.plants import Plant, Planter

Cases = Sequence[Future["Case"]]
Track = Callable[[Cases], Iterable[Future["Case"]]]


@dataclass(frozen=True)
class Case:
    """The outcome of a planted model: `wanted` and `outcome` in words, and what the rules lack if it went wrong.

    `stopped` are the rules that blocked it.
    """

    name: str
    wanted: str
    outcome: str
    right: bool
    missing: str = ""
    stopped: tuple[str, ...] = ()


def run(declared: Gates, measured: Evaluation, evidence: Evidence, track: Track = iter) -> list[Case]:
    """Plant every model, in as many threads as there are cores; return the cases in order.

    `track` may show how far it is.
    """
    with ThreadPoolExecutor(os.cpu_count()) as threads:  # which NumPy leaves free while it computes
        cases = [threads.submit(_case, plant) for plant in Planter(declared, measured, evidence).all()]
        return [case.result() for case in track(cases)]


def content(cases: Iterable[Case]) -> list[dict[str, Any]]:
    """Return the cases as JSON has them."""
    return [asdict(case) for case in cases]


def _case(plant: Plant) -> Case:
    try:
        verdicts = plant.judge()
    except UserError as error:
        return Case(plant.name, plant.wanted, f"cannot be made: {error}", right=False, missing=plant.missing)
    by = plant.right(verdicts)
    stopped = tuple(sorted({each.id for each in verdicts if each.verdict == "fail" and each.blocking}))
    if by is not None:
        return Case(plant.name, plant.wanted, by, right=True, stopped=stopped)
    outcome = f"stopped by {', '.join(stopped)}" if stopped else "let through"
    return Case(plant.name, plant.wanted, outcome, right=False, missing=plant.missing, stopped=stopped)
