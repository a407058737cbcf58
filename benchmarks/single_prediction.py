"""One prediction in process: a bundle from a parsed request to a score, beside its parts and the pipeline it came from.

Compares, in one run, on the same rows of the holdout and one thread each: onnxruntime's own call on prepared arrays,
Bundle.score on a request (the contract's checks, the arrays, the same call), what `scorer.fastest` makes of the bundle
(the same checks and its trees, both compiled), and the scikit-learn pipeline on a one-row frame. Rounds alternate
between them, and each one's best round counts, so that a busy machine harms none alone.
Needs what `make repro` leaves. Run: python benchmarks/single_prediction.py [BUNDLE [MODEL [FEATURES]]]
"""

import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from trunkline.core.machine import pin

if TYPE_CHECKING:
    from trunkline.bundle.runtime import Bundle

ROWS, ROUNDS = 200, 30
LIMIT = 3.0  # of Bundle.score to onnxruntime's own call

Action = Callable[[Any], object]


def main() -> None:
    """Print a row per way to predict, and fail if Bundle.score is slower than the limit."""
    from rich.console import Console
    from rich.table import Table

    places = [Path("models/bundle"), Path("models/model.skops"), Path("data/features")]
    bundle, model, features = [*map(Path, sys.argv[1:]), *places[len(sys.argv) - 1 :]]
    taken = measured(bundle, model, features)
    own = taken["onnxruntime's own call"]
    table = Table("one prediction", "µs", "times onnxruntime's own")
    for name, seconds in taken.items():
        table.add_row(name, f"{1e6 * seconds:,.1f}", f"{seconds / own:,.2f}")
    Console(width=90).print(table)
    if taken["Bundle.score"] > LIMIT * own:
        raise SystemExit(f"Bundle.score takes more than {LIMIT:g} times onnxruntime's own call")


def measured(folder: Path, model: Path, features: Path) -> dict[str, float]:
    """Return the seconds of one prediction in each way, from the best round of each."""
    from trunkline.bundle.runtime import Bundle
    from trunkline.core.dataset import Dataset
    from trunkline.core.tasks import SCORE
    from trunkline.pipeline.train import fit, modelfile
    from trunkline.serve import scorer

    bundle, pipeline = Bundle.load(folder), modelfile.load(model)
    rows = Dataset.read("holdout", features).features.sample(ROWS, seed=0)
    requests = rows.to_dicts()
    session = bundle._session  # there is no other way to the call alone
    _agree(bundle, requests, fit.scores(pipeline, rows))
    ways: dict[str, tuple[Action, Sequence[Any]]] = {
        "onnxruntime's own call": (lambda feed: session.run([SCORE], feed), [_feed(bundle, row) for row in requests]),
        "Bundle.score": (bundle.score, requests),
        "scorer.fastest": (scorer.fastest(folder), requests),
        "scikit-learn, one-row frame": (pipeline.predict_proba, [fit.inputs(rows[place]) for place in range(10)]),
    }
    best = dict.fromkeys(ways, float("inf"))
    for _ in range(ROUNDS):
        for name, (action, given) in ways.items():
            best[name] = min(best[name], _seconds(action, given))
    return best


def _seconds(action: Action, given: Sequence[Any]) -> float:
    start = time.perf_counter()
    for item in given:
        action(item)
    return (time.perf_counter() - start) / len(given)


def _feed(bundle: "Bundle", request: dict[str, Any]) -> dict[str, Any]:
    import numpy as np

    from trunkline.core.graphs import CATEGORICAL, MISSING, NUMERIC

    numbers = np.array([[request[name] for name in bundle.numeric]], np.float64)
    texts = [[MISSING if request[name] is None else request[name] for name in bundle.categorical]]
    feed = {NUMERIC: numbers, CATEGORICAL: np.array(texts, object)}
    return {name: values for name, values in feed.items() if values.size}


def _agree(bundle: "Bundle", requests: Sequence[dict[str, Any]], expected: Sequence[float]) -> None:
    """Stop unless all predict the same: comparing the speed of different answers is worth nothing."""
    for request, wanted in zip(requests, expected, strict=True):
        found = bundle.score(request)
        if abs(found - wanted) > 1e-9:
            raise SystemExit(f"the bundle predicts {found}, the pipeline {wanted}: they are not of the same model")


if __name__ == "__main__":
    pin()
    main()
