"""The project's own bundle: what was evaluated is what it scores, and when it cannot, it says so."""

import json
from dataclasses import replace
from pathlib import Path

import polars as pl
import pytest
from sklearn.base import clone

from tests.e2e.conftest import Checkout
from trunkline.bundle.manifest import digest
from trunkline.bundle.runtime import Bundle
from trunkline.core.dataset import Dataset
from trunkline.core.errors import UserError
from trunkline.core.params import Params
from trunkline.pipeline.bundle import build
from trunkline.pipeline.bundle.explain.explain import Explanations, Shap
from trunkline.pipeline.bundle.explain.permutation import Drop, Permutation
from trunkline.pipeline.bundle.onnx import export
from trunkline.pipeline.reports import EVALUATED, Evaluated, read
from trunkline.pipeline.train import fit

pytestmark = pytest.mark.e2e

BAYES = """_target_: sklearn.naive_bayes.GaussianNB
preprocess:
  numeric: {impute: median, scale: standard}
  categorical: {encode: ordinal, min_frequency: 50}
"""


def report(project: Checkout) -> dict[str, object]:
    """What reports/bundle.json says."""
    found: dict[str, object] = json.loads(project.read("reports/bundle.json"))
    return found


def predicted(project: Checkout, *arguments: str) -> pl.Series:
    """Scores of the holdout by `trunkline predict`."""
    output = project.root / "scores.parquet"
    project.run("trunkline", "predict", "data/features/holdout.parquet", "-o", str(output), *arguments)
    return pl.read_parquet(output)["score"]


def evaluated(project: Checkout) -> pl.Series:
    """Scores of the holdout that the evaluation measured."""
    return pl.read_parquet(project.root / "data/predictions/holdout.parquet")["score"]


def test_the_bundle_scores_what_was_evaluated(small: Checkout, project: Checkout) -> None:
    found = report(project)
    assert found["runtime"] == "onnx"
    assert found["parity"]["flips"] == 0
    assert found["digest"] == digest(project.root / "models/bundle")
    assert "is what its manifest says" in project.run("trunkline", "verify", "models/bundle")
    assert (predicted(project) - evaluated(project)).abs().max() <= 1e-9
    assert (predicted(project, "--runtime", "sklearn") == evaluated(project)).all()
    assert f"{found['digest']}"[:12] in project.run("trunkline", "report")
    raw = project.root / "raw.parquet"
    request = json.loads(project.read("models/bundle/features.json"))["request"]["columns"]
    pl.read_parquet(project.root / "data/features/holdout.parquet", columns=request).write_parquet(raw)
    project.run("trunkline", "predict", str(raw), "-o", str(project.root / "of_raw.csv"), "--tables", "data/valid")
    assert (pl.read_csv(project.root / "of_raw.csv")["score"] == predicted(project)).all()


def test_a_changed_bundle_is_not_scored_with(project: Checkout) -> None:
    path = project.root / "models/bundle/contract.json"
    content = path.read_bytes()
    path.unlink()  # DVC may have linked it to its cache
    path.write_bytes(content.replace(b'"EWR"', b'"XXX"', 1))
    assert "contract.json: was changed" in project.run("trunkline", "verify", "models/bundle", check=False)
    rows = "data/features/holdout.parquet"
    assert "contract.json: was changed" in project.run("trunkline", "predict", rows, "-o", "s.csv", check=False)
    assert not (project.root / "s.csv").exists()


@pytest.mark.parametrize(
    ("option", "size"),
    [("logistic", ()), ("forest", ("model.n_estimators=9",)), ("lightgbm", ("model.n_estimators=9",))],
)
def test_every_shipped_model_has_an_exact_graph(project: Checkout, option: str, size: tuple[str, ...]) -> None:
    overrides = (part for change in (f"model={option}", *size) for part in ("-S", change))
    project.run("dvc", "exp", "run", *overrides, "bundle")
    found = report(project)
    assert (found["runtime"], found["reason"], found["parity"]["flips"]) == ("onnx", None, 0)
    assert (predicted(project) - evaluated(project)).abs().max() <= 1e-9


def test_an_estimator_without_a_graph_is_bundled_as_it_is(project: Checkout) -> None:
    (project.root / "conf/model/bayes.yaml").write_text(BAYES, encoding="utf-8")
    project.edit("conf/config.yaml", "model: boosting_small", "model: bayes")
    printed = project.run("dvc", "repro")
    why = "GaussianNB is not covered by the exporter"
    assert why in printed
    assert (report(project)["runtime"], report(project)["reason"], report(project)["parity"]) == ("sklearn", why, None)
    assert why in " ".join(project.run("trunkline", "report").split())
    assert why in project.read("models/bundle/card.md")
    folder = project.root / "models/bundle"
    assert (folder / "model.skops").read_bytes() == (project.root / "models/model.skops").read_bytes()
    assert not (folder / "model.onnx").exists()
    assert (predicted(project) - evaluated(project)).abs().max() <= 1e-12  # numpy sums blocks of rows in its own order
    with pytest.raises(UserError, match="runtime is sklearn"):
        Bundle.load(folder)


@pytest.fixture
def inside(project: Checkout, monkeypatch: pytest.MonkeyPatch) -> Checkout:
    """A checkout as working directory."""
    monkeypatch.chdir(project.root)
    return project


def measured(project: Checkout) -> build.EvaluatedModel:
    """What the stage reads, with explanations of nothing, which take no time."""
    from trunkline.core import paths
    from trunkline.pipeline.train import modelfile

    pipeline, holdout = modelfile.load(paths.MODEL), Dataset.read("holdout")
    names = holdout.schema.names
    return build.EvaluatedModel(
        pipeline=pipeline,
        skops=paths.MODEL.read_bytes(),
        train=Dataset.read("train"),
        holdout=holdout,
        scores=fit.scores(pipeline, holdout.frame),
        reports=Evaluated.parse(read(project.root, EVALUATED)),
        explanations=Explanations(
            Permutation("roc_auc", 0.5, 1, 1, dict.fromkeys(names, Drop(0.0, 0.0, 0.0))),
            Shap("none", True, "log-odds", 1, 0.0, dict.fromkeys(names, 0.0)),
        ),
    )


def test_a_graph_that_scores_otherwise_is_not_bundled(inside: Checkout, monkeypatch: pytest.MonkeyPatch) -> None:
    declared, found = build.Declaration.of(Params.read()), measured(inside)
    other = clone(found.pipeline).set_params(estimator__learning_rate=0.0501)
    other.fit(fit.inputs(found.train.features), found.train.label.to_numpy())
    wrong = export.export(other, found.train.schema)
    monkeypatch.setattr(export, "export", lambda *_: wrong)
    made, comparison = build.build(declared, found, Path("bundle"))
    assert made.runtime == "sklearn"
    assert "the exported graph's scores differ by up to" in str(made.reason)
    assert "choose another estimator or preprocessing in conf/model" in str(made.reason)
    assert comparison is not None
    assert comparison.difference > 1e-9
    assert "the exported graph's scores differ" in Path("bundle/card.md").read_text(encoding="utf-8")


def test_a_graph_that_does_not_load_is_not_bundled(inside: Checkout, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(export, "export", lambda *_: b"no graph")
    made, comparison = build.build(build.Declaration.of(Params.read()), measured(inside), Path("bundle"))
    assert (made.runtime, comparison) == ("sklearn", None)
    assert "does not load" in str(made.reason)


def test_a_holdout_that_requests_could_not_be_is_refused(inside: Checkout) -> None:
    declared, found = build.Declaration.of(Params.read()), measured(inside)
    frame = found.holdout.frame.with_columns(
        distance=pl.when(pl.int_range(pl.len()) == 7).then(-1).otherwise("distance")
    )
    broken = replace(found, holdout=replace(found.holdout, frame=frame))
    with pytest.raises(UserError, match=r"holdout.parquet: row 7: distance: is below 1 \(-1\)"):
        build.build(declared, broken, Path("bundle"))
    assert not Path("bundle").exists()
    assert not list(Path().glob(".bundle*"))


def test_golden_rows_that_score_otherwise_are_refused(inside: Checkout) -> None:
    declared, found = build.Declaration.of(Params.read()), measured(inside)
    with pytest.raises(UserError, match=r"golden\.json: a request scores"):
        build.build(declared, replace(found, scores=found.scores + 1e-6), Path("bundle"))
