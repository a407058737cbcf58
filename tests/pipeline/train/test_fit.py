"""Fitting: the same model for any number of threads, in any process, and no surprise in the categories."""

import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
import yaml

from trunkline.conf.model import Model
from trunkline.core.dataset import Dataset, Schema
from trunkline.core.errors import UserError
from trunkline.core.features import Feature
from trunkline.pipeline.train import estimators, fit, modelfile, preprocess

SHIPPED = sorted((Path(__file__).parents[3] / "conf" / "model").glob("*.yaml"))
QUANTILES = ("forecast", "quantiles")  # of shipped models, those of the task quantile
QUARTILES: dict[str, Any] = {"task": "quantile", "classes": ("q25", "q50", "q75")}
GROUPS: dict[str, Any] = {"task": "ranking", "group": ("day",)}
SETS: dict[str, Any] = {"task": "multilabel", "classes": ("early", "later")}
TASKS = {"ranker": GROUPS, "labels": SETS} | dict.fromkeys(QUANTILES, QUARTILES)
SIZE = {"max_iter": 40, "n_estimators": 25, "C": 0.1}
NAMES = ["UA", "ü", "日本", "", None, "rare"]


def shipped(path: Path) -> Model:
    """The shipped model, made smaller where it iterates."""
    content = yaml.safe_load(path.read_text(encoding="utf-8"))
    smaller = {key: min(value, SIZE[key]) for key, value in content.items() if key in SIZE and path.stem != "logistic"}
    return Model.parse(content | smaller)


def synthetic(rows: int = 3000) -> Dataset:
    random = np.random.default_rng(5)
    values = random.normal(size=(rows, 4))
    kind = random.choice(len(NAMES), rows, p=[0.3, 0.2, 0.2, 0.19, 0.1, 0.01])
    signal = values[:, 0] + values[:, 1] * values[:, 2] + (kind == 1) + random.normal(size=rows)
    values[random.random(values.shape) < 0.1] = np.nan
    columns: dict[str, Any] = {f"x{index}": values[:, index] for index in range(4)}
    columns |= {"kind": [NAMES[code] for code in kind], "code": [f"c{v}" for v in random.integers(0, 400, rows)]}
    frame = pl.DataFrame(columns).with_columns(pl.col(pl.Float64).fill_nan(None))
    frame = frame.with_columns(late=pl.Series((signal > 0.5).astype(np.int8)), note=pl.lit("not a feature"))
    frame = frame.with_columns(day=pl.int_range(rows) // 30)
    features = [Feature("kind", "categorical"), *(Feature(f"x{index}", "numeric") for index in range(4))]
    return Dataset(frame, Schema((*features, Feature("code", "categorical")), "late", "UTC"))


def rows_of(path: Path) -> Dataset:
    """The rows, of the task that a shipped model is for where that has scores of its own."""
    rows, of_task = synthetic(), TASKS.get(path.stem, {})
    sets = rows.frame.with_columns(late=1 + pl.col("late").cast(pl.Int64))  # one label or the other
    return Dataset(sets if of_task is SETS else rows.frame, replace(rows.schema, **of_task))


def roles(dataset: Dataset, *names: str) -> Dataset:
    chosen = tuple(feature for feature in dataset.schema.features if feature.name in names)
    return Dataset(dataset.frame, replace(dataset.schema, features=chosen))


def parse(target: str, numeric: str = "none", encode: str = "onehot", **parameters: Any) -> Model:
    steps = {"numeric": {"impute": numeric}, "categorical": {"encode": encode, "min_frequency": 20}}
    return Model.parse({"_target_": target, "preprocess": steps, **parameters})


GBM = "sklearn.ensemble.HistGradientBoostingClassifier"
LOGISTIC = "sklearn.linear_model.LogisticRegression"

CHILD = """
import sys, hashlib
from pathlib import Path
from trunkline.core.stage import run

def main():
    import os
    sys.path.insert(0, sys.argv[1])
    from tests.pipeline.train import test_fit as t
    threads = int(os.environ["OMP_NUM_THREADS"])
    for path in t.SHIPPED:
        pipeline = t.fit.fit(t.rows_of(path), t.shipped(path), seed=1, threads=threads)
        t.modelfile.save(pipeline, Path(f"{path.stem}.skops"))
        scores = t.fit.scores(t.modelfile.load(Path(f"{path.stem}.skops")), t.synthetic().frame)
        Path(f"{path.stem}.scores").write_bytes(scores.tobytes())

run(main)
"""


def test_bytes_do_not_depend_on_process_threads_hashes_or_kernels(tmp_path: Path) -> None:
    outputs = []
    for name, environ in {
        "a": {"TRUNKLINE_THREADS": "1", "PYTHONHASHSEED": "0"},
        "b": {"TRUNKLINE_THREADS": "4", "PYTHONHASHSEED": "1", "OPENBLAS_CORETYPE": "Prescott"},
    }.items():
        folder = tmp_path / name
        folder.mkdir()
        command = [sys.executable, "-W", "error", "-c", CHILD, str(Path(__file__).parents[3])]
        subprocess.run(command, cwd=folder, env=dict(os.environ) | environ, check=True)
        outputs.append({path.name: path.read_bytes() for path in folder.iterdir()})
    assert len(outputs[0]) == 2 * len(SHIPPED) >= 8
    assert [name for name in sorted(outputs[0]) if outputs[0][name] != outputs[1][name]] == []


@pytest.mark.parametrize("path", SHIPPED, ids=lambda path: path.stem)
def test_shipped_models_learn_and_survive_their_file(path: Path, tmp_path: Path) -> None:
    dataset = rows_of(path)
    fitted = fit.fit(dataset, shipped(path), seed=1, threads=2)
    scores = fit.scores(fitted, dataset.frame)
    assert scores.dtype == np.float64
    width = len(dataset.schema.classes)
    assert scores.shape == (dataset.frame.height, *([width] if width else []))
    late = dataset.label.to_numpy() == dataset.label.max()
    highest = scores.reshape(len(late), -1)[:, -1]
    assert highest[late].mean() > highest[~late].mean() + 0.1
    modelfile.save(fitted, tmp_path / "model.skops")
    loaded = modelfile.load(tmp_path / "model.skops")
    unseen = dataset.frame.with_columns(
        kind=pl.lit(None, pl.String), code=pl.lit("never seen"), x0=pl.lit(None, pl.Float64)
    )
    for frame in (dataset.frame, unseen, dataset.frame.head(1)):
        assert np.array_equal(fit.scores(fitted, frame), fit.scores(loaded, frame))
    # A row's score does not depend on the rows it comes with.
    assert np.array_equal(fit.scores(fitted, dataset.frame[7:8]), scores[7:8])


@pytest.mark.parametrize("path", SHIPPED, ids=lambda path: path.stem)
@pytest.mark.parametrize("names", [("x0", "x1"), ("kind", "code")], ids=["numeric", "categorical"])
def test_features_of_one_role_are_enough(path: Path, names: tuple[str, ...]) -> None:
    dataset = roles(rows_of(path), *names)
    assert np.ptp(fit.scores(fit.fit(dataset, shipped(path), seed=1), dataset.frame)) > 0


def test_numeric_steps_do_what_they_say() -> None:
    frame = pl.DataFrame(
        {"x": [1.0, None, 3.0, 8.0], "empty": pl.Series([None] * 4, dtype=pl.Float64), "y": [0, 1, 0, 1]}
    )
    schema = Schema((Feature("x", "numeric"), Feature("empty", "numeric")), "y", "UTC")
    dataset = Dataset(frame.with_columns(pl.col("y").cast(pl.Int8)), schema)
    for impute, filled in {"mean": 4.0, "median": 3.0, "zero": 0.0}.items():
        steps = {"numeric": {"impute": impute, "scale": "none"}}
        model = Model.parse({"_target_": LOGISTIC, "preprocess": steps})
        given = fit.fit(dataset, model, seed=1)[:-1].transform(fit.inputs(dataset.features))
        assert given.tolist() == [[1.0, 0.0], [filled, 0.0], [3.0, 0.0], [8.0, 0.0]]
    scaled = Model.parse({"_target_": LOGISTIC, "preprocess": {"numeric": {"impute": "zero", "scale": "min_max"}}})
    assert fit.fit(dataset, scaled, seed=1)[:-1].transform(fit.inputs(dataset.features))[:, 0].tolist() == [
        0.125,
        0,
        0.375,
        1,
    ]


def test_codes_of_unknown_missing_and_rare_categories() -> None:
    dataset = roles(synthetic(), "kind")
    asked = pl.DataFrame({"kind": ["UA", "", None, "never", "rare"]})

    def encoded(encode: str, target: str) -> np.ndarray:
        pipeline = fit.fit(dataset, parse(target, "zero", encode), seed=1)
        codes = pipeline[:-1].transform(fit.inputs(asked))
        return codes.toarray() if hasattr(codes, "toarray") else codes

    ordinal = encoded("ordinal", LOGISTIC)[:, 0].tolist()
    assert (ordinal[2], ordinal[3]) == (preprocess.MISSING, preprocess.UNKNOWN)
    assert len(set(ordinal)) == 5
    native = encoded("native", GBM)[:, 0]
    assert np.isnan(native).tolist() == [False, False, True, True, False]
    onehot = encoded("onehot", LOGISTIC)
    assert onehot.sum(axis=1).tolist() == [1, 1, 1, 0, 1]


def test_native_categories_reach_the_estimator() -> None:
    dataset = synthetic()
    boosted = fit.fit(dataset, parse(GBM, encode="native", max_iter=5), seed=1)[-1]
    assert boosted.is_categorical_.tolist() == [False] * 4 + [True] * 2
    light = fit.fit(dataset, parse("lightgbm.LGBMClassifier", encode="native", n_estimators=5, verbosity=-1), seed=1)
    assert "[categorical_feature: 4,5]" in light[-1].booster_.model_to_string()


def test_more_categories_than_bins_keep_the_frequent_ones() -> None:
    model = Model.parse({"_target_": GBM, "max_bins": 20, "preprocess": {"categorical": {"encode": "native"}}})
    fitted = fit.fit(roles(synthetic(), "code"), model, seed=1)
    assert fitted[:-1].transform(fit.inputs(synthetic().features)).max() == 19


def test_a_regressor_gives_its_predictions() -> None:
    dataset = synthetic()
    model = parse("sklearn.ensemble.HistGradientBoostingRegressor", encode="native", max_iter=5)
    fitted = fit.fit(dataset, model, seed=1)
    assert np.array_equal(fit.scores(fitted, dataset.frame), fitted.predict(fit.inputs(dataset.features)))


def test_rows_that_nothing_can_be_learnt_from_are_refused() -> None:
    dataset, model = synthetic(50), parse(GBM, encode="native")

    def refused(frame: pl.DataFrame, schema: Schema = dataset.schema) -> str:
        with pytest.raises(UserError) as caught:
            fit.fit(Dataset(frame, schema), model, seed=1)
        return str(caught.value)

    frame, zero = dataset.frame, pl.lit(0, pl.Int8)
    assert "no rows" in refused(frame.clear())
    assert "'late' must be 0 and 1, but is 0 in all 50 rows" in refused(frame.with_columns(late=zero))
    assert "but is missing, 0, 1" in refused(frame.with_columns(late=pl.col("late").replace(1, None)).vstack(frame))
    assert "no feature is left" in refused(frame, Schema((), "late", "UTC"))
    infinite = pl.when(pl.int_range(pl.len()) == 7).then(float("inf")).otherwise("x1").alias("x1")
    assert "'x1' is infinite, first in row 7" in refused(frame.with_columns(infinite))


def test_a_combination_that_the_estimator_refuses_is_one_line() -> None:
    model = parse(LOGISTIC, "mean", solver="lbfgs", l1_ratio=1.0)
    estimators.verify(model, "binary")
    with pytest.raises(UserError, match=r"^model: LogisticRegression refuses to be fitted: ") as caught:
        fit.fit(synthetic(200), model, seed=1)
    assert "\n" not in str(caught.value)
    light = parse("lightgbm.LGBMClassifier", encode="native", num_leaves=1, verbosity=-1)
    with pytest.raises(UserError, match=r"^model: LGBMClassifier refuses to be fitted: .*num_leaves"):
        fit.fit(synthetic(200), light, seed=1)


def stepped(scale: str = "robust", encode: str = "target", target: str = LOGISTIC) -> Model:
    steps = {"numeric": {"impute": "median", "scale": scale}, "categorical": {"encode": encode}}
    return Model.parse({"_target_": target, "preprocess": steps})


def test_a_row_is_no_part_of_the_mean_label_that_it_is_encoded_by() -> None:
    """Of ids that one row each has, nothing can be learnt: means over all rows would be the label itself."""
    random = np.random.default_rng(4)
    frame = pl.DataFrame({"id": [f"i{row}" for row in range(600)], "late": (random.random(600) < 0.4).astype(np.int8)})
    rows = Dataset(frame, Schema((Feature("id", "categorical"),), "late", "UTC"))
    pipeline = fit.fit(rows, stepped(), seed=1)
    encoded = pipeline[0].fit_transform(fit.inputs(rows.features), rows.label.to_numpy())
    assert len(np.unique(encoded)) <= 5, "one mean for each fold of the rows, which knows none of its ids"
    assert np.ptp(fit.scores(pipeline, rows.features.with_columns(id=pl.lit("unseen")))) == 0
    assert pipeline[1].coef_.item() < 1, "a row's own label would have made it large"


@pytest.mark.parametrize(
    "declared", [stepped(), stepped("quantile"), stepped("robust", "target", "sklearn.linear_model.Ridge")]
)
def test_steps_that_learn_of_labels_or_ranks_are_the_same_model_and_its_file(declared: Model, tmp_path: Path) -> None:
    rows = synthetic(800)
    task = "regression" if "Ridge" in declared.target else "binary"
    rows = Dataset(rows.frame, Schema(rows.schema.features, "late", "UTC", task))
    contents = []
    for threads in (1, 3):
        path = tmp_path / f"{threads}.skops"
        modelfile.save(fit.fit(rows, declared, seed=1, threads=threads), path)
        contents.append(path.read_bytes())
    assert contents[0] == contents[1]
    expected = fit.scores(fit.fit(rows, declared, seed=1), rows.features)
    np.testing.assert_array_equal(fit.scores(modelfile.load(path), rows.features), expected)


def test_a_target_encoding_of_rare_categories_is_refused() -> None:
    with pytest.raises(UserError, match="encode: target smooths rare ones; remove it"):
        estimators.verify(parse(LOGISTIC, "median", "target"), "binary")
