"""Exact SHAP values of histogram boosting: against the definition, against shap where shap is right."""

import itertools
import math
import warnings

import numpy as np
import pytest
from sklearn.ensemble import HistGradientBoostingClassifier, HistGradientBoostingRegressor

from trunkline.pipeline.bundle.explain import treeshap


def rows(count, seed=4):
    """Numbers in columns 0 and 2, categories in 1 and 3, 70 of them in 3; a tenth is missing."""
    random = np.random.default_rng(seed)
    matrix = random.normal(size=(count, 4))
    matrix[:, 1], matrix[:, 3] = random.integers(0, 5, count), random.integers(0, 70, count)
    signal = matrix[:, 0] * (matrix[:, 1] % 2) + np.sin(matrix[:, 3]) + 0.5 * (matrix[:, 2] > 1)
    matrix[random.random(matrix.shape) < 0.1] = np.nan
    return matrix, signal + random.normal(size=count) / 4


def fitted(kind, **parameters):
    matrix, signal = rows(1500)
    target = (signal > 0).astype(int) if kind is HistGradientBoostingClassifier else signal
    estimator = kind(early_stopping=False, min_samples_leaf=10, random_state=0, **parameters)
    return estimator.fit(matrix, target)


def given(tree, known, row, columns, at=0):
    """The expected value of a tree where only some columns of a row are known, by its definition."""
    node = tree.nodes[at]
    if node["is_leaf"]:
        return node["value"]
    children = [int(node["left"]), int(node["right"])]
    if columns[node["feature_idx"]] not in known:
        shares = [tree.nodes[child]["count"] / node["count"] for child in children]
        return sum(s * given(tree, known, row, columns, child) for s, child in zip(shares, children, strict=True))
    value = row[node["feature_idx"]]
    if np.isnan(value):
        left = node["missing_go_to_left"]
    elif node["is_categorical"]:
        left = int(tree.raw_left_cat_bitsets[node["bitset_idx"]][int(value) // 32]) >> (int(value) % 32) & 1
    else:
        left = value <= node["num_threshold"]
    return given(tree, known, row, columns, children[0] if left else children[1])


def shapley(estimator, ordered, columns):
    """Shapley values of one row by summing over all sets of columns."""
    found = np.zeros(len(columns))
    for one, size in itertools.product(range(len(columns)), range(len(columns))):
        weight = math.factorial(size) * math.factorial(len(columns) - 1 - size) / math.factorial(len(columns))
        for others in itertools.combinations(set(range(len(columns))) - {one}, size):
            for (tree,) in estimator._predictors:
                with_it = given(tree, {*others, one}, ordered, columns)
                found[one] += weight * (with_it - given(tree, set(others), ordered, columns))
    return found


@pytest.mark.parametrize("kind", [HistGradientBoostingClassifier, HistGradientBoostingRegressor])
def test_values_are_shapleys_by_definition(kind):
    estimator = fitted(kind, max_iter=6, max_leaf_nodes=9, categorical_features=[1, 3])
    assert any(node["is_categorical"] for (tree,) in estimator._predictors for node in tree.nodes)
    matrix = rows(12, seed=9)[0]
    matrix[0, 3] = 99  # a category that training has not seen
    values, base = treeshap.histogram_boosting(estimator, matrix)
    ordered = estimator._preprocess_X(matrix, reset=False)
    for row, value in zip(ordered, values, strict=True):
        assert value == pytest.approx(shapley(estimator, row, [1, 3, 0, 2]), abs=1e-12)
    score = estimator.decision_function if kind is HistGradientBoostingClassifier else estimator.predict
    assert values.sum(axis=1) + base == pytest.approx(score(matrix), abs=1e-12)


def test_values_are_those_of_shap_where_no_split_is_on_a_category():
    estimator = fitted(HistGradientBoostingClassifier, max_iter=60, max_leaf_nodes=31)
    matrix = rows(300, seed=9)[0]
    values, base = treeshap.histogram_boosting(estimator, matrix)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        import shap

        explainer = shap.TreeExplainer(estimator, feature_perturbation="tree_path_dependent")
        expected = explainer.shap_values(matrix)
    assert values == pytest.approx(expected, abs=1e-9)
    assert base == pytest.approx(np.ravel(explainer.expected_value)[0], abs=1e-9)


def test_a_tree_of_one_leaf_adds_to_the_base_only():
    matrix, _ = rows(40)
    estimator = HistGradientBoostingRegressor(max_iter=3, min_samples_leaf=40).fit(matrix, np.arange(40.0))
    values, base = treeshap.histogram_boosting(estimator, matrix)
    assert not values.any()
    assert base == pytest.approx(estimator.predict(matrix)[0])
