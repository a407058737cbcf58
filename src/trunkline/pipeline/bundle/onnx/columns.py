"""What an estimator sees of a row: its numbers, imputed and scaled, and what the encoder makes of each category."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Self

import numpy as np
import pandas as pd
import polars as pl
from sklearn.decomposition import PCA
from sklearn.impute import SimpleImputer
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import (
    MinMaxScaler,
    OneHotEncoder,
    OrdinalEncoder,
    PolynomialFeatures,
    RobustScaler,
    SplineTransformer,
    StandardScaler,
    TargetEncoder,
)

from trunkline.core.arrays import Floats
from trunkline.core.dataset import Schema
from trunkline.core.graphs import CATEGORICAL, MISSING, NUMERIC
from trunkline.pipeline.bundle import fitted
from trunkline.pipeline.bundle.onnx import splines
from trunkline.pipeline.bundle.onnx.ensemble import NotCovered
from trunkline.pipeline.bundle.onnx.graph import Graph
from trunkline.pipeline.train import fit

_UNKNOWN = "\ue001"  # a text that no training row has, or else one with more of it


@dataclass(frozen=True)
class CategoryLookup:
    """The categorical input of a number: the row of `encoded` of each text that the encoder knows, and of any other.

    `encoded` has the encoder's codes for them, shape (distinct rows, columns); `first` is the number of the first
    column among all that the estimator sees.
    """

    number: int
    texts: tuple[str, ...]
    places: tuple[int, ...]
    unknown: int
    encoded: Floats
    first: int

    def codes(self, graph: Graph) -> str:
        """Add the look-up; return the name of its places, int64 (n)."""
        text = graph.add("Gather", CATEGORICAL, graph.constant(self.number, np.int64), axis=1)
        return graph.add(
            "LabelEncoder",
            text,
            domain="ai.onnx.ml",
            keys_strings=list(self.texts),
            values_int64s=list(self.places),
            default_int64=self.unknown,
        )


@dataclass(frozen=True)
class Columns:
    """What an estimator sees: the matrix of `count` numbers, None if there is none, and the categories."""

    pipeline: Pipeline
    numeric: str | None
    lookups: Sequence[CategoryLookup]
    count: int

    @classmethod
    def of(cls, graph: Graph, pipeline: Pipeline, schema: Schema) -> Self:
        """Add what makes the numbers of the request's; raises NotCovered for steps that cannot be exported exactly."""
        if any(role.startswith("text ") for role, _, _ in pipeline[0].transformers_):
            raise NotCovered("words of texts are not covered by the exporter")
        width, selected = fitted.width(pipeline, "numeric"), fitted.selected(pipeline)
        numbers = selected[selected < width]
        numeric = _numeric(graph, pipeline, schema) if len(numbers) else None
        if numeric and len(numbers) < width:
            numeric = graph.add("Gather", numeric, graph.constant(numbers, np.int64), axis=1)
        return cls(pipeline, numeric, list(category_lookups(pipeline, schema)), len(numbers))

    def matrix(self, graph: Graph) -> str:
        """Add all columns as one matrix; return its name."""
        parts = [self.numeric] if self.numeric else []
        parts += [
            graph.add("Gather", graph.constant(lookup.encoded), lookup.codes(graph), axis=0) for lookup in self.lookups
        ]
        return graph.add("Concat", *parts, axis=1) if len(parts) > 1 else parts[0]


def _numeric(graph: Graph, pipeline: Pipeline, schema: Schema) -> str:
    """Add the steps of the numbers; return the name of their matrix."""
    count, column = len(schema.of_role("numeric")), NUMERIC
    for step in fitted.numeric_steps(pipeline):
        if isinstance(step, SimpleImputer):
            blank = pd.DataFrame(np.full((1, count), np.nan), columns=schema.of_role("numeric"))
            filled = graph.constant(np.asarray(step.transform(blank), dtype=np.float64))
            column = graph.add("Where", graph.add("IsNaN", column), filled, column)
        elif isinstance(step, StandardScaler):
            column = graph.add("Sub", column, graph.constant(step.mean_))
            column = graph.add("Div", column, graph.constant(step.scale_))
        elif isinstance(step, RobustScaler):
            column = graph.add("Sub", column, graph.constant(step.center_))
            column = graph.add("Div", column, graph.constant(step.scale_))
        elif isinstance(step, MinMaxScaler):
            column = graph.add("Mul", column, graph.constant(step.scale_))
            column = graph.add("Add", column, graph.constant(step.min_))
        elif isinstance(step, PolynomialFeatures):
            column = products(graph, column, step)
        elif isinstance(step, SplineTransformer):
            column = splines.add(graph, column, step)
        elif isinstance(step, PCA):
            column = _components(graph, column, step)
        else:
            raise NotCovered(f"{type(step).__name__} is not covered by the exporter")
    return column


def products(graph: Graph, column: str, step: PolynomialFeatures) -> str:
    """Add the products of each two numbers behind them, in scikit-learn's order."""
    pairs = np.array([np.flatnonzero(powers) for powers in step.powers_ if powers.sum() == 2]).reshape(-1, 2)
    if not len(pairs):
        return column
    factors = [graph.add("Gather", column, graph.constant(of, np.int64), axis=1) for of in pairs.T]
    return graph.add("Concat", column, graph.add("Mul", *factors), axis=1)


def _components(graph: Graph, column: str, step: PCA) -> str:
    """Add principal components as scikit-learn computes them; of one number with a product."""
    weights = np.asarray(step.components_.T, dtype=np.float64)
    weighted = graph.add("MatMul" if len(weights) > 1 else "Mul", column, graph.constant(weights))
    return graph.add("Sub", weighted, graph.constant(step.mean_.reshape(1, -1) @ weights))


def category_lookups(pipeline: Pipeline, schema: Schema) -> Iterator[CategoryLookup]:
    """Ask the fitted encoder for the codes of every text that it knows, of an unknown one and of a missing one.

    An input of which the estimator sees no column is left out.
    """
    names, encoder = schema.of_role("categorical"), fitted.transformer(pipeline, "categorical")
    if not names:
        return
    if not isinstance(encoder, OneHotEncoder | OrdinalEncoder | TargetEncoder):
        raise NotCovered(f"{type(encoder).__name__} is not covered by the exporter")
    ends = fitted.width(pipeline, "numeric") + np.cumsum([0, *fitted.widths(encoder)])
    selected = fitted.selected(pipeline)
    texts_of = {
        name: [text for text in categories if isinstance(text, str)]
        for name, categories in zip(names, encoder.categories_, strict=True)
    }
    any_text = {name: next(iter(texts), None) for name, texts in texts_of.items()}  # None: it was always missing
    for column, name in enumerate(names):
        first, end = np.searchsorted(selected, ends[column : column + 2])
        if first == end:
            continue
        texts = texts_of[name]
        unknown = _UNKNOWN
        while unknown in texts:
            unknown += _UNKNOWN
        probes = pl.Series(name, [*texts, unknown, None], dtype=pl.String)
        others = (pl.lit(any_text[other], pl.String).alias(other) for other in names if other != name)
        codes = encoder.transform(fit.inputs(pl.DataFrame(probes).with_columns(others).select(names)))
        block = np.asarray(codes.toarray() if hasattr(codes, "toarray") else codes, dtype=np.float64)
        encoded = np.ascontiguousarray(block[:, selected[first:end] - ends[0]])
        yield _lookup(column, [*texts, unknown, MISSING], encoded, int(first))


def _lookup(number: int, texts: Sequence[str], encoded: Floats, first: int) -> CategoryLookup:
    """Store equal rows once; the last two texts are an unknown and the missing one."""
    rows: dict[bytes, int] = {}
    places = [rows.setdefault(row.tobytes(), len(rows)) for row in encoded]
    distinct = np.array([np.frombuffer(row, dtype=np.float64) for row in rows]).reshape(len(rows), encoded.shape[1])
    return CategoryLookup(number, (*texts[:-2], texts[-1]), (*places[:-2], places[-1]), places[-2], distinct, first)
