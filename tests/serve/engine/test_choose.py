"""Trees as tables give the bits that onnxruntime gives, in numpy and compiled, for every tree model and on odd rows."""

import json
from dataclasses import replace
from functools import cache

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings

from tests import bundles
from tests.pipeline.bundle.onnx import test_export as exported
from trunkline.bundle import golden
from trunkline.bundle.runtime import Bundle
from trunkline.core import graphs
from trunkline.core.errors import UserError
from trunkline.core.graphs import MISSING, even
from trunkline.pipeline.bundle import parity
from trunkline.pipeline.bundle.onnx import export
from trunkline.pipeline.train import fit
from trunkline.serve import scorer
from trunkline.serve.engine import choose
from trunkline.serve.engine.choose import TreesApart

FOREST = exported.FOREST | {"max_depth": 6}  # at most 64 leaves to a tree


def forest(name, *preprocess):
    return exported.model(exported.ENSEMBLE + name, exported.steps(*preprocess), **FOREST)


CASES = {name: case for name, case in exported.CASES.items() if name.startswith(("tree", "histogram", "lightgbm"))} | {
    "products, boosted": exported.COMPOSED["products, boosted"],
    "products, selected": exported.COMPOSED["products, selected"],
    "forest": forest("RandomForestClassifier", "median", "none", "ordinal", 20),
    "forest, missing": forest("RandomForestClassifier", "none", "none", "ordinal"),
    "forest, scaled": forest("RandomForestClassifier", "mean", "standard", "onehot", 20),
    "forest regressor": forest("RandomForestRegressor", "zero", "min_max", "ordinal"),
    "extra trees": forest("ExtraTreesClassifier", "none", "none", "ordinal"),
}


@cache
def fitted(name):
    return fit.fit(exported.dataset(exported.schema_of(CASES[name])), CASES[name], seed=3)


@cache
def exported_graph(name):
    return export.export(fitted(name), exported.schema_of(CASES[name]))


def matrices(features, schema):
    numeric = features.select(schema.of_role("numeric")).to_numpy().astype(np.float64)
    categorical = features.select(pl.col(schema.of_role("categorical")).fill_null(MISSING)).to_numpy().astype(object)
    return numeric.reshape(features.height, -1), categorical.reshape(features.height, -1)


@cache
def engines(graph):
    trees = TreesApart.of(graph)
    return trees, trees.compiled(), graphs.session(graph)


def same_bits(graph, features, schema):
    """Compare both engines with onnxruntime on blocks of one row, of seven, and on all rows at once."""
    trees, compiled, session = engines(graph)
    numeric, categorical = matrices(features, schema)
    feed = {"numeric": even(numeric), "categorical": even(categorical)}
    expected = session.run(["score"], {node.name: feed[node.name] for node in session.get_inputs()})[0]
    for size in (1, 7, features.height):
        for start in range(0, min(features.height, 40 * size), size):
            block = slice(start, min(start + size, features.height))
            assert trees.scores(numeric[block], categorical[block]).tobytes() == expected[block].tobytes()
            assert compiled.scores(numeric[block], categorical[block]).tobytes() == expected[block].tobytes()
    for row, score in zip(range(min(features.height, 40)), expected, strict=False):
        numbers, texts = numeric[row].tolist(), categorical[row].tolist()
        assert compiled.score_of_one(numbers, texts).tobytes() == score.tobytes()


@pytest.mark.parametrize("name", CASES)
def test_every_tree_model_scores_the_same_bits_on_adversarial_rows(name):
    schema = exported.schema_of(CASES[name])
    pipeline, rows = fitted(name), exported.dataset(schema)
    odd = parity.adversarial(rows, rows, export.thresholds(pipeline, schema), seed=1)
    same_bits(export.export(pipeline, schema), pl.concat([odd, exported.huge(rows.features)]), schema)


@pytest.mark.parametrize("name", [name for name in exported.STUMPS if name != "xgboost"])
def test_trees_without_a_split_score_the_same_bits(name):
    schema = exported.schema_of(exported.STUMPS[name])
    pipeline = fit.fit(exported.dataset(schema), exported.STUMPS[name], seed=3)
    same_bits(export.export(pipeline, schema), exported.dataset(schema).features, schema)


@pytest.mark.parametrize(("numbers", "texts"), [(2, 2), (1, 0), (0, 1)], ids=str)
@pytest.mark.parametrize("name", ["forest", "histogram", "lightgbm"])
def test_several_classes_and_one_role_score_the_same_bits(name, numbers, texts):
    rows = exported.shaped("multiclass", numbers, texts)
    pipeline = fit.fit(rows, CASES[name], seed=3)
    same_bits(export.export(pipeline, rows.schema), rows.features, rows.schema)


@pytest.mark.parametrize("name", ["forest, missing", "histogram", "lightgbm"])
@settings(max_examples=25)
@given(rows=exported.ROWS)
def test_any_row_scores_the_same_bits(name, rows):
    schema = exported.schema_of(CASES[name])
    graph = exported_graph(name)
    kinds = {f.name: pl.Float64 if f.role == "numeric" else pl.String for f in schema.features}
    same_bits(graph, pl.DataFrame(rows, schema=kinds), schema)


def test_what_the_tables_cannot_stand_for_is_left_to_onnxruntime():
    assert TreesApart.of(export.export(exported.fitted("logistic"), exported.SCHEMA)) is None
    assert TreesApart.of(export.export(exported.fitted("forest"), exported.SCHEMA)) is None  # 128 leaves
    schema = exported.schema_of(exported.CASES["xgboost"])
    assert TreesApart.of(export.export(exported.fitted("xgboost"), schema)) is None  # sums in single precision
    tree = {"_target_": "sklearn.tree.DecisionTreeRegressor", "max_depth": 3}
    vote = exported.model(
        exported.ENSEMBLE + "VotingRegressor",
        exported.steps("mean", "none", "ordinal"),
        estimators=[["a", {"_target_": exported.LINEAR + "Ridge"}], ["b", tree]],
    )
    pipeline = fit.fit(exported.dataset(), vote, seed=3)
    assert TreesApart.of(export.export(pipeline, exported.SCHEMA)) is None  # one tree, and more than it


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A bundle of a boosting with golden rows; its scores are right by the graph."""
    schema = exported.schema_of(exported.CASES["histogram"])
    kinds = {"numeric": "number", "categorical": "text"}
    graph = export.export(exported.fitted("histogram"), schema)
    made = bundles.make(
        tmp_path_factory.mktemp("engine") / "bundle",
        [bundles.field(f.name, kinds[f.role]) for f in schema.features],
        onnx=graph,
    )
    rows = exported.dataset(schema).features.head(20).to_dicts()
    (made / "golden.json").write_text(json.dumps([{"request": row, "score": 0.5} for row in rows]))
    bundles.seal(made)
    return made


def test_the_engine_that_is_chosen_is_the_fastest(folder, monkeypatch):
    times = {choose.ONNXRUNTIME: 2.0, choose.NUMPY: 1.0, choose.COMPILED: 0.5}
    monkeypatch.setattr(choose, "_seconds", lambda engine, *rows: times[engine.name])
    assert choose.fastest(folder, 64).name == choose.NUMPY
    assert choose.fastest(folder, 64, compiled=True).name == choose.COMPILED
    times[choose.NUMPY] = 3.0
    assert choose.fastest(folder, 64).name == choose.ONNXRUNTIME


def test_an_engine_that_gives_another_bit_is_never_chosen(folder, monkeypatch):
    read = TreesApart.of

    def off_by_a_bit(content):
        engine = read(content)
        weights = np.nextafter(engine.trees.weights, 1)
        return replace(engine, trees=replace(engine.trees, weights=weights))

    monkeypatch.setattr(TreesApart, "of", off_by_a_bit)
    monkeypatch.setattr(choose, "_seconds", lambda engine, *rows: engine.name == choose.ONNXRUNTIME)
    assert choose.fastest(folder, 64, compiled=True).name == choose.ONNXRUNTIME
    assert scorer.fastest(folder).__func__ is Bundle.score


def test_trees_are_compiled_only_where_numba_is(folder, monkeypatch):
    assert scorer.fastest(folder).__module__ == scorer.__name__
    monkeypatch.setattr(choose, "find_spec", lambda name: None)
    assert choose.fastest(folder, 64, compiled=True).name != choose.COMPILED
    assert scorer.fastest(folder).__func__ is Bundle.score


def test_a_request_has_the_score_of_the_graph_or_its_refusal(folder):
    """Whatever is wrong with a request, and whichever value a field has, both say the same."""
    bundle, fastest = Bundle.load(folder), scorer.fastest(folder)
    good = golden.read(folder)[0].request
    values = [
        None,
        0,
        -0.0,
        1,
        True,
        1e308,
        float("nan"),
        float("inf"),
        2**60,
        np.float64(1.5),
        "a",
        "",
        "\ud800",
        [],
        {},
    ]
    requests = [good | {name: value} for name in good for value in values]
    requests += [{key: value for key, value in good.items() if key != name} for name in good]
    for request in [good, *requests, good | {"unknown": 1}]:
        assert _outcome(fastest, request) == _outcome(bundle.score, request), request


def _outcome(score, request):
    try:
        return score(request)
    except UserError as error:
        return str(error)


def test_without_golden_rows_nothing_shows_that_the_bits_are_the_same(tmp_path):
    assert choose.fastest(bundles.make(tmp_path / "bundle"), 64).name == choose.ONNXRUNTIME
