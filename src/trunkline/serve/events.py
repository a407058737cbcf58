"""Answers `POST /v1/events`: rows of a table as they become known, from which features of later requests are made."""

import logging
from collections.abc import Sequence
from typing import Any

from trunkline.bundle.contract import FieldError
from trunkline.core.errors import nearest
from trunkline.serve.http import Request, Response, json_response
from trunkline.serve.model import Model, Scored
from trunkline.serve.online.features import Table, asked, put
from trunkline.serve.online.join import RefusedError
from trunkline.serve.problems import malformed, refused_row

PATH = "/v1/events"

_log = logging.getLogger(__name__)


def push(model: Model, request: Request, body: bytes) -> tuple[Response, Scored | None]:
    """Store the rows of a table, all of them or, where one is refused, none; an answer means that they are stored.

    A row may come again, and with more of its columns as they become known. One that contradicts what is stored
    under its unique key changes nothing, and stands in `conflicts`. Raises ProblemError for rows that are refused.
    """
    online = model.online
    assert online is not None  # noqa: S101  the route is there only where conf/serving declares a store
    content = model.decoder.parse(body)
    if not isinstance(content, dict) or content.keys() != {"table", "rows"}:
        raise malformed("the body has to be an object with table, a name, and rows, an array of objects")
    name = content["table"]
    if not isinstance(name, str) or name not in online.tables:
        detail = f"table {str(name)[:60]!r}: no feature is made of it{nearest(str(name), online.tables)}"
        raise refused_row(detail, field="table")
    rows = model.decoder.limited(content["rows"])
    conflicts = store(model, name, rows)
    return json_response({"request_id": request.id, "stored": len(rows), "conflicts": conflicts}), None


def store(model: Model, name: str, rows: Sequence[Any]) -> list[list[Any]]:
    """Store the rows of a table that features are made of; return the unique keys of those that contradict the store.

    Raises ProblemError for the first row that is refused, and 503 where the store does not answer; none is stored then.
    """
    online = model.online
    assert online is not None  # noqa: S101  as above
    read = _read(online.tables[name], rows)
    try:
        with asked():
            online.expiry.run_if_due()  # first, so that what is dead is not stored
            return put(online.tables[name], online.store, read)
    except RefusedError as error:
        raise refused_row(str(error), error.row) from None


def push_to_both(candidate: Model, model: Model, request: Request, body: bytes) -> tuple[Response, Scored | None]:
    """Store rows as `push` does, and for the views of a rollout's candidate too, which may be others."""
    response = push(model, request, body)
    try:
        push(candidate, request, body)
    except Exception as error:  # the client does not pay for a candidate
        _log.warning("request %s: is not stored for the candidate: %r", request.id, error)
    return response


def _read(table: Table, rows: Any) -> list[dict[str, Any]]:
    read = []
    for number, row in enumerate(rows):
        if not isinstance(row, dict):
            raise refused_row("is not an object of columns", number)
        try:
            read.append(table.reader.read(row, table.needed))
        except FieldError as error:
            raise refused_row(str(error), number, error.field) from None
    return read
