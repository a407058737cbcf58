"""Labels are flipped in the declared share, to each other class, by the seed; a model is fitted to them once more."""

from collections import Counter

import numpy as np
import polars as pl
import pytest

from trunkline.conf.gates import POISONED, Gates
from trunkline.conf.model import Model
from trunkline.core.dataset import Dataset, Schema
from trunkline.core.features import Feature
from trunkline.pipeline.rivals import score
from trunkline.pipeline.rivals.poison import flipped
from trunkline.pipeline.train import fit

ROWS = 1000
TREE = Model.parse({"_target_": "sklearn.tree.DecisionTreeClassifier"})
STEADY = {"steady": {"kind": "poisoning", "metric": "log_loss", "maximum": 1}}


def rows(labels: pl.Series, classes: tuple[str, ...] = ()) -> Dataset:
    frame = pl.DataFrame({"x": np.arange(len(labels), dtype=np.float64), "y": labels})
    task = "multiclass" if classes else "binary"
    return Dataset(frame, Schema((Feature("x", "numeric"),), "y", "UTC", task, classes))


@pytest.mark.parametrize(
    ("labels", "classes"),
    [
        (pl.Series([0, 1] * (ROWS // 2), dtype=pl.Int8), ()),
        (pl.Series([True, False] * (ROWS // 2)), ()),
        (pl.Series(["a", "b", "c", "a"] * (ROWS // 4)), ("a", "b", "c")),
        (pl.Series([3, 4, 5, 6] * (ROWS // 4)), ("3", "4", "5", "6")),
    ],
)
def test_so_many_rows_have_another_of_the_classes_and_the_type_stays(labels: pl.Series, classes: tuple[str, ...]):
    train = rows(labels, classes)
    poisoned = flipped(train, 0.1, 7)
    before, after = train.label.to_numpy(), poisoned.label.to_numpy()
    assert (before != after).sum() == ROWS // 10
    assert set(after) == set(before)
    moves = Counter((a, b) for a, b in zip(before.tolist(), after.tolist(), strict=True) if a != b)
    kinds = max(2, len(classes))
    assert len(moves) == kinds * (kinds - 1), "each class goes to each other one"
    assert poisoned.frame.schema == train.frame.schema
    assert poisoned.frame["x"].equals(train.frame["x"])


def test_the_seed_says_which_and_one_row_is_the_least():
    train = rows(pl.Series([0, 1] * (ROWS // 2), dtype=pl.Int8))
    assert flipped(train, 0.1, 7).frame.equals(flipped(train, 0.1, 7).frame)
    assert not flipped(train, 0.1, 7).frame.equals(flipped(train, 0.1, 8).frame)
    assert (flipped(train, 1e-9, 7).label != train.label).sum() == 1


def test_a_tree_that_learns_by_heart_hands_each_flip_on_and_no_other_rival_sees_them():
    train = rows(pl.Series([0] * 500 + [1] * 500, dtype=pl.Int8))
    rivals = score.rivals(Gates.parse({"rules": STEADY, "poisoned": 0.1, "seeds": 1}), TREE, 7)
    assert list(rivals) == [POISONED, "seed_1"]
    fitted = score.fitted(rivals, train, 1)
    moved = {
        name: int((fit.scores(model, train.features) != train.label.to_numpy()).sum()) for name, model in fitted.items()
    }
    assert moved == {POISONED: 100, "seed_1": 0}
    assert POISONED not in score.rivals(
        Gates.parse({"rules": {"sane": {"kind": "sanity", "slope": [0.5, 2]}}}), TREE, 7
    )
