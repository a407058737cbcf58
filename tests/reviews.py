"""Reviews for the tests of what is rendered from them: may be merged, blocked, stale, and full of hostile texts."""

import json
from dataclasses import replace
from pathlib import Path

from hypothesis import strategies as st

from trunkline.deploy.cost import Cost
from trunkline.deploy.moves import Move
from trunkline.pipeline.claims import Refuted
from trunkline.pipeline.evaluate.estimate import Estimate, Slice
from trunkline.pipeline.plan.reasons import ReproPlan, Step
from trunkline.pipeline.reports import Past, Reports
from trunkline.pipeline.search.summary import Searched, Tried
from trunkline.review.attribution.shares import Attribution, FactorShare
from trunkline.review.data import Config, Curve, Merge, Moved, Pending, Reliance, Review
from trunkline.review.derived import KnownBecause
from trunkline.review.kind import CodeChange
from trunkline.show.differences import Difference

REPORTS = json.loads((Path(__file__).parent / "golden/report/reports.json").read_text(encoding="utf-8"))
HOSTILE = (
    "<script>alert(1)</script> ![x](https://evil.example/p.png) [y](javascript:1) @octocat #1 GH-7 `x` | a | "
    "**b** <!-- trunkline:report --> www.evil.example \n# big \u202e\x1b[31m & </details> $a$ ~~c~~ \\`d\\` _e_"
)


def moved(name, before, now, better, interval=None, *, where="", rows=900):
    estimates = [value and Estimate(value=value, interval=(value - 0.03, value + 0.03)) for value in (before, now)]
    return Moved(name, where, rows, *estimates, better, interval)


def step(name, action="unchanged", reasons=(), seconds=2.0):
    return Step(name, action, tuple(reasons), seconds, ())


def passing():
    content = json.loads(json.dumps(REPORTS))
    content["gates"]["gates"][1]["verdict"] = "pass"
    content["gates"]["verdict"] = "pass"
    return Reports.model_validate(content)


REVIEW = Review(
    name="flight-delay",
    target="main",
    base="a" * 40,
    head="b" * 40,
    dirty=False,
    behind=0,
    plan=ReproPlan(
        "a" * 40,
        (
            step("compose", reasons=["conf/model/gbm.yaml changed"], seconds=3.0),
            step("features", seconds=None),
            step("train", reasons=["model.max_iter 200 → 150", "scikit-learn 1.9.1 → 1.9.2 in locks/pipeline.txt"]),
            step("evaluate", reasons=["upstream: train"]),
        ),
    ),
    config=(Config(Difference("model.max_iter", 200, 150), ("train", "rivals", "bundle")),),
    whole=(
        moved("roc_auc", 0.7649, 0.7712, 0.0063, (0.0021, 0.0102)),
        moved("log_loss", 0.5264, 0.5271, -0.0007, (-0.002, 0.0005)),
        moved("brier", 0.1754, 0.1754, 0.0, (0.0, 0.0)),
        moved("average_precision", None, 0.61, None),
    ),
    slices=(moved("roc_auc", 0.70, 0.66, -0.04, where="origin JFK"), moved("roc_auc", 0.7, 0.7, 0.0, where="hour 6")),
    reports=passing(),
    past=Past(),
    curves=(
        Curve("calibration", ((0.1, 0.08), (0.3, 0.35), (0.7, 0.66))),
        Curve("roc", ((0.0, 0.0), (0.2, 0.6), (1.0, 1.0)), base=((0.0, 0.0), (0.3, 0.5), (1.0, 1.0))),
        Curve("precision_recall", ((0.0, 1.0), (0.5, 0.7), (1.0, 0.3)), base=((0.0, 1.0), (0.5, 0.6), (1.0, 0.3))),
        Curve("negative_scores", ((0.25, 0.8), (0.75, 0.2)), base=((0.25, 0.7), (0.75, 0.3))),
        Curve("positive_scores", ((0.25, 0.3), (0.75, 0.7))),
    ),
    reliances=(Reliance("hour", 0.41, 0.38), Reliance("wind", 0.12, None)),
)
ABSENT = Estimate(None, None, "none of 900 rows is of the class 'x | @octocat'")
UNDEFINED = replace(
    REVIEW,
    whole=(replace(REVIEW.whole[0], now=ABSENT, better=None, interval=None), *REVIEW.whole[1:]),
    reports=REVIEW.reports.model_copy(
        update={"slices": REVIEW.reports.slices | {"zone": {"north": Slice(900, {"roc_auc": ABSENT})}}}
    ),
)
SEARCHED = Searched(
    "5 trials (1 pruned), best log_loss over 3 folds 0.4801 (logistic), was 0.48124",
    "log_loss",
    (
        Tried("declared", "complete", 0.48124),
        Tried("logistic", "complete", 0.4801),
        Tried("declared", "failed", None),
        Tried("declared", "pruned", 0.51),
        Tried("logistic", "complete", 0.4911),
    ),
    (("logistic.C", 0.8), ("declared.max_iter", 0.2)),
)
BLOCKED = replace(
    REVIEW,
    search=SEARCHED,
    reports=Reports.model_validate(REPORTS),
    behind=3,
    dirty=True,
    config=(),
    slices=(),
    whole=tuple(replace(one, interval=None) for one in REVIEW.whole),
)
STALE = replace(
    REVIEW, plan=replace(REVIEW.plan, steps=(*REVIEW.plan.steps, step("gate", "runs", ["is new"]))), behind=1
)


FORGED = replace(
    REVIEW,
    config=(Config(Difference("gates.rules.ranks.minimum", 0.7, 0.6), ("gate",)), *REVIEW.config),
    code=CodeChange(("dvc.yaml", "src/trunkline/pipeline/train/fit.py"), ("@acme/ml", "@acme/on-call")),
    refuted=(
        Refuted(
            "evaluate", "reports/metrics.json", "5d41402abc4b2a76b9719d911017c592", "7d793037a0760186574b0282f2f435e7"
        ),
    ),
)
PROMOTES = replace(
    REVIEW,
    config=(),
    whole=tuple(replace(one, before=one.now, better=0.0, interval=(0.0, 0.0)) for one in REVIEW.whole),
    slices=(),
    plan=replace(REVIEW.plan, steps=(step("train"), step("champion", reasons=["models/registry.yaml changed"]))),
    same_model=True,
    moves=(Move("production", "v3", "v4", "v4", back=False, signer="release"),),
)
ROLLS_BACK = replace(
    PROMOTES,
    reports=Reports.model_validate(REPORTS),
    moves=(Move("production", "v4", "v3", "v3", back=True, signer="release"),),
)


TOLD_APART = Attribution(
    metric="roc_auc",
    better="larger",
    base="a" * 40,
    head="b" * 40,
    before=0.7649,
    after=0.7712,
    shares=(
        FactorShare("config", ("model.max_iter 200 → 150",), 0.7700, 0.0051, ""),
        FactorShare("code", ("src/trunkline/pipeline/train/fit.py",), None, None, "train: no such key"),
    ),
    move=0.0063,
    interaction=0.0012,
    notes=("the holdout has 9 rows and had 8",),
)
MOVED_ON = replace(
    REVIEW,
    behind=2,
    merge=Merge((), (Pending("train", ("model.depth 3 → 4",)), Pending("gate", ()))),
    latency=23.4e-6,
    attribution=TOLD_APART,
    costs=(
        Cost("run", 0.0123, "EUR", "41 s of stages"),
        Cost("million_predictions", 0.00026, "EUR", "23 µs of the model for each"),
        Cost("month", 1234.5, "EUR", "4,000,000 logged rows, 0.12 GB stored"),
    ),
)


def hostile(words):
    """A review in which everything that others write is these words."""
    content = json.loads(json.dumps(REPORTS))
    for verdict in content["gates"]["gates"]:
        verdict |= {"id": words, "slice": words, "reason": words}
    content["gates"]["champion"]["version"] = words
    content["bundle"] |= {"runtime": "sklearn", "reason": words}
    content["slices"] = {words: {words: next(iter(content["slices"]["origin"].values()))}, **content["slices"]}
    content["validation"] = {words: {"rows": 1, "quarantined": 1, "checks": {words: 1}}}
    return replace(
        REVIEW,
        name=words,
        target=words,
        behind=2,
        uncommitted=() if len(words) % 3 else (words,),
        moves=(Move(words, words, words, words, back=False, refused=words, signer=words),),
        merge=Merge((), (Pending(words, (words,)),)) if len(words) % 2 else Merge((words,), ()),
        attribution=replace(TOLD_APART, shares=(FactorShare(words, (words,), None, None, words),), notes=(words,)),
        plan=ReproPlan("a" * 40, (step(words, reasons=[words]),)),
        config=(Config(Difference(words, words, [words]), (words,)),),
        derived=(KnownBecause(words, words, words),),
        whole=(replace(REVIEW.whole[0], metric=words), *REVIEW.whole[1:]),
        slices=(moved(words, 0.7, 0.6, -0.1, where=words),),
        reports=Reports.model_validate(content),
        reliances=(Reliance(words, 0.4, None),),
        costs=(Cost("run", 1.0, words, words),),
        search=Searched(words, words, (Tried(words, "complete", 0.5), Tried(words, "pruned", 0.6)), ((words, 0.9),)),
    )


def many(words, size):
    """A hostile review that has a lot to say."""
    content = hostile(words)
    gates = content.reports.gates.model_copy(update={"gates": content.reports.gates.gates * size})
    return replace(
        content,
        config=content.config * size,
        slices=content.slices * size,
        whole=content.whole * size,
        plan=ReproPlan("a" * 40, content.plan.steps * size),
        reports=content.reports.model_copy(update={"gates": gates}),
    )


def words_of_others():
    """A strategy of texts that try to be more than text."""
    parts = st.lists(st.sampled_from(HOSTILE.split(" ")), max_size=9).map(" ".join)
    return st.just(HOSTILE) | st.text(max_size=60) | parts
