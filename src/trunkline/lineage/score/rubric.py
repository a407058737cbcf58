"""The 28 tests of the ML Test Score, and what of a repository proves each. Pure.

Breck, Cai, Nielsen, Salib and Sculley, "The ML Test Score: A Rubric for ML Production Readiness and Technical Debt
Reduction", IEEE Big Data 2017. Half a point is for what was done, a whole one for what is done by itself for each
change. A section has the sum of its points, and the whole has that of the lowest section.
"""

from dataclasses import dataclass
from typing import Any, Literal

from trunkline.core import paths
from trunkline.lineage.score import proofs
from trunkline.lineage.score.proofs import (
    APPROVED,
    CANARIED,
    DELIVERED,
    FEATURED,
    LOCKED,
    MONITORED,
    PINNED,
    REPRODUCED,
    REVIEWED,
    ROLLED_BACK,
    TESTED,
    WHOLE,
    Proof,
)

Section = Literal["data", "model", "infrastructure", "monitoring"]
SECTIONS: tuple[Section, ...] = ("data", "model", "infrastructure", "monitoring")


@dataclass(frozen=True)
class Test:
    """A test of a section: what must be proved for half a point, and what besides for a whole one."""

    section: Section
    claim: str
    done: tuple[Proof, ...]
    automated: tuple[Proof, ...]


def _watches(of: str, what: str, measure: str | None = None) -> Proof:
    def wanted(rule: Any) -> bool:
        return isinstance(rule, dict) and rule.get("of") == of and measure in (None, rule.get("subject"))

    lacks = f"no rule of conf/monitoring is of {of}"
    return proofs.any_of("monitoring", "rules", wanted=wanted, shows=f"{what} is watched", lacks=lacks)


def _gate(kind: str, shows: str) -> Proof:
    def wanted(rule: Any) -> bool:
        return isinstance(rule, dict) and rule.get("kind") == kind

    return proofs.any_of("gates", "rules", wanted=wanted, shows=shows, lacks=f"no rule of kind {kind} in conf/gates")


_PARITY = proofs.report(
    paths.BUNDLE_REPORT,
    "parity",
    "the bundle scores row by row as what was trained does",
    "reports/bundle.json has no comparison of the bundle with the model",
)
_CONTRACT = proofs.declared("contract", shows="each column has its contract", lacks="no contract: write conf/contract")
_WATCHED = (MONITORED, DELIVERED)

TESTS = (
    Test("data", "Feature expectations are captured in a schema", (_CONTRACT, WHOLE), (REVIEWED,)),
    Test(
        "data",
        "All features are beneficial",
        (proofs.unprovable("no file of a commit says what each feature adds; `trunkline attribute` leaves none"),),
        (),
    ),
    Test(
        "data",
        "No feature's cost is too much",
        (_gate("operational", "the size or the time of the whole bundle has a limit"),),
        (proofs.unprovable("what a single feature costs is measured nowhere"),),
    ),
    Test(
        "data",
        "Features adhere to meta-level requirements",
        (proofs.judged("leak", of="what features may know"),),
        (REVIEWED,),
    ),
    Test(
        "data",
        "The data pipeline has appropriate privacy controls",
        (
            proofs.any_of(
                "contract",
                "tables",
                wanted=lambda table: isinstance(table, dict) and bool(table.get("privacy")),
                shows="columns have privacy classes",
                lacks="no class of privacy in conf/contract",
            ),
        ),
        (REVIEWED,),
    ),
    Test(
        "data",
        "New features can be added quickly",
        (proofs.declared("features", shows="features are declared", lacks="no conf/features"),),
        (FEATURED,),
    ),
    Test(
        "data",
        "All input feature code is tested",
        (proofs.named("tests/*features/test_*.py", "features have tests", "no tests of features"),),
        (TESTED,),
    ),
    Test(
        "model",
        "Model specs are reviewed and submitted",
        (proofs.declared("model", shows="the model is declared", lacks="no conf/model"), REVIEWED),
        (APPROVED,),
    ),
    Test(
        "model",
        "Offline and online metrics correlate",
        (_watches("performance", "the holdout's metric on outcomes"), *_WATCHED),
        (proofs.unprovable("no file of a commit has both metrics of several versions"),),
    ),
    Test(
        "model",
        "All hyperparameters have been tuned",
        (
            proofs.declared("search", "trials", shows="a search is declared", lacks="no search: conf/search is none"),
            proofs.report(paths.CHOICE, "model", "a search has chosen the model", "reports/search has no choice"),
        ),
        (REPRODUCED,),
    ),
    Test(
        "model",
        "The impact of model staleness is known",
        (
            proofs.report(
                paths.BACKTEST,
                "origins",
                "the model is measured as trained at earlier days",
                "no backtest: declare evaluation.backtest",
            ),
        ),
        (REPRODUCED,),
    ),
    Test(
        "model",
        "A simpler model is not better",
        (proofs.judged("simplicity", of="the model beside a simpler one"),),
        (REVIEWED,),
    ),
    Test(
        "model",
        "Model quality is sufficient on important data slices",
        (proofs.judged("threshold", "champion", of="slices", sliced=True),),
        (REVIEWED,),
    ),
    Test(
        "model",
        "The model is tested for considerations of inclusion",
        (proofs.judged("fairness", of="groups beside each other"),),
        (REVIEWED,),
    ),
    Test("infrastructure", "Training is reproducible", (WHOLE, PINNED, LOCKED), (REPRODUCED,)),
    Test(
        "infrastructure",
        "Model specs are unit tested",
        (REVIEWED,),
        (proofs.named("tests/*train/test_*.py", "training has tests", "no tests of training"), TESTED),
    ),
    Test("infrastructure", "The ML pipeline is integration tested", (WHOLE,), (REPRODUCED,)),
    Test(
        "infrastructure",
        "Model quality is validated before serving",
        (proofs.judged("threshold", "champion", of="the model"),),
        (proofs.workflow(r"trunkline (gate|ci review)", "each change is gated", "no workflow runs `trunkline gate`"),),
    ),
    Test(
        "infrastructure",
        "The model is debuggable",
        (_PARITY,),
        (
            proofs.declared(
                "serving", "log", shows="each prediction can be replayed", lacks="no serving.log is declared"
            ),
        ),
    ),
    Test(
        "infrastructure",
        "Models are canaried before serving",
        (
            proofs.any_of(
                "deploy",
                "environments",
                wanted=lambda target: isinstance(target, dict) and bool(target.get("rollout")),
                shows="an environment has a rollout in steps",
                lacks="no environment of conf/deploy declares a rollout",
            ),
        ),
        (CANARIED,),
    ),
    Test(
        "infrastructure",
        "Serving models can be rolled back",
        (
            proofs.workflow(
                r"trunkline rollback", "a workflow proposes a way back", "no workflow runs `trunkline rollback`"
            ),
        ),
        (ROLLED_BACK,),
    ),
    Test("monitoring", "Dependency changes result in notification", (PINNED, LOCKED), (REVIEWED,)),
    Test("monitoring", "Data invariants hold for inputs", (_CONTRACT, _watches("feature", "each input")), _WATCHED),
    Test(
        "monitoring",
        "Training and serving are not skewed",
        (_PARITY,),
        (
            proofs.workflow(r"trunkline (skew|replay)", "logs are scored again", "no workflow runs `trunkline replay`"),
            DELIVERED,
        ),
    ),
    Test(
        "monitoring",
        "Models are not too stale",
        (
            proofs.any_of(
                "monitoring",
                "rules",
                wanted=lambda rule: isinstance(rule, dict) and rule.get("then") == "retrain",
                shows="a rule says when to retrain",
                lacks="no rule of conf/monitoring has `then: retrain`",
            ),
        ),
        _WATCHED,
    ),
    Test("monitoring", "Models are numerically stable", (proofs.judged("sanity", of="every score"),), (REVIEWED,)),
    Test(
        "monitoring",
        "Computing performance has not regressed",
        (_watches("system", "the time of an answer", "latency"),),
        _WATCHED,
    ),
    Test("monitoring", "Prediction quality has not regressed", (_watches("performance", "quality"),), _WATCHED),
)
