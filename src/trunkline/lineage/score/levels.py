"""The five levels of maturity, and what proves each; one is reached where all those below it are. Pure."""

from dataclasses import dataclass

from trunkline.lineage.score import proofs
from trunkline.lineage.score.proofs import (
    APPROVED,
    AUDITED,
    COMPOSED,
    DELIVERED,
    LOCKED,
    MONITORED,
    PINNED,
    REPRODUCED,
    RETRAINED,
    REVIEWED,
    WHOLE,
    Proof,
)


@dataclass(frozen=True)
class Level:
    """A level: what it is called, and what must be proved."""

    name: str
    proofs: tuple[Proof, ...]


LEVELS = (
    Level("manual", ()),
    Level("versioned pipeline", (COMPOSED, WHOLE, PINNED, LOCKED)),
    Level("gated", (proofs.judged("threshold", "champion", of="the model"), REVIEWED, REPRODUCED)),
    Level(
        "continuously delivered and monitored",
        (
            proofs.workflow(r"trunkline release", "what is merged is released", "no workflow runs `trunkline release`"),
            DELIVERED,
            proofs.declared("monitoring", "rules", shows="rules watch it", lacks="no rules in conf/monitoring"),
            MONITORED,
        ),
    ),
    Level(
        "retrained and audited",
        (
            proofs.workflow(r"trunkline (retrain|monitor --act)", "retraining is proposed", "no workflow retrains"),
            RETRAINED,
            APPROVED,
            AUDITED,
        ),
    ),
)
