"""Takes the graph of a tree model apart: what stands before its trees, the trees themselves, and what follows them."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
from onnx import ModelProto, NodeProto, TensorProto, helper, numpy_helper
from onnx.utils import Extractor

from trunkline.core.arrays import Floats, Integers
from trunkline.core.graphs import CATEGORICAL, NUMERIC
from trunkline.core.tasks import SCORE

Booleans = npt.NDArray[np.bool_]

_PLAIN = {"aggregate_function": 1, "post_transform": 0}  # the weights are summed, and nothing follows
_LEQ = 0  # the mode of a node that compares with <=
_OF_A_COLUMN = {"Add", "Div", "IsNaN", "Mul", "Sub", "Where"}  # of what steps of single numbers are made
MIXED = -1  # the source of a column that is made of several numbers


@dataclass(frozen=True)
class Trees:
    """A `TreeEnsemble` of ai.onnx.ml 5: arrays over its nodes, over its leaves, and the node that is each tree's root.

    Node i sends a number up to splits[i] to true_id[i], a larger one to false_id[i]: a leaf where true_leaf[i] or
    false_leaf[i], else a node. A missing number goes to true_id[i] where missing_true[i]. A leaf adds its weight to the
    total of its target.
    """

    column: Integers
    splits: Floats
    missing_true: Booleans
    true_id: Integers
    true_leaf: Booleans
    false_id: Integers
    false_leaf: Booleans
    roots: Integers
    weights: Floats
    targets: Integers
    totals: int


@dataclass(frozen=True)
class Category:
    """A categorical input: the row of `table` for each text that is known, and for any other.

    `table` has the values that the trees see, in their columns from `first` on.
    """

    column: int
    places: Mapping[str, int]
    unknown: int
    table: Floats
    first: int

    def rows(self, texts: npt.NDArray[np.object_]) -> npt.NDArray[np.intp]:
        """Return the row of the table for each row of texts, in which a missing one is MISSING."""
        find, unknown = self.places.get, self.unknown
        return np.fromiter((find(text, unknown) for text in texts[:, self.column].tolist()), np.intp, len(texts))


@dataclass(frozen=True)
class TreeGraph:
    """A graph in parts.

    `before` makes the trees' first columns of the numeric inputs, shape (n, numbers); without it they are these
    inputs. `sources` are the inputs that these columns are made of, MIXED of several. Where `single_precision`, trees
    see numbers rounded to float32. `after` makes scores of `total`, the trees' output of shape (n, totals).
    """

    sources: tuple[int, ...]
    before: bytes | None
    single_precision: bool
    categories: tuple[Category, ...]
    trees: Trees
    total: str
    after: bytes

    @property
    def numbers(self) -> int:
        """How many of the trees' columns are made of the numeric inputs."""
        return len(self.sources)


def split(content: bytes) -> TreeGraph | None:
    """Return the parts of a bundle's graph; None if it is not one that the exporter writes for trees."""
    model = onnx.load_model_from_string(content)
    makers = {name: node for node in model.graph.node for name in node.output}
    constants = {tensor.name: numpy_helper.to_array(tensor) for tensor in model.graph.initializer}
    ensembles = [node for node in model.graph.node if node.op_type == "TreeEnsemble"]
    if len(ensembles) != 1 or (trees := _trees(ensembles[0])) is None:
        return None
    seen = ensembles[0].input[0]
    single = False
    while (maker := makers.get(seen)) is not None and maker.op_type == "Cast":
        seen, single = maker.input[0], True
    parts = list(maker.input) if maker is not None and maker.op_type == "Concat" else [seen]
    numeric = [part for part in parts[:1] if not is_looked_up(part, makers)]
    made_of = sources(numeric[0], width(model), makers, constants) if numeric else []
    if made_of is None:
        return None
    first = numbers = len(made_of)
    categories = []
    for part in parts[len(numeric) :]:
        if not is_looked_up(part, makers):
            return None
        categories.append(category(part, makers, constants, first))
        first += categories[-1].table.shape[1]
    total = ensembles[0].output[0]
    if not {NUMERIC, CATEGORICAL}.isdisjoint(_read(SCORE, makers, total)):
        return None  # the score is made of more than the trees
    before = None if numeric in ([], [NUMERIC]) else between(model, NUMERIC, numeric[0], [None, numbers])
    after = between(model, total, SCORE, [None, trees.totals])
    return TreeGraph(tuple(made_of), before, single, tuple(categories), trees, total, after)


def _read(name: str, makers: Mapping[str, NodeProto], stop: str) -> set[str]:
    """Return the names that a value is made of, but for what `stop` is made of."""
    if name == stop or name not in makers:
        return {name}
    return {name}.union(*(_read(of, makers, stop) for of in makers[name].input))


def _trees(node: NodeProto) -> Trees | None:
    """Read a TreeEnsemble; None if it is more than a sum over trees whose every node compares with <=."""
    values: dict[str, Any] = {a.name: helper.get_attribute_value(a) for a in node.attribute}
    if any(values.get(name) != value for name, value in _PLAIN.items()) or "membership_values" in values:
        return None
    tensors = {name: numpy_helper.to_array(v) for name, v in values.items() if isinstance(v, TensorProto)}
    if tensors["nodes_splits"].dtype != np.float64 or (tensors["nodes_modes"] != _LEQ).any():
        return None

    def integers(name: str) -> Integers:
        return np.array(values[name], dtype=np.int64)

    return Trees(
        column=integers("nodes_featureids"),
        splits=tensors["nodes_splits"],
        missing_true=integers("nodes_missing_value_tracks_true").astype(np.bool_),
        true_id=integers("nodes_truenodeids"),
        true_leaf=integers("nodes_trueleafs").astype(np.bool_),
        false_id=integers("nodes_falsenodeids"),
        false_leaf=integers("nodes_falseleafs").astype(np.bool_),
        roots=integers("tree_roots"),
        weights=tensors["leaf_weights"],
        targets=integers("leaf_targetids"),
        totals=int(values["n_targets"]),
    )


def width(model: ModelProto) -> int:
    """Return how many numeric inputs there are."""
    (numeric,) = (value for value in model.graph.input if value.name == NUMERIC)
    return int(numeric.type.tensor_type.shape.dim[1].dim_value)


def sources(name: str, inputs: int, makers: Mapping[str, NodeProto], constants: Mapping[str, Any]) -> list[int] | None:
    """Return the numeric input that each column of a value is made of, MIXED of several; None if that is not known."""
    if name == NUMERIC:
        return list(range(inputs))
    maker = makers.get(name)
    if maker is None:
        return None
    parts = [sources(of, inputs, makers, constants) for of in maker.input if of not in constants]
    if maker.op_type == "Gather" and len(parts) == 1 and parts[0] is not None:
        return [parts[0][place] for place in np.ravel(constants[maker.input[1]])]
    known = [part for part in parts if part is not None]
    if len(known) < len(parts) or not known:
        return None
    if maker.op_type == "Concat":
        return [source for part in known for source in part]
    if maker.op_type not in _OF_A_COLUMN:
        return None
    return [of[0] if len(set(of)) == 1 else MIXED for of in zip(*known, strict=True)]


def is_looked_up(part: str, makers: Mapping[str, NodeProto]) -> bool:
    """Whether columns of the trees are rows of a table, picked by the text of a categorical input."""
    gather = makers.get(part)
    encoder = makers.get(gather.input[1]) if gather is not None and gather.op_type == "Gather" else None
    text = makers.get(encoder.input[0]) if encoder is not None and encoder.op_type == "LabelEncoder" else None
    return text is not None and text.op_type == "Gather" and text.input[0] == CATEGORICAL


def category(part: str, makers: Mapping[str, NodeProto], constants: Mapping[str, Any], first: int) -> Category:
    """Read a table that `is_looked_up`, whose columns the trees have from `first` on."""
    gather = makers[part]
    encoder = makers[gather.input[1]]
    values: dict[str, Any] = {a.name: helper.get_attribute_value(a) for a in encoder.attribute}
    texts = [key.decode() for key in values["keys_strings"]]
    return Category(
        column=int(constants[makers[encoder.input[0]].input[1]]),
        places=dict(zip(texts, values["values_int64s"], strict=True)),
        unknown=int(values["default_int64"]),
        table=constants[gather.input[0]],
        first=first,
    )


def between(model: ModelProto, source: str, target: str, shape: list[int | None]) -> bytes:
    """Return the graph that makes one value of another; `shape` is that of the value that the graph lacks so far."""
    lacking = target if source == NUMERIC else source
    whole = ModelProto()
    whole.CopyFrom(model)
    whole.graph.value_info.append(helper.make_tensor_value_info(lacking, TensorProto.DOUBLE, shape))
    extracted = Extractor(whole).extract_model([source], [target])
    return bytes(extracted.SerializeToString())
