"""A graph of splines gives the bits of scikit-learn's, wherever knots are and whatever coincides."""

import itertools

import numpy as np
import pytest
from onnx import TensorProto, helper
from sklearn.preprocessing import SplineTransformer

from trunkline.bundle import runtime
from trunkline.core.arrays import Floats
from trunkline.pipeline.bundle.onnx import export, splines
from trunkline.pipeline.bundle.onnx.graph import Graph


def numbers() -> Floats:
    """A smooth column, ties at both ends and within, a constant, and two values."""
    random = np.random.default_rng(5)
    ends = np.clip(random.normal(size=400), -0.3, 0.4)
    steps = random.integers(-2, 3, 400) / 3
    return np.column_stack([random.normal(size=400), ends, steps, np.full(400, 2.5), random.random(400) < 0.5])


def columns(given: Floats, step: SplineTransformer) -> Floats:
    """What the graph makes of rows."""
    graph = Graph()
    graph.nodes.append(helper.make_node("Identity", [splines.add(graph, "numeric", step)], ["score"]))
    shapes = [helper.make_tensor_value_info(name, TensorProto.DOUBLE, ["n", None]) for name in ("numeric", "score")]
    content = helper.make_graph(graph.nodes, "splines", shapes[:1], shapes[1:], graph.constants)
    versions = [helper.make_opsetid("", export.OPERATORS)]
    model = helper.make_model(content, opset_imports=versions, ir_version=export.IR)
    return np.asarray(runtime.session(model.SerializeToString()).run(None, {"numeric": given})[0])


@pytest.mark.parametrize(
    ("knots", "degree", "at"), list(itertools.product((2, 3, 8), (1, 2, 3, 5), ("quantile", "uniform")))
)
def test_columns_are_the_bits_of_scikit_learns(knots: int, degree: int, at: str) -> None:
    rows = numbers()
    step = SplineTransformer(knots, degree, knots=at, include_bias=False).fit(rows)
    odd = splines.knots(step).T
    odd = np.vstack([odd, np.nextafter(odd, -np.inf), np.nextafter(odd, np.inf), np.zeros((1, 5)), -odd * 1e15])
    given = np.vstack([rows, odd])
    expected = step.transform(given)
    np.testing.assert_array_equal(columns(given, step), expected)
    assert (expected[:, : knots + degree - 2] != 0).any(axis=0).all()
