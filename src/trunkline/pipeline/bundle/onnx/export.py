"""Writes a fitted pipeline as an ONNX graph that gives the same scores, from operators in double precision only.

A reader can check it against the operators' specification (onnx.ai/onnx/operators): numbers are imputed and scaled as
scikit-learn does it, in the same order of operations; a text is looked up, and what the fitted encoder makes of it is a
row of a table; trees are one `TreeEnsemble` (ai.onnx.ml 5) whose every split is `<=`; linear models are a `MatMul` and
one number per category; quantiles are the columns of their own models, put in order. The fitted transformers are asked
what they do, not read, wherever that is possible.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
from onnx import AttributeProto, GraphProto, TensorProto, helper, numpy_helper
from sklearn import linear_model
from sklearn.base import is_classifier
from sklearn.calibration import CalibratedClassifierCV
from sklearn.decomposition import PCA
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis
from sklearn.ensemble import VotingClassifier, VotingRegressor
from sklearn.multioutput import MultiOutputClassifier
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import MinMaxScaler, RobustScaler, SplineTransformer, StandardScaler
from sklearn.svm import LinearSVC, LinearSVR

from trunkline.core.arrays import Floats
from trunkline.core.dataset import Schema
from trunkline.core.graphs import CATEGORICAL, NUMERIC
from trunkline.core.tasks import SCORE
from trunkline.pipeline.bundle import fitted
from trunkline.pipeline.bundle.onnx import dense, splines
from trunkline.pipeline.bundle.onnx import trees as onnx_trees
from trunkline.pipeline.bundle.onnx.columns import CategoryLookup, Columns, category_lookups
from trunkline.pipeline.bundle.onnx.ensemble import DecisionTree, Ensemble, NotCovered, Sets
from trunkline.pipeline.bundle.onnx.graph import Graph
from trunkline.pipeline.train import margins
from trunkline.pipeline.train.joint import Joint
from trunkline.pipeline.train.labels import Labels
from trunkline.pipeline.train.quantiles import Quantiles

OPERATORS, ML_OPERATORS, IR = 21, 5, 10  # of the versions that the graph is written in
PRODUCER = "trunkline"

_LINKS: Mapping[type, str | None] = {  # of linear models: what makes the score of the weighted sum
    **dict.fromkeys((linear_model.LogisticRegression, LinearDiscriminantAnalysis), "Sigmoid"),
    **dict.fromkeys((linear_model.PoissonRegressor, linear_model.GammaRegressor), "Exp"),
    **dict.fromkeys((linear_model.LinearRegression, linear_model.SGDRegressor, LinearSVR), None),
    **dict.fromkeys((linear_model.Ridge, linear_model.RidgeCV, linear_model.BayesianRidge), None),
    **dict.fromkeys((linear_model.ElasticNet, linear_model.ElasticNetCV, linear_model.LassoCV), None),
    **dict.fromkeys((linear_model.Lars, linear_model.OrthogonalMatchingPursuit, linear_model.ARDRegression), None),
    **dict.fromkeys((linear_model.HuberRegressor, linear_model.QuantileRegressor), None),
    **dict.fromkeys((linear_model.TheilSenRegressor,), None),
}
_LINEAR = tuple(_LINKS)
_DECIDING = (LinearSVC, linear_model.SGDClassifier, linear_model.RidgeClassifier)  # no chances, but a weighted sum
_COMPOSED = (CalibratedClassifierCV, VotingClassifier, VotingRegressor, Quantiles, Labels)
_LEQ, _SUM, _NO_TRANSFORM = 0, 1, 0  # modes of a node, of the sum over trees, and of what follows it


def export(pipeline: Pipeline, schema: Schema) -> bytes:
    """Return the graph of a pipeline that `training.fit` has made; equal pipelines give equal bytes.

    Inputs: `numeric`, double (n, numeric features), NaN for missing; `categorical`, string (n, categorical features),
    MISSING for missing; one without columns is left out. Output: `score`, double (n); of several classes (n, classes),
    of labels (n, labels), of quantiles (n, levels). Raises NotCovered for what cannot be exported exactly.
    """
    estimator = fitted.scoring(pipeline[-1])
    if isinstance(estimator, Joint):
        return estimator.graph
    _check(estimator)
    _check_columns(pipeline, estimator)
    graph = Graph()
    result = _score(graph, Columns.of(graph, pipeline, schema), estimator)
    graph.add("Reshape", result, graph.constant([-1, *_width(schema)], np.int64))
    graph.nodes[-1].output[0] = SCORE
    return serialized(graph, schema)


def thresholds(pipeline: Pipeline, schema: Schema) -> dict[str, list[float]]:
    """Return the numbers at which a score may jump or bend, by numeric feature, ascending: splits of trees, and knots.

    Behind a scaler they are turned back, to the last bit or two. Where numbers are compared in single precision, the
    doubles at which rounding changes are among them.
    """
    names = schema.of_role("numeric")
    estimator = fitted.scoring(pipeline[-1])
    if isinstance(estimator, Joint):  # which is its graph already
        return {}
    selected = fitted.selected(pipeline)
    numbers = selected[selected < fitted.width(pipeline, "numeric")].tolist()
    sets = _sets(pipeline, list(category_lookups(pipeline, schema)), len(numbers))
    ensembles = [onnx_trees.read(part, sets) for part in _leaves(estimator) if onnx_trees.is_tree_model(part)]
    by_name: dict[str, list[float]] = {
        name: _unscaled(pipeline, _knots(pipeline), column, False) for column, name in enumerate(names)
    }
    for ensemble in ensembles:
        by_place = onnx_trees.thresholds(ensemble.trees, range(len(numbers)))
        by_column = {numbers[place]: values for place, values in by_place.items()}
        for column, name in enumerate(names):
            by_name[name] += _unscaled(pipeline, by_column, column, ensemble.single_precision)
    return {name: sorted(set(values)) for name, values in by_name.items()}


def _check(estimator: Any) -> None:
    name = type(estimator).__name__
    if isinstance(estimator, _COMPOSED):
        for part in _parts(estimator):
            if not (isinstance(part, _DECIDING) and isinstance(estimator, CalibratedClassifierCV)):
                _check(part)
    elif not (isinstance(estimator, (*_LINEAR, *dense.COVERED)) or onnx_trees.is_tree_model(estimator)):
        raise NotCovered(f"{name} is not covered by the exporter")
    if isinstance(estimator, Labels):  # whose classes are those of its parts
        return
    of_each = getattr(estimator, "classes_", ())
    for classes in map(list, of_each if isinstance(of_each, list) else [of_each]):  # of several labels, those of each
        if is_classifier(estimator) and (classes != list(range(len(classes))) or len(classes) < 2):
            raise NotCovered(f"{name} has the classes {classes}, not 0, 1 and so on")
    if not is_classifier(estimator) and np.ndim(getattr(estimator, "coef_", [0])) != 1:
        raise NotCovered(f"{name} has more than one output")


def _check_columns(pipeline: Pipeline, estimator: Any) -> None:
    """Raise NotCovered for splits on what is computed of numbers, where a last bit could send a row the other way."""
    for step in fitted.numeric_steps(pipeline):
        if isinstance(step, SplineTransformer | PCA) and any(map(onnx_trees.is_tree_model, _leaves(estimator))):
            raise NotCovered(f"trees behind {type(step).__name__} are not covered by the exporter")


def _knots(pipeline: Pipeline) -> dict[int, list[float]]:
    """Return the knots of each numeric column, scaled as the splines see it."""
    steps = [step for step in fitted.numeric_steps(pipeline) if isinstance(step, SplineTransformer)]
    return {column: of.tolist() for step in steps for column, of in enumerate(splines.knots(step))}


def _width(schema: Schema) -> list[int]:
    """Return the shape of a row's scores."""
    return [len(schema.classes)] if schema.classes else []


def _score(graph: Graph, columns: Columns, estimator: Any) -> str:
    """Add what makes scores of the columns; return their name."""
    if isinstance(estimator, CalibratedClassifierCV):
        return _calibrated(graph, columns, estimator)
    if isinstance(estimator, VotingClassifier | VotingRegressor):
        return _voting(graph, columns, estimator)
    if isinstance(estimator, Quantiles):
        return _quantiles(graph, [_score(graph, columns, part) for part in _parts(estimator)], estimator.offsets_)
    if isinstance(estimator, Labels):
        scores = [_score(graph, columns, part) for part in _parts(estimator)]
        return _side_by_side(graph, scores) if len(scores) > 1 else scores[0]
    if isinstance(estimator, dense.COVERED):
        return dense.score(graph, columns.matrix(graph), estimator)
    return (_trees if onnx_trees.is_tree_model(estimator) else _linear)(graph, columns, estimator)


def _parts(estimator: Any) -> list[Any]:
    """Return the estimators that one is made of; raises NotCovered for what is made of them in another way."""
    calibrated = isinstance(estimator, CalibratedClassifierCV)
    if not calibrated and getattr(estimator, "voting", "soft") != "soft":
        raise NotCovered("a vote that counts labels is not covered by the exporter")
    if isinstance(estimator, Labels):
        inner = estimator.estimator_
        within = inner.estimators_ if isinstance(inner, MultiOutputClassifier) else [inner]
    else:
        within = [each.estimator for each in estimator.calibrated_classifiers_] if calibrated else estimator.estimators_
    if any(margins.is_xgboost(part) for part in within):
        raise NotCovered(f"within {type(estimator).__name__} XGBoost makes its scores in single precision")
    return list(map(fitted.scoring, within))


def _leaves(estimator: Any) -> list[Any]:
    """Return the estimators that are made of no others."""
    if not isinstance(estimator, _COMPOSED):
        return [estimator]
    return [leaf for part in _parts(estimator) for leaf in _leaves(part)]


def _voting(graph: Graph, columns: Columns, estimator: Any) -> str:
    """Add the mean of all scores, with the declared weights."""
    parts = _parts(estimator)
    given = estimator._weights_not_none
    weights = np.ones(len(parts)) if given is None else np.asarray(given, dtype=np.float64)
    classes = len(getattr(estimator, "classes_", ()))
    shape = graph.constant([-1, classes] if classes > 2 else [-1], np.int64)
    scores = [graph.add("Reshape", _score(graph, columns, part), shape) for part in parts]
    terms = [graph.add("Mul", score, graph.constant(weight)) for score, weight in zip(scores, weights, strict=True)]
    total = terms[0]
    for term in terms[1:]:
        total = graph.add("Add", total, term)
    return graph.add("Div", total, graph.constant(weights.sum()))


def _calibrated(graph: Graph, columns: Columns, estimator: Any) -> str:
    """Add the mean of the sigmoids over each fold's estimator (Platt): of its decision function, or its chance."""
    means = []
    for each in estimator.calibrated_classifiers_:
        calibrator: Any = each.calibrators[0] if len(each.calibrators) == 1 else None
        if type(calibrator).__name__ != "_SigmoidCalibration":
            raise NotCovered("a calibration that is no sigmoid of two classes is not covered by the exporter")
        part = fitted.scoring(each.estimator)
        raw = _raw(graph, columns, part) if hasattr(part, "decision_function") else _score(graph, columns, part)
        score = graph.add("Reshape", raw, graph.constant([-1], np.int64))
        inner = graph.add("Add", graph.add("Mul", score, graph.constant(calibrator.a_)), graph.constant(calibrator.b_))
        means.append(graph.add("Sigmoid", graph.add("Neg", inner)))
    total = means[0]
    for mean in means[1:]:
        total = graph.add("Add", total, mean)
    return graph.add("Div", total, graph.constant(float(len(means))))


def _raw(graph: Graph, columns: Columns, estimator: Any) -> str:
    """Add the decision function: what the link makes a chance of."""
    if isinstance(estimator, (*_LINEAR, *_DECIDING)):
        return _weighted_sum(graph, columns, estimator)
    _score(graph, columns, estimator)
    if graph.nodes[-1].op_type != "Sigmoid":
        raise NotCovered(f"the decision function of {type(estimator).__name__} is not covered by the exporter")
    return str(graph.nodes.pop().input[0])


def _linear(graph: Graph, columns: Columns, estimator: Any) -> str:
    """Add the weighted sum and its link."""
    total = _weighted_sum(graph, columns, estimator)
    if is_classifier(estimator) and len(estimator.classes_) > 2:
        return graph.add("Softmax", total, axis=1)
    link = next(link for cls, link in _LINKS.items() if isinstance(estimator, cls))
    return graph.add(link, total) if link else total


def _weighted_sum(graph: Graph, columns: Columns, estimator: Any) -> str:
    """Add the weighted sum: of the numbers at once, of each category as one number from a table."""
    numeric, lookups, count = columns.numeric, columns.lookups, columns.count
    several = is_classifier(estimator) and len(estimator.classes_) > 2
    weights = np.asarray(estimator.coef_, dtype=np.float64)
    weights = weights.T if several else weights.reshape(-1)
    terms = []
    if numeric:
        terms.append(_weighted(graph, numeric, weights[:count]))
    for lookup in lookups:
        table = lookup.encoded @ weights[lookup.first : lookup.first + lookup.encoded.shape[1]]
        terms.append(graph.add("Gather", graph.constant(table), lookup.codes(graph), axis=0))
    intercept = np.ravel(estimator.intercept_)
    total = graph.constant(intercept if several else float(intercept[0]))
    for term in terms:
        total = graph.add("Add", term, total)
    return total


def _weighted(graph: Graph, numeric: str, weights: Floats) -> str:
    """Add the weighted sum of the numbers.

    That of one number is a product: of a division by one number and a MatMul, onnxruntime makes a single operator whose
    factor has single precision.
    """
    if len(weights) > 1:
        return graph.add("MatMul", numeric, graph.constant(weights))
    if weights.ndim > 1:
        return graph.add("Mul", numeric, graph.constant(weights))
    column = graph.add("Gather", numeric, graph.constant(0, np.int64), axis=1)
    return graph.add("Mul", column, graph.constant(weights[0]))


def _side_by_side(graph: Graph, results: Sequence[str]) -> str:
    """Add the number of each model as a column of one matrix."""
    columns = [graph.add("Reshape", result, graph.constant([-1, 1], np.int64)) for result in results]
    return graph.add("Concat", *columns, axis=1) if len(columns) > 1 else columns[0]


def _quantiles(graph: Graph, results: Sequence[str], offsets: Floats) -> str:
    """Add each quantile's offset to its model's number, or to the only model's, and put those of a row in order."""
    moved = graph.add("Add", _side_by_side(graph, results), graph.constant(offsets))
    ordered = graph.add("TopK", moved, graph.constant([len(offsets)], np.int64), axis=1, largest=0, sorted=1)
    graph.nodes[-1].output.append(f"{ordered}_places")  # which nothing reads
    return ordered


def _sets(pipeline: Pipeline, lookups: Sequence[CategoryLookup], numeric: int) -> Sets:
    """Return what a tree may meet in each categorical column that it sees as it is, if it sees any so."""
    codes = {lookup.first: lookup.encoded[:, 0] for lookup in lookups if lookup.encoded.shape[1] == 1}
    first = numeric + sum(lookup.encoded.shape[1] for lookup in lookups)
    return Sets(codes, first, pipeline[0].sparse_output_)


def _trees(graph: Graph, seen: Columns, estimator: Any) -> str:
    """Add the columns that splits look at, the trees, and what makes a score of their sum."""
    numeric, lookups, count = seen.numeric, seen.lookups, seen.count
    ensemble = onnx_trees.read(estimator, _sets(seen.pipeline, lookups, count))
    parts, columns = ([numeric], list(range(count))) if numeric else ([], [])
    for lookup in lookups:
        added, table = _table(lookup, ensemble)
        if added:
            parts.append(graph.add("Gather", graph.constant(table), lookup.codes(graph), axis=0))
            columns += added
    if not parts:  # no tree has a split, and no number is there to be looked at
        zeros = np.zeros((len(lookups[0].encoded), 1))
        parts, columns = [graph.add("Gather", graph.constant(zeros), lookups[0].codes(graph), axis=0)], [0]
    matrix = graph.add("Concat", *parts, axis=1) if len(parts) > 1 else parts[0]
    if ensemble.single_precision:
        matrix = graph.add("Cast", matrix, to=TensorProto.FLOAT)
        if not ensemble.single_sums:
            matrix = graph.add("Cast", matrix, to=TensorProto.DOUBLE)
    total = graph.add("TreeEnsemble", matrix, domain="ai.onnx.ml")
    graph.nodes[-1].attribute.extend(_ensemble_attributes(ensemble, {old: new for new, old in enumerate(columns)}))
    if ensemble.single_sums:
        total = graph.add("Cast", total, to=TensorProto.DOUBLE)
    if ensemble.divisor != 1:
        total = graph.add("Div", total, graph.constant(ensemble.divisor))
    if any(ensemble.base):
        total = graph.add("Add", total, graph.constant(ensemble.base[0] if len(ensemble.base) == 1 else ensemble.base))
    if ensemble.link == "Softmax":
        return graph.add(ensemble.link, total, axis=1)
    return graph.add(ensemble.link, total) if ensemble.link else total


def _table(lookup: CategoryLookup, ensemble: Ensemble) -> tuple[list[int], Floats]:
    """Return the columns that splits look at, of those that a categorical input becomes, and their values."""
    used = {int(column) for tree in ensemble.trees for column in np.unique(tree.column)}
    plain = [c for c in range(lookup.first, lookup.first + lookup.encoded.shape[1]) if c in used]
    columns, table = ensemble.sets.table(lookup.first) if lookup.first in ensemble.sets.codes else ([], None)
    values = lookup.encoded[:, [column - lookup.first for column in plain]]
    return [*plain, *columns], values if table is None else np.hstack([values, table])


def _ensemble_attributes(ensemble: Ensemble, columns: Mapping[int, int]) -> list[AttributeProto]:
    """Write trees as the attributes of a TreeEnsemble node; every node and every leaf belongs to one tree."""
    trees = [_with_a_split(tree, next(iter(columns))) for tree in ensemble.trees]
    nodes = np.cumsum([0, *(len(tree.column) for tree in trees)])
    leaves = np.cumsum([0, *(len(tree.values) for tree in trees)])

    def children(side: str) -> tuple[list[int], list[int]]:
        numbers = [
            np.where(child < 0, -1 - child + leaf, child + node)
            for tree, node, leaf in zip(trees, nodes[:-1], leaves[:-1], strict=True)
            for child in [getattr(tree, side)]
        ]
        kinds = [getattr(tree, side) < 0 for tree in trees]
        return np.concatenate(numbers).tolist(), np.concatenate(kinds).astype(np.int64).tolist()

    true_ids, true_leafs = children("left")
    false_ids, false_leafs = children("right")
    column = np.concatenate([tree.column for tree in trees])
    number = np.float32 if ensemble.single_sums else np.float64
    attributes = {
        "aggregate_function": _SUM,
        "leaf_targetids": [place % len(ensemble.base) for place, tree in enumerate(trees) for _ in tree.values],
        "leaf_weights": _tensor(np.concatenate([tree.values for tree in trees]).astype(number)),
        "n_targets": len(ensemble.base),
        "nodes_falseleafs": false_leafs,
        "nodes_falsenodeids": false_ids,
        "nodes_featureids": [columns[values] for values in column.tolist()],
        "nodes_missing_value_tracks_true": np.concatenate([tree.missing_left for tree in trees]).astype(int).tolist(),
        "nodes_modes": _tensor(np.full(len(column), _LEQ, dtype=np.uint8)),
        "nodes_splits": _tensor(np.concatenate([tree.threshold for tree in trees]).astype(number)),
        "nodes_trueleafs": true_leafs,
        "nodes_truenodeids": true_ids,
        "post_transform": _NO_TRANSFORM,
        "tree_roots": nodes[:-1].tolist(),
    }
    return [helper.make_attribute(name, value) for name, value in attributes.items()]


def _tensor(values: npt.NDArray[Any]) -> TensorProto:
    return numpy_helper.from_array(values)


def _with_a_split(tree: DecisionTree, column: int) -> DecisionTree:
    """Return a tree with a node: one that is a leaf gets a split on a column with that leaf on both sides."""
    if len(tree.column):
        return tree
    return DecisionTree(
        column=np.array([column]),
        threshold=np.array([0.0]),
        missing_left=np.array([False]),
        left=np.array([-1]),
        right=np.array([-2]),
        values=np.repeat(tree.values, 2),
    )


def _unscaled(pipeline: Pipeline, by_column: Mapping[int, list[float]], column: int, single: bool) -> list[float]:
    values = np.array(by_column.get(column, ()))
    if single:  # between two neighbours in single precision, doubles round to either side of their middle
        with np.errstate(over="ignore"):  # beyond the largest number is an infinite one, which is left out below
            low = values.astype(np.float32)
            low = np.where(low > values, np.nextafter(low, np.float32(-np.inf)), low)
            high = np.nextafter(low, np.float32(np.inf))
        values = (low.astype(np.float64) + high.astype(np.float64)) / 2
    for step in reversed(fitted.numeric_steps(pipeline)):
        if isinstance(step, StandardScaler):
            values = values * step.scale_[column] + step.mean_[column]
        elif isinstance(step, RobustScaler):
            values = values * step.scale_[column] + step.center_[column]
        elif isinstance(step, MinMaxScaler):
            values = (values - step.min_[column]) / step.scale_[column]
    return [float(value) for value in np.unique(values[np.isfinite(values)])]


def serialized(graph: Graph, schema: Schema) -> bytes:
    """Return the model of a graph whose last node makes the score, with the inputs of a schema."""
    widths = {NUMERIC: len(schema.of_role("numeric")), CATEGORICAL: len(schema.of_role("categorical"))}
    kinds = {NUMERIC: TensorProto.DOUBLE, CATEGORICAL: TensorProto.STRING}
    inputs = [helper.make_tensor_value_info(name, kinds[name], ["n", width]) for name, width in widths.items() if width]
    output = helper.make_tensor_value_info(SCORE, TensorProto.DOUBLE, ["n", *_width(schema)])
    content: GraphProto = helper.make_graph(graph.nodes, "model", inputs, [output], graph.constants)
    versions = [helper.make_opsetid("", OPERATORS), helper.make_opsetid("ai.onnx.ml", ML_OPERATORS)]
    model = helper.make_model(content, opset_imports=versions, ir_version=IR, producer_name=PRODUCER)
    return bytes(model.SerializeToString(deterministic=True))
