"""Explanations are Shapley values by definition, those of shap and of the pipeline, and never such as do not add up."""

import itertools
import json
import math
import warnings
from contextlib import nullcontext, suppress
from dataclasses import replace
from functools import cache

import msgspec
import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings

from tests import bundles
from tests.pipeline.bundle.onnx import test_export as exported
from trunkline.bundle.contract import Input, matrices
from trunkline.bundle.runtime import Bundle
from trunkline.bundle.schema import request_schema
from trunkline.pipeline.bundle.explain import shap as pipeline_shap
from trunkline.pipeline.bundle.onnx import export
from trunkline.pipeline.train import fit
from trunkline.serve.explain import trees
from trunkline.serve.explain.additive import NotExplainedError
from trunkline.serve.explain.explainer import ROWS, Explainer

GOLDEN = 4
MARGINS = {
    "logistic": lambda score: np.log(score) - np.log1p(-score),
    "exp": np.log,
    "identity": lambda score: score,
    "softmax": lambda score: np.log(score) - np.log(score).mean(axis=1, keepdims=True),  # up to a number for all
}


def made(folder, pipeline, rows, golden=GOLDEN):
    """A bundle of a pipeline whose golden rows are the first of some rows, and its explainer."""
    fields = [bundles.field(f.name, "number" if f.role == "numeric" else "text") for f in rows.schema.features]
    bundles.make(folder, fields, onnx=export.export(pipeline, rows.schema))
    contract = json.loads((folder / "contract.json").read_text(encoding="utf-8"))
    contract["classes"] = list(rows.schema.classes)
    contract["request"] = request_schema([msgspec.convert(field, Input) for field in fields])
    (folder / "contract.json").write_text(json.dumps(contract), encoding="utf-8")
    requests = [{"request": row, "score": 0.5} for row in rows.features.head(golden).to_dicts()]
    (folder / "golden.json").write_text(json.dumps(requests), encoding="utf-8")
    bundles.seal(folder)
    bundle = Bundle.load(folder)
    return bundle, Explainer.of(folder, bundle)


@pytest.fixture(scope="module")
def case(tmp_path_factory):
    """The bundle and the explainer of a case, made once."""

    @cache
    def bundle_of(name, golden=GOLDEN):
        rows = exported.dataset(exported.schema_of(exported.CASES[name]))
        return made(tmp_path_factory.mktemp("explained") / "bundle", exported.fitted(name), rows, golden)

    return bundle_of


def explained(bundle, explainer, rows):
    """Contributions, shape (rows, features, outputs), in the order of the contract, and the base."""
    given = matrices(bundle.contract, rows.to_dicts())
    answers = explainer.explain(*given, bundle.scores(*given))
    return np.array([numbers(answer["contributions"]) for answer in answers]), np.ravel(numbers([answers[0]["base"]]))


def numbers(values):
    values = values.values() if isinstance(values, dict) else values
    return [list(value.values()) if isinstance(value, dict) else [value] for value in values]


def shapley(bundle, link, row, background):
    """Shapley values of one row by summing over all sets of features, with scores of the graph; shape as above."""
    names = background.columns
    sets = [set(s) for size in range(len(names) + 1) for s in itertools.combinations(names, size)]
    mixed = [
        {name: (row if name in known else other)[name] for name in names}
        for known in sets
        for other in background.to_dicts()
    ]
    scores = bundle.scores(*matrices(bundle.contract, mixed)).reshape(len(mixed), -1)
    worth = MARGINS[link](scores).reshape(len(sets), background.height, -1).mean(axis=1)
    values = {frozenset(known): value for known, value in zip(sets, worth, strict=True)}
    count = len(names)

    def of(name):
        without = [known for known in values if name not in known]
        weight = {n: math.factorial(n) * math.factorial(count - 1 - n) / math.factorial(count) for n in range(count)}
        return sum(weight[len(known)] * (values[known | {name}] - values[known]) for known in without)

    return np.array([of(name) for name in names])


EXPLAINED = [name for name in exported.CASES if not name.startswith("xgboost")]
ODD = {"kind": "unseen", "code": None, "x": None}


@pytest.mark.parametrize("name", EXPLAINED)
def test_they_are_shapleys_by_definition_of_missing_and_unknown_values_too(case, name):
    bundle, explainer = case(name)
    features = exported.dataset(exported.schema_of(exported.CASES[name])).features
    rows = features[[700, 701, 702]]
    odd = [
        row | {key: value for key, value in ODD.items() if key != "y" or "histogram" in name} for row in rows.to_dicts()
    ]
    rows = pl.concat([rows.head(2), pl.DataFrame(odd, schema=rows.schema).tail(1)])
    found, _ = explained(bundle, explainer, rows)
    for row, values in zip(rows.to_dicts(), found, strict=True):
        expected = shapley(bundle, explainer.link, row, features.head(GOLDEN))
        np.testing.assert_allclose(values, expected, rtol=1e-9, atol=1e-9 * np.abs(expected).max())
    assert np.count_nonzero(found) > 4


SEVERAL = [("multiclass", name) for name in ("logistic", "forest", "histogram", "lightgbm")]


@pytest.mark.parametrize(("texts", "counted"), [(2, 2), (0, 1), (1, 0)], ids=str)
@pytest.mark.parametrize(("task", "name"), [*SEVERAL, ("regression", "ridge"), ("binary", "histogram")])
def test_any_task_and_roles_are_explained(tmp_path, name, counted, texts, task):
    declared = exported.CASES[name]
    rows = exported.shaped(task, counted, texts)
    bundle, explainer = made(tmp_path / "bundle", fit.fit(rows, declared, seed=3), rows)
    found, base = explained(bundle, explainer, rows.features[[700, 701]])
    given = matrices(bundle.contract, rows.features[[700, 701]].to_dicts())
    expected = MARGINS[explainer.link](bundle.scores(*given).reshape(2, -1))
    np.testing.assert_allclose(up_to_link(explainer, base + found.sum(axis=1)), expected, atol=1e-9)
    for row, values in zip(rows.features[[700, 701]].to_dicts(), found, strict=True):
        by_definition = shapley(bundle, explainer.link, row, rows.features.head(GOLDEN))
        np.testing.assert_allclose(up_to_link(explainer, values), by_definition, atol=1e-9)


def up_to_link(explainer, margins):
    """Margins without what softmax takes no notice of: a number that is added to those of all classes."""
    return margins - margins.mean(axis=1, keepdims=True) if explainer.link == "softmax" else margins


@pytest.mark.parametrize("name", [name for name in exported.STUMPS if not name.startswith("xgboost")])
def test_trees_without_a_split_give_everything_to_the_base(tmp_path, name):
    rows = exported.dataset(exported.schema_of(exported.STUMPS[name]))
    bundle, explainer = made(tmp_path / "bundle", fit.fit(rows, exported.STUMPS[name], seed=3), rows)
    assert not explained(bundle, explainer, rows.features.head(3))[0].any()


@pytest.mark.parametrize("name", ["histogram, ordinal", "forest, missing", "extra trees", "tree"])
def test_they_are_those_of_shap_on_the_same_background(case, name):
    """Where every feature is one column; shap has some of its numbers in single precision."""
    bundle, explainer = case(name)
    pipeline = exported.fitted(name)
    features = exported.dataset(exported.KNOWN).features
    matrix = np.asarray(pipeline[0].transform(fit.inputs(features.head(340))), dtype=np.float64)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        import shap

        peer = shap.TreeExplainer(pipeline[-1], matrix[:GOLDEN], feature_perturbation="interventional")
        expected = peer.shap_values(matrix[300:], check_additivity=False)
    columns = [features.columns.index(column) for _, _, names in pipeline[0].transformers_ for column in names]
    found, base = explained(bundle, explainer, features[300:340])
    expected = expected[..., -1] if expected.ndim == 3 else expected
    np.testing.assert_allclose(found[:, columns, 0], expected, atol=1e-6)
    assert base == pytest.approx(np.ravel(peer.expected_value)[-1:], abs=1e-6)


@pytest.mark.parametrize("name", ["logistic", "logistic, ordinal", "linear", "lasso"])
def test_of_a_linear_model_they_are_those_of_the_pipeline_against_the_training_rows(case, name):
    rows = exported.dataset()
    bundle, explainer = case(name, rows.features.height)
    expected = pipeline_shap.attributions(exported.fitted(name), rows, rows.features[300:340], seed=1)
    assert expected.exact
    found, base = explained(bundle, explainer, rows.features[300:340])
    np.testing.assert_allclose(found[:, :, 0], expected.values, atol=1e-9)
    assert base == pytest.approx(expected.base, abs=1e-9)


@pytest.mark.parametrize("name", ["logistic", "ridge", "forest, missing", "histogram", "lightgbm, poisson"])
@settings(max_examples=25, deadline=None)
@given(rows=exported.ROWS)
def test_of_any_row_they_add_up_to_its_score_or_are_refused(case, name, rows):
    bundle, explainer = case(name)
    kinds = {f.name: pl.Float64 if f.role == "numeric" else pl.String for f in exported.SCHEMA.features}
    names = [field.name for field in bundle.contract.inputs]
    numeric, texts = matrices(bundle.contract, pl.DataFrame(rows, schema=kinds).select(names).to_dicts())
    largest = np.abs(numeric[np.isfinite(numeric)]).max(initial=0)
    with suppress(NotExplainedError) if largest > 1e3 else nullcontext():
        answers = explainer.explain(numeric, texts, bundle.scores(numeric, texts))
        assert len(answers) == len(rows)
        assert all(math.isfinite(value) for answer in answers for value in answer["contributions"].values())


def test_what_does_not_add_up_is_not_explained(case):
    bundle, explainer = case("histogram")
    weights = explainer._model._weights
    wrong = replace(explainer, _model=replace(explainer._model, _weights=weights * (1 + 1e-7)))
    rows = exported.dataset(exported.KNOWN).features.head(3)
    with pytest.raises(NotExplainedError, match="do not add up to the score: they miss it by"):
        explained(bundle, wrong, rows)


def test_fewer_rows_of_larger_trees_are_explained_at_once(case, monkeypatch):
    _, explainer = case("histogram")
    assert explainer.most == ROWS
    monkeypatch.setattr("trunkline.serve.explain.explainer.WORK", 3 * explainer._model.work)
    assert explainer.most == 3


@pytest.mark.parametrize("name", sorted({*exported.ALL} - {*EXPLAINED}))
def test_what_is_no_sum_in_double_precision_is_not_explained(tmp_path, name):
    schema = exported.schema_of(exported.ALL[name])
    with pytest.raises(NotExplainedError):
        made(tmp_path / "bundle", exported.fitted(name), exported.dataset(schema))


def test_units_of_a_network_are_not_taken_for_features(tmp_path):
    """As many as there are numbers: what they weigh adds up to the score as features would."""
    schema = replace(exported.SCHEMA, features=tuple(f for f in exported.SCHEMA.features if f.name in ("x", "y")))
    two = exported.NETWORK | {"hidden_layer_sizes": [2]}
    declared = exported.model("sklearn.neural_network.MLPRegressor", exported.steps("mean", "standard"), **two)
    rows = exported.dataset(schema)
    with pytest.raises(NotExplainedError, match="mixes numbers before MatMul weighs them"):
        made(tmp_path / "bundle", fit.fit(rows, declared, seed=3), rows)


def test_why_a_model_is_not_explained(tmp_path, monkeypatch):
    folder = bundles.make(tmp_path / "sums")
    with pytest.raises(NotExplainedError, match="no golden rows"):
        Explainer.of(folder, Bundle.load(folder))
    golden = [{"request": {"hour": 1, "origin": "EWR"}, "score": 1.0}]
    (folder / "golden.json").write_text(json.dumps(golden), encoding="utf-8")
    bundles.seal(folder)
    with pytest.raises(NotExplainedError, match="what the operator Sum makes"):
        Explainer.of(folder, Bundle.load(folder))
    monkeypatch.setattr(trees, "LARGEST", 100)
    rows = exported.dataset(exported.KNOWN)
    with pytest.raises(NotExplainedError, match="too many leaves"):
        made(tmp_path / "large", exported.fitted("histogram"), rows)
