"""Fitted trees of scikit-learn and LightGBM in the plain form, and the choice of what reads an estimator's."""

import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt
from sklearn.ensemble import (
    ExtraTreesClassifier,
    ExtraTreesRegressor,
    GradientBoostingClassifier,
    GradientBoostingRegressor,
    HistGradientBoostingClassifier,
    HistGradientBoostingRegressor,
    RandomForestClassifier,
    RandomForestRegressor,
)
from sklearn.tree import DecisionTreeClassifier, DecisionTreeRegressor

from trunkline.core.arrays import Floats
from trunkline.pipeline.bundle import fitted
from trunkline.pipeline.bundle.onnx import catboost_trees, xgboost_trees
from trunkline.pipeline.bundle.onnx.ensemble import Booleans, DecisionTree, Ensemble, Nodes, NotCovered, Sets
from trunkline.pipeline.train import margins

HISTOGRAM = (HistGradientBoostingClassifier, HistGradientBoostingRegressor)
GRADIENT = (GradientBoostingClassifier, GradientBoostingRegressor)
FORESTS = (RandomForestClassifier, RandomForestRegressor, ExtraTreesClassifier, ExtraTreesRegressor)
SINGLE = (DecisionTreeClassifier, DecisionTreeRegressor)

_ZERO = float(np.float32(1e-35))  # LightGBM's kZeroThreshold: numbers up to it, either way, are zero to its predictor
_INFINITY = 1e300  # what LightGBM's description of a model says for an infinite threshold
_SIDES = ("left_child", "right_child")
_LINKS = {"squared_error": None, "absolute_error": None, "quantile": None, "poisson": "Exp", "gamma": "Exp"}
_LIGHTGBM_LINKS = {
    **dict.fromkeys(("regression", "regression_l1", "huber", "fair", "quantile", "mape"), None),
    **dict.fromkeys(("lambdarank", "rank_xendcg"), None),
    **dict.fromkeys(("poisson", "gamma", "tweedie"), "Exp"),
}


def is_tree_model(estimator: Any) -> bool:
    """Whether `read` may know the estimator."""
    return isinstance(estimator, (*HISTOGRAM, *GRADIENT, *FORESTS, *SINGLE)) or fitted.is_booster(estimator)


def read(estimator: Any, sets: Sets) -> Ensemble:
    """Return the trees of a fitted estimator; a categorical column is one that has codes in `sets`.

    Raises NotCovered for a loss or an option whose scores would not be those of the trees.
    """
    if isinstance(estimator, HISTOGRAM):
        return _histogram(estimator, sets)
    if isinstance(estimator, GRADIENT):
        return _gradient(estimator, sets)
    if fitted.is_lightgbm(estimator):
        return _lightgbm(estimator, sets)
    if margins.is_xgboost(estimator):
        return xgboost_trees.read(estimator, sets)
    if fitted.is_catboost(estimator):
        return catboost_trees.read(estimator, sets)
    members = [estimator] if isinstance(estimator, SINGLE) else estimator.estimators_
    several, classes = getattr(estimator, "n_outputs_", 1), len(getattr(estimator, "classes_", ()))
    of_classes = [(0, number) for number in range(classes)]
    # Of two classes, and of each of several labels, the positive one's share says all.
    outputs = [(label, -1) for label in range(several)] if several > 1 or classes <= 2 else of_classes
    trees = tuple(_cart(member, *output) for member in members for output in outputs)
    return Ensemble(trees, (0.0,) * len(outputs), len(members), None, True, sets)


def _gradient(estimator: Any, sets: Sets) -> Ensemble:
    """Read gradient boosting on trees that are not histograms: each adds its values, scaled by the learning rate."""
    if estimator.init is not None or estimator.loss == "exponential":
        raise NotCovered("gradient boosting with an init or the exponential loss is not covered")
    base = np.ravel(estimator._raw_predict_init(np.zeros((1, estimator.n_features_in_))))
    members = [_cart(member, 0, 0) for round_ in estimator.estimators_ for member in round_]
    trees = tuple(replace(tree, values=estimator.learning_rate * tree.values) for tree in members)
    link = None
    if isinstance(estimator, GradientBoostingClassifier):
        link = "Sigmoid" if len(base) == 1 else "Softmax"
    return Ensemble(trees, tuple(base.tolist()), 1, link, True, sets)


def _cart(member: Any, label: int, output: int) -> DecisionTree:
    """Read a tree of scikit-learn's; a classifier's leaf holds the share of each class of each label: one is taken."""
    tree = member.tree_
    return Nodes(
        leaf=tree.children_left < 0,
        left=tree.children_left,
        right=tree.children_right,
        column=tree.feature,
        threshold=tree.threshold,
        missing_left=tree.missing_go_to_left,
        value=tree.value[:, label, output],
    ).tree()


def _histogram(estimator: Any, sets: Sets) -> Ensemble:
    """Read histogram boosting; what its trees consist of is not public, and pinned by tests."""
    link = _histogram_link(estimator)
    columns = np.arange(estimator.n_features_in_)
    categorical = estimator.is_categorical_
    if categorical is not None:  # the trees see the categorical columns first
        columns = np.concatenate([np.flatnonzero(categorical), np.flatnonzero(~categorical)])
    trees = tuple(_histogram_tree(tree, columns, sets) for round_ in estimator._predictors for tree in round_)
    return Ensemble(trees, tuple(np.ravel(estimator._baseline_prediction).tolist()), 1, link, False, sets)


def _histogram_link(estimator: Any) -> str | None:
    if isinstance(estimator, HistGradientBoostingClassifier):
        return "Sigmoid" if len(estimator.classes_) == 2 else "Softmax"
    if estimator.loss not in _LINKS:
        raise NotCovered(f"the loss {estimator.loss} is not covered")
    return _LINKS[estimator.loss]


def _histogram_tree(tree: Any, columns: npt.NDArray[np.int64], sets: Sets) -> DecisionTree:
    nodes = tree.nodes
    column, threshold = columns[nodes["feature_idx"]], nodes["num_threshold"].astype(np.float64)
    for at in np.flatnonzero(nodes["is_categorical"].astype(bool) & ~nodes["is_leaf"].astype(bool)):
        bits = np.unpackbits(tree.raw_left_cat_bitsets[nodes["bitset_idx"][at]].view(np.uint8), bitorder="little")
        column[at] = sets.column(int(column[at]), _in_bits(bits, bool(nodes["missing_go_to_left"][at])))
        threshold[at] = 0.5
    return Nodes(
        leaf=nodes["is_leaf"].astype(np.bool_),
        left=nodes["left"],
        right=nodes["right"],
        column=column,
        threshold=threshold,
        missing_left=nodes["missing_go_to_left"],
        value=nodes["value"],
    ).tree()


def _in_bits(bits: npt.NDArray[np.uint8], missing: bool) -> Callable[[Floats], Booleans]:
    def goes_left(codes: Floats) -> Booleans:
        positions = np.where(np.isnan(codes), 0, codes).astype(np.int64)
        return np.where(np.isnan(codes), missing, bits[positions] == 1)

    return goes_left


def _lightgbm(estimator: Any, sets: Sets) -> Ensemble:
    """Read LightGBM's own description of a model; its decisions are those of its Tree::NumericalDecision."""
    parameters = estimator.get_params()
    for name in ("linear_tree", "zero_as_missing"):
        if parameters.get(name):
            raise NotCovered(f"LightGBM's {name} is not covered")
    model = estimator.booster_.dump_model()
    trees = tuple(_lightgbm_tree(tree["tree_structure"], sets) for tree in model["tree_info"])
    outputs = int(model["num_tree_per_iteration"])
    divisor = len(trees) // outputs if model["average_output"] else 1
    return Ensemble(trees, (0.0,) * outputs, divisor, _lightgbm_link(model["objective"]), False, sets)


def _lightgbm_link(objective: str) -> str | None:
    name, *options = objective.split()
    if name == "binary":
        if "sigmoid:1" not in options:
            raise NotCovered(f"LightGBM's objective '{objective}' is not covered")
        return "Sigmoid"
    if name == "multiclass":
        return "Softmax"
    if name not in _LIGHTGBM_LINKS or "sqrt" in options:
        raise NotCovered(f"LightGBM's objective '{objective}' is not covered")
    return _LIGHTGBM_LINKS[name]


def _lightgbm_tree(root: Mapping[str, Any], sets: Sets) -> DecisionTree:
    nodes = list(_flat(root))
    number = {id(node): position for position, node in enumerate(nodes)}
    splits = [_lightgbm_split(node, sets) if "split_index" in node else (0, 0.0, False) for node in nodes]
    children = {side: [number[id(node[side])] if side in node else 0 for node in nodes] for side in _SIDES}
    return Nodes(
        leaf=np.array(["split_index" not in node for node in nodes]),
        left=np.array(children["left_child"]),
        right=np.array(children["right_child"]),
        column=np.array([split[0] for split in splits]),
        threshold=np.array([split[1] for split in splits], dtype=np.float64),
        missing_left=np.array([split[2] for split in splits], dtype=np.bool_),
        value=np.array([node.get("leaf_value", 0.0) for node in nodes], dtype=np.float64),
    ).tree()


def _flat(node: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    """Yield a node and all below it, without recursion: a tree may be as deep as it has leaves."""
    waiting = [node]
    while waiting:
        current = waiting.pop()
        yield current
        waiting += [current[side] for side in reversed(_SIDES) if side in current]


def _lightgbm_split(node: Mapping[str, Any], sets: Sets) -> tuple[int, float, bool]:
    """Return column, threshold, and where a missing number goes."""
    column = int(node["split_feature"])
    if node["decision_type"] == "==":  # a category that is not listed goes right, a missing one too
        listed = np.array([int(code) for code in str(node["threshold"]).split("||")], dtype=np.float64)
        return sets.column(column, lambda codes: np.isin(codes, listed)), 0.5, False
    threshold = _beyond_zero(float(node["threshold"]), sets.sparse)
    if node["missing_type"] == "NaN":
        return column, threshold, bool(node["default_left"])
    if node["missing_type"] == "None":  # where none was seen in training, a missing number is 0
        return column, threshold, threshold >= 0
    raise NotCovered("LightGBM's zeros as missing values are not covered")


def _beyond_zero(threshold: float, sparse: bool) -> float:
    """Return the threshold that sends all that LightGBM takes for zero to where it sends zero.

    Of a dense matrix that is up to _ZERO, of a sparse one below it.
    """
    if abs(threshold) >= _INFINITY:
        return math.copysign(math.inf, threshold)
    if abs(threshold) > _ZERO:
        return threshold
    if threshold >= 0:
        return _ZERO
    return -_ZERO if sparse else float(np.nextafter(-_ZERO, -np.inf))


def thresholds(trees: Iterable[DecisionTree], columns: Sequence[int]) -> dict[int, list[float]]:
    """Return the distinct thresholds that each of some columns is compared with, ascending."""
    parts = list(trees)
    column = np.concatenate([tree.column for tree in parts]) if parts else np.array([], dtype=np.int64)
    threshold = np.concatenate([tree.threshold for tree in parts]) if parts else np.array([])
    return {wanted: np.unique(threshold[column == wanted]).tolist() for wanted in columns}
