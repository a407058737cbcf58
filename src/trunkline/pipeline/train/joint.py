"""The model that is the mean of other sites' models: of their graphs, which are read as they were signed.

Nothing is learnt from rows here. A mean of scores is what bagging makes of trees (Breiman, "Bagging predictors", 1996).
A mean of margins, the logarithms of the odds, is of linear models the model of the mean coefficients; of a regression
both are the same. Each site weighs as much as it has rows (McMahan et al., "Communication-efficient learning of deep
networks from decentralized data", AISTATS 2017). The mean is a graph too, so that the bundle holds what was measured.
"""

import hashlib
from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Self

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from sklearn.base import BaseEstimator, ClassifierMixin, RegressorMixin

from trunkline.core import paths
from trunkline.core.arrays import Floats
from trunkline.core.errors import UserError, one_line
from trunkline.core.files import parse_json
from trunkline.core.graphs import CATEGORICAL, MISSING, NUMERIC, even, session
from trunkline.core.tasks import SCORE

if TYPE_CHECKING:
    from onnx import GraphProto, ModelProto
    from onnxruntime import InferenceSession

MANIFEST, GRAPH = "manifest.json", "model.onnx"  # of a bundle; the manifest's sha256 is the bundle's digest
SHORTEST = 1e-15  # a chance nearer to 0 or 1 has no margin that two of them could be a mean of
Mean = Literal["scores", "margins"]


class Joint(BaseEstimator):  # type: ignore[misc]  # scikit-learn has no types
    """The mean of the graphs of sites, weighted by their rows; `sites` has the `digest` and `rows` of each, by name."""

    def __init__(self, sites: dict[str, Any], mean: Mean = "scores") -> None:
        self.sites = sites
        self.mean = mean

    def fit(self, rows: pd.DataFrame, labels: NDArray[Any]) -> Self:
        """Read the graphs of the sites, and make their mean; raises UserError for one that is not as it was pinned."""
        graphs = [graph_of(name, site) for name, site in self.sites.items()]
        joined = join(graphs, [float(site["rows"]) for site in self.sites.values()], self.mean)
        given = {each.name: each.shape[1] for each in _session(joined).get_inputs()}
        if sum(given.values()) != rows.shape[1]:
            raise UserError(f"model.sites: their graphs take {given}, but the rows have {rows.shape[1]} features")
        self.numeric_ = int(given.get(NUMERIC, 0))
        self.graph_ = np.frombuffer(joined, dtype=np.uint8).copy()
        return self

    @property
    def graph(self) -> bytes:
        """The mean, as a file holds it."""
        return self.graph_.tobytes()

    def scores(self, rows: pd.DataFrame) -> Floats:
        """Return what the graph makes of rows, numbers before texts: shape (n), of several classes (n, classes)."""
        feed: dict[str, NDArray[Any]] = {}
        if self.numeric_:
            feed[NUMERIC] = even(np.ascontiguousarray(rows.iloc[:, : self.numeric_].to_numpy(np.float64)))
        if self.numeric_ < rows.shape[1]:
            texts = rows.iloc[:, self.numeric_ :].astype(object)
            feed[CATEGORICAL] = even(texts.where(texts.notna(), MISSING).to_numpy(object))
        return np.asarray(_session(self.graph).run([SCORE], feed)[0][: len(rows)], dtype=np.float64)

    def __sklearn_tags__(self) -> Any:
        """Take what graphs take: missing numbers, and texts."""
        tags = super().__sklearn_tags__()
        tags.input_tags.allow_nan = tags.input_tags.string = tags.input_tags.categorical = True
        return tags


class JointClassifier(ClassifierMixin, Joint):  # type: ignore[misc]
    """The mean of classifiers, of two classes or more."""

    def fit(self, rows: pd.DataFrame, labels: NDArray[Any]) -> Self:
        """Make the mean, as `Joint.fit`; its classes are those of the labels."""
        super().fit(rows, labels)
        self.classes_ = np.arange(max(2, len(np.unique(labels))))
        return self

    def predict_proba(self, rows: pd.DataFrame) -> Floats:
        """Return the chance of each class, shape (rows, classes)."""
        chances = self.scores(rows)
        return chances if chances.ndim > 1 else np.column_stack([1 - chances, chances])

    def predict(self, rows: pd.DataFrame) -> NDArray[Any]:
        """Return the likeliest class of each row."""
        return np.asarray(self.classes_[self.predict_proba(rows).argmax(axis=1)])


class JointRegressor(RegressorMixin, Joint):  # type: ignore[misc]
    """The mean of regressors."""

    def predict(self, rows: pd.DataFrame) -> Floats:
        """Return the number that is predicted of each row."""
        return self.scores(rows)


CLASSES: Mapping[str, type[Joint]] = {
    "trunkline.JointClassifier": JointClassifier,
    "trunkline.JointRegressor": JointRegressor,
}


def graph_of(name: str, site: Mapping[str, Any], folder: Path = paths.SITES) -> bytes:
    """Return the graph of a site's bundle; raises UserError where there is none, or another than is pinned."""
    if site.get("digest") is None or site.get("rows") is None:
        raise UserError(f"model.sites.{name}: nothing is pinned yet; run: trunkline federate")
    where = folder / name
    try:
        manifest, graph = (where / MANIFEST).read_bytes(), (where / GRAPH).read_bytes()
    except FileNotFoundError as error:
        raise UserError(f"{error.filename}: is missing; run: trunkline federate") from None
    if hashlib.sha256(manifest).hexdigest() != site["digest"]:
        raise UserError(f"{where / MANIFEST}: is not what model.sites.{name}.digest says; run: trunkline federate")
    if hashlib.sha256(graph).hexdigest() != parse_json(manifest.decode())["files"][GRAPH]:
        raise UserError(
            f"{where / GRAPH}: was changed: its sha256 is not the one in {MANIFEST}; run: trunkline federate"
        )
    return graph


def join(graphs: Sequence[bytes], weights: Sequence[float], mean: Mean) -> bytes:
    """Return the graph of the weighted mean of graphs with the same inputs; the same graphs give the same bytes.

    Raises UserError for graphs that do not fit to each other, and for margins of what are no chances.
    """
    import onnx  # noqa: PLC0415  only this model needs it to be trained

    models = [onnx.load_model_from_string(graph) for graph in graphs]
    first = models[0]
    if any(_outside(model) != _outside(first) for model in models):
        raise UserError("model.sites: their graphs differ in inputs, classes or operators; have all release anew")
    several = len(first.graph.output[0].type.tensor_type.shape.dim) > 1
    parts = [_renamed(model, number) for number, model in enumerate(models)]
    nodes, constants = _weighted([part.output[0].name for part in parts], weights, mean, several)
    content = onnx.helper.make_graph(
        [node for part in parts for node in part.node] + nodes,
        "joint",
        list(first.graph.input),
        list(first.graph.output),
        [constant for part in parts for constant in part.initializer] + constants,
    )
    joined = onnx.helper.make_model(
        content, opset_imports=list(first.opset_import), ir_version=first.ir_version, producer_name="trunkline"
    )
    return bytes(joined.SerializeToString(deterministic=True))


def _outside(model: "ModelProto") -> tuple[Any, ...]:
    """Return what must be the same of graphs that are joined."""
    ends = [bytes(end.SerializeToString(deterministic=True)) for end in (*model.graph.input, *model.graph.output)]
    return (ends, sorted((each.domain, each.version) for each in model.opset_import), model.ir_version)


def _renamed(model: "ModelProto", number: int) -> "GraphProto":
    """Return a graph whose names are its own; its inputs are those of the whole, handed on."""
    from onnx import compose, helper  # noqa: PLC0415

    prefix = f"site_{number}_"
    graph = compose.add_prefix_graph(model.graph, prefix)
    handed = [helper.make_node("Identity", [each.name], [f"{prefix}{each.name}"]) for each in model.graph.input]
    nodes = [*handed, *graph.node]
    del graph.node[:]
    graph.node.extend(nodes)
    return graph


def _weighted(
    scores: Sequence[str], weights: Sequence[float], mean: Mean, several: bool
) -> tuple[list[Any], list[Any]]:
    """Return the nodes, and their constants, that make SCORE of the scores of each site."""
    from onnx import helper, numpy_helper  # noqa: PLC0415

    nodes: list[Any] = []
    constants: list[Any] = []

    def constant(value: float) -> str:
        constants.append(
            numpy_helper.from_array(np.asarray(value, dtype=np.float64), f"joint_constant_{len(constants)}")
        )
        return str(constants[-1].name)

    def add(operator: str, *inputs: str, **attributes: Any) -> str:
        name = f"joint_{len(nodes)}"
        nodes.append(helper.make_node(operator, inputs, [name], name=name, **attributes))
        return name

    shares = np.asarray(weights, dtype=np.float64) / np.sum(weights)
    values = scores if mean == "scores" else [_margin(add, constant, score, several) for score in scores]
    terms = [add("Mul", value, constant(share)) for value, share in zip(values, shares, strict=True)]
    total = terms[0]
    for term in terms[1:]:
        total = add("Add", total, term)
    if mean == "margins":
        total = add("Softmax", total, axis=1) if several else add("Sigmoid", total)
    add("Identity", total)
    nodes[-1].output[0] = SCORE
    return nodes, constants


def _margin(add: Callable[..., str], constant: Callable[[float], str], score: str, several: bool) -> str:
    """Add the margin of a score: of several classes up to what all have in common, which the softmax drops."""
    chance = add("Clip", score, constant(SHORTEST), constant(1 - SHORTEST))
    if several:
        return add("Log", chance)
    return add("Sub", add("Log", chance), add("Log", add("Sub", constant(1.0), chance)))


@lru_cache(maxsize=4)
def _session(graph: bytes) -> "InferenceSession":
    try:
        return session(graph)
    except Exception as error:  # onnxruntime's own exceptions share no base
        raise UserError(f"model.sites: their graphs cannot be joined: {one_line(error)}") from None
