"""Measures and judges again, from stored scores and labels: no reported number and no reported verdict is believed."""

import hashlib
import json
from dataclasses import replace

from trunkline.conf.evaluation import Evaluation
from trunkline.conf.gates import Gates
from trunkline.core import files, paths
from trunkline.core.dataset import Dataset
from trunkline.core.errors import UserError, one_line
from trunkline.core.params import Params
from trunkline.pipeline.evaluate import decision as costs
from trunkline.pipeline.evaluate import slices
from trunkline.pipeline.evaluate.slices import Measurements
from trunkline.pipeline.gate import decision, verdicts
from trunkline.pipeline.gate import evidence as gate_evidence
from trunkline.pipeline.gate.evidence import Evidence
from trunkline.pipeline.reports import MEASURED, GatesReport, Verdict

RULES = "rules"
FORMER = "by the base's rules: "
UNREADABLE = "the base's rules cannot be read by this code, so that they judge nothing: "


def differences(params: Params) -> list[str]:
    """Return the reports of the working directory that are not what scores, labels and declared rules give.

    Raises UserError where a file that is needed is not here, or does not belong to the others.
    """
    evidence, measured = _measure(params.group(Evaluation), params.seed)
    gates = verdicts.content(verdicts.judge(params.group(Gates), evidence), evidence)
    decided = costs.content(evidence.reports.decision.decided)
    expected = slices.content(measured) | ({paths.DECISION: decided} if decided else {}) | {paths.GATES_REPORT: gates}
    return [
        str(path)
        for path, content in expected.items()
        if path.read_text(encoding="utf-8") != files.canonical_json(content)
    ]


def former(before: Params, params: Params) -> list[Verdict]:
    """Return the verdicts on the model in the working directory by the rules of another commit, if they differ.

    Rules that this code cannot read give one verdict, which only warns: a person reviews code that reads another conf/.
    Rules that cannot judge because a file is missing give one that blocks.
    """
    if all(before.content.get(group.key) == params.content.get(group.key) for group in (Gates, Evaluation)):
        return []
    try:
        gates, evaluation = before.group(Gates), before.group(Evaluation)
    except UserError as error:
        return [Verdict(RULES, RULES, False, "fail", f"{UNREADABLE}{error}")]
    try:
        evidence, _ = _measure(evaluation, params.seed)
    except UserError as error:
        return [Verdict(RULES, RULES, True, "fail", f"{FORMER}{error}")]
    judged = verdicts.content(verdicts.judge(gates, evidence), evidence)
    answers = decision.decide(gates, GatesReport.model_validate(judged))
    return [replace(verdict, reason=f"{FORMER}{verdict.reason}") for verdict in answers]


def _measure(declared: Evaluation, seed: int) -> tuple[Evidence, Measurements]:
    """Return the evidence with metrics and slices measured now, and what was measured.

    A review needs it for its comment, for the check, and by the base's rules: the same files are measured once.
    """
    key = (declared.model_dump_json(), seed, _content())
    if key not in _last:
        measured = _measured(declared, seed)
        _last.clear()
        _last[key] = measured
    return _last[key]


_last: dict[tuple[str, int, str], tuple[Evidence, Measurements]] = {}
_READ = (*MEASURED, paths.FEATURES, paths.PREDICTIONS, paths.RIVALS, paths.CHAMPION, paths.BUNDLE)


def _content() -> str:
    """Return a digest of all files that are measured and judged."""
    digest = hashlib.sha256()
    for read in _READ:
        for path in sorted(read.rglob("*")) if read.is_dir() else [read]:
            if path.is_file():
                digest.update(f"{path}\0{path.stat().st_size}\0".encode())
                digest.update(path.read_bytes())
    return digest.hexdigest()


def _measured(declared: Evaluation, seed: int) -> tuple[Evidence, Measurements]:
    try:
        evidence = gate_evidence.read(declared, seed)
    except OSError as error:
        raise UserError(f"nothing can be judged again without the data ({one_line(error)}); run: dvc pull") from None
    measured = slices.evaluate(Dataset.read("holdout"), evidence.scores, declared, seed)
    claimed = evidence.reports.decision.chosen  # which cannot be chosen again without training
    decided = costs.measured(evidence.sample(evidence.scores), claimed, declared, seed)
    again = {"slices": slices.content(measured)[paths.SLICES], "decision": costs.content(decided)}
    as_read = json.loads(files.canonical_json(again))  # with a report's digits
    reports = evidence.reports.model_validate({**evidence.reports.model_dump(), **as_read})
    return replace(evidence, reports=reports), measured
