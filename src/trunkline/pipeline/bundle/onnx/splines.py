"""Writes a fitted SplineTransformer as operators: de Boor's recursion, in the order of operations of scipy's BSpline.

Of knots t, the basis function i of degree p is (x - t[i]) / (t[i+p] - t[i]) times that of degree p - 1, plus
(t[i+p+1] - x) / (t[i+p+1] - t[i+1]) times the next one's; that of degree 0 is 1 from t[i] up to t[i+1], else 0
(de Boor, A Practical Guide to Splines, 2001, chapter IX).
"""

import numpy as np
from onnx import TensorProto
from sklearn.preprocessing import SplineTransformer

from trunkline.core.arrays import Floats
from trunkline.pipeline.bundle.onnx.graph import Graph


def knots(step: SplineTransformer) -> Floats:
    """Return the knots that pieces meet at, ascending, shape (features, knots); those beyond the ends are left out."""
    return _all_knots(step)[:, step.degree : -step.degree]


def add(graph: Graph, numbers: str, step: SplineTransformer) -> str:
    """Add the columns of every number, shape (n, features x functions without the last); return their name."""
    every = _all_knots(step)
    features, functions = len(every), _functions(every, step.degree)
    low, high = (graph.constant(every[:, place, None]) for place in (step.degree, functions))
    given = graph.add("Reshape", numbers, graph.constant([-1, features, 1], np.int64))
    within = graph.add("Min", graph.add("Max", given, low), high)
    basis = _basis(graph, within, every, step.degree)
    below, above = graph.add("Less", given, low), graph.add("Greater", given, high)
    kept = graph.add("Mul", basis, _outermost(graph, below, above, functions, step.degree))
    columns = _part(graph, kept, 0, functions - 1)
    return graph.add("Reshape", columns, graph.constant([-1, features * (functions - 1)], np.int64))


def _all_knots(step: SplineTransformer) -> Floats:
    return np.array([spline.t for spline in step.bsplines_], dtype=np.float64)


def _functions(every: Floats, degree: int) -> int:
    return int(every.shape[1] - degree - 1)


def _basis(graph: Graph, x: str, every: Floats, degree: int) -> str:
    """Add the basis functions at x, shape (n, features, functions)."""
    functions = _functions(every, degree)
    start, end = every[:, :-1].copy(), every[:, 1:].copy()
    start[:, :degree], start[:, functions:] = np.inf, np.inf  # no number is beyond the ends
    end[:, functions - 1] = np.inf  # the last piece has its end
    after, before = graph.add("GreaterOrEqual", x, graph.constant(start)), graph.add("Less", x, graph.constant(end))
    basis = graph.add("Cast", graph.add("And", after, before), to=TensorProto.DOUBLE)
    for power in range(1, degree + 1):
        width = every[:, power:] - every[:, :-power]
        share = graph.add("Div", basis, graph.constant(np.where(width == 0, np.inf, width)))
        count = width.shape[1] - 1
        rising = graph.add("Sub", x, graph.constant(every[:, :count]))
        falling = graph.add("Sub", graph.constant(every[:, -count:]), x)
        rise = graph.add("Mul", _part(graph, share, 0, count), rising)
        fall = graph.add("Mul", _part(graph, share, 1, count + 1), falling)
        basis = graph.add("Add", rise, fall)
    return basis


def _outermost(graph: Graph, below: str, above: str, functions: int, degree: int) -> str:
    """Add 0 for the functions that scikit-learn leaves out beyond an end, where knots may coincide; else 1."""
    place = np.arange(functions)
    first, last = (place < degree).astype(np.float64), (place >= functions - degree).astype(np.float64)
    inside = graph.add("Where", above, graph.constant(last), graph.constant(1.0))
    return graph.add("Where", below, graph.constant(first), inside)


def _part(graph: Graph, basis: str, start: int, end: int) -> str:
    """Add some of the functions of every number."""
    bounds = (graph.constant([value], np.int64) for value in (start, end, 2))
    return graph.add("Slice", basis, *bounds)
