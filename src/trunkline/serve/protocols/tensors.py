"""What the Open Inference Protocol calls things, over REST as over gRPC: a tensor for each input, and one of scores.

The first dimension of every tensor is the row. A missing number is null or NaN; a missing text null or, where there is
no null, the mark that the contract reserves for it.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any

from trunkline import __version__
from trunkline.bundle.contract import MISSING
from trunkline.core.tasks import SCORE
from trunkline.serve.model import Model
from trunkline.serve.problems import ProblemError, malformed

PLATFORM = "trunkline_onnx"
NUMBERS = ("FP64", "FP32", "INT64", "INT32", "INT16", "INT8", "UINT64", "UINT32", "UINT16", "UINT8")

_DATATYPES = {"number": "FP64", "integer": "FP64", "boolean": "BOOL", "text": "BYTES"}


@dataclass(frozen=True)
class Tensor:
    """A named list of values, one for each row."""

    name: str
    datatype: str
    shape: Sequence[int]
    values: Sequence[Any]


def server() -> dict[str, Any]:
    """Return the server's metadata."""
    return {"name": "trunkline", "version": __version__, "extensions": []}


def describe(model: Model) -> dict[str, Any]:
    """Return a model's metadata; a whole number is FP64, in which what is missing is NaN."""
    contract = model.bundle.contract
    inputs = [{"name": field.name, "datatype": _DATATYPES[field.type], "shape": [-1]} for field in contract.inputs]
    shape = [-1, len(contract.classes)] if contract.classes else [-1]
    return {
        "name": model.version.name,
        "versions": [model.version.version] if model.version.version else [],
        "platform": PLATFORM,
        "inputs": inputs,
        "outputs": [{"name": SCORE, "datatype": "FP64", "shape": shape}],
    }


def rows(tensors: Iterable[Tensor]) -> list[dict[str, Any]]:
    """Return the rows of tensors, which have to be as many in each; raises ProblemError where they are not."""
    columns: dict[str, Sequence[Any]] = {}
    for tensor in tensors:
        if tensor.name in columns:
            raise malformed(f"input {tensor.name[:60]!r}: is there twice; give it once")
        count = tensor.shape[0] if tensor.shape else 0
        if list(tensor.shape) not in ([count], [count, 1]) or len(tensor.values) != count:
            given = f"{list(tensor.shape)} with {len(tensor.values):,} values"
            raise malformed(f"input {tensor.name[:60]!r}: is of shape {given}; it has to be [n], a value for each row")
        if tensor.datatype not in (*NUMBERS, "BOOL", "BYTES"):
            raise malformed(f"input {tensor.name[:60]!r}: datatype {tensor.datatype[:20]!r}: is none that is read")
        texts = tensor.datatype == "BYTES"
        columns[tensor.name] = list(map(_text, tensor.values)) if texts else tensor.values
    lengths = sorted({len(values) for values in columns.values()})
    if len(lengths) > 1:
        raise malformed(f"the inputs have {', '.join(map(str, lengths))} rows; give each row a value of each")
    return [dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True)]


def scores(model: Model, tensors: Iterable[Tensor]) -> Tensor:
    """Return the scores of the rows that tensors hold."""
    result = model.scores(model.decoder.check(rows(tensors)))
    return Tensor(SCORE, "FP64", result.shape, result.ravel().tolist())


def named(model: Model | None, name: str, version: str = "") -> Model:
    """Return the model if it is the one that is asked for, by any version or its own; raises ProblemError, 404."""
    if model is None or name != model.version.name or version not in ("", model.version.version):
        raise ProblemError(HTTPStatus.NOT_FOUND, f"model {name[:60]!r} {version[:60]}: is not served here")
    return model


def _text(value: Any) -> Any:
    if isinstance(value, bytes):
        try:
            value = value.decode()
        except UnicodeDecodeError:
            raise malformed("a BYTES tensor holds a text that is not UTF-8") from None
    return None if value == MISSING else value
