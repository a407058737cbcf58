"""Networks of dense layers, which see all columns as one matrix."""

from typing import Any

from sklearn.neural_network import MLPClassifier, MLPRegressor

from trunkline.pipeline.bundle.onnx.ensemble import NotCovered
from trunkline.pipeline.bundle.onnx.graph import Graph

COVERED = (MLPClassifier, MLPRegressor)
_ACTIVATIONS = {"relu": "Relu", "tanh": "Tanh", "logistic": "Sigmoid", "identity": None}


def score(graph: Graph, matrix: str, estimator: Any) -> str:
    """Add what makes scores of a matrix (n, columns); return their name.

    Raises NotCovered for a network whose scores are made in another way.
    """
    last = len(estimator.coefs_) - 1
    for number, (weights, biases) in enumerate(zip(estimator.coefs_, estimator.intercepts_, strict=True)):
        matrix = graph.add("Add", graph.add("MatMul", matrix, graph.constant(weights)), graph.constant(biases))
        name = _ACTIVATIONS[estimator.activation]
        if number < last and name:
            matrix = graph.add(name, matrix)
    if estimator.out_activation_ == "softmax":
        return graph.add("Softmax", matrix, axis=1)
    if estimator.out_activation_ not in ("logistic", "identity"):
        raise NotCovered(f"a network whose scores are {estimator.out_activation_} is not covered by the exporter")
    return graph.add("Sigmoid", matrix) if estimator.out_activation_ == "logistic" else matrix
