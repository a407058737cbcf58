"""Training rows some of whose labels somebody has turned, as a model is fitted to them to see how far that moves it.

Which rows, and to which other class, is drawn at random: an attacker who knows nothing of the model (Biggio, Nelson and
Laskov, "Support vector machines under adversarial label noise", ACML 2011). Who knows it can choose worse ones.
"""

import math
from dataclasses import replace

import numpy as np
import polars as pl

from trunkline.core.dataset import Dataset


def flipped(train: Dataset, share: float, seed: int) -> Dataset:
    """Return rows of which a share, and at least one, has another class than before, each of them as likely.

    `share` is in (0, 0.5). The same rows, share and seed give the same labels.
    """
    random, codes = np.random.default_rng(seed), train.label.to_numpy().copy()
    classes, name = train.schema.classes, train.schema.label
    rows = random.choice(len(codes), math.ceil(share * len(codes)), replace=False)
    kinds = max(2, len(classes))
    codes[rows] = (codes[rows] + random.integers(1, kinds, len(rows))) % kinds
    labels = pl.Series(name, np.array(classes)[codes] if classes else codes).cast(train.frame.schema[name])
    return replace(train, frame=train.frame.with_columns(labels))
