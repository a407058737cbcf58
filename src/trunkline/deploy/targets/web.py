"""A bundle for browsers and Node: its graph, its contract, a loader for onnxruntime-web and a page, in one folder.

onnxruntime's sigmoid of doubles has other bits in WebAssembly, where it calls another exp. So a graph that ends in one
is cut before it, and the loader computes it in the order in which onnxruntime does here.
"""

import hashlib
import json
from dataclasses import dataclass
from importlib import resources
from pathlib import Path

import onnx
import polars as pl

from trunkline.bundle import golden
from trunkline.bundle.runtime import Bundle
from trunkline.conf.targets import Web
from trunkline.core import files
from trunkline.core.errors import UserError
from trunkline.core.tasks import SCORE
from trunkline.deploy.targets import single as precision

# Of the npm package onnxruntime-web, in dist/:
RUNTIME = (
    "ort.wasm.min.mjs",
    "ort-wasm-simd-threaded.mjs",
    "ort-wasm-simd-threaded.wasm",
)
_OWN = ("index.html", "page.mjs", "score.mjs")
_TREES = ("TreeEnsemble", "TreeEnsembleClassifier", "TreeEnsembleRegressor")
_ROUNDED = ("Gemm", "MatMul", "Exp", "Softmax", "Tanh", "Erf", "Log")  # whose last bits depend on the processor
_LINK = "Sigmoid"


@dataclass(frozen=True)
class Single:
    """Single precision as it is declared, and the holdout's features, on which it is measured."""

    declared: Web
    holdout: pl.DataFrame


@dataclass(frozen=True)
class Graph:
    """A graph as browsers run it, what the loader makes of its output, and whether the bits are the same then."""

    content: bytes
    link: str | None
    exact: bool


def export(folder: Path, runtime: Path | None, tolerance: float, single: Single | None = None) -> dict[str, bytes]:
    """Return the files of an export by name; `runtime` has those of onnxruntime-web, None leaves them out.

    The golden rows have the scores that what is exported gives here. Raises UserError for what is no bundle with a
    graph, a golden row that scores otherwise, a folder without onnxruntime-web, or single precision that moves the
    holdout's scores beyond its limits.
    """
    bundle = Bundle.load(folder)
    golden.check(folder, bundle.score, tolerance)
    content = (folder / bundle.manifest.model).read_bytes()
    report: dict[str, object] = {}
    if single:
        content, bundle, report = _in_single_precision(bundle, content, single)
    graph = cut(content)
    rows = [{"request": row.request, "score": bundle.score(row.request)} for row in golden.read(folder)]
    texts = {
        "contract.json": (folder / "contract.json").read_bytes(),
        "golden.json": (json.dumps(rows, ensure_ascii=False, sort_keys=True, indent=1) + "\n").encode(),
        "model.onnx": graph.content,
        **{name: resources.files(__package__).joinpath("web", name).read_bytes() for name in _OWN},
        **({name: _part(runtime, name) for name in RUNTIME} if runtime else {}),
    }
    about = {
        "name": bundle.manifest.name,
        "digest": bundle.digest,
        "link": graph.link,
        "exact": graph.exact and not single,
        **report,
        "tolerance": tolerance,
        "files": {name: hashlib.sha256(content).hexdigest() for name, content in sorted(texts.items())},
    }
    return {**texts, "export.json": files.canonical_json(about, digits=None).encode()}


def _in_single_precision(bundle: Bundle, content: bytes, single: Single) -> tuple[bytes, Bundle, dict[str, object]]:
    """Return the narrowed graph, the bundle that scores with it, and how far scores move, within limits."""
    narrowed = precision.narrowed(content)
    other = precision.in_single_precision(bundle, narrowed)
    moved = precision.moved(bundle, other, single.holdout, single.declared.tolerance)
    moved.check(single.declared)
    return narrowed, other, {"parity": moved.report(single.declared)}


def cut(content: bytes) -> Graph:
    """Return a graph without a sigmoid at its end, which the loader computes instead."""
    model = onnx.load_from_string(content)
    nodes = list(model.graph.node)
    kinds = {node.op_type for node in nodes}
    of_trees, rounded = bool(kinds & {*_TREES}), bool(kinds & {*_ROUNDED})
    last = nodes[-1]
    before = next((node for node in nodes if last.op_type == "Reshape" and last.input[0] in node.output), last)
    if before.op_type != _LINK or SCORE not in last.output:
        return Graph(content, None, of_trees and not rounded and _LINK not in kinds)
    kept = [node for node in nodes if node not in (last, before)]
    margin = onnx.helper.make_tensor_value_info(before.input[0], onnx.TensorProto.DOUBLE, None)
    read = {name for node in kept for name in node.input}
    constants = [each for each in model.graph.initializer if each.name in read]
    graph = onnx.helper.make_graph(kept, model.graph.name, model.graph.input, [margin], constants)
    whole = onnx.helper.make_model(graph, opset_imports=model.opset_import, ir_version=model.ir_version)
    return Graph(whole.SerializeToString(deterministic=True), _LINK, of_trees and not rounded)


def _part(folder: Path, name: str) -> bytes:
    """Return a file of onnxruntime-web, of the package's folder or of its dist/."""
    for path in (folder / name, folder / "dist" / name):
        if path.is_file():
            return path.read_bytes()
    raise UserError(f"{folder}: has no {name}; name the unpacked npm package onnxruntime-web")
