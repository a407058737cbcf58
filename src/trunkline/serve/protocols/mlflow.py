"""`POST /invocations`: MLflow's scoring protocol, on the contract's own checks.

No value is converted on the way, as pandas would: what is read is what the request says. Parameters are refused, since
the model has none.
"""

import csv
import io
from collections.abc import Mapping, Sequence
from http import HTTPStatus
from typing import Any

import msgspec

from trunkline.bundle.contract import Input
from trunkline.serve.asked import Answered, Asked
from trunkline.serve.http import JSON, Request, Response, json_response
from trunkline.serve.model import Model, Scored
from trunkline.serve.online.reader import DeclaredColumn
from trunkline.serve.problems import ProblemError, malformed, refused_row

CSV = "text/csv"


def invocations(model: Model, request: Request, body: bytes) -> tuple[Response, Scored]:
    """Answer the rows of a request with their predictions; return what was scored."""
    given = asked(model, request, body).given(model)
    scores = model.scores(given.rows)
    return respond(model, request, Answered.by(model, given, scores)), given.scored(model, scores)


def asked(model: Model, request: Request, body: bytes) -> Asked:
    """Return the rows of a request; raises ProblemError for a body of another form."""
    if request.media_type == CSV:
        rows = read_csv(model, body)
    elif request.media_type == JSON:
        rows = read_json(model.decoder.parse(body))
    else:
        raise ProblemError(HTTPStatus.UNSUPPORTED_MEDIA_TYPE, f"the body's type has to be {JSON} or {CSV}")
    return Asked(lambda: rows)


def respond(model: Model, request: Request, answered: Answered) -> Response:
    """Return the predictions, which do not say what made them."""
    return json_response({"predictions": answered.scores.tolist()})


def refusal(problem: ProblemError) -> ProblemError:
    """Return a problem as MLflow's clients read it: `error_code`, `message`, and 400 for a row that is refused."""
    status = HTTPStatus.BAD_REQUEST if problem.status == HTTPStatus.UNPROCESSABLE_ENTITY else problem.status
    code = "BAD_REQUEST" if status < HTTPStatus.INTERNAL_SERVER_ERROR else "TEMPORARILY_UNAVAILABLE"
    return ProblemError(
        status, problem.detail, problem.headers, **problem.members, error_code=code, message=problem.detail
    )


def read_json(content: Any) -> list[Any]:
    """Return the rows of one of MLflow's four forms; raises ProblemError for any other."""
    if not isinstance(content, dict):
        raise malformed(f"the body is not an object with one of {', '.join(_FORMS)}")
    forms = [name for name in _FORMS if name in content]
    unknown = [name for name in content if name not in (*_FORMS, "params")]
    if len(forms) != 1 or unknown:
        raise malformed(f"the body has to hold one of {', '.join(_FORMS)}, and nothing besides")
    if content.get("params") not in (None, {}):
        raise malformed("params: the model takes none; leave them out")
    return _FORMS[forms[0]](content[forms[0]])


def read_csv(model: Model, body: bytes) -> list[dict[str, Any]]:
    """Return the rows of a CSV with a header: numbers as JSON writes them, true and false in any case.

    A text that means missing is one of the field's `nulls`, or an empty one if it has none.
    """
    try:
        header, *lines = csv.reader(io.StringIO(body.decode("utf-8-sig"), newline=""), strict=True)
    except (UnicodeDecodeError, csv.Error, ValueError) as error:
        raise malformed(f"the body is not a CSV with a header: {error}") from None
    _once(header)
    fields = _fields(model, header)
    rows = []
    for number, line in enumerate(lines):
        if len(line) != len(header):
            raise refused_row(f"has {len(line)} values, but the header {len(header)}", number)
        rows.append({name: _value(fields.get(name), text) for name, text in zip(header, line, strict=True)})
    return rows


def _fields(model: Model, header: Sequence[str]) -> Mapping[str, Input | DeclaredColumn]:
    """Return what a column of a CSV is; one that lacks inputs of the model has the columns of requests."""
    inputs = {field.name: field for field in model.bundle.contract.inputs}
    if model.online is None or inputs.keys() <= set(header):
        return inputs
    return {**inputs, **model.online.reader.columns}


def _value(field: Input | DeclaredColumn | None, text: str) -> Any:
    if field is None or text in (field.nulls or [""]):
        return None if field else text
    category_of = field.category_of if isinstance(field, Input) else None
    kind = category_of or field.type
    if kind == "boolean" and text.lower() in ("true", "false"):
        return text.lower() == "true" if category_of is None else text.lower()
    if kind in ("integer", "number") and category_of is None:
        try:
            return msgspec.json.decode(text.encode(), type=int | float)
        except msgspec.DecodeError:
            return text  # which the contract refuses, in its own words
    return text


def _split(content: Any) -> list[Any]:
    """Return the rows of `dataframe_split`; its index is of no use here."""
    if not isinstance(content, dict) or not isinstance(content.get("columns"), list):
        raise malformed("dataframe_split: has to hold columns, a list of names, and data, a list of rows")
    columns, data = _once(content["columns"]), content.get("data")
    if not isinstance(data, list):
        raise malformed("dataframe_split: data: has to be a list of rows")
    for number, row in enumerate(data):
        if not isinstance(row, list) or len(row) != len(columns):
            raise refused_row(f"is not a list of {len(columns)} values, one for each column", number)
    return [dict(zip(columns, row, strict=True)) for row in data]


def _records(content: Any) -> list[Any]:
    if not isinstance(content, list):
        raise malformed("the rows have to be a list of objects")
    return content


def _instances(content: Any) -> list[Any]:
    return _columns(content) if isinstance(content, dict) else _records(content)


def _columns(content: Mapping[str, Any]) -> list[Any]:
    """Return the rows of columns by name, of which each has as many values as the others."""
    columns = {name: values if isinstance(values, list) else [values] for name, values in content.items()}
    lengths = {len(values) for values in columns.values()}
    if len(lengths) > 1:
        raise malformed(f"the columns have {', '.join(map(str, sorted(lengths)))} values; give each row one of each")
    return [dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True)]


def _once(columns: Sequence[Any]) -> Sequence[str]:
    names = list(map(str, columns))
    for name in names:
        if names.count(name) > 1:
            raise malformed(f"column {name[:60]!r}: is there twice; give it once")
    return names


_FORMS = {
    "dataframe_split": _split,
    "dataframe_records": _records,
    "instances": _instances,
    "inputs": _instances,
}
