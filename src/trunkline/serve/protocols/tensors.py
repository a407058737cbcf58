"""What the Open Inference Protocol calls things, over REST as over gRPC: a tensor for each input, and one of scores.

The first dimension of every tensor is the row. A missing number is null or NaN; a missing text null or, where there is
no null, the mark that the contract reserves for it.
"""

import struct
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any

import numpy as np

from trunkline import __version__
from trunkline.core.graphs import MISSING
from trunkline.core.tasks import SCORE
from trunkline.serve.asked import Answered, Asked
from trunkline.serve.model import Model, Scored
from trunkline.serve.problems import ProblemError, malformed

PLATFORM = "trunkline_onnx"
_RAW = {"BOOL": "?", "FP32": "<f4", "FP64": "<f8"} | {
    f"{sign}{bits}": f"<{letter}{bits // 8}"
    for sign, letter in (("INT", "i"), ("UINT", "u"))
    for bits in (8, 16, 32, 64)
}
DATATYPES = [*_RAW, "BYTES"]
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
    return {"name": "trunkline", "version": __version__, "extensions": ["binary_tensor_data"]}


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


def columns(inputs: Iterable[Mapping[str, Any]], rows: Sequence[Mapping[str, Any]]) -> Iterator[dict[str, Any]]:
    """Yield rows as the inputs that `describe` names, in JSON."""
    for each in inputs:
        data = [row.get(each["name"]) for row in rows]
        yield {**each, "shape": [len(rows)], "data": data}


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
        if tensor.datatype not in DATATYPES:
            raise unknown_datatype(tensor.name, tensor.datatype)
        texts = tensor.datatype == "BYTES"
        columns[tensor.name] = list(map(_text, tensor.values)) if texts else tensor.values
    lengths = sorted({len(values) for values in columns.values()})
    if len(lengths) > 1:
        raise malformed(f"the inputs have {', '.join(map(str, lengths))} rows; give each row a value of each")
    return [dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True)]


def asked(tensors: Iterable[Tensor], request: str | None, version: str) -> Asked:
    """Return the rows that tensors hold; `request` is the id that the client gave, if any, `version` what it asks."""
    given = rows(tensors)
    return Asked(lambda: given, id=request or None, pinned=bool(version))


def scored(model: Model, asked: Asked) -> tuple[Answered, Scored]:
    """Return the scores of rows, as they are answered and as they are logged."""
    given = asked.given(model)
    scores = model.scores(given.rows)
    return Answered.by(model, given, scores, id=asked.id), given.scored(model, scores, asked.own_id)


def scores(answered: Answered) -> Tensor:
    """Return the tensor of scores."""
    return Tensor(SCORE, "FP64", answered.scores.shape, answered.scores.ravel().tolist())


def version(answered: Answered) -> str:
    """Return the version that answered; an empty text for none, and where it was not the same for all rows."""
    return "" if answered.versions else answered.version.version or ""


def versions(answered: Answered) -> dict[str, str]:
    """Return the parameters of an answer's tensor: the version of each row, where it was not the same for all."""
    return {"versions": ",".join(each.version or "" for each in answered.versions)} if answered.versions else {}


def named(model: Model | None, name: str, version: str = "") -> Model:
    """Return the model if it is the one that is asked for, by any version or its own; raises ProblemError, 404."""
    if model is None or name != model.version.name or version not in ("", model.version.version):
        raise ProblemError(HTTPStatus.NOT_FOUND, f"model {name[:60]!r} {version[:60]}: is not served here")
    return model


def unpack(name: str, datatype: str, content: bytes) -> list[Any]:
    """Return the values of a raw tensor: little-endian numbers, or texts that follow their lengths."""
    if datatype not in DATATYPES:
        raise unknown_datatype(name, datatype)
    try:
        return _texts(content) if datatype == "BYTES" else np.frombuffer(content, _RAW[datatype]).tolist()
    except (ValueError, struct.error):
        raise malformed(f"input {name[:60]!r}: its raw content is cut off") from None


def unknown_datatype(name: str, datatype: str) -> ProblemError:
    """Return the refusal of a datatype that no input can have."""
    return malformed(f"input {name[:60]!r}: datatype {datatype[:20]!r}: is none that is read")


def _texts(content: bytes) -> list[bytes]:
    texts, start = [], 0
    while start < len(content):
        (length,) = struct.unpack_from("<I", content, start)
        start += 4 + length
        if start > len(content):
            raise ValueError(content)
        texts.append(content[start - length : start])
    return texts


def _text(value: Any) -> Any:
    if isinstance(value, bytes):
        try:
            value = value.decode()
        except UnicodeDecodeError:
            raise malformed("a BYTES tensor holds a text that is not UTF-8") from None
    return None if value == MISSING else value
