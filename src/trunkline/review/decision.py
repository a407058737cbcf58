"""A decision by costs as a reviewer reads it: the threshold, the confusion on the holdout and the expected cost."""

from trunkline.pipeline.evaluate.estimate import Decided
from trunkline.review.figures import number, span
from trunkline.show.markdown import table


def markdown(decided: Decided) -> str:
    """Return it as Markdown."""
    costs, chosen, of = decided.costs, decided.chosen, decided.confusion
    rows = [
        ("taken for positive", f"{of.true_positives:,}", f"{of.false_positives:,}"),
        ("taken for negative", f"{of.false_negatives:,}", f"{of.true_negatives:,}"),
    ]
    threshold = (
        f"Positive from a score of {chosen.threshold:.4g} on, the cheapest on {chosen.rows:,} out-of-fold rows: "
        f"a false positive costs {costs['false_positive']:g}, a false negative {costs['false_negative']:g}, "
        f"and a true positive brings {costs['gain']:g}."
    )
    expected = decided.expected_cost
    cost = (
        f"Expected cost per row of the holdout: {number(expected)} ({span(expected.interval)}); "
        f"{decided.always:.4f} of taking every row for positive, {decided.never:.4f} of taking none."
    )
    return f"{threshold}\n\n{table(('on the holdout', 'is positive', 'is negative'), rows)}\n\n{cost}"
