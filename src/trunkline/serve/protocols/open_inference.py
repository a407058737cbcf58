"""The Open Inference Protocol (V2) over REST: metadata, readiness and inference, below /v2/models/NAME."""

import re
from collections.abc import Iterator
from http import HTTPStatus
from typing import Any

import msgspec

from trunkline.serve.asked import Answered, Asked
from trunkline.serve.http import JSON, Request, Response, json_response
from trunkline.serve.model import Model, Scored
from trunkline.serve.problems import ProblemError, malformed
from trunkline.serve.protocols import tensors
from trunkline.serve.protocols.tensors import Tensor

BINARY, OCTETS = "inference-header-content-length", "application/octet-stream"
_MODEL = r"/v2/models/(?P<name>[^/]+)(?:/versions/(?P<version>[^/]+))?"
_METADATA, _READY, _INFER = (re.compile(_MODEL + end) for end in ("", "/ready", "/infer"))


class _Infer(msgspec.Struct):
    inputs: list["_Input"]
    id: str | None = None


class _Input(msgspec.Struct):
    name: str
    datatype: str
    shape: list[int]
    data: list[object] = []
    parameters: dict[str, object] = {}


def metadata(model: Model, request: Request, body: bytes) -> tuple[Response, None]:
    """Answer with the model's inputs and outputs."""
    _version_asked(model, _METADATA, request)
    return json_response(tensors.describe(model)), None


def ready(model: Model, request: Request, body: bytes) -> tuple[Response, None]:
    """Answer that the model is served."""
    _version_asked(model, _READY, request)
    return json_response({"name": model.version.name, "ready": True}), None


def infer(model: Model, request: Request, body: bytes) -> tuple[Response, Scored]:
    """Answer tensors of rows with the tensor of their scores; return what was scored."""
    answered, scored = tensors.scored(model, asked(model, request, body))
    return respond(model, request, answered), scored


def asked(model: Model, request: Request, body: bytes) -> Asked:
    """Return the rows of tensors; raises ProblemError for a body that is no request, and for another model."""
    version = _version_asked(model, _INFER, request)
    if request.media_type not in (JSON, OCTETS):
        raise ProblemError(HTTPStatus.UNSUPPORTED_MEDIA_TYPE, f"the body's type has to be {JSON}")
    length = _header_length(request, body)
    try:
        content = msgspec.convert(model.decoder.parse(body[:length]), _Infer)
    except msgspec.ValidationError as error:
        raise malformed(f"the body is not an inference request: {error}") from None
    except UnicodeEncodeError:
        raise malformed("the body has a name that is not Unicode: it holds half of a surrogate pair") from None
    return tensors.asked(_tensors(content.inputs, body[length:]), content.id, version)


def respond(model: Model, request: Request, answered: Answered) -> Response:
    """Return the tensor of scores, with the version that answered; or where there were two, with that of each row."""
    result = tensors.scores(answered)
    output: dict[str, Any] = {"name": result.name, "datatype": result.datatype, "shape": result.shape}
    if versions := tensors.versions(answered):
        output["parameters"] = versions
    answer = {
        "model_name": model.version.name,
        "model_version": tensors.version(answered),
        "id": answered.id or request.id,
        "outputs": [output | {"data": result.values}],
    }
    return json_response(answer)


def refusal(problem: ProblemError) -> ProblemError:
    """Return a problem as clients of the protocol read it: `error`, and 400 for a row that is refused."""
    status = HTTPStatus.BAD_REQUEST if problem.status == HTTPStatus.UNPROCESSABLE_ENTITY else problem.status
    return ProblemError(status, problem.detail, problem.headers, **problem.members, error=problem.detail)


def _version_asked(model: Model, form: re.Pattern[str], request: Request) -> str:
    """Return the version that a path names, or an empty text; raises ProblemError, 404, for what is not served."""
    match = form.fullmatch(request.path.rstrip("/"))
    assert match, "the route was chosen by this form"  # noqa: S101
    version = match["version"] or ""
    tensors.named(model, match["name"], version)
    return version


def _header_length(request: Request, body: bytes) -> int:
    """Return how much of the body is JSON; binary tensors may follow it."""
    if request.header(BINARY) is None:
        return len(body)
    length = request.length(BINARY)
    if length is None or length > len(body):
        raise malformed(f"header {BINARY}: has to be the length of the JSON that the body begins with")
    return length


def _tensors(inputs: list[_Input], binary: bytes) -> Iterator[Tensor]:
    """Yield the inputs, of which some may have their values in the binary part, one after the other."""
    start = 0
    for each in inputs:
        size = each.parameters.get("binary_data_size")
        if size is None:
            yield Tensor(each.name, each.datatype, each.shape, _flat(each.data))
            continue
        if not isinstance(size, int) or not 0 <= size <= len(binary) - start:
            raise malformed(f"input {each.name[:60]!r}: binary_data_size: is more than the body holds")
        content, start = binary[start : start + size], start + size
        yield Tensor(each.name, each.datatype, each.shape, tensors.unpack(each.name, each.datatype, content))
    if start != len(binary):
        raise malformed("the body holds more than its inputs say; give each binary_data_size")


def _flat(data: list[object]) -> list[object]:
    """Return the values of [n, 1], which may be nested."""
    return [value[0] if isinstance(value, list) and len(value) == 1 else value for value in data]


ROUTES = [("GET", _METADATA, metadata), ("GET", _READY, ready), ("POST", _INFER, infer)]
