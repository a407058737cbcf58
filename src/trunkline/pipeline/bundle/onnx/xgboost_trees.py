"""Fitted trees of XGBoost in the plain form, in single precision, in which XGBoost itself compares and adds up.

The margin begins with the intercept, to which the leaf of each tree is added in float32, one after the other. The score
is made of the margin in double precision; `trunkline.pipeline.train.margins` says why.
"""

import json
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from trunkline.core.arrays import Floats
from trunkline.pipeline.bundle.onnx.ensemble import Booleans, DecisionTree, Ensemble, Nodes, NotCovered, Sets
from trunkline.pipeline.train import margins

_OPERATORS: Mapping[str, str | None] = {"logistic": "Sigmoid", "softmax": "Softmax", "exp": "Exp", "identity": None}
_EMPTY: Mapping[str, Any] = {  # a tree that adds nothing: what its library then says is the intercept
    **{name: [0.0] for name in ("base_weights", "loss_changes", "split_conditions")},
    **{name: [] for name in ("categories", "categories_nodes", "categories_segments", "categories_sizes")},
    **{name: [0] for name in ("default_left", "split_indices", "split_type")},
    **{name: [-1] for name in ("left_children", "right_children")},
    "parents": [2**31 - 1],
    "sum_hessian": [1.0],
}


def read(estimator: Any, sets: Sets) -> Ensemble:
    """Return the trees of a fitted estimator of XGBoost; raises NotCovered for what is no sum of trees."""
    link = margins.link(estimator)
    if link is None:
        raise NotCovered(f"XGBoost's objective '{estimator.objective}' is not covered")
    if not np.isnan(estimator.missing):
        raise NotCovered("XGBoost's missing is not covered; leave missing values as they are")
    content = json.loads(bytes(estimator.get_booster().save_raw("json")))
    booster = content["learner"]["gradient_booster"]
    if booster["name"] != "gbtree":
        raise NotCovered(f"XGBoost's booster '{booster['name']}' is not covered")
    grown = booster["model"]["trees"]
    if any(int(tree["tree_param"]["size_leaf_vector"]) > 1 for tree in grown):
        raise NotCovered("XGBoost's multi_strategy 'multi_output_tree' is not covered")
    outputs = max(1, int(content["learner"]["learner_model_param"]["num_class"]))
    trees = [_tree(tree, sets) for tree in _in_turns(booster["model"], margins.rounds(estimator), outputs)]
    first = [_leaf(value) for value in _intercept(content, outputs)]
    return Ensemble((*first, *trees), (0.0,) * outputs, 1, _OPERATORS[link], True, sets, single_sums=True)


def _in_turns(model: Mapping[str, Any], rounds: int | None, outputs: int) -> Iterator[Any]:
    """Yield the trees that predict, one of each class in turn; within a class they keep their order."""
    count = len(model["trees"]) if rounds is None else model["iteration_indptr"][rounds]
    of = [
        [tree for tree, output in zip(model["trees"][:count], model["tree_info"], strict=False) if output == number]
        for number in range(outputs)
    ]
    for each in zip(*of, strict=True):
        yield from each


def _intercept(content: Any, outputs: int) -> npt.NDArray[np.float32]:
    """Ask XGBoost for the margin of a model without a split, one number per class."""
    import xgboost  # noqa: PLC0415  an extra

    model = content["learner"]["gradient_booster"]["model"]
    parameters = {"num_feature": content["learner"]["learner_model_param"]["num_feature"], "num_nodes": "1"}
    empty = {**_EMPTY, "tree_param": {"num_deleted": "0", "size_leaf_vector": "1", **parameters}}
    stumps = {
        "trees": [empty | {"id": number} for number in range(outputs)],
        "tree_info": list(range(outputs)),
        "iteration_indptr": [0, outputs],
        "gbtree_model_param": {"num_parallel_tree": "1", "num_trees": str(outputs)},
    }
    learner = content["learner"] | {"gradient_booster": {"name": "gbtree", "model": model | stumps}}
    booster = xgboost.Booster()
    booster.load_model(bytearray(json.dumps(content | {"learner": learner}).encode()))
    row = np.zeros((1, int(parameters["num_feature"])), dtype=np.float32)
    return np.ravel(booster.inplace_predict(row, predict_type="margin"))


def _leaf(value: np.float32) -> DecisionTree:
    none = np.array([], dtype=np.int64)
    return DecisionTree(none, none.astype(np.float64), none.astype(np.bool_), none, none, np.array([float(value)]))


def _tree(tree: Mapping[str, Any], sets: Sets) -> DecisionTree:
    left, column = np.array(tree["left_children"]), np.array(tree["split_indices"])
    value, missing_left = np.array(tree["split_conditions"], dtype=np.float32), np.array(tree["default_left"], bool)
    threshold = np.nextafter(value, np.float32(-np.inf)).astype(np.float64)  # x < value, of numbers in float32
    parts = zip(tree["categories_nodes"], tree["categories_segments"], tree["categories_sizes"], strict=True)
    for node, start, size in parts:
        listed = np.array(tree["categories"][start : start + size], dtype=np.float64)
        column[node] = sets.column(int(column[node]), _not_in(listed, bool(missing_left[node])))
        threshold[node] = 0.5
    return Nodes(
        left < 0, left, np.array(tree["right_children"]), column, threshold, missing_left, value.astype(np.float64)
    ).tree()


def _not_in(listed: Floats, missing: bool) -> Callable[[Floats], Booleans]:
    """Return what sends the categories that a split lists to the right, and missing ones where it says."""
    return lambda codes: np.where(np.isnan(codes), missing, ~np.isin(codes, listed))
