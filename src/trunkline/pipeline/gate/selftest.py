"""Whether the declared rules can say no, and yes: known-bad and known-good models, planted under the same rules.

What is planted is made of this commit's holdout and of a model that passes: the one in production, or else this
commit's own. A bad one must be stopped by a rule that names what is wrong with it; being stopped by chance is not
enough. A rule set that lets one through is told what is missing from it.
"""

import os
import tempfile
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from trunkline.bundle.manifest import Identity
from trunkline.conf.evaluation import WHOLE, Evaluation
from trunkline.conf.gates import AnyRule, Champion, Gates, Leak, NoiseFloor, Threshold
from trunkline.core import files, paths
from trunkline.core.arrays import Floats, Integers
from trunkline.core.errors import UserError
from trunkline.core.tasks import Task
from trunkline.pipeline import reports
from trunkline.pipeline.evaluate import slices as evaluate_slices
from trunkline.pipeline.evaluate.bootstrap import Resamples
from trunkline.pipeline.evaluate.estimate import Estimate, Slice
from trunkline.pipeline.evaluate.metrics.kinds import point
from trunkline.pipeline.evaluate.metrics.registry import better, named
from trunkline.pipeline.gate import distortions, planted
from trunkline.pipeline.gate import verdicts as gate_verdicts
from trunkline.pipeline.gate.evidence import Evidence
from trunkline.pipeline.reports import Verdict, passes

Cases = Sequence[Future["Case"]]
Track = Callable[[Cases], Iterable[Future["Case"]]]

SHARE_OF_NAN = 0.01
HINTS: dict[Task, str] = {  # a metric that a useless model fails, and one to compare by
    "binary": "roc_auc log_loss 0.005",
    "multiclass": "balanced_accuracy log_loss 0.005",
    "regression": "r2 rmse 1",
}


@dataclass(frozen=True)
class Case:
    """What became of a planted model: `wanted` and `found` in words, and what the rules lack if it went wrong."""

    name: str
    wanted: str
    found: str
    right: bool
    missing: str = ""


@dataclass(frozen=True)
class _Planted:
    """A model to plant: how, what must come of it, and what the rules lack if it does not."""

    name: str
    wanted: str
    judge: Callable[[], Sequence[Verdict]]
    right: Callable[[Sequence[Verdict]], str | None]  # which rule it was, or None
    missing: str


def run(declared: Gates, measured: Evaluation, evidence: Evidence, track: Track = iter) -> list[Case]:
    """Plant every model, in as many threads as there are cores; return what became of each, in order.

    `track` may show how far it is.
    """
    with ThreadPoolExecutor(os.cpu_count()) as threads:  # which NumPy leaves free while it computes
        cases = [threads.submit(_case, planted) for planted in _Planter(declared, measured, evidence).all()]
        return [case.result() for case in track(cases)]


def content(cases: Iterable[Case]) -> list[dict[str, Any]]:
    """Return the cases as JSON has them."""
    return [asdict(case) for case in cases]


def _case(planted: _Planted) -> Case:
    try:
        verdicts = planted.judge()
    except UserError as error:
        return Case(planted.name, planted.wanted, f"cannot be made: {error}", right=False, missing=planted.missing)
    by = planted.right(verdicts)
    if by is not None:
        return Case(planted.name, planted.wanted, by, right=True)
    failed = [verdict for verdict in verdicts if verdict.verdict == "fail" and verdict.blocking]
    outcome = f"stopped by {', '.join(sorted({one.id for one in failed}))}" if failed else "let through"
    return Case(planted.name, planted.wanted, outcome, right=False, missing=planted.missing)


@dataclass(frozen=True)
class _Planter:
    declared: Gates
    measured: Evaluation
    evidence: Evidence

    def all(self) -> Iterator[_Planted]:
        good = self._known_good()
        yield from self._good_ones(good)
        yield from self._bad_scores(good.scores)
        for name in self.measured.slices:
            yield from self._ruined_slice(name, good.scores)
        yield from self._bad_champions(good)
        yield from self._leaks(good)
        yield from self._bad_reports()

    def _known_good(self) -> Evidence:
        """Return a model that passes these rules by itself, if there is one here."""
        own, theirs = self._measured(self.evidence.scores), self.evidence.champion_scores
        if theirs is None or passes(self._judged(own)):
            return own
        other = self._measured(theirs)
        return other if passes(self._judged(other)) else own

    def _judged(
        self, model: Evidence, champion: Identity | None = None, champion_scores: Floats | None = None
    ) -> list[Verdict]:
        """Judge a measured model beside a champion, or beside none."""
        return gate_verdicts.judge(self.declared, replace(model, champion=champion, champion_scores=champion_scores))

    def _measured(self, scores: Floats) -> Evidence:
        """Take scores as this commit's and measure them as the evaluate stage does, where a threshold looks."""
        sample, interval = self.evidence.sample(scores), self.measured.interval
        resamples = Resamples(int(sample.clusters.max()) + 1, interval.resamples, self.evidence.seed)
        slices: dict[str, dict[str, Slice]] = {}
        for name, metrics in self._looked_at().items():
            params = self.measured.model_copy(update={"metrics": metrics})
            values = {WHOLE: np.arange(len(scores))} if name == WHOLE else self.evidence.slices[name]
            slices[name] = {
                label: Slice(len(places), evaluate_slices.estimates(sample.part(places), params, resamples))
                for label, places in values.items()
            }
        return replace(
            self.evidence, scores=scores, reports=self.evidence.reports.model_copy(update={"slices": slices})
        )

    def _looked_at(self) -> dict[str, tuple[str, ...]]:
        """Return the metrics that thresholds look at, by slice; the whole holdout is always one."""
        looked_at: dict[str, set[str]] = {WHOLE: set()}
        for rule in self.declared.rules.values():
            if isinstance(rule, Threshold):
                looked_at.setdefault(rule.slice or WHOLE, set()).add(rule.metric)
        return {name: tuple(sorted(metrics)) for name, metrics in sorted(looked_at.items())}

    def _good_ones(self, good: Evidence) -> Iterator[_Planted]:
        other = self._another()
        missing = "no model here passes these rules by itself, so nothing shows that they let a good one through"
        yield _Planted("a good first model", "pass", lambda: self._judged(good), _passed, missing)
        yield _Planted(
            "better than production",
            "pass",
            lambda: self._judged(good, other, self._blended(good.scores, 0.3)),
            _passed,
            f"{missing}; or a margin cannot be met",
        )
        equal = self._jittered(good.scores, 0.02)
        blocking = [name for name, rule in self.declared.rules.items() if _wants_more(rule)]
        yield _Planted(
            "as good as production",
            f"stopped by {', '.join(blocking)}" if blocking else "pass",
            lambda: self._judged(self._measured(equal), other, good.scores),
            (lambda verdicts: _stopped(verdicts, lambda one: one.id in blocking)) if blocking else _passed,
            "a margin of a champion rule is too small to be shown to be met by an equal model: widen it",
        )

    def _bad_scores(self, good: Floats) -> Iterator[_Planted]:
        random, labels, task = np.random.default_rng(self.evidence.seed), self.evidence.labels, self.evidence.task
        champion, theirs = self.evidence.champion, self.evidence.champion_scores

        def planted(name: str, scores: Floats, kinds: tuple[str, ...], missing: str) -> _Planted:
            def right(verdicts: Sequence[Verdict]) -> str | None:
                return _stopped(verdicts, lambda one: one.kind in kinds and _was_judged(one))

            return _Planted(
                name,
                f"stopped by {' or '.join(kinds)}",
                lambda: self._judged(self._measured(scores), champion, theirs),
                right,
                missing,
            )

        useless = ("threshold", "champion", "simplicity")
        hint = f"add a minimum, such as {self._example('minimum: 0.6')}"
        yield planted("shuffled scores", random.permutation(good), useless, hint)
        yield planted("inverted scores", distortions.inverted(good, task), useless, hint)
        constant = np.broadcast_to(good.mean(axis=0), good.shape)
        yield _Planted(
            "a constant score",
            "stopped by sanity",
            lambda: self._judged(self._measured(constant), champion, theirs),
            lambda verdicts: _stopped(verdicts, lambda one: one.kind == "sanity" and "the same" in one.reason),
            "add {kind: sanity, slope: [0.5, 2]}, which blocks",
        )
        leaked = distortions.leaked(good, labels, task)
        yield _Planted(
            "a leaked column, absurdly good",
            "stopped by a maximum",
            lambda: self._judged(self._measured(leaked), champion, theirs),
            lambda verdicts: _stopped(verdicts, _too_good),
            f"add a maximum, such as {self._example('maximum: 0.98')}: too good to be true is a leak",
        )
        broken = good.copy()
        broken[random.random(len(good)) < SHARE_OF_NAN] = np.nan
        yield _Planted(
            "scores that are NaN",
            "stopped for its scores",
            lambda: gate_verdicts.judge(self.declared, replace(self.evidence, scores=broken)),
            lambda verdicts: _stopped(verdicts, lambda one: "wrong score" in one.reason),
            "add {kind: sanity, slope: [0.5, 2]}, which blocks: no other rule looks at every score",
        )

    def _ruined_slice(self, name: str, good: Floats) -> Iterator[_Planted]:
        if not self.evidence.slices.get(name):
            return
        values = self.evidence.slices[name]
        label = max(values, key=lambda value: (len(values[value]), value))
        ruined, places = good.copy(), values[label]
        ruined[places] = np.random.default_rng(self.evidence.seed).permutation(good[places])
        yield _Planted(
            f"{name} {label} ruined",
            f"stopped by a rule on {name} {label}",
            lambda: self._judged(self._measured(ruined), self.evidence.champion, self.evidence.champion_scores),
            lambda verdicts: _stopped(verdicts, lambda one: one.slice == f"{name} {label}" and _was_judged(one)),
            f"no rule that blocks sees it: add one with slice: {name}, such as "
            f"{self._example(f'slice: {name}, minimum: 0.6, tested: point')}",
        )

    def _bad_champions(self, good: Evidence) -> Iterator[_Planted]:
        rules = {name: rule for name, rule in self.declared.rules.items() if isinstance(rule, Champion)}
        itself = replace(self.evidence.challenger, version="production")
        _, metric, margin = HINTS[self.evidence.task].split()
        none = f"no rule compares with production: add {{kind: champion, metric: {metric}, margin: {margin}}}"
        yield _Planted(
            "the champion itself",
            "same model",
            lambda: self._judged(good, itself, good.scores),
            lambda verdicts: _same_model(verdicts, rules),
            none,
        )
        yield _Planted(
            "a champion replaced by the challenger",
            "stopped by champion",
            lambda: self._judged(good, self._another(), good.scores),
            lambda verdicts: _stopped(verdicts, lambda one: one.id in rules and "read for the other" in one.reason),
            none,
        )
        for name, rule in rules.items():
            yield self._worse(name, rule, good.scores)
        if not any(not rule.advisory for rule in rules.values()):
            yield _Planted("worse than production", "stopped by champion", lambda: [], lambda _: None, none)

    def _worse(self, name: str, rule: Champion, good: Floats) -> _Planted:
        margin = rule.margin if rule.test == "non_inferiority" else 0.0
        values = self.evidence.slices.get(rule.slice or "", {})
        label = max(values, key=lambda value: (len(values[value]), value)) if rule.slice and values else None
        places = np.arange(len(good)) if label is None else values[label]
        where = None if label is None else f"{rule.slice} {label}"
        return _Planted(
            f"worse by twice the margin of {name}" if margin else f"no better than production, for {name}",
            f"stopped by {name}" if not rule.advisory else f"{name} fails",
            lambda: self._judged(
                self._measured(self._worse_by(rule.metric, 2 * margin, good, places)), self._another(), good
            ),
            lambda verdicts: _failed(verdicts, name, where),
            f"{name} lets it pass: is its margin of {rule.margin:g} more than what a useless model loses?",
        )

    def _worse_by(self, metric: str, amount: float, good: Floats, places: Integers) -> Floats:
        """Return scores that are worse by an amount of a metric on the rows at `places`, found by bisection."""
        if not amount:
            return self._jittered(good, 0.02)
        chosen, sample = named(metric, self.evidence.task), self.evidence.sample(good, places)
        sign, best = 1 if chosen.better == "larger" else -1, point([chosen], sample)[0]

        def loss(share: float) -> float:
            worse = replace(sample, scores=self._blended(good, share)[places])
            return sign * float(best - point([chosen], worse)[0])

        low, high = 0.0, 1.0
        if loss(high) < amount:
            raise UserError(f"no share of noise makes {metric} worse by {amount:g}")
        for _ in range(30):
            middle = (low + high) / 2
            low, high = (low, middle) if loss(middle) >= amount else (middle, high)
        worse = good.copy()
        worse[places] = self._blended(good, high)[places]
        return worse

    def _blended(self, scores: Floats, share: float) -> Floats:
        """Return scores that are mixed with another row's."""
        return distortions.blended(scores, share, np.random.default_rng(self.evidence.seed + 1), self.evidence.task)

    def _jittered(self, scores: Floats, size: float) -> Floats:
        return distortions.jittered(scores, size, np.random.default_rng(self.evidence.seed + 2), self.evidence.task)

    def _example(self, limit: str) -> str:
        return f"{{kind: threshold, metric: {HINTS[self.evidence.task].split()[0]}, {limit}}}"

    def _another(self) -> Identity:
        """Return the identity of a model that is not this commit's, of its size."""
        return Identity("production", "0" * 64, "0" * 64, self.evidence.challenger.bytes)

    def _leaks(self, good: Evidence) -> Iterator[_Planted]:
        """Plant each leak under the rules that look for leaks, whose reasons explain none of these features."""
        leak_rules = {name: rule for name, rule in self.declared.rules.items() if isinstance(rule, Leak)}
        rules = {name: rule.model_copy(update={"explained": {}}) for name, rule in leak_rules.items()}
        looking = self.declared.model_copy(update={"rules": rules})

        def right(verdicts: Sequence[Verdict], sign: str) -> str | None:
            return _stopped(verdicts, lambda one: one.metric == sign and _was_judged(one))

        for leak in planted.leaks(good, self._another()):
            yield _Planted(
                leak.name,
                f"stopped by {leak.sign} of a leak rule",
                partial(gate_verdicts.judge, looking, leak.evidence),
                partial(right, sign=leak.sign),
                f"add {{kind: leak}}, which blocks, or a stricter {leak.sign}",
            )

    def _bad_reports(self) -> Iterator[_Planted]:
        yield _Planted(
            "a truncated metrics file",
            "refused",
            self._truncated,
            lambda verdicts: "refused" if not verdicts else None,
            "reports/slices.json was read although half of it was missing",
        )
        looked_at = {name: rule for name, rule in self.declared.rules.items() if isinstance(rule, Threshold)}
        blocking = sorted(name for name, rule in looked_at.items() if not rule.advisory)
        yield _Planted(
            "a metric that is not in the reports",
            "stopped by threshold",
            self._without_metrics,
            lambda verdicts: _stopped(verdicts, lambda one: one.id in blocking and "reports/slices.json" in one.reason),
            f"no threshold that blocks: add {self._example('minimum: 0.6')}",
        )

    def _truncated(self) -> list[Verdict]:
        """Return nothing if the reports are refused for the half file."""
        text = paths.SLICES.read_text(encoding="utf-8")
        with tempfile.TemporaryDirectory() as folder:
            files.write_text(Path(folder) / paths.SLICES, text[: len(text) // 2])
            try:
                reports.read(Path(folder), [paths.SLICES])
            except UserError as error:
                if str(paths.SLICES) in str(error):
                    return []
                raise
        return [Verdict("reports", "reports", True, "pass", "was read")]

    def _without_metrics(self) -> list[Verdict]:
        slices = {
            name: {
                label: Slice(n=one.n, metrics={"other": Estimate(value=0.5, interval=None)})
                for label, one in values.items()
            }
            for name, values in self.evidence.reports.slices.items()
        }
        broken = self.evidence.reports.model_copy(update={"slices": slices})
        return gate_verdicts.judge(self.declared, replace(self.evidence, reports=broken))


def _wants_more(rule: AnyRule) -> bool:
    """Whether a rule stops a model that is no better than production."""
    superior = isinstance(rule, Champion) and rule.test == "superiority"
    return not rule.advisory and (superior or isinstance(rule, NoiseFloor))


def _passed(verdicts: Sequence[Verdict]) -> str | None:
    return "pass" if passes(verdicts) else None


def _too_good(verdict: Verdict) -> bool:
    side = "above" if better(verdict.metric or "") == "larger" else "below"
    return verdict.kind == "threshold" and side in verdict.reason


def _was_judged(verdict: Verdict) -> bool:
    return verdict.observed is not None


def _stopped(verdicts: Sequence[Verdict], rightly: Callable[[Verdict], bool]) -> str | None:
    """Return the rules that stopped a model for the right reason; None if there is none."""
    stopping = {
        verdict.id for verdict in verdicts if verdict.verdict == "fail" and verdict.blocking and rightly(verdict)
    }
    return f"stopped by {', '.join(sorted(stopping))}" if stopping else None


def _failed(verdicts: Sequence[Verdict], name: str, where: str | None) -> str | None:
    matching = [
        verdict for verdict in verdicts if verdict.id == name and verdict.slice == where and _was_judged(verdict)
    ]
    return f"{name} fails" if matching and all(verdict.verdict == "fail" for verdict in matching) else None


def _same_model(verdicts: Sequence[Verdict], rules: Iterable[str]) -> str | None:
    judged = [verdict for verdict in verdicts if verdict.id in set(rules)]
    same = all(
        verdict.verdict == "not_applicable" and verdict.reason.startswith(gate_verdicts.SAME_MODEL)
        for verdict in judged
    )
    return gate_verdicts.SAME_MODEL if judged and same else None
