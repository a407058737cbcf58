"""`trunkline labels import` of what annotators gave back: their agreement, their conflicts, and what is stored."""

import json
from pathlib import Path
from xml.etree import ElementTree

import polars as pl
import pytest

from tests.serve.labelling.project import LOGGED, run, write_project
from tests.serve.labels.project import PARAMS
from trunkline.core.errors import UserError
from trunkline.serve.labels import store
from trunkline.serve.prediction_log.place import Place

SAID = """\
back.json: 6 tasks: 3 stored, 3 without an outcome
10 answers of 3 annotators; Krippendorff's alpha 0.200, of 4 that two or more answered
in conflict: 2, settled by the rule: 0
of the outcomes, 3 have a prediction in the log; without one: 0
back.json: task 2: 2 say false, 1 says true
back.json: task 3: 1 says false, 1 says true
"""
ANSWERS = {"a": {1: "true", 2: "true"}, "b": {1: "true", 2: "false", 3: "false"}, "c": {1: "true", 3: "false"}}


@pytest.fixture(autouse=True)
def project(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    write_project(tmp_path)


def annotation(who: int, value: str, minute: int = 0) -> dict:
    result = {"from_name": "late", "to_name": "columns", "type": "choices", "value": {"choices": [value]}}
    at = f"2026-11-02T00:{minute:02}:00.000000Z"
    return {"id": who, "completed_by": {"id": who}, "result": [result], "created_at": at, "updated_at": at}


def label_studio(answers: dict[str, dict[int, str]]) -> None:
    tasks = []
    for name in "abcdef":
        given = [annotation(who, value, who) for who, value in answers.get(name, {}).items()]
        tasks.append({"id": 1, "data": {"request_id": name, "row": 0, "columns": {}}, "annotations": given})
    Path("back.json").write_text(json.dumps(tasks))


def stored() -> dict[str, object]:
    rows = store.read(Place("log")).rows
    return dict(rows.select("request_id", "outcome").iter_rows())


def test_what_all_say_is_stored_and_a_conflict_is_shown():
    label_studio(ANSWERS | {"d": {1: "false"}, "e": {1: "false", 2: "false"}})
    assert run("labels", "import", "back.json", code=1) == SAID
    assert stored() == {"a": True, "d": False, "e": False}
    assert str(store.read(Place("log")).rows["arrived_at"].max()).startswith("2026-11-02 00:02")
    assert "3 stored before" in run("labels", "import", "back.json", code=1)


def test_a_declared_rule_settles_what_it_can():
    label_studio(ANSWERS)
    said = run("labels", "import", "back.json", "--resolve", "majority", "--json", code=1)
    agreement = json.loads(said)["agreement"]
    assert agreement["settled"] == 1
    assert agreement["conflicts"] == {"3": "1 says false, 1 says true"}
    assert stored() == {"a": True, "b": False}
    with pytest.raises(UserError, match="--resolve median: is for numbers"):
        run("labels", "import", "back.json", "--resolve", "median")


def test_the_last_answer_of_an_annotator_counts_and_a_skipped_task_has_none():
    label_studio({})
    tasks = json.loads(Path("back.json").read_text())
    tasks[0]["annotations"] = [annotation(1, "false", 9), annotation(1, "true", 3)]
    tasks[1]["annotations"] = [annotation(1, "true") | {"was_cancelled": True}]
    Path("back.json").write_text(json.dumps(tasks))
    run("labels", "import", "back.json")
    assert stored() == {"a": False}


def test_an_answer_that_is_none_is_refused_by_its_task():
    label_studio({"b": {1: "perhaps", 2: "perhaps"}})
    assert "back.json: task 2: late: is not true or false ('perhaps')" in run("labels", "import", "back.json", code=1)


def test_a_table_with_a_row_for_each_answer_is_read_by_its_annotators():
    run("sample", "--format", "csv", "-o", "tasks.csv")
    tasks = pl.read_csv("tasks.csv", infer_schema=False)
    answers = [
        tasks.with_columns(pl.lit(who).alias("annotator"), pl.lit(value).alias("late"))
        for who, value in (("anna", "true"), ("ben", "1"))
    ]
    pl.concat(answers).write_csv("back.csv")
    assert "6 tasks: 6 stored\n12 answers of 2 annotators" in run(
        "labels", "import", "back.csv", "--annotator", "annotator"
    )
    assert set(stored()) == set("abcdef")
    Path("late.csv").write_text("nr,late,who\n1,true,\n")
    with pytest.raises(UserError, match=r"late\.csv: row 1: who: is missing, of an answer"):
        run("labels", "import", "late.csv", "--annotator", "who")
    assert "--resolve: is for answers of annotators" in run(
        "labels", "import", "late.csv", "--resolve", "majority", code=2
    )


def test_a_task_that_nobody_has_answered_is_none_in_the_csv_of_label_studio():
    Path("back.csv").write_text(  # as its server 1.23.2 exports it with all tasks
        '"annotation_id","annotator","columns","created_at","id","late","lead_time","request_id","row","updated_at"\n'
        '1,"1","{""nr"":5}","2026-11-30T22:46:29.744963Z",1,"true","","e",0,"2026-11-30T22:46:29.744999Z"\n'
        '2,"2","{""nr"":5}","2026-11-30T22:46:30.954965Z",1,"true","","e",0,"2026-11-30T22:46:30.954999Z"\n'
        '"","","{""nr"":1}","",5,"","","a",0,""\n'
    )
    said = run("labels", "import", "back.csv", "--annotator", "annotator", "--at", "updated_at")
    assert "2 tasks: 1 stored, 1 without an outcome\n2 answers of 2 annotators" in said
    assert stored() == {"e": True}


def test_numbers_are_compared_as_numbers_and_their_median_may_be_taken():
    target = {"name": "minutes", "expression": "delay", "task": "regression", "known_after": "1d"}
    data = PARAMS["data"] | {"target": target}
    Path("params.yaml").write_text(json.dumps(PARAMS | LOGGED | {"data": data}))
    Path("back.csv").write_text("nr,minutes,who\n1,5,a\n1,5.0,b\n2,1,a\n2,4,b\n2,30,c\n")
    run("labels", "import", "back.csv", "--annotator", "who", "--resolve", "median")
    assert sorted(store.read(Place("log")).rows["outcome"]) == [4.0, 5.0]


def test_what_cvat_exports_is_read_by_the_tags_of_its_pictures():
    Path("trips.csv").write_text("nr,file\n1,a.jpg\n2,b.jpg\n")
    run("sample", "trips.csv", "--format", "cvat", "--image", "file", "-o", "tasks.xml")
    tree = ElementTree.parse("tasks.xml")
    answer = next(each for each in tree.iter("attribute") if each.get("name") == "late")
    answer.text = "true"
    tree.write("back.xml")
    assert "2 tasks: 1 stored, 1 without an outcome\n1 answers of 1 annotators" in run("labels", "import", "back.xml")


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("back.json", "{}", "is no export of Label Studio as JSON"),
        ("back.json", '[{"data": {"city": "Roma"}, "annotations": []}]', "task 1: nr: is missing; import the tasks of"),
        ("back.xml", "<a>", "is no XML"),
        ("back.xml", "<annotations/>", "has no tag 'late'"),
        ("none.json", None, "there is no such file"),
    ],
)
def test_a_file_of_something_else_is_named(name, content, message):
    if content is not None:
        Path(name).write_text(content)
    with pytest.raises(UserError, match=message):
        run("labels", "import", name)
