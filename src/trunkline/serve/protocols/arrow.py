"""Bodies of `POST /v1/predict` as Arrow IPC streams: many rows at once, without a text for each number.

A column is looked at as a whole: its numbers by their least and largest, everything else by its distinct values, each
of which the contract's own check takes. Where that does not say yes, the rows are checked one by one, as those of JSON
are, which gives the words of an error. The body is a stranger's: what may grow when it is read, such as compressed
buffers and dictionaries, and what pyarrow trusts, such as the kind of a message, is refused before it is read.
"""

from collections.abc import Callable, Sequence
from http import HTTPStatus
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
from flatbuffers import encode, packer
from flatbuffers.table import Table

from trunkline.bundle.contract import Contract, FieldError, Input, number_check, text_check, unknown_field
from trunkline.core.arrays import Floats
from trunkline.serve.asked import Answered, Asked
from trunkline.serve.decode import EXACT, Columns, Rows, is_plain
from trunkline.serve.http import ARROW, Request, Response
from trunkline.serve.model import Given, Model, Scored
from trunkline.serve.problems import ProblemError, malformed, refused_row

# Where the metadata of a message holds its header, and the header of a record batch its compression:
# https://github.com/apache/arrow/blob/main/format/Message.fbs
_HEADER, _COMPRESSION = 8, 10
_UNREADABLE = (pa.ArrowException, ValueError, TypeError, OSError)


def predict(model: Model, request: Request, body: bytes) -> tuple[Response, Scored]:
    """Answer the rows of a stream with a stream of their scores; return what was scored.

    It has `score`, or `score_CLASS` for each class, and `refused`: where the contract sets bad rows aside, what is
    wrong with one that has no score. Raises ProblemError as `predict.predict` does.
    """
    given = Given(read(model, body))
    scores = model.scores(model.accepted(given.rows))
    return respond(model, request, Answered.by(model, given, scores)), given.scored(model, scores)


def asked(model: Model, request: Request, body: bytes) -> Asked:
    """Return what a stream asks for; raises ProblemError for what is none, and for columns that no request has."""
    table = _table(body, model.bundle.contract, model.decoder.limit)
    return Asked(table.to_pylist, lambda: Given(_checked(model, table)), sets_aside=True)


def read(model: Model, body: bytes) -> Rows | Columns:
    """Return the rows of a stream; raises ProblemError as `asked` does."""
    return _checked(model, _table(body, model.bundle.contract, model.decoder.limit))


def _checked(model: Model, table: Any) -> Rows | Columns:
    contract = model.bundle.contract
    try:
        return Columns(_matrices(table, contract))
    except FieldError:
        return model.decoder.check(table.to_pylist())


def _table(body: bytes, contract: Contract, limit: int) -> Any:
    try:
        messages = pa.ipc.MessageReader.open_stream(pa.py_buffer(body))
        return _rows(messages, contract, limit)
    except _UNREADABLE as error:
        words = str(error).splitlines() or [""]
        raise malformed(f"the body is not a stream of Arrow IPC: {words[0][:200]}") from None


def _rows(messages: Any, contract: Contract, limit: int) -> Any:
    """Return the rows of messages, which are a schema and record batches, as a table of columns that are looked at."""
    first = next(iter(messages), None)
    if first is None or first.type != "schema":  # pyarrow would take any message for a schema, and crash
        raise malformed("the body is not a stream of Arrow IPC: it does not begin with a schema")
    schema = pa.ipc.read_schema(first)
    _check_columns(schema, contract)
    batches, rows = [], 0
    for message in messages:
        if message.type != "record batch":
            raise malformed(f"the body has a message of the kind {message.type}; send columns without dictionaries")
        if _is_compressed(message.metadata.to_pybytes()):
            raise malformed("the body's buffers are compressed; send them as they are")
        batch = pa.ipc.read_record_batch(message, schema)
        rows += batch.num_rows
        if rows > limit:
            detail = f"the request has more than {limit:,} rows, which are allowed"
            raise ProblemError(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, detail)
        batch.validate(full=True)
        batches.append(batch)
    return pa.Table.from_batches(batches, schema)


def _check_columns(schema: Any, contract: Contract) -> None:
    fields = frozenset(field.name for field in contract.inputs)
    for column in schema:
        if len(schema.get_all_field_indices(column.name)) > 1:
            raise malformed(f"column {column.name[:60]!r}: is there twice; give it once")
        if column.name not in fields:
            error = unknown_field({column.name: None}, fields)
            raise refused_row(str(error), field=error.field)
        if not any(test(column.type) for test in _READ):
            detail = f"field {column.name}: is of the type {str(column.type)[:60]}; send numbers, booleans or texts"
            raise refused_row(detail, field=column.name)


def _is_compressed(metadata: bytes) -> bool:
    message = Table(metadata, encode.Get(packer.uoffset, metadata, 0))
    header = Table(metadata, message.Indirect(message.Pos + message.Offset(_HEADER)))
    return bool(header.Offset(_COMPRESSION))


def _matrices(table: Any, contract: Contract) -> tuple[Floats, npt.NDArray[np.object_]]:
    """Return a table's numbers and texts; raises FieldError where a value has to be looked at with its row."""
    numbers = [_numbers(table, field) for field in contract.inputs if field.role == "numeric"]
    texts = [_distinct(table, field, text_check(field)) for field in contract.inputs if field.role == "categorical"]
    return _matrix(numbers, len(table), np.float64), _matrix(texts, len(table), object)


def _matrix(columns: Sequence[Any], rows: int, kind: Any) -> Any:
    return np.column_stack(columns).astype(kind, copy=False) if columns else np.empty((rows, 0), kind)


def _numbers(table: Any, field: Input) -> Any:
    check = number_check(field)
    if not is_plain(field) or field.name not in table.schema.names or table[field.name].null_count:
        return _distinct(table, field, check)
    column = table[field.name]
    if not (pa.types.is_integer(column.type) or (pa.types.is_floating(column.type) and field.type == "number")):
        return _distinct(table, field, check)
    values = column.to_numpy()
    for end in (values.min().item(), values.max().item()) if len(values) else ():  # NaN, if there is one, is both
        if not -EXACT <= end <= EXACT:
            return _distinct(table, field, check)
        check(end)
    return values.astype(np.float64)


def _distinct(table: Any, field: Input, check: Callable[[object], Any]) -> Any:
    """Return what a check makes of a column's values, of each distinct one once."""
    if field.name not in table.schema.names:
        return np.full(len(table), check(None))
    column = pc.dictionary_encode(table[field.name].combine_chunks(), null_encoding="encode")
    values = [check(value) for value in column.dictionary.to_pylist()]
    kind = np.float64 if field.role == "numeric" else object
    return np.array(values, kind)[column.indices.to_numpy(zero_copy_only=False)]


def respond(model: Model, request: Request, answered: Answered) -> Response:
    """Return a stream of the scores; where two versions answered, `version` and `digest` are columns."""
    refused, version = answered.refused, answered.version
    rows = len(answered.scores) + len(refused)
    names = model.bundle.contract.scores
    columns = {
        name: _in_place(values, rows, list(refused))
        for name, values in zip(names, np.atleast_2d(answered.scores.T), strict=True)
    }
    columns["refused"] = pa.array([str(refused[row]) if row in refused else None for row in range(rows)], pa.string())
    origin = {"request_id": request.id}
    if answered.versions:
        columns["digest"] = pa.array(answered.in_place([each.digest for each in answered.versions]), pa.string())
        columns["version"] = pa.array(answered.in_place([each.version for each in answered.versions]), pa.string())
    else:
        origin |= {"digest": version.digest, "version": version.version or ""}
    table = pa.table(columns, metadata=origin)
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, table.schema) as stream:
        stream.write_table(table)
    return Response(sink.getvalue().to_pybytes(), media_type=ARROW)


def _in_place(values: Floats, rows: int, refused: Sequence[int]) -> Any:
    """Return the values of all rows, null for those that are refused."""
    missing = np.isin(np.arange(rows), refused)
    column = np.zeros(rows)
    column[~missing] = values
    return pa.array(column, mask=missing)


_READ: tuple[Callable[[Any], bool], ...] = (
    pa.types.is_integer,
    pa.types.is_float32,
    pa.types.is_float64,
    pa.types.is_boolean,
    pa.types.is_string,
    pa.types.is_large_string,
)
