"""The models that the self-test plants: bad ones, each with the reason for which it must be stopped, and good ones."""

import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import numpy as np

from trunkline.bundle.manifest import Identity
from trunkline.conf.evaluation import EXPECTED_COST, LABEL, WHOLE, Evaluation
from trunkline.conf.gates import (
    AnyRule,
    Champion,
    Evasion,
    Gates,
    Leak,
    Membership,
    Monotonic,
    NoiseFloor,
    Poisoning,
    Threshold,
)
from trunkline.core import files, paths
from trunkline.core.arrays import Floats, Integers
from trunkline.core.errors import UserError
from trunkline.core.tasks import Task
from trunkline.pipeline import reports
from trunkline.pipeline.evaluate import decision
from trunkline.pipeline.evaluate import slices as evaluate_slices
from trunkline.pipeline.evaluate.bootstrap import Resamples
from trunkline.pipeline.evaluate.estimate import Estimate, Slice
from trunkline.pipeline.evaluate.metrics.kinds import point
from trunkline.pipeline.evaluate.metrics.registry import named
from trunkline.pipeline.gate import distortions, outcomes, planted
from trunkline.pipeline.gate import verdicts as gate_verdicts
from trunkline.pipeline.gate.evidence import Evidence
from trunkline.pipeline.reports import DecisionReport, Verdict, passes

SHARE_OF_NAN = 0.01
GOOD = "pass"
LEAKED = "a leaked column, absurdly good"
WORSE = "worse by twice the margin of {}"  # of a rule
HINTS: dict[Task, str] = {  # a metric that a useless model fails, and one to compare by
    "binary": "roc_auc log_loss 0.005",
    "multiclass": "balanced_accuracy log_loss 0.005",
    "ordinal": "quadratic_kappa ranked_probability 0.005",
    "regression": "r2 rmse 1",
    "count": "poisson_d2 poisson_deviance 0.05",
    "quantile": "pinball_d2 pinball 0.5",
    "ranking": "ndcg ndcg 0.01",
    "multilabel": "macro_roc_auc log_loss 0.005",
}


@dataclass(frozen=True)
class Plant:
    """A model to plant: how it is judged, the outcome that it must have, and what the rules lack if it has another."""

    name: str
    wanted: str
    judge: Callable[[], Sequence[Verdict]]
    right: Callable[[Sequence[Verdict]], str | None]  # which rule it was, or None
    missing: str


@dataclass(frozen=True)
class Planter:
    """Makes the models out of this commit's evidence, for the declared rules."""

    declared: Gates
    measured: Evaluation
    evidence: Evidence

    def all(self) -> Iterator[Plant]:
        """Yield every model."""
        good = self._known_good()
        yield from self._good_ones(good)
        yield from self._bad_scores(good.scores)
        for name in self.measured.slices:
            yield from self._ruined_slice(name, good.scores)
        yield from self._bad_champions(good)
        yield from self._leaks(good)
        yield from self._wrong_ways(good)
        yield from self._attacked(good)
        yield from self._bad_reports()

    def _known_good(self) -> Evidence:
        """Return a model that passes these rules by itself, if this commit has one."""
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
        looked_at: dict[str, set[str]] = {WHOLE: set()}
        for rule in self.declared.rules.values():
            if isinstance(rule, Threshold) and rule.metric != EXPECTED_COST:
                looked_at.setdefault(rule.slice or WHOLE, set()).add(rule.metric)
        slices: dict[str, dict[str, Slice]] = {}
        for name, metrics in sorted(looked_at.items()):
            params = self.measured.model_copy(update={"metrics": tuple(sorted(metrics))})
            if name == LABEL and sample.task == "multilabel":
                slices[name] = evaluate_slices.by_label(sample, self.evidence.classes, params, resamples)
                continue
            values = {WHOLE: np.arange(len(scores))} if name == WHOLE else self.evidence.slices[name]
            slices[name] = {
                label: Slice(len(places), evaluate_slices.estimates(sample.part(places), params, resamples))
                for label, places in values.items()
            }
        before = self.evidence.reports
        decided = decision.measured(sample, before.decision.chosen, self.measured, self.evidence.seed)
        measured = before.model_copy(update={"slices": slices, "decision": DecisionReport(decided=decided)})
        poisoned = self.evidence.poisoned_scores if scores is self.evidence.scores else scores  # one that is fitted
        return replace(self.evidence, scores=scores, poisoned_scores=poisoned, reports=measured)

    def _good_ones(self, good: Evidence) -> Iterator[Plant]:
        other = self._another()
        missing = "no model here passes these rules by itself, so nothing shows that they let a good one through"
        yield Plant("a good first model", GOOD, lambda: self._judged(good), outcomes.passed, missing)
        yield Plant(
            "better than production",
            GOOD,
            lambda: self._judged(good, other, self._blended(good.scores, 0.3)),
            outcomes.passed,
            f"{missing}; or a margin cannot be met",
        )
        equal = self._jittered(good.scores, 0.02)
        blocking = [name for name, rule in self.declared.rules.items() if _wants_more(rule)]
        yield Plant(
            "as good as production",
            f"stopped by {', '.join(blocking)}" if blocking else GOOD,
            lambda: self._judged(self._measured(equal), other, good.scores),
            (lambda verdicts: outcomes.stopped(verdicts, lambda verdict: verdict.id in blocking))
            if blocking
            else outcomes.passed,
            "an equal model should pass: if a champion rule stopped it, its margin is too small to be shown to be met, "
            "so widen that; any other rule stops the model itself",
        )

    def _bad_scores(self, good: Floats) -> Iterator[Plant]:
        random, labels, task = np.random.default_rng(self.evidence.seed), self.evidence.labels, self.evidence.task

        def judged(scores: Floats) -> list[Verdict]:
            return self._judged(self._measured(scores), self.evidence.champion, self.evidence.champion_scores)

        def planted(name: str, scores: Floats, kinds: tuple[str, ...], missing: str) -> Plant:
            def right(verdicts: Sequence[Verdict]) -> str | None:
                return outcomes.stopped(
                    verdicts, lambda verdict: verdict.kind in kinds and outcomes.was_judged(verdict)
                )

            return Plant(name, f"stopped by {' or '.join(kinds)}", partial(judged, scores), right, missing)

        useless = ("threshold", "champion", "simplicity")
        hint = f"add a minimum, such as {self._example('minimum: 0.6')}"
        yield planted("shuffled scores", random.permutation(good), useless, hint)
        yield planted("inverted scores", distortions.inverted(good, task), useless, hint)
        constant = np.broadcast_to(good.mean(axis=0), good.shape)
        yield Plant(
            "a constant score",
            "stopped by sanity",
            partial(judged, constant),
            lambda verdicts: outcomes.stopped(
                verdicts, lambda verdict: verdict.kind == "sanity" and "the same" in verdict.reason
            ),
            "add {kind: sanity, slope: [0.5, 2]}, which blocks",
        )
        leaked = distortions.leaked(good, labels, task)
        yield Plant(
            LEAKED,
            "stopped by a maximum",
            partial(judged, leaked),
            lambda verdicts: outcomes.stopped(verdicts, outcomes.too_good),
            f"add a maximum, such as {self._example('maximum: 0.98')}: too good to be true is a leak",
        )
        broken = good.copy()
        broken[random.random(len(good)) < SHARE_OF_NAN] = np.nan
        yield Plant(
            "scores that are NaN",
            "stopped for its scores",
            lambda: gate_verdicts.judge(self.declared, replace(self.evidence, scores=broken)),
            lambda verdicts: outcomes.stopped(verdicts, lambda verdict: "wrong score" in verdict.reason),
            "add {kind: sanity, slope: [0.5, 2]}, which blocks: no other rule looks at every score",
        )

    def _ruined_slice(self, name: str, good: Floats) -> Iterator[Plant]:
        if not self.evidence.slices.get(name):
            return
        values = self.evidence.slices[name]
        label = max(values, key=lambda value: (len(values[value]), value))
        ruined, places = good.copy(), values[label]
        ruined[places] = np.random.default_rng(self.evidence.seed).permutation(good[places])
        yield Plant(
            f"{name} {label} ruined",
            f"stopped by a rule on {name} {label}",
            lambda: self._judged(self._measured(ruined), self.evidence.champion, self.evidence.champion_scores),
            lambda verdicts: outcomes.stopped(
                verdicts, lambda verdict: verdict.slice == f"{name} {label}" and outcomes.was_judged(verdict)
            ),
            f"no rule that blocks sees it: add one with slice: {name}, such as "
            f"{self._example(f'slice: {name}, minimum: 0.6, tested: point')}",
        )

    def _bad_champions(self, good: Evidence) -> Iterator[Plant]:
        champions = {name: rule for name, rule in self.declared.rules.items() if isinstance(rule, Champion)}
        itself = replace(self.evidence.challenger, version="production")
        _, metric, margin = HINTS[self.evidence.task].split()
        none = f"no rule compares with production: add {{kind: champion, metric: {metric}, margin: {margin}}}"
        yield Plant(
            "the champion itself",
            "same model",
            lambda: self._judged(good, itself, good.scores),
            lambda verdicts: outcomes.same_model(verdicts, champions),
            none,
        )
        yield Plant(
            "a champion replaced by the challenger",
            "stopped by champion",
            lambda: self._judged(good, self._another(), good.scores),
            lambda verdicts: outcomes.stopped(
                verdicts, lambda verdict: verdict.id in champions and "read for the other" in verdict.reason
            ),
            none,
        )
        for name, rule in champions.items():
            yield self._worse(name, rule, good.scores)
        if not any(not rule.advisory for rule in champions.values()):
            yield Plant("worse than production", "stopped by champion", lambda: [], lambda _: None, none)

    def _worse(self, name: str, rule: Champion, good: Floats) -> Plant:
        margin = rule.margin if rule.test == "non_inferiority" else 0.0
        values = self.evidence.slices.get(rule.slice or "", {})
        label = max(values, key=lambda value: (len(values[value]), value)) if rule.slice and values else None
        places = np.arange(len(good)) if label is None else values[label]
        where = None if label is None else f"{rule.slice} {label}"
        return Plant(
            WORSE.format(name) if margin else f"no better than production, for {name}",
            f"stopped by {name}" if not rule.advisory else f"{name} fails",
            lambda: self._judged(
                self._measured(self._worse_by(rule.metric, 2 * margin, good, places)), self._another(), good
            ),
            lambda verdicts: outcomes.failed(verdicts, name, where),
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

    def _leaks(self, good: Evidence) -> Iterator[Plant]:
        """Yield each leak, under the leak rules without their declared reasons."""
        leak_rules = {name: rule for name, rule in self.declared.rules.items() if isinstance(rule, Leak)}
        unexplained = {name: rule.model_copy(update={"explained": {}}) for name, rule in leak_rules.items()}
        looking = self.declared.model_copy(update={"rules": unexplained})

        def right(verdicts: Sequence[Verdict], sign: str) -> str | None:
            return outcomes.stopped(verdicts, lambda verdict: verdict.metric == sign and outcomes.was_judged(verdict))

        for leak in planted.leaks(good, self._another()):
            yield Plant(
                leak.name,
                f"stopped by {leak.sign} of a leak rule",
                partial(gate_verdicts.judge, looking, leak.evidence),
                partial(right, sign=leak.sign),
                f"add {{kind: leak}}, which blocks, or a stricter {leak.sign}",
            )

    def _wrong_ways(self, good: Evidence) -> Iterator[Plant]:
        """Yield for each feature with a declared direction a model that goes back over a part of its range."""
        monotonic = {name: rule for name, rule in self.declared.rules.items() if isinstance(rule, Monotonic)}
        for name, rule in monotonic.items():
            for feature in rule.features:
                yield Plant(
                    f"{feature} moves the score the wrong way, for {name}",
                    f"{name} fails",
                    partial(self._judged_when_made, partial(planted.turned, good, feature, rule)),
                    partial(outcomes.failed, name=name, where=feature),
                    f"{name} lets it pass: is its tolerance more than the score ever moves?",
                )

    def _attacked(self, good: Evidence) -> Iterator[Plant]:
        """Yield for each rule of an attack a model on which the attack succeeds."""
        for name, rule in self.declared.rules.items():
            if isinstance(rule, Membership):
                what, attacked = "knows its training rows by heart", partial(planted.memorised, good)
            elif isinstance(rule, Evasion):
                what, attacked = "decides otherwise after half of a move", partial(planted.brittle, good, rule)
            elif isinstance(rule, Poisoning):
                share = self.declared.poisoned or 0.0
                what, attacked = "takes over each label that flips", partial(planted.impressed, good, share)
            else:
                continue
            yield Plant(
                f"a model that {what}, for {name}",
                f"{name} fails",
                partial(self._judged_when_made, attacked),
                partial(outcomes.failed, name=name, where=None),
                f"{name} lets it pass: is its maximum more than such a model reaches?",
            )

    def _judged_when_made(self, make: Callable[[], Evidence]) -> list[Verdict]:
        return self._judged(make())

    def _bad_reports(self) -> Iterator[Plant]:
        yield Plant(
            "a truncated metrics file",
            "refused",
            self._truncated,
            lambda verdicts: "refused" if not verdicts else None,
            "reports/slices.json was read although half of it was missing",
        )
        looked_at = {name: rule for name, rule in self.declared.rules.items() if isinstance(rule, Threshold)}
        blocking = sorted(name for name, rule in looked_at.items() if not rule.advisory)
        yield Plant(
            "a metric that is not in the reports",
            "stopped by threshold",
            self._without_metrics,
            lambda verdicts: outcomes.stopped(
                verdicts, lambda verdict: verdict.id in blocking and "reports/slices.json" in verdict.reason
            ),
            f"no threshold that blocks: add {self._example('minimum: 0.6')}",
        )

    def _truncated(self) -> list[Verdict]:
        """Return no verdict if the reports are refused because of the half file."""
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
                label: Slice(n=part.n, metrics={"other": Estimate(value=0.5, interval=None)})
                for label, part in values.items()
            }
            for name, values in self.evidence.reports.slices.items()
        }
        broken = self.evidence.reports.model_copy(update={"slices": slices})
        return gate_verdicts.judge(self.declared, replace(self.evidence, reports=broken))


def _wants_more(rule: AnyRule) -> bool:
    """Whether a rule stops a model that is no better than production."""
    superior = isinstance(rule, Champion) and rule.test == "superiority"
    return not rule.advisory and (superior or isinstance(rule, NoiseFloor))
