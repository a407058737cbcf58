"""Fitted trees of CatBoost in the plain form: its borders are float32, its leaves and their sum double.

A number is rounded to float32 and goes right where it is greater than a border. A category is one number of its own
split, or has a target statistic, which is no split on the category and is not covered.
"""

import json
import tempfile
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from trunkline.core.arrays import Floats
from trunkline.pipeline.bundle.onnx.ensemble import Booleans, DecisionTree, Ensemble, Nodes, NotCovered, Sets

_LINKS: Mapping[str, str | None] = {
    **dict.fromkeys(("Logloss", "CrossEntropy"), "Sigmoid"),
    "MultiClass": "Softmax",
    **dict.fromkeys(("Poisson", "Tweedie"), "Exp"),
    **dict.fromkeys(("RMSE", "MAE", "Quantile", "Expectile", "Huber", "MAPE", "LogCosh", "Lq"), None),
}


@dataclass(frozen=True)
class _Model:
    """What CatBoost says of a model, and which category each of its hashes stands for."""

    content: Mapping[str, Any]
    numbers: Mapping[int, tuple[int, bool]]  # of each number: its column, and whether a missing one goes left
    categories: Mapping[int, int]  # of each category: its column
    codes: Mapping[int, float]  # of each hash, as a number without a sign
    outputs: int
    sets: Sets

    def split(self, split: Mapping[str, Any]) -> tuple[int, float, bool]:
        """Return column, threshold, and whether a missing number goes left."""
        if split["split_type"] == "FloatFeature":
            column, missing_left = self.numbers[split["float_feature_index"]]
            return column, float(np.float32(split["border"])), missing_left
        if split["split_type"] != "OneHotFeature":
            raise NotCovered("CatBoost's statistics of categories are not covered; set one_hot_max_size: 255")
        code = self.codes.get(split["value"] % 2**32, np.nan)
        return self.sets.column(self.categories[split["cat_feature_index"]], _other_than(code)), 0.5, False


def _other_than(code: float) -> Callable[[Floats], Booleans]:
    return lambda codes: codes != code


def read(estimator: Any, sets: Sets) -> Ensemble:
    """Return the trees of a fitted estimator of CatBoost; raises NotCovered for what is no sum of trees."""
    loss = str(json.loads(estimator.get_metadata()["params"])["loss_function"]["type"])
    if loss not in _LINKS:
        raise NotCovered(f"CatBoost's loss '{loss}' is not covered")
    model = _model(estimator, sets)
    scale, bias = model.content["scale_and_bias"]
    nested = [tree for each in model.content.get("trees", ()) for tree in _nested(each, model)]
    even = [tree for each in model.content.get("oblivious_trees", ()) for tree in _oblivious(each, model)]
    if scale != 1:
        raise NotCovered("CatBoost's scale of a model is not covered")
    return Ensemble((*nested, *even), tuple(np.broadcast_to(bias, model.outputs).tolist()), 1, _LINKS[loss], True, sets)


def _model(estimator: Any, sets: Sets) -> _Model:
    """Have CatBoost describe a model, with the hash of every category that a row may have."""
    import catboost  # noqa: PLC0415  an extra

    names, categorical = estimator.feature_names_, estimator.get_cat_feature_indices()
    longest = max((len(sets.codes[column]) for column in categorical), default=1)
    probes = pd.DataFrame({name: np.zeros(longest) for name in names})
    for column in categorical:
        probes[names[column]] = np.resize(sets.codes[column], longest).astype(np.int64)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "model.json"
        estimator.save_model(str(path), format="json", pool=catboost.Pool(probes, cat_features=categorical))
        content = json.loads(path.read_text(encoding="utf-8"))
    features = content["features_info"]
    return _Model(
        content=content,
        numbers={
            each["feature_index"]: (each["flat_feature_index"], each["nan_value_treatment"] != "AsTrue")
            for each in features.get("float_features") or ()
        },
        categories={e["feature_index"]: e["flat_feature_index"] for e in features.get("categorical_features") or ()},
        codes={int(each["hash"]): float(each["value"]) for each in features.get("cat_features_hash") or ()},
        outputs=len(np.ravel(content["scale_and_bias"][1])),
        sets=sets,
    )


def _oblivious(tree: Mapping[str, Any], model: _Model) -> Iterator[DecisionTree]:
    """Yield a tree for each class of one whose level k has one split, which is bit k of a leaf's number."""
    splits = [model.split(split) for split in tree["splits"] or ()]
    levels = [np.arange(1 << level) + (1 << level) - 1 for level in range(len(splits) + 1)]
    left = [after[: len(level)] for level, after in pairwise(levels)]
    right = [after[len(level) :] for level, after in pairwise(levels)]
    leaves = levels[-1]
    leaf = np.arange(leaves[-1] + 1) >= leaves[0]
    values = np.array(tree["leaf_values"], dtype=np.float64).reshape(len(leaves), model.outputs)
    none = [np.zeros(len(leaves), dtype=np.int64)]
    for output in range(model.outputs):
        yield Nodes(
            leaf=leaf,
            left=np.concatenate([*left, *none]),
            right=np.concatenate([*right, *none]),
            column=_each(splits, 0, leaf),
            threshold=_each(splits, 1, leaf),
            missing_left=_each(splits, 2, leaf).astype(np.bool_),
            value=np.concatenate([np.zeros(leaves[0]), values[:, output]]),
        ).tree()


def _each(splits: list[tuple[int, float, bool]], part: int, leaf: Booleans) -> Any:
    """Return a part of the split of every node of an oblivious tree, and zeros for its leaves."""
    inner = [np.full(1 << level, split[part]) for level, split in enumerate(splits)]
    values = np.concatenate([*inner, np.zeros(1 << len(splits))])
    return values.astype(np.int64) if part == 0 else values


def _nested(root: Mapping[str, Any], model: _Model) -> Iterator[DecisionTree]:
    """Yield a tree for each class of one whose nodes hold each other."""
    nodes = [root]
    for node in nodes:
        nodes += [node[side] for side in ("left", "right") if side in node]
    number = {id(node): place for place, node in enumerate(nodes)}
    splits = [model.split(node["split"]) if "split" in node else (0, 0.0, False) for node in nodes]
    for output in range(model.outputs):
        yield Nodes(
            leaf=np.array(["split" not in node for node in nodes]),
            left=np.array([number[id(node["left"])] if "split" in node else 0 for node in nodes]),
            right=np.array([number[id(node["right"])] if "split" in node else 0 for node in nodes]),
            column=np.array([split[0] for split in splits]),
            threshold=np.array([split[1] for split in splits]),
            missing_left=np.array([split[2] for split in splits]),
            value=np.array([np.ravel(node["value"])[output] if "value" in node else 0.0 for node in nodes]),
        ).tree()
