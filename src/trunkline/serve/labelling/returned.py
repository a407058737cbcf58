"""Reads what annotators' tools give back: Label Studio's JSON, CVAT's XML, or a table with a row for each answer."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import msgspec
import polars as pl

from trunkline.core import files
from trunkline.core.errors import UserError, one_line
from trunkline.serve import tables
from trunkline.serve.labelling.tasks import COLUMNS, UNLABELLED
from trunkline.serve.labels.file import Columns
from trunkline.serve.log import REQUEST
from trunkline.serve.prediction_log.segments import ROW

TASK, WHO, VALUE, AT = "task", "who", "value", "annotated_at"  # the columns of answers
SUFFIXES = (".json", ".xml")  # of files that are of a tool

_ANSWER = {TASK: pl.Int64(), WHO: pl.String(), VALUE: pl.String(), AT: pl.String()}


@dataclass(frozen=True)
class Returned:
    """What annotators said: `tasks` has what each row is known by, as texts; `answers` has task, who, value and at.

    Tasks are counted from 1; an answer's time is null where the file says none. `by` are the columns that name a row.
    `shown` has what else the file has of each task, as texts.
    """

    tasks: pl.DataFrame
    answers: pl.DataFrame
    by: Columns
    shown: pl.DataFrame


class _Annotation(msgspec.Struct):
    result: list[dict[str, Any]]
    completed_by: int | str | dict[str, Any] | None = None
    was_cancelled: bool = False
    created_at: str | None = None
    updated_at: str | None = None


class _Task(msgspec.Struct):
    data: dict[str, Any]
    annotations: list[_Annotation]


def read(path: Path, label: str, key: tuple[str, ...], by: Columns, annotator: str | None) -> Returned:
    """Read a file of answers; raises UserError for one that is not as its suffix says.

    A table has its answers in the column of the label, and who gave each in `annotator`. A row is named by request_id
    and row where the file has them or `by` names them, else by the columns of the key.
    """
    if path.suffix not in SUFFIXES:
        return _table(path, label, key, by, annotator)
    if not path.is_file():
        raise UserError(f"{path}: there is no such file; name what the annotators' tool has exported")
    known, given = _label_studio(path, label) if path.suffix == ".json" else _cvat(path, label)
    by = _named(by, {name for each in known for name in each})
    names = _names(key, by)
    for number, each in enumerate(known, 1):
        for name in names:
            if name not in each:
                raise UserError(f"{path}: task {number}: {name}: is missing; import the tasks of trunkline sample")
    tasks = _texts(known, names)
    return Returned(tasks, pl.DataFrame(given, _ANSWER, orient="row"), by, _texts(known, _others(known, names)))


def _texts(rows: Sequence[Mapping[str, str | None]], names: Iterable[str]) -> pl.DataFrame:
    return pl.DataFrame({name: pl.Series([row.get(name) for row in rows], dtype=pl.String) for name in names})


def _others(rows: Sequence[Mapping[str, str | None]], names: Sequence[str]) -> list[str]:
    return [name for name in dict.fromkeys(name for row in rows for name in row) if name not in names]


def _named(by: Columns, names: set[str]) -> Columns:
    """Return the columns by which rows are named: a request's, where a file has them and nothing else was said."""
    if by.id is not None or REQUEST not in names:
        return by
    return Columns(REQUEST, ROW if ROW in names else None, by.at)


def _names(key: tuple[str, ...], by: Columns) -> tuple[str, ...]:
    return tuple(name for name in (by.id, by.row) if name is not None) or key


def _label_studio(path: Path, label: str) -> tuple[list[dict[str, str | None]], list[tuple[Any, ...]]]:
    try:
        content = msgspec.convert(files.parse_json(path.read_bytes()), list[_Task])
    except (ValueError, RecursionError) as error:  # msgspec's are ValueErrors
        why = one_line(error)
        raise UserError(
            f"{path}: is no export of Label Studio as JSON: {why}; export it anew, not as JSON-MIN"
        ) from None
    known = [_known(task.data) for task in content]
    given = [
        (number, _who(each.completed_by), _answer(each.result, label), each.updated_at or each.created_at)
        for number, task in enumerate(content, 1)
        for each in task.annotations
        if not each.was_cancelled
    ]
    return known, given


def _known(data: Mapping[str, Any]) -> dict[str, str | None]:
    """Return what a task says of its row: what it is known by, and before that what annotators see of it."""
    seen = data.get(COLUMNS)
    values = {**(seen if isinstance(seen, dict) else {}), **data}
    return {name: _text(value) for name, value in values.items() if _is_plain(value)}


def _answer(result: list[dict[str, Any]], label: str) -> str | None:
    """Return what one annotation answers; several choices are one text, which is no answer that is allowed."""
    values = [each.get("value") for each in result if each.get("from_name") == label]
    parts = [part for value in values if isinstance(value, dict) for part in value.values()]
    texts = [_text(each) or "" for part in parts for each in (part if isinstance(part, list) else [part])]
    return ", ".join(texts) if texts else None


def _who(completed_by: Any) -> str:
    one = completed_by.get("id", completed_by.get("email")) if isinstance(completed_by, dict) else completed_by
    return "" if one is None else str(one)


def _cvat(path: Path, label: str) -> tuple[list[dict[str, str | None]], list[tuple[Any, ...]]]:
    """Read `CVAT for images 1.1`: the tag of each image; the file is that of one annotator."""
    try:
        tags = list(_tags(path, label))
    except ElementTree.ParseError as error:
        raise UserError(f"{path}: is no XML: {error}; export it as CVAT for images 1.1") from None
    if not tags:
        raise UserError(f"{path}: has no tag '{label}'; export the task of trunkline sample as CVAT for images 1.1")
    values = [tag.get(label) for tag in tags]
    given = [(number, "", value, None) for number, value in enumerate(values, 1) if value not in (UNLABELLED, None)]
    return [{name: value for name, value in tag.items() if name != label} for tag in tags], given


def _tags(path: Path, label: str) -> Iterator[dict[str, str | None]]:
    # Entities that blow up are refused by expat itself (2.4.1), and it follows none to a file.
    for _, element in ElementTree.iterparse(path):  # noqa: S314
        if element.tag == "image":
            for tag in element.iterfind("tag"):
                if tag.get("label") == label:
                    yield {each.get("name", ""): each.text for each in tag.iterfind("attribute")}
            element.clear()


def _table(path: Path, label: str, key: tuple[str, ...], by: Columns, annotator: str | None) -> Returned:
    table = tables.open_table(path)
    by = _named(by, {*table.schema.names})
    names = _names(key, by)
    for name in (*names, label, annotator, by.at):
        if name is not None and name not in table.schema.names:
            raise UserError(f"{path}: column {name}: is missing; supply it")
    chunks = [pl.DataFrame(pl.from_arrow(chunk)) for chunk in table.chunks(1 << 16)]
    rows = pl.concat(chunks) if chunks else pl.DataFrame(schema=dict.fromkeys(table.schema.names, pl.String()))
    answer = [name for name in (label, annotator, by.at) if name is not None and rows.schema[name] == pl.String]
    rows = rows.with_columns(pl.col(answer).replace("", None))  # Label Studio quotes what an unanswered task lacks
    nobody = rows[annotator].is_null() & rows[label].is_not_null() if annotator else None
    if nobody is not None and nobody.any():
        raise UserError(f"{path}: row {nobody.arg_true()[0] + 1}: {annotator}: is missing, of an answer")
    texts = rows.select(pl.col(name).cast(pl.String) for name in names)
    tasks = texts.unique(maintain_order=True)
    others = [name for name in rows.columns if name not in {*names, label, annotator, by.at}]
    seen = rows.select(*names, *others).cast(pl.String).unique([*names], keep="first", maintain_order=True)
    numbered = tasks.with_row_index(TASK, 1).with_columns(pl.col(TASK).cast(pl.Int64))
    answers = pl.DataFrame(
        {
            TASK: texts.join(numbered, on=names, how="left", nulls_equal=True, maintain_order="left")[TASK],
            WHO: rows[annotator].cast(pl.String) if annotator else pl.repeat("", rows.height, eager=True),
            VALUE: rows[label].cast(pl.String),
            AT: rows[by.at].cast(pl.String) if by.at else pl.repeat(None, rows.height, dtype=pl.String, eager=True),
        }
    )
    return Returned(tasks, answers.drop_nulls(VALUE), by, seen.select(others))


def _is_plain(value: Any) -> bool:
    return value is None or isinstance(value, str | int | float | bool)


def _text(value: Any) -> str | None:
    if value is None or isinstance(value, str):
        return value
    return str(value).lower() if isinstance(value, bool) else str(value)
