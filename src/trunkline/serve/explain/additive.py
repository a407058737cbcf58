"""Takes a graph apart into the terms whose sum is the margin, and the link that makes scores of the margin."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx
from onnx import ModelProto, NodeProto, numpy_helper

from trunkline.core.arrays import Floats
from trunkline.core.tasks import SCORE

LINKS: Mapping[str, str] = {"Sigmoid": "logistic", "Softmax": "softmax", "Exp": "exp"}  # by the operator of ONNX
IDENTITY = "identity"  # the score is the margin itself


class NotExplainedError(Exception):
    """Why a model cannot be explained exactly."""


@dataclass(frozen=True)
class Additive:
    """A margin: the sum of `intercept` and of each term, the output of a node divided by a number."""

    model: ModelProto
    makers: Mapping[str, NodeProto]
    constants: Mapping[str, Any]
    terms: tuple[tuple[NodeProto, float], ...]
    intercept: Floats
    link: str


def read(content: bytes) -> Additive:
    """Return the margin of a bundle's graph; raises NotExplainedError for a graph whose score is no such sum."""
    model = onnx.load_model_from_string(content)
    makers = {name: node for node in model.graph.node for name in node.output}
    constants = {tensor.name: numpy_helper.to_array(tensor) for tensor in model.graph.initializer}
    margin, link = makers[SCORE], IDENTITY
    if margin.op_type == "Reshape":
        margin = makers[margin.input[0]]
    if margin.op_type in LINKS:
        margin, link = makers[margin.input[0]], LINKS[margin.op_type]
    terms, intercept = [], np.zeros(1)
    for term, divisor in _terms(margin.output[0], makers, constants):
        if isinstance(term, NodeProto):
            terms.append((term, divisor))
        else:
            intercept = intercept + np.ravel(term) / divisor
    return Additive(model, makers, constants, tuple(terms), intercept, link)


def score(margin: Floats, link: str) -> Floats:
    """Return the scores of margins, shape (n, outputs)."""
    with np.errstate(over="ignore"):  # what is too small for exp(-margin) has the score 0
        if link == "logistic":
            return np.asarray(1 / (1 + np.exp(-margin)))
        if link == "softmax":
            shares = np.exp(margin - margin.max(axis=1, keepdims=True))
            return np.asarray(shares / shares.sum(axis=1, keepdims=True))
        return np.asarray(np.exp(margin)) if link == "exp" else margin


def _terms(
    margin: str, makers: Mapping[str, NodeProto], constants: Mapping[str, Any]
) -> Iterator[tuple[NodeProto | Any, float]]:
    """Yield the nodes and constants that are added up, each with the number that divides it."""
    waiting = [(margin, 1.0)]
    while waiting:
        name, divisor = waiting.pop()
        node = makers.get(name)
        if name in constants:
            yield constants[name], divisor
        elif node is None:
            raise NotExplainedError(f"its graph adds the input {name} to the score as it is")
        elif node.op_type == "Add":
            waiting += [(part, divisor) for part in node.input]
        elif node.op_type == "Div" and np.size(constants.get(node.input[1], ())) == 1:
            waiting.append((node.input[0], divisor * float(constants[node.input[1]])))
        else:
            yield node, divisor
