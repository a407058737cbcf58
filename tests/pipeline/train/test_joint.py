"""The joint model is the mean of the sites' models, whatever they are, and of no graph that is not as it was pinned."""

import hashlib
import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests import bundles
from tests.pipeline.bundle.onnx.test_export import CASES, KNOWN, dataset, model, scores, steps
from trunkline.core.errors import UserError
from trunkline.pipeline.bundle.explain import shap
from trunkline.pipeline.bundle.onnx import export
from trunkline.pipeline.train import estimators, fit, joint, modelfile

HISTOGRAM = "sklearn.ensemble.HistGradientBoostingClassifier"
TREES = {"max_iter": 5, "min_samples_leaf": 5, "early_stopping": False}
SITES = {
    "north": model(HISTOGRAM, steps(), **TREES),
    "south": model("sklearn.linear_model.LogisticRegression", steps("median", "standard", "onehot", 20)),
    "west": model("sklearn.ensemble.RandomForestClassifier", steps(encode="ordinal"), n_estimators=3, max_depth=4),
}
SIGNED = {"repository": "https://example.org/site.git", "version": "delays@v1", "signers": {"release": {"key": "x"}}}


@pytest.fixture(scope="module")
def rows():
    return dataset(KNOWN)


@pytest.fixture(scope="module")
def graphs(rows) -> dict[str, bytes]:
    """What each site has learnt of its own part of the rows."""
    parts = {name: replace(rows, frame=rows.frame[place::3]) for place, name in enumerate(SITES)}
    return {name: export.export(fit.fit(parts[name], SITES[name], 7), KNOWN) for name in SITES}


@pytest.fixture(scope="module")
def pinned(graphs, tmp_path_factory) -> tuple[Path, dict[str, Any]]:
    """A project with the sites' graphs, and what conf/model declares of them."""
    root, sites = tmp_path_factory.mktemp("joining"), {}
    for number, (name, graph) in enumerate(graphs.items()):
        folder = root / "models/sites" / name
        folder.mkdir(parents=True)
        content = json.dumps({"files": {"model.onnx": hashlib.sha256(graph).hexdigest()}})
        (folder / "manifest.json").write_text(content)
        (folder / "model.onnx").write_bytes(graph)
        sites[name] = SIGNED | {"digest": hashlib.sha256(content.encode()).hexdigest(), "rows": 100 * (number + 1)}
    return root, sites


def declared(sites, target="trunkline.JointClassifier", **parameters):
    return model(target, steps(), sites=sites, **parameters)


def logit(chances):
    return np.log(chances) - np.log1p(-chances)


@settings(max_examples=15, deadline=None)
@given(weights=st.lists(st.integers(1, 10**9), min_size=3, max_size=3))
def test_a_joint_score_is_the_weighted_mean_of_the_sites(graphs, rows, weights) -> None:
    of_sites = [scores(graph, rows.features, KNOWN) for graph in graphs.values()]
    by_scores, by_margins = (
        scores(joint.join(list(graphs.values()), weights, mean), rows.features, KNOWN) for mean in ("scores", "margins")
    )
    assert np.allclose(by_scores, np.average(of_sites, axis=0, weights=weights), rtol=0, atol=1e-14)
    assert np.allclose(logit(by_margins), np.average(logit(np.array(of_sites)), axis=0, weights=weights), atol=1e-9)
    assert (by_scores >= np.min(of_sites, axis=0) - 1e-15).all()


def test_a_mean_of_margins_is_of_linear_models_the_one_of_the_mean_coefficients(rows) -> None:
    linear = model("sklearn.linear_model.LogisticRegression", steps("zero", "none", "ordinal"))
    fits = [fit.fit(replace(rows, frame=rows.frame[place::2]), linear, 7) for place in (0, 1)]
    one, other = fits
    other.steps[0] = one.steps[0]  # the same codes, so that a coefficient means the same of both
    joined = joint.join([export.export(each, KNOWN) for each in fits], [3, 1], "margins")
    for name in ("coef_", "intercept_"):
        setattr(one[-1], name, 0.75 * getattr(one[-1], name) + 0.25 * getattr(other[-1], name))
    assert np.allclose(scores(joined, rows.features, KNOWN), fit.scores(one, rows.features), rtol=0, atol=1e-12)


@pytest.mark.parametrize("mean", ["scores", "margins"])
def test_several_classes_stay_chances(rows, mean) -> None:
    classes = replace(rows.schema, task="multiclass", classes=("no", "perhaps", "yes"))
    labels = rows.frame["kind"].fill_null("").map_elements(lambda text: classes.classes[len(text) % 3], str)
    three = replace(rows, frame=rows.frame.with_columns(labels.alias("late")), schema=classes)
    graphs = [
        export.export(
            fit.fit(replace(three, frame=three.frame[place::2]), model(HISTOGRAM, steps(), **TREES), 7), classes
        )
        for place in (0, 1)
    ]
    of_sites = [scores(graph, rows.features, classes) for graph in graphs]
    given = scores(joint.join(graphs, [1, 3], mean), rows.features, classes)
    mixed = np.average(of_sites if mean == "scores" else np.log(of_sites), axis=0, weights=[1, 3])
    expected = mixed if mean == "scores" else np.exp(mixed) / np.exp(mixed).sum(axis=1, keepdims=True)
    assert np.allclose(given, expected, atol=1e-12)
    assert np.allclose(given.sum(axis=1), 1)


def test_the_pipeline_scores_saves_and_exports_it_as_any_other(pinned, graphs, rows, tmp_path, monkeypatch) -> None:
    root, sites = pinned
    monkeypatch.chdir(root)
    joined = declared(sites)
    estimators.verify(joined, "binary")
    pipeline = fit.fit(rows, joined, 7)
    modelfile.save(pipeline, tmp_path / "one.skops")
    modelfile.save(fit.fit(rows, joined, 8), tmp_path / "other.skops")
    assert (tmp_path / "one.skops").read_bytes() == (tmp_path / "other.skops").read_bytes()
    loaded, expected = modelfile.load(tmp_path / "one.skops"), export.export(pipeline, KNOWN)
    assert expected == joint.join(list(graphs.values()), [100, 200, 300], "scores")
    for features in (rows.features, rows.features[:1], rows.features[:7]):
        assert fit.scores(loaded, features).tolist() == scores(expected, features, KNOWN)[: features.height].tolist()
    explained = shap.attributions(pipeline, rows, rows.features[:4], 7)
    total = explained.values.sum(axis=1) + explained.base
    assert np.allclose(total, fit.scores(pipeline, rows.features[:4]), atol=1e-9)


def test_graphs_that_are_not_as_pinned_are_refused(pinned, rows, tmp_path, monkeypatch) -> None:
    root, sites = pinned
    shutil.copytree(root, tmp_path, dirs_exist_ok=True)
    monkeypatch.chdir(tmp_path)

    def refused(**changed: Any) -> str:
        with pytest.raises(UserError) as caught:
            fit.fit(rows, declared(sites | {"north": sites["north"] | changed}), 7)
        return str(caught.value)

    assert refused(digest=None) == "model.sites.north: nothing is pinned yet; run: trunkline federate"
    assert "is not what model.sites.north.digest says" in refused(digest="0" * 64)
    graph = tmp_path / "models/sites/north/model.onnx"
    graph.write_bytes(graph.read_bytes()[:-1] + b"\0")
    assert "model.onnx: was changed" in refused()
    graph.unlink()
    assert refused() == "models/sites/north/model.onnx: is missing; run: trunkline federate"


def test_what_does_not_fit_is_refused(graphs, pinned) -> None:
    _, sites = pinned
    with pytest.raises(UserError, match="differ in inputs, classes or operators"):
        joint.join([graphs["north"], bundles.graph(3, 3)], [1, 1], "scores")
    for wrong, task, words in (
        (model("trunkline.JointClassifier", steps()), "binary", "model.sites: the key is missing"),
        (
            model("trunkline.JointClassifier", steps("mean"), sites=sites),
            "binary",
            "model.preprocess: the sites' graphs",
        ),
        (declared(sites, "trunkline.JointRegressor", mean="margins"), "regression", "only chances have margins"),
        (declared(sites, "trunkline.JointRegressor"), "binary", "is no classifier"),
        (declared(sites, mean="median"), "binary", "model.mean"),
        (replace_target(CASES["ridge"], sites), "regression", "model.sites: Ridge has no such parameter"),
    ):
        with pytest.raises(UserError, match=words):
            estimators.verify(wrong, task)


def replace_target(other, sites):
    return other.model_copy(update={"sites": declared(sites).sites})
