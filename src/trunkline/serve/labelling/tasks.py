"""Labelling tasks in the formats that annotators' tools import: Label Studio's JSON, CVAT's XML, and CSV.

Each task carries what its row is known by, so that what comes back can be imported; answers are empty.
"""

import json
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, Literal
from xml.etree import ElementTree

import polars as pl

from trunkline.conf.data import Target
from trunkline.core import files
from trunkline.core.errors import UserError
from trunkline.core.tasks import NUMERIC

Format = Literal["label-studio", "cvat", "csv"]

ANNOTATOR = "annotator"  # the column of a CSV
UNLABELLED = "unlabelled"  # what CVAT has to have for an answer that was not given
COLUMNS, IMAGE = "columns", "image"  # of a task's data, in Label Studio


@dataclass(frozen=True)
class Tasks:
    """Rows to be labelled: the names of what each is known by, what an annotator sees, and what is asked.

    `image` is the column of the pictures' paths or addresses.
    """

    rows: pl.DataFrame
    names: tuple[str, ...]
    label: Target
    image: str | None = None

    @property
    def answers(self) -> tuple[str, ...]:
        """The answers that may be given; none of a number."""
        return ("true", "false") if self.label.task == "binary" else tuple(map(str, self.label.classes or ()))


def write(tasks: Tasks, path: Path, form: Format) -> list[Path]:
    """Write the tasks, each file atomically, and what sets the tool up for them; return the paths.

    Raises UserError where a format cannot hold the tasks.
    """
    if tasks.label.task == "multilabel":
        raise UserError(
            "data.target.task: multilabel has no single answer to ask for; ask in a table of its own, and import the "
            "columns that data.target.labels are made of"
        )
    if tasks.image is not None and tasks.image not in tasks.rows.columns:
        raise UserError(f"--image {tasks.image}: the rows show no such column; they have {', '.join(_shown(tasks))}")
    contents = {"label-studio": _label_studio, "cvat": _cvat, "csv": _csv}[form](tasks)
    paths = [path, *(path.with_name(path.stem + suffix) for suffix in list(contents)[1:])]
    for each, content in zip(paths, contents.values(), strict=True):
        files.write_text(each, content)
    return paths


def _csv(tasks: Tasks) -> dict[str, str]:
    """Return a table with an empty column for the answer and one for who gave it."""
    empty = pl.lit(None, pl.String())
    rows = tasks.rows.with_columns(empty.alias(tasks.label.name), empty.alias(ANNOTATOR))
    return {"": rows.write_csv(datetime_format="%Y-%m-%dT%H:%M:%S%.6fZ")}


def _label_studio(tasks: Tasks) -> dict[str, str]:
    """Return tasks to import, and the labelling interface."""
    listed = []
    for row in tasks.rows.iter_rows(named=True):
        known = {name: _plain(row[name]) for name in tasks.names}
        image = {IMAGE: row[tasks.image]} if tasks.image else {}
        listed.append({"data": known | image | {COLUMNS: {name: _plain(row[name]) for name in _shown(tasks)}}})
    return {"": json.dumps(listed, ensure_ascii=False, indent=1) + "\n", ".interface.xml": _interface(tasks)}


def _interface(tasks: Tasks) -> str:
    view = ElementTree.Element("View")
    if tasks.image:
        ElementTree.SubElement(view, "Image", name=IMAGE, value=f"${IMAGE}")
    ElementTree.SubElement(view, "Table", name=COLUMNS, value=f"${COLUMNS}")
    ElementTree.SubElement(view, "Header", value=tasks.label.name)
    about = {"name": tasks.label.name, "toName": COLUMNS, "required": "true"}
    if tasks.label.task in NUMERIC:
        ElementTree.SubElement(view, "Number", about)
    else:
        choices = ElementTree.SubElement(view, "Choices", about | {"choice": "single"})
        for answer in tasks.answers:
            ElementTree.SubElement(choices, "Choice", value=answer)
    return _xml(view)


def _cvat(tasks: Tasks) -> dict[str, str]:
    """Return annotations in `CVAT for images 1.1`, a tag of each image, and the labels by which a task is created."""
    if tasks.image is None:
        raise UserError("CVAT shows pictures: name the column of their paths: --image COLUMN")
    images = tasks.rows[tasks.image]
    for reason, mask in (("is missing", images.is_null()), ("is that of another row too", images.is_duplicated())):
        if mask.any():
            raise UserError(f"--image {tasks.image}: row {mask.arg_true()[0] + 1} of the sample: {reason}")
    labels = [{"name": tasks.label.name, "type": "tag", "attributes": _attributes(tasks)}]
    return {"": _annotations(tasks), ".labels.json": json.dumps(labels, ensure_ascii=False, indent=1) + "\n"}


def _attributes(tasks: Tasks) -> list[dict[str, Any]]:
    """Return the attributes of the tag: the answer, and what the row is known by."""
    texts = {"mutable": False, "input_type": "text", "default_value": "", "values": [""]}
    answer: dict[str, Any] = {"name": tasks.label.name} | texts
    if tasks.answers:
        answer |= {"input_type": "select", "default_value": UNLABELLED, "values": [UNLABELLED, *tasks.answers]}
    return [answer, *({"name": name} | texts for name in tasks.names)]


def _annotations(tasks: Tasks) -> str:
    root = ElementTree.Element("annotations")
    ElementTree.SubElement(root, "version").text = "1.1"
    task = ElementTree.SubElement(ElementTree.SubElement(root, "meta"), "task")
    ElementTree.SubElement(task, "name").text = tasks.label.name
    ElementTree.SubElement(task, "size").text = str(tasks.rows.height)
    label = ElementTree.SubElement(ElementTree.SubElement(task, "labels"), "label")
    ElementTree.SubElement(label, "name").text = tasks.label.name
    ElementTree.SubElement(label, "type").text = "tag"
    attributes = ElementTree.SubElement(label, "attributes")
    for each in _attributes(tasks):
        attribute = ElementTree.SubElement(attributes, "attribute")
        for key in ("name", "mutable", "input_type", "default_value"):
            ElementTree.SubElement(attribute, key).text = str(each[key])
        ElementTree.SubElement(attribute, "values").text = "\n".join(each["values"])
    empty = UNLABELLED if tasks.answers else ""
    for number, row in enumerate(tasks.rows.iter_rows(named=True)):
        image = ElementTree.SubElement(root, "image", id=str(number), name=str(row[tasks.image or ""]))
        tag = ElementTree.SubElement(image, "tag", label=tasks.label.name, source="manual")
        ElementTree.SubElement(tag, "attribute", name=tasks.label.name).text = empty
        for name in tasks.names:
            value = _plain(row[name])
            ElementTree.SubElement(tag, "attribute", name=name).text = "" if value is None else str(value)
    return _xml(root)


def _shown(tasks: Tasks) -> list[str]:
    return [name for name in tasks.rows.columns if name not in tasks.names]


def _plain(value: Any) -> Any:
    return value.isoformat() if isinstance(value, datetime) else value


def _xml(root: ElementTree.Element) -> str:
    ElementTree.indent(root)
    return ElementTree.tostring(root, encoding="unicode") + "\n"
