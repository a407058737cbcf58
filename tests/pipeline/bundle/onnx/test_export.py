"""The exported graph scores as scikit-learn does, to the last labels, on every odd row that can be thought of."""

from pathlib import Path

import numpy as np
import onnx
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.preprocessing import PolynomialFeatures

from tests import bundles
from trunkline.bundle.runtime import Bundle
from trunkline.conf.model import Model
from trunkline.core import graphs
from trunkline.core.dataset import Dataset, Schema
from trunkline.core.features import Feature
from trunkline.core.graphs import MISSING
from trunkline.pipeline.bundle import fitted as bundle_fitted
from trunkline.pipeline.bundle import parity
from trunkline.pipeline.bundle.onnx import columns, ensemble, export
from trunkline.pipeline.bundle.onnx.graph import Graph
from trunkline.pipeline.train import fit, modelfile

TEXTS = ["", "a", "b", "Zürich ✈", "日本", "rare 1", "rare 2", None]
SHARES = [0.2, 0.2, 0.2, 0.15, 0.1, 0.01, 0.01, 0.13]
SCHEMA = Schema(
    (
        Feature("code", "categorical"),
        Feature("constant", "numeric"),
        Feature("empty", "numeric"),
        Feature("kind", "categorical"),
        Feature("void", "categorical"),
        Feature("x", "numeric"),
        Feature("y", "numeric"),
    ),
    "late",
    "UTC",
)


# Trees that take missing values refuse a column that has nothing else.
KNOWN = Schema(tuple(feature for feature in SCHEMA.features if feature.name != "empty"), "late", "UTC")


def schema_of(declared):
    return KNOWN if declared.preprocess.numeric.impute == "none" else SCHEMA


def dataset(schema=SCHEMA, rows=1200):
    random = np.random.default_rng(7)
    x, y = random.normal(size=rows), random.integers(-5, 6, size=rows) / 4
    kind = random.choice(len(TEXTS), size=rows, p=SHARES)
    code, gap = random.integers(0, 40, size=rows), random.random(rows) < 0.2
    label = (np.sin(3 * x) + y + np.isin(kind, [1, 4, 7]) + code % 3 + 2 * gap + random.normal(size=rows) > 1.5).astype(
        int
    )
    frame = pl.DataFrame(
        {
            "code": pl.Series([f"c{value}" for value in code]),
            "constant": pl.Series(np.where(gap, np.nan, 2.5)).fill_nan(None),
            "empty": pl.Series([None] * rows, dtype=pl.Float64),
            "kind": pl.Series([TEXTS[place] for place in kind]),
            "void": pl.Series([None] * rows, dtype=pl.String),
            "x": pl.Series(np.where(random.random(rows) < 0.1, np.nan, x)).fill_nan(None),
            "y": pl.Series(y),
            "late": pl.Series(label),
        }
    )
    return Dataset(frame, schema)


def model(target, preprocess, **parameters):
    return Model.parse({"_target_": target, "preprocess": preprocess, **parameters})


def steps(numeric="none", scale="none", encode="native", min_frequency=None, select=None, **more):
    return {
        "select": select,
        "numeric": {"impute": numeric, "scale": scale, **more},
        "categorical": {"encode": encode, "min_frequency": min_frequency},
    }


def scores(graph, features, schema=SCHEMA):
    """Run a graph as a bundle does."""
    session = graphs.session(graph)
    feed = {}
    if names := schema.of_role("numeric"):
        feed["numeric"] = features.select(names).to_numpy().astype(np.float64)
    if names := schema.of_role("categorical"):
        feed["categorical"] = features.select(pl.col(names).fill_null(MISSING)).to_numpy().astype(object)
    return session.run(["score"], feed)[0]


LINEAR = "sklearn.linear_model."
ENSEMBLE = "sklearn.ensemble."
HGB = {"max_iter": 12, "min_samples_leaf": 5, "early_stopping": False}
FOREST = {"n_estimators": 7, "min_samples_leaf": 3, "max_depth": 7}
LIGHT = {"n_estimators": 12, "min_child_samples": 5, "num_leaves": 12, "verbosity": -1}
XGB = {"n_estimators": 12, "max_depth": 5, "min_child_weight": 2, "learning_rate": 0.3}
CAT = {"iterations": 12, "depth": 4, "learning_rate": 0.3}
BY_FOREST = {"variance": 0, "from_model": {"estimator": {"_target_": ENSEMBLE + "ExtraTreesClassifier", **FOREST}}}


def best(score, **size):
    return {"best": {"score": score, **size}}


CASES = {
    "logistic": model(LINEAR + "LogisticRegression", steps("median", "standard", "onehot", 20), C=0.3),
    "logistic, no scaling": model(LINEAR + "LogisticRegression", steps("mean", "none", "onehot"), max_iter=300),
    "logistic, ordinal": model(LINEAR + "LogisticRegression", steps("zero", "min_max", "ordinal", 20)),
    "logistic, robust, target": model(LINEAR + "LogisticRegression", steps("median", "robust", "target")),
    "ridge, target": model(LINEAR + "Ridge", steps("mean", "none", "target")),
    "forest, robust, target": model(ENSEMBLE + "RandomForestClassifier", steps("mean", "robust", "target"), **FOREST),
    "histogram, target": model(ENSEMBLE + "HistGradientBoostingClassifier", steps(encode="target"), **HGB),
    "xgboost, target": model("xgboost.XGBClassifier", steps(encode="target"), **XGB),
    "logistic, selected, of one number": model(
        LINEAR + "LogisticRegression", steps("median", "standard", "onehot", select=best("f_classif", k=9))
    ),
    "logistic, selected by a forest": model(
        LINEAR + "LogisticRegression", steps("mean", "standard", "onehot", select=BY_FOREST)
    ),
    "ridge, selected": model(
        LINEAR + "Ridge", steps("zero", "min_max", "target", select=best("f_regression", percentile=60))
    ),
    "forest, selected": model(
        ENSEMBLE + "RandomForestClassifier", steps("mean", "none", "ordinal", select=best("f_classif", k=2)), **FOREST
    ),
    "lightgbm, selected": model("lightgbm.LGBMClassifier", steps(encode="onehot", select={"variance": 0.05}), **LIGHT),
    "xgboost, selected": model(
        "xgboost.XGBClassifier", steps("median", encode="target", select=best("mutual_info_classif", k=4)), **XGB
    ),
    "catboost, selected": model(
        "catboost.CatBoostClassifier", steps("median", "min_max", "onehot", select=best("chi2", percentile=20)), **CAT
    ),
    "linear": model(LINEAR + "LinearRegression", steps("mean", "standard", "onehot")),
    "ridge": model(LINEAR + "Ridge", steps("zero", "min_max", "ordinal")),
    "lasso": model(LINEAR + "Lasso", steps("median", "none", "onehot"), alpha=0.01),
    "elastic net": model(LINEAR + "ElasticNet", steps("median", "standard", "ordinal"), alpha=0.01),
    "forest": model(ENSEMBLE + "RandomForestClassifier", steps("median", "none", "ordinal", 20), **FOREST),
    "forest, missing": model(ENSEMBLE + "RandomForestClassifier", steps(encode="ordinal"), **FOREST),
    "forest, scaled": model(ENSEMBLE + "RandomForestClassifier", steps("mean", "standard", "onehot", 20), **FOREST),
    "forest regressor": model(ENSEMBLE + "RandomForestRegressor", steps("zero", "min_max", "ordinal"), **FOREST),
    "extra trees": model(ENSEMBLE + "ExtraTreesClassifier", steps(encode="ordinal"), **FOREST),
    "extra trees regressor": model(ENSEMBLE + "ExtraTreesRegressor", steps("mean", "none", "onehot"), **FOREST),
    "tree": model("sklearn.tree.DecisionTreeClassifier", steps(encode="ordinal"), max_depth=6),
    "tree regressor": model("sklearn.tree.DecisionTreeRegressor", steps("mean", "none", "onehot"), max_depth=6),
    "histogram": model(ENSEMBLE + "HistGradientBoostingClassifier", steps(min_frequency=20), **HGB),
    "histogram, ordinal": model(ENSEMBLE + "HistGradientBoostingClassifier", steps(encode="ordinal"), **HGB),
    "histogram, few bins": model(ENSEMBLE + "HistGradientBoostingClassifier", steps(), max_bins=16, **HGB),
    "histogram, scaled": model(
        ENSEMBLE + "HistGradientBoostingClassifier", steps("mean", "standard", "onehot", 20), **HGB
    ),
    "histogram regressor": model(ENSEMBLE + "HistGradientBoostingRegressor", steps(), **HGB),
    "histogram, poisson": model(ENSEMBLE + "HistGradientBoostingRegressor", steps(), loss="poisson", **HGB),
    "lightgbm": model("lightgbm.LGBMClassifier", steps(min_frequency=20), **LIGHT),
    "lightgbm, few to a set": model("lightgbm.LGBMClassifier", steps(), max_cat_to_onehot=1, cat_smooth=1, **LIGHT),
    "lightgbm, one-hot": model("lightgbm.LGBMClassifier", steps("median", "standard", "onehot"), **LIGHT),
    "lightgbm, one-hot, unscaled": model("lightgbm.LGBMClassifier", steps(encode="onehot"), **LIGHT),
    "lightgbm, dart": model("lightgbm.LGBMClassifier", steps(), boosting_type="dart", **LIGHT),
    "lightgbm, no missing": model("lightgbm.LGBMClassifier", steps(), use_missing=False, **LIGHT),
    "lightgbm, random forest": model(
        "lightgbm.LGBMClassifier", steps(), boosting_type="rf", subsample=0.5, subsample_freq=1, **LIGHT
    ),
    "lightgbm, all values seen": model("lightgbm.LGBMClassifier", steps(), max_bin=4000, min_data_in_bin=1, **LIGHT),
    "lightgbm regressor": model("lightgbm.LGBMRegressor", steps(), **LIGHT),
    "lightgbm, poisson": model("lightgbm.LGBMRegressor", steps(), objective="poisson", **LIGHT),
    "xgboost": model("xgboost.XGBClassifier", steps(min_frequency=20), **XGB),
    "xgboost, one to a set": model("xgboost.XGBClassifier", steps(), max_cat_to_onehot=99, **XGB),
    "xgboost, one-hot": model("xgboost.XGBClassifier", steps("median", "standard", "onehot", 20), **XGB),
    "xgboost, one-hot, unscaled": model("xgboost.XGBClassifier", steps(encode="onehot"), **XGB),
    "xgboost, ordinal, exact": model("xgboost.XGBClassifier", steps(encode="ordinal"), tree_method="exact", **XGB),
    "xgboost, forest": model("xgboost.XGBRFClassifier", steps(), n_estimators=12),
    "xgboost, parallel trees": model("xgboost.XGBClassifier", steps(), num_parallel_tree=3, subsample=0.5, **XGB),
    "xgboost regressor": model("xgboost.XGBRegressor", steps(), **XGB),
    "xgboost, poisson": model("xgboost.XGBRegressor", steps(), objective="count:poisson", **XGB),
    "catboost": model("catboost.CatBoostClassifier", steps(min_frequency=20), one_hot_max_size=255, **CAT),
    "catboost, missing on top": model("catboost.CatBoostClassifier", steps(encode="ordinal"), nan_mode="Max", **CAT),
    "catboost, one-hot": model("catboost.CatBoostClassifier", steps("median", "standard", "onehot"), **CAT),
    "catboost, depthwise": model(
        "catboost.CatBoostClassifier", steps(), one_hot_max_size=255, grow_policy="Depthwise", **CAT
    ),
    "catboost, lossguide": model("catboost.CatBoostClassifier", steps(encode="onehot"), grow_policy="Lossguide", **CAT),
    "catboost regressor": model("catboost.CatBoostRegressor", steps(), one_hot_max_size=255, **CAT),
    "catboost, poisson": model(
        "catboost.CatBoostRegressor", steps(), one_hot_max_size=255, loss_function="Poisson", **CAT
    ),
}
XGB_REGRESSOR = {"_target_": "xgboost.XGBRegressor", "n_estimators": 2}
SUB = {"_target_": LINEAR + "LogisticRegression"}
WOOD = {"_target_": ENSEMBLE + "RandomForestClassifier", **FOREST}
SVM = {"_target_": "sklearn.svm.LinearSVC"}
CALIBRATED = "sklearn.calibration.CalibratedClassifierCV"
NETWORK = {"hidden_layer_sizes": [9, 5], "max_iter": 20, "tol": 10.0}
COMPOSED = {
    "vote": model(
        ENSEMBLE + "VotingClassifier", steps("median", "standard", "onehot", 20), estimators=[["a", SUB], ["b", WOOD]],
        voting="soft", weights=[1, 3],
    ),
    "calibrated": model(CALIBRATED, steps("median", "standard", "onehot", 20), estimator=SVM, cv=3),
    "calibrated, forest": model(CALIBRATED, steps("mean", "none", "ordinal"), estimator=WOOD, cv=3, ensemble=False),
    "calibrated, boosted": model(
        CALIBRATED, steps("mean", "none", "ordinal"), cv=3,
        estimator={"_target_": ENSEMBLE + "GradientBoostingClassifier", "n_estimators": 5},
    ),
    "network": model("sklearn.neural_network.MLPClassifier", steps("median", "standard", "onehot", 20), **NETWORK),
    "network, tanh": model(
        "sklearn.neural_network.MLPClassifier", steps("mean", "min_max", "ordinal"), activation="tanh", **NETWORK
    ),
    "network regressor": model("sklearn.neural_network.MLPRegressor", steps("mean", "standard", "target"), **NETWORK),
    "splines": model(LINEAR + "LogisticRegression", steps("median", "none", "onehot", 20, spline={"knots": 5})),
    "splines, components": model(
        LINEAR + "Ridge", steps("mean", "min_max", "target", spline={"at": "uniform"}, pca={"components": 0.9}),
    ),
    "products": model(LINEAR + "LogisticRegression", steps("median", "standard", "onehot", 20, interactions="pairs")),
    "products, boosted": model(
        "lightgbm.LGBMClassifier", steps("median", "none", "ordinal", 20, interactions="pairs"), **LIGHT
    ),
    "products, boosted in single precision": model(
        "xgboost.XGBClassifier", steps("median", "standard", "ordinal", interactions="pairs"), **XGB
    ),
    "products, selected": model(
        "lightgbm.LGBMClassifier",
        steps("median", "none", "ordinal", 20, interactions="pairs", select=best("f_classif", k=6)), **LIGHT,
    ),
    "everything": model(
        LINEAR + "Ridge",
        steps(
            "mean", "standard", "onehot", interactions="pairs", spline={"knots": 3}, pca={"components": 0.99},
            select=best("f_regression", percentile=70) | {
                "variance": 0,
                "from_model": {"estimator": {"_target_": LINEAR + "Lasso", "alpha": 0.001}, "threshold": 1e-4},
            },
        ),
    ),
    "network, components": model(
        "sklearn.neural_network.MLPClassifier", steps("zero", "robust", "onehot", pca={"components": 2}), **NETWORK
    ),
}  # fmt: skip
ALL = CASES | COMPOSED
STUMPS = {
    "histogram": model(ENSEMBLE + "HistGradientBoostingClassifier", steps(), max_iter=3, min_samples_leaf=700),
    "lightgbm": model("lightgbm.LGBMClassifier", steps(), n_estimators=2, min_child_samples=700, verbosity=-1),
    "forest": model(
        ENSEMBLE + "RandomForestClassifier",
        steps("mean", "none", "onehot"),
        n_estimators=2,
        bootstrap=False,
        min_samples_leaf=700,
    ),
    "xgboost": model("xgboost.XGBClassifier", steps(), n_estimators=2, min_child_weight=1e6),
    "catboost": model(
        "catboost.CatBoostClassifier",
        steps(encode="ordinal"),
        iterations=2,
        grow_policy="Depthwise",
        min_data_in_leaf=2000,
    ),
}
_fitted = {}


def fitted(name, cases=ALL):
    if name not in _fitted:
        _fitted[name] = fit.fit(dataset(schema_of(cases[name])), cases[name], seed=3)
    return _fitted[name]


def huge(features):
    """Rows with the largest numbers that there are in one feature each."""
    largest = [
        pl.lit(sign * size).alias(c.name)
        for c in features
        if c.dtype == pl.Float64
        for sign in (1, -1)
        for size in (1.7e308, 1.01e300)
    ]
    return pl.concat([features[:3].with_columns(column) for column in largest])


@pytest.mark.parametrize("name", ALL)
def test_scores_are_equal_on_adversarial_rows(name):
    schema = schema_of(ALL[name])
    pipeline, rows = fitted(name), dataset(schema)
    graph = export.export(pipeline, schema)
    onnx.checker.check_model(onnx.load_from_string(graph), full_check=True)
    odd = parity.adversarial(rows, rows, export.thresholds(pipeline, schema), seed=1)
    if name.startswith(("histogram", "lightgbm")) and ALL[name].preprocess.numeric.scale == "none":  # take any number
        odd = pl.concat([odd, huge(rows.features)])
    found = parity.compare(
        lambda frame: fit.scores(pipeline, frame), lambda frame: scores(graph, frame, schema), rows.features, odd
    )
    assert found.flips == 0
    assert found.difference <= 1e-9
    assert len(np.unique(fit.scores(pipeline, rows.features))) > 10, "the case tests nothing"


@pytest.mark.parametrize("name", ALL)
def test_a_row_scores_the_same_bits_alone_and_in_any_batch(name, tmp_path):
    schema = schema_of(ALL[name])
    inputs = [bundles.field(f.name, "number" if f.role == "numeric" else "text") for f in schema.features]
    bundle = Bundle.load(bundles.make(tmp_path / "bundle", inputs, onnx=export.export(fitted(name), schema)))
    rows = dataset(schema).features.head(121)
    numeric = rows.select(bundle.numeric).to_numpy().astype(np.float64)
    categorical = rows.select(bundle.categorical).to_numpy().astype(object)
    together = bundle.scores(numeric, categorical).tolist()
    assert [bundle.score(row) for row in rows.to_dicts()] == together
    for size in (1, 2, 3, 5, 7):
        blocks = [slice(start, start + size) for start in range(0, 121, size)]
        assert [x for block in blocks for x in bundle.scores(numeric[block], categorical[block])] == together


@pytest.mark.parametrize("name", STUMPS)
def test_trees_without_a_split_are_exported_too(name):
    schema = schema_of(STUMPS[name])
    pipeline = fit.fit(dataset(schema), STUMPS[name], seed=3)
    rows = dataset(schema).features
    expected = fit.scores(pipeline, rows)
    assert len(np.unique(expected)) == 1
    np.testing.assert_allclose(scores(export.export(pipeline, schema), rows, schema), expected, rtol=0, atol=1e-15)


@pytest.mark.parametrize("role", ["numeric", "categorical"])
@pytest.mark.parametrize("name", ["logistic", "forest", "histogram", "lightgbm", "xgboost", "catboost"])
def test_one_role_is_enough(name, role):
    schema = Schema(tuple(f for f in SCHEMA.features if f.role == role and f.name != "empty"), "late", "UTC")
    rows = dataset(schema)
    pipeline = fit.fit(rows, CASES[name], seed=3)
    graph = export.export(pipeline, schema)
    assert [found.name for found in onnx.load_from_string(graph).graph.input] == [role]
    expected = fit.scores(pipeline, rows.features)
    np.testing.assert_allclose(scores(graph, rows.features, schema), expected, rtol=0, atol=1e-12)


NUMBERS = st.one_of(st.none(), st.floats(-1e30, 1e30), st.floats(-2, 2), st.sampled_from([0.0, -0.0, 2.5, 0.25]))
WORDS = st.one_of(st.sampled_from([*TEXTS, "c0", "c39", "unseen"]), st.text(max_size=5))
ROWS = st.lists(
    st.fixed_dictionaries({f.name: NUMBERS if f.role == "numeric" else WORDS for f in SCHEMA.features}),
    min_size=1,
    max_size=20,
)


@pytest.mark.parametrize("name", ["logistic", "forest, missing", "histogram", "lightgbm", "xgboost", "catboost"])
@settings(max_examples=40)
@given(rows=ROWS)
def test_any_row_scores_equal(name, rows):
    schema = schema_of(CASES[name])
    frame = pl.DataFrame(rows, schema={f.name: {"numeric": pl.Float64}.get(f.role, pl.String) for f in schema.features})
    if frame.select(pl.any_horizontal(pl.col(pl.String).str.contains("[\x00\ue000]"))).to_series().any():
        return  # a NUL ends a text for numpy, and the other is refused by the contract
    expected = fit.scores(fitted(name), frame)
    found = scores(export.export(fitted(name), schema), frame, schema)
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-9)


@pytest.mark.parametrize("name", ["logistic", "forest", "histogram", "lightgbm", "xgboost", "catboost"])
def test_equal_models_give_equal_bytes(name, tmp_path: Path):
    pipeline, schema = fitted(name), schema_of(CASES[name])
    modelfile.save(pipeline, tmp_path / "model.skops")
    again = fit.fit(dataset(schema), CASES[name], seed=3, threads=3)
    modelfile.save(again, tmp_path / "again.skops")
    assert (tmp_path / "again.skops").read_bytes() == (tmp_path / "model.skops").read_bytes()
    graph = export.export(pipeline, schema)
    assert export.export(modelfile.load(tmp_path / "model.skops"), schema) == graph
    assert export.export(again, schema) == graph


def test_the_graph_is_in_double_precision_and_of_plain_operators():
    for name in ("logistic", "histogram", "lightgbm", "catboost"):
        graph = onnx.load_from_string(export.export(fitted(name), schema_of(CASES[name])))
        kinds = {node.op_type for node in graph.graph.node}
        assert kinds <= {
            *("Add", "Cast", "Concat", "Div", "Gather", "IsNaN", "LabelEncoder", "MatMul"),
            *("Mul", "Reshape", "Sigmoid", "Sub", "TreeEnsemble", "Where"),
        }  # fmt: skip
        assert not {constant.data_type for constant in graph.graph.initializer} & {onnx.TensorProto.FLOAT}
        assert not [constant for constant in graph.graph.initializer if constant.external_data]
        assert {(o.domain, o.version) for o in graph.opset_import} == {("", 21), ("ai.onnx.ml", 5)}


@pytest.mark.parametrize(
    ("declared", "why"),
    [
        (
            model(LINEAR + "LogisticRegression", steps("mean", "quantile", "onehot")),
            "QuantileTransformer is not covered",
        ),
        (model("sklearn.naive_bayes.GaussianNB", steps("mean", "none", "ordinal")), "GaussianNB is not covered"),
        (
            model(ENSEMBLE + "RandomForestClassifier", steps("mean", encode="onehot", spline={}), **FOREST),
            "trees behind SplineTransformer",
        ),
        (
            model("lightgbm.LGBMClassifier", steps("mean", encode="ordinal", pca={"components": 1}), **LIGHT),
            "trees behind PCA",
        ),
        (
            model(ENSEMBLE + "VotingRegressor", steps("mean", encode="ordinal"), estimators=[["a", XGB_REGRESSOR]]),
            "XGBoost makes its scores in single precision",
        ),
        (model("lightgbm.LGBMClassifier", steps(), linear_tree=True, **LIGHT), "linear_tree"),
        (model("lightgbm.LGBMClassifier", steps(), zero_as_missing=True, **LIGHT), "zero_as_missing"),
        (model("lightgbm.LGBMClassifier", steps(), objective="cross_entropy", **LIGHT), "objective"),
        (model("xgboost.XGBClassifier", steps(), booster="dart", **XGB), "booster 'dart'"),
        (model("xgboost.XGBClassifier", steps(), objective="binary:hinge", **XGB), "objective 'binary:hinge'"),
        (model("catboost.CatBoostClassifier", steps(), **CAT), "statistics of categories"),
        (
            model(
                "catboost.CatBoostClassifier",
                steps(encode="ordinal"),
                loss_function="Focal:focal_alpha=0.5;focal_gamma=1",
                **CAT,
            ),
            "loss 'Focal'",
        ),
        (
            model(
                "sklearn.calibration.CalibratedClassifierCV",
                steps("mean", "none", "ordinal"),
                estimator={"_target_": LINEAR + "LogisticRegression"},
                method="isotonic",
            ),
            "no sigmoid of two classes",
        ),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_what_is_not_exact_is_not_covered(declared, why):
    schema = schema_of(declared)
    pipeline = fit.fit(dataset(schema), declared, seed=3)
    with pytest.raises(ensemble.NotCovered, match=why):
        export.export(pipeline, schema)


def test_trees_of_xgboost_are_compared_and_added_up_in_single_precision_and_the_link_is_in_double():
    graph = onnx.load_from_string(export.export(fitted("xgboost"), schema_of(CASES["xgboost"]))).graph
    [trees] = [node for node in graph.node if node.op_type == "TreeEnsemble"]
    tensors = {a.name: a.t.data_type for a in trees.attribute if a.type == onnx.AttributeProto.TENSOR}
    assert tensors["nodes_splits"] == tensors["leaf_weights"] == onnx.TensorProto.FLOAT
    [after] = [node for node in graph.node if trees.output[0] in node.input]
    assert (after.op_type, after.attribute[0].i) == ("Cast", onnx.TensorProto.DOUBLE)
    library = fitted("xgboost").predict_proba(fit.inputs(dataset(schema_of(CASES["xgboost"])).features))[:, 1]
    ours = fit.scores(fitted("xgboost"), dataset(schema_of(CASES["xgboost"])).features)
    np.testing.assert_allclose(ours, library, rtol=0, atol=2e-7)
    assert not np.array_equal(ours, library), "then margins could go"


def test_products_are_the_bits_of_scikit_learns():
    """Of numbers of any size, also where a product is infinite or too small to be a number of full precision."""
    random = np.random.default_rng(3)
    matrix = random.normal(size=(500, 4)) * 10.0 ** random.integers(-200, 200, (500, 4))
    step = PolynomialFeatures(2, interaction_only=True, include_bias=False).fit(matrix)
    graph = Graph()
    graph.nodes.append(onnx.helper.make_node("Identity", [columns.products(graph, "numeric", step)], ["score"]))
    shapes = [
        onnx.helper.make_tensor_value_info(name, onnx.TensorProto.DOUBLE, ["n", None]) for name in ("numeric", "score")
    ]
    content = onnx.helper.make_graph(graph.nodes, "products", shapes[:1], shapes[1:], graph.constants)
    versions = [onnx.helper.make_opsetid("", export.OPERATORS)]
    of = onnx.helper.make_model(content, opset_imports=versions, ir_version=export.IR)
    [found] = graphs.session(of.SerializeToString()).run(["score"], {"numeric": matrix})
    with np.errstate(over="ignore", under="ignore"):
        expected = step.transform(matrix)
    assert found.tobytes() == np.ascontiguousarray(expected).tobytes()
    assert np.isinf(found).any()
    assert (np.abs(found[found != 0]) < np.finfo(np.float64).tiny).any()


def test_thresholds_are_those_of_the_inputs():
    found = export.thresholds(fitted("tree"), KNOWN)
    assert found["constant"] == []
    assert found["x"] == sorted(set(found["x"]))
    y = np.array(found["y"])
    assert set(np.round(y[np.abs(y) < 2], 6)) & set(np.arange(-5, 6) / 4 + 0.125)
    scaled = export.thresholds(fitted("histogram, scaled"), SCHEMA)["y"]
    plain = export.thresholds(fitted("histogram, ordinal"), KNOWN)["y"]
    assert min(abs(a - b) for a in scaled for b in plain) < 1e-12
    knots = export.thresholds(fitted("splines, components"), SCHEMA)["y"]
    np.testing.assert_allclose(knots, np.linspace(-1.25, 1.25, 5), rtol=0, atol=1e-12)
    selected = fitted("forest, selected")
    place = bundle_fitted.selected(selected).tolist().index(SCHEMA.of_role("numeric").index("y"))
    own = {t for tree in selected[-1].estimators_ for t in tree.tree_.threshold[tree.tree_.feature == place]}
    np.testing.assert_allclose(export.thresholds(selected, SCHEMA)["y"], sorted(own), rtol=1e-6, atol=1e-40)
    assert export.thresholds(fitted("logistic"), SCHEMA) == {name: [] for name in SCHEMA.of_role("numeric")}


def test_what_is_not_public_in_scikit_learn_is_as_the_exporter_reads_it():
    """If this fails after an upgrade, compare onnx_trees with scikit-learn's predictor."""
    estimator = fitted("histogram")[-1]
    (tree,) = estimator._predictors[0]
    fields = {"value", "feature_idx", "num_threshold", "missing_go_to_left", "left", "right", "is_leaf"}
    assert {*fields, "is_categorical", "bitset_idx"} <= set(tree.nodes.dtype.names)
    assert tree.raw_left_cat_bitsets.dtype == np.uint32
    assert tree.raw_left_cat_bitsets.shape[1] == 8
    assert estimator._baseline_prediction.size == 1
    assert estimator.is_categorical_.tolist() == [False] * 3 + [True] * 3


def shaped(task, numbers, texts):
    """Rows of so many columns of each role, with a label of a task."""
    features = [f for f in SCHEMA.features if f.name in [*["x", "y"][:numbers], *["kind", "code"][:texts]]]
    rows = dataset()
    label = rows.frame["late"] + rows.frame["code"].str.len_chars() % 2 if task == "multiclass" else rows.frame["late"]
    classes = tuple(map(str, label.unique().sort())) if task == "multiclass" else ()
    return Dataset(rows.frame.with_columns(late=label), Schema(tuple(features), "late", "UTC", task, classes))


@pytest.mark.parametrize("task", ["binary", "multiclass", "regression"])
@pytest.mark.parametrize("scale", ["none", "standard", "min_max"])
@pytest.mark.parametrize(("numbers", "texts"), [(n, t) for n in range(3) for t in range(3) if n + t], ids=str)
def test_a_linear_model_of_any_shape_is_in_double_precision(task, scale, numbers, texts):
    """As onnxruntime runs it, with all of its optimisations: a factor in single precision would miss by 1e-8."""
    rows = shaped(task, numbers, texts)
    target = LINEAR + ("Ridge" if task == "regression" else "LogisticRegression")
    pipeline = fit.fit(rows, model(target, steps("mean", scale, "onehot")), 3)
    odd = parity.adversarial(rows, rows, {}, seed=1)
    found = scores(export.export(pipeline, rows.schema), odd, rows.schema)
    np.testing.assert_allclose(found, fit.scores(pipeline, odd), rtol=1e-13, atol=1e-13)
