"""A linear model in the units of its features, whatever its preprocessing: what models of several sites are summed in.

The margin is an intercept, and of each number its slope times it, or another number where it is missing; of each
category a number for each text, another for any other text, and none where it is missing. Scaling, imputing and
encoding are asked what they do, by rows that differ in one feature: so each site may fit its own, and the weighted mean
of their coefficients is still the model of the weighted mean of their margins. What is not of this form is refused.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import msgspec
import numpy as np
import polars as pl
from scipy.special import expit
from sklearn.pipeline import Pipeline

from trunkline.core.arrays import Floats
from trunkline.core.dataset import Dataset, Schema
from trunkline.core.errors import UserError, one_line
from trunkline.core.graphs import MISSING, NUMERIC
from trunkline.core.tasks import SCORE
from trunkline.pipeline.bundle.onnx import export
from trunkline.pipeline.bundle.onnx.columns import CategoryLookup
from trunkline.pipeline.bundle.onnx.graph import Graph
from trunkline.pipeline.train import fit

TASKS = ("binary", "regression")
TOLERANCE = 1e-8  # by which a margin may differ from its linear form, relative to 1 and itself
_UNKNOWN = "\ue001"  # a text that no training row has


class Form(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Of which coefficients there are: the numbers, and the texts of each category, in order."""

    numeric: tuple[str, ...]
    categories: dict[str, tuple[str, ...]]

    @classmethod
    def of(cls, train: Dataset) -> "Form":
        """Return the form of training rows, with the texts that they have."""
        schema, rows = train.schema, train.features
        texts = {name: rows[name].drop_nulls().unique().sort().to_list() for name in schema.of_role("categorical")}
        return cls(numeric=tuple(schema.of_role("numeric")), categories={key: (*each,) for key, each in texts.items()})

    @property
    def names(self) -> tuple[tuple[str, ...], tuple[str, ...]]:
        """The numbers, and the categories."""
        return self.numeric, tuple(self.categories)

    @property
    def count(self) -> int:
        """How many coefficients there are."""
        return 1 + 2 * len(self.numeric) + sum(len(texts) + 1 for texts in self.categories.values())


@dataclass(frozen=True)
class _Parts:
    """Coefficients by what they are of: slopes and missing numbers, and a table for each category, unknown last."""

    intercept: float
    slopes: Floats
    missing: Floats
    tables: Mapping[str, Floats]


def coefficients(pipeline: Pipeline, train: Dataset, form: Form) -> Floats:
    """Return the coefficients of a fitted model in a form, shape (form.count).

    Raises UserError for a model whose scores of its own training rows are not what they say. A text that the form lacks
    is an unknown one.
    """
    task = train.schema.task
    if task not in TASKS:
        raise UserError(f"data.target.task: linear models are summed for {' and '.join(TASKS)}, not for {task}")
    if Form.of(train).names != form.names:
        raise UserError("the round's features are not those of data/features; run: dvc repro")
    rows = _known(train.features, form)
    spans = [float(rows[name].fill_nan(None).abs().max() or 1) for name in form.numeric]  # type: ignore[arg-type]
    values = _margins(pipeline, _asked(form, spans), task)
    effects = values[1:] - values[0]
    effects[: len(spans)] /= spans
    result = np.concatenate([values[:1], effects])
    expected, margins = _evaluated(result, rows, form), _margins(pipeline, rows, task)
    scores = expit(expected) if task == "binary" else expected
    for ours, theirs in ((expected, margins), (scores, fit.scores(pipeline, rows))):
        off = np.abs(ours - theirs) / (1 + np.abs(theirs))
        if not off.max() <= TOLERANCE:
            raise UserError(
                f"{train.schema.label}: the model is not linear in its features, by {off.max():.2g} in training row "
                f"{off.argmax()}; declare a linear model without splines, components of texts, quantiles or trees"
            )
    return result


def _known(features: pl.DataFrame, form: Form) -> pl.DataFrame:
    """Return features with one text for all that the form lacks."""
    return features.with_columns(
        pl.when(pl.col(name).is_null() | pl.col(name).is_in(texts)).then(pl.col(name)).otherwise(pl.lit(_UNKNOWN))
        for name, texts in form.categories.items()
    )


def _asked(form: Form, spans: list[float]) -> pl.DataFrame:
    """Return rows that differ from the first, all zeros and missing texts, in one feature, as coefficients follow."""
    changes: list[tuple[str, Any]] = [*zip(form.numeric, spans, strict=True), *((name, None) for name in form.numeric)]
    changes += [(name, text) for name, texts in form.categories.items() for text in (*texts, _UNKNOWN)]
    first: dict[str, Any] = {**dict.fromkeys(form.numeric, 0.0), **dict.fromkeys(form.categories)}
    types = {**dict.fromkeys(form.numeric, pl.Float64()), **dict.fromkeys(form.categories, pl.String())}
    return pl.DataFrame([first, *({**first, name: value} for name, value in changes)], schema=types)


def _margins(pipeline: Pipeline, rows: pl.DataFrame, task: str) -> Floats:
    given = fit.inputs(rows.select(pipeline.feature_names_in_))
    name = "predict" if task == "regression" else "decision_function"
    if not hasattr(pipeline, name):
        raise UserError("model: has no linear margin; declare a linear model, such as LogisticRegression")
    try:
        margins = np.asarray(getattr(pipeline, name)(given), dtype=np.float64)
    except ValueError as error:
        raise UserError(
            f"model: does not score every row ({one_line(error)[:200]}); a linear model of several sites says what a "
            "missing number counts: declare model.preprocess.numeric.impute"
        ) from None
    if margins.shape != (rows.height,):
        raise UserError("model: has several margins; only models with one are summed")
    return margins


def _parts(coefficients: Floats, form: Form) -> _Parts:
    count, places = len(form.numeric), [len(texts) + 1 for texts in form.categories.values()]
    slopes, missing, rest = np.split(coefficients[1:], [count, 2 * count])
    tables = dict(zip(form.categories, np.split(rest, np.cumsum(places)[:-1]), strict=True)) if places else {}
    return _Parts(float(coefficients[0]), slopes, missing, tables)


def _evaluated(coefficients: Floats, rows: pl.DataFrame, form: Form) -> Floats:
    """Return the margins of rows that `_known` has made."""
    parts = _parts(coefficients, form)
    margins = np.full(rows.height, parts.intercept)
    if form.numeric:
        numbers = rows.select(form.numeric).fill_null(np.nan).to_numpy()
        gaps = np.isnan(numbers)
        margins += np.where(gaps, 0, numbers) @ parts.slopes + gaps @ parts.missing
    for name, texts in form.categories.items():
        effects = {text: float(effect) for text, effect in zip((*texts, _UNKNOWN), parts.tables[name], strict=True)}
        margins += [0.0 if text is None else effects[text] for text in rows[name]]
    return margins


def graph(coefficients: Floats, form: Form, schema: Schema) -> bytes:
    """Return the graph of a model of these coefficients; equal ones give equal bytes."""
    parts, of = _parts(coefficients, form), Graph()
    total = of.constant(parts.intercept)
    if form.numeric:
        gaps = of.add("IsNaN", NUMERIC)
        effects = of.add("Where", gaps, of.constant(parts.missing), of.add("Mul", NUMERIC, of.constant(parts.slopes)))
        total = of.add("Add", of.add("ReduceSum", effects, of.constant([1], np.int64), keepdims=0), total)
    for column, (name, texts) in enumerate(form.categories.items()):
        *known, unknown = parts.tables[name]
        table = np.array([*known, 0.0, unknown])
        lookup = CategoryLookup(column, (*texts, MISSING), (*range(len(texts) + 1),), len(texts) + 1, table[:, None], 0)
        total = of.add("Add", of.add("Gather", of.constant(table), lookup.codes(of), axis=0), total)
    result = of.add("Sigmoid", total) if schema.task == "binary" else total
    of.add("Reshape", result, of.constant([-1], np.int64))
    of.nodes[-1].output[0] = SCORE
    return export.serialized(of, schema)
