"""A graph's trees and tables in single precision, and how far that moves the scores of the holdout's rows.

A number next to a threshold rounds to the threshold itself, and its row then takes the other branch: a few rows move
much, all others by less than a float32 resolves. So a limit has both: how many rows may move, and how far.
"""

from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from functools import partial

import numpy as np
import onnx
import polars as pl
from onnx import AttributeProto, GraphProto, ModelProto, NodeProto, TensorProto, helper, numpy_helper

from trunkline.bundle import columns
from trunkline.bundle.runtime import Bundle
from trunkline.conf.targets import Web
from trunkline.core import graphs
from trunkline.core.arrays import Floats
from trunkline.core.errors import UserError

_TREES = "TreeEnsemble"
_NUMBERS = ("nodes_splits", "leaf_weights")
_LARGE = 64  # numbers from which on a table is worth a cast
_BLOCK = 1 << 16  # rows that are scored at once


@dataclass(frozen=True)
class Moved:
    """How scores in single precision differ from the bundle's: `share` of the rows by more than the tolerance.

    `difference` is the largest one; differences of scores above one are relative to them.
    """

    rows: int
    share: float
    difference: float

    def check(self, declared: Web) -> None:
        """Raise UserError where more rows have moved than is declared, or one has moved further."""
        where = "deploy.targets.web"
        if not self.share <= declared.rows:
            raise UserError(
                f"{where}.rows: {self.share:.3%} of the holdout's {self.rows:,} rows score otherwise in single "
                f"precision, by more than {declared.tolerance:g}, but {declared.rows:.3%} may; nothing is written: "
                "raise it, or remove deploy.targets.web"
            )
        if not self.difference <= declared.difference:
            raise UserError(
                f"{where}.difference: a row of the holdout scores otherwise by {self.difference:.3g} in single "
                f"precision, but {declared.difference:g} is the most; nothing is written: raise it, or remove "
                "deploy.targets.web"
            )

    def report(self, declared: Web) -> dict[str, object]:
        """Return what was measured beside what was declared, as export.json has it."""
        return {"precision": declared.precision, "measured": asdict(self), "limits": declared.model_dump(
            include={"tolerance", "rows", "difference"})}  # fmt: skip


def narrowed(content: bytes) -> bytes:
    """Return a graph whose trees compare and add in single precision, and whose tables are kept in it.

    Raises UserError for one that has neither in double precision.
    """
    model: ModelProto = onnx.load_from_string(content)
    graph: GraphProto = model.graph
    tables, nodes = [each for each in graph.initializer if _is_table(each)], list(graph.node)
    if not tables and not any(map(_is_double, nodes)):
        raise UserError(
            "deploy.targets.web: the bundle's graph has no trees and no tables in double precision, so that there is "
            "nothing to save; remove deploy.targets.web"
        )
    casts = [helper.make_node("Cast", [f"{each.name}_single"], [each.name], to=TensorProto.DOUBLE) for each in tables]
    kept = [each for each in graph.initializer if not _is_table(each)]
    narrow = [_narrow(each, f"{each.name}_single") for each in tables]
    trees = [each for node in nodes for each in (_single(node) if _is_double(node) else [node])]
    del graph.node[:], graph.initializer[:]
    graph.node.extend([*casts, *trees])
    graph.initializer.extend([*kept, *narrow])
    return bytes(model.SerializeToString(deterministic=True))


def in_single_precision(bundle: Bundle, content: bytes) -> Bundle:
    """Return a bundle that scores with another graph of the same inputs and output."""
    return replace(bundle, _session=graphs.session(content))


def moved(bundle: Bundle, single: Bundle, rows: pl.DataFrame, tolerance: float) -> Moved:
    """Score rows of features with both; raises UserError where there are none, or an input is not among them."""
    if missing := [each.name for each in bundle.contract.inputs if each.name not in rows.columns]:
        raise UserError(f"the holdout has no {missing[0]}, which the bundle takes: it is of another bundle")
    if not rows.height:
        raise UserError("the holdout has no row, so that nothing is known of single precision")
    apart = np.concatenate(list(_apart(bundle, single, rows)))
    return Moved(rows.height, float(np.mean(apart > tolerance)), float(apart.max()))


def _apart(bundle: Bundle, single: Bundle, rows: pl.DataFrame) -> Iterator[Floats]:
    for block in rows.iter_slices(_BLOCK):
        left, right = map(partial(_scores, block), (bundle, single))
        apart = np.abs(right - left) / np.maximum(1.0, np.abs(left))
        yield np.nan_to_num(apart, nan=np.inf).max(axis=1)  # what is no number is as far as can be


def _scores(rows: pl.DataFrame, bundle: Bundle) -> Floats:
    return columns.graph_scores(bundle, rows).reshape(rows.height, -1)


def _is_table(tensor: TensorProto) -> bool:
    return bool(tensor.data_type == TensorProto.DOUBLE and np.prod(tensor.dims) >= _LARGE)


def _is_double(node: NodeProto) -> bool:
    return node.op_type == _TREES and any(
        each.name == "nodes_splits" and each.t.data_type == TensorProto.DOUBLE for each in node.attribute
    )


def _single(trees: NodeProto) -> list[NodeProto]:
    """Return trees in single precision, between casts: what is before and behind them stays as it is."""
    given, total = f"{trees.output[0]}_given", f"{trees.output[0]}_single"
    single = helper.make_node(_TREES, [given], [total], trees.name, domain=trees.domain)
    single.attribute.extend(map(_attribute, trees.attribute))
    return [
        helper.make_node("Cast", [trees.input[0]], [given], to=TensorProto.FLOAT),
        single,
        helper.make_node("Cast", [total], [trees.output[0]], to=TensorProto.DOUBLE),
    ]


def _attribute(attribute: AttributeProto) -> AttributeProto:
    if attribute.name not in _NUMBERS:
        return attribute
    return helper.make_attribute(attribute.name, _narrow(attribute.t, attribute.t.name))


def _narrow(tensor: TensorProto, name: str) -> TensorProto:
    with np.errstate(over="ignore"):  # what is too large is infinite, and its rows are seen to move
        return numpy_helper.from_array(numpy_helper.to_array(tensor).astype(np.float32), name)
