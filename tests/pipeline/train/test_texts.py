"""Words of texts are columns, as scikit-learn makes them, whatever a text holds; a bundle of them says what it is."""

from typing import Any

import numpy as np
import polars as pl
import pytest
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression

from tests.pipeline.bundle.onnx.test_export import FOREST, HGB, LIGHT, XGB
from trunkline.conf.model import Model
from trunkline.core.dataset import Dataset, Schema
from trunkline.core.errors import UserError
from trunkline.core.features import Feature
from trunkline.pipeline.bundle.onnx import ensemble, export
from trunkline.pipeline.train import estimators, fit, modelfile

LOGISTIC = "sklearn.linear_model.LogisticRegression"
WORDS = ["late", "Delay", "gate", "fog", "日本", "Zürich", "ok", "plane"]
SCHEMA = Schema(
    (Feature("carrier", "categorical"), Feature("miles", "numeric"), Feature("note", "categorical")), "late", "UTC"
)


def rows(count: int = 400) -> Dataset:
    """Notes of one to six words, some empty or missing; two of the words say what the label is."""
    random = np.random.default_rng(2)
    notes = [" ".join(random.choice(WORDS, random.integers(1, 7))) for _ in range(count)]
    notes = [None if place % 11 == 0 else "" if place % 13 == 0 else note for place, note in enumerate(notes)]
    label = [int(note is not None and ("fog" in note or "Delay" in note)) for note in notes]
    carrier, miles = random.choice(["a", "b"], count).tolist(), random.normal(size=count)
    return Dataset(pl.DataFrame({"carrier": carrier, "miles": miles, "note": notes, "late": label}), SCHEMA)


def model(target: str = LOGISTIC, text: Any = None, impute: str = "median", **parameters: Any) -> Model:
    steps = {"numeric": {"impute": impute}, "text": {"features": ["note"]} | (text or {})}
    return Model.parse({"_target_": target, "preprocess": steps, **parameters})


def test_scores_are_those_of_a_script_of_its_own() -> None:
    declared = Schema((SCHEMA.features[2],), "late", "UTC")
    data = Dataset(rows().frame.select("note", "late"), declared)
    ours = fit.scores(fit.fit(data, model(text={"words": 2, "columns": 20}), 0), data.features)
    texts = data.frame["note"].fill_null("").to_list()
    matrix = TfidfVectorizer(max_features=20, ngram_range=(1, 2)).fit_transform(texts)
    plain = LogisticRegression(random_state=0).fit(matrix, data.label.to_numpy())
    np.testing.assert_allclose(ours, plain.predict_proba(matrix)[:, 1], rtol=0, atol=1e-12)


@pytest.mark.parametrize("vectorize", ["tfidf", "hashing"])
@pytest.mark.parametrize(
    ("target", "parameters"),
    [
        (LOGISTIC, {}),
        ("sklearn.ensemble.RandomForestClassifier", FOREST),
        ("sklearn.ensemble.HistGradientBoostingClassifier", HGB),
        ("lightgbm.LGBMClassifier", LIGHT),
        ("xgboost.XGBClassifier", XGB),
    ],
)
def test_every_kind_of_estimator_learns_from_words(target: str, parameters: Any, vectorize: str, tmp_path: Any) -> None:
    impute, data = "median" if target == LOGISTIC else "none", rows()
    declared = model(target, {"vectorize": vectorize, "columns": 32}, impute, **parameters)
    estimators.verify(declared, "binary")
    pipeline = fit.fit(data, declared, 0)
    odd = pl.DataFrame({"note": [None, "", "a", "!?", "FOG fog", "unseen words", "\n\t", "日本" * 99]})
    odd = odd.with_columns(carrier=pl.lit("a"), miles=pl.lit(0.5))
    scores = fit.scores(pipeline, odd)
    assert scores[0] == scores[1] == scores[2] == scores[3]  # no word that counts
    assert scores[4] > 0.6
    assert scores[0] < 0.4
    modelfile.save(pipeline, tmp_path / "model.skops")
    loaded = modelfile.load(tmp_path / "model.skops")
    np.testing.assert_array_equal(fit.scores(loaded, odd), scores)
    with pytest.raises(ensemble.NotCovered, match="words of texts"):
        export.export(pipeline, SCHEMA)


@pytest.mark.parametrize(
    ("declared", "why"),
    [
        (model(text={"features": ["nots"]}), "no feature with texts 'nots'; did you mean 'note'"),
        (model(text={"features": ["miles"]}), "no feature with texts 'miles'"),
        (model("xgboost.XGBClassifier", monotone_constraints={"miles": 1}), "of which model.preprocess.text makes"),
    ],
)
def test_what_is_no_text_or_has_no_column_of_its_own_is_refused(declared: Model, why: str) -> None:
    with pytest.raises(UserError, match=why):
        fit.fit(rows(), declared, 0)


def test_a_table_has_no_columns_of_words() -> None:
    with pytest.raises(UserError, match=r"model\.preprocess\.text: CatBoostClassifier takes a table of features"):
        estimators.verify(model("catboost.CatBoostClassifier"), "binary")
