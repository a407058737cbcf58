"""The planted bad challenger: a person's change that leaves the model a tenth of its trees, on the data of its day."""

from dataclasses import replace

from examples.year import managed, measures
from examples.year.learning import Learner
from examples.year.plan import CHALLENGED, FIRST, HOLDOUT, MATURES, MERGED, Version
from examples.year.strategies import Course
from trunkline.core.arrays import Floats

TREES = 20  # of 200


def judged(learner: Learner, course: Course) -> str:
    """Return in words what the gate says of it beside the version that runs then, and what it would have cost."""
    end = CHALLENGED - MATURES - HOLDOUT
    version = Version(CHALLENGED + MERGED, FIRST, end)
    content = dict(learner.params.content)
    weaker = content | {"model": content["model"] | {"max_iter": TREES}}
    scores = Learner(learner.rows, learner.state / "challenger", replace(learner.params, content=weaker)).scores(
        version
    )
    now = [each for each in course.versions if each.since <= CHALLENGED][-1]
    compared = managed.judged(learner, learner.scores(now), scores, end)
    low, high = compared.interval(measures.CONFIDENCE)
    verdict = "passes it" if managed.passes(compared) else "refuses it"
    ran, would = _month(learner, course.answers), _month(learner, scores)
    return (
        f"On {CHALLENGED} somebody proposes {TREES} trees instead of {content['model']['max_iter']}. On the newest "
        f"{HOLDOUT.days} days its log loss differs by {-compared.observed:+.4f} from that of what runs (interval "
        f"{-high:+.4f} to {-low:+.4f}); {-managed.GATE_MARGIN} more are allowed, and have to be shown "
        f"(p {compared.p_value(managed.GATE_MARGIN):.3f}): the gate {verdict}. In the month after, its warnings would "
        f"have cost {would:.0f} of 1,000 flights, those of what ran cost {ran:.0f}."
    )


def _month(learner: Learner, scores: Floats) -> float:
    chosen = learner.rows.between(CHALLENGED + MERGED, CHALLENGED + 31 * MERGED)
    return 1000 * measures.values(learner.rows, scores, chosen)["cost"]
