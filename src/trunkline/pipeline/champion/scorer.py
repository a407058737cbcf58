"""How the bundle in a folder scores rows, whichever its runtime is."""

from collections.abc import Callable
from functools import partial
from pathlib import Path

import polars as pl

from trunkline.bundle import columns
from trunkline.bundle.manifest import MODELS
from trunkline.bundle.runtime import Bundle
from trunkline.core.arrays import Floats

Scorer = Callable[[pl.DataFrame], Floats]


def scorer(folder: Path) -> Scorer:
    """Return what scores features by a bundle, numeric ones Float64 and categorical ones String: one score per row.

    Of several classes, it is one per row and class, shape (n, classes). Raises UserError for a graph that is not what
    the bundle's manifest says.
    """
    if (folder / MODELS["onnx"]).exists():
        return partial(columns.graph_scores, Bundle.load(folder))
    from trunkline.pipeline.train import fit, modelfile  # noqa: PLC0415  imports scikit-learn

    return partial(fit.scores, modelfile.load(folder / MODELS["sklearn"]))
