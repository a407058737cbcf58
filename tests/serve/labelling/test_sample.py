"""`trunkline sample`: which rows are chosen, what an annotator sees of them, and in which formats."""

import json
from pathlib import Path
from xml.etree import ElementTree

import polars as pl
import pytest

from tests.serve.labelling.project import LOGGED, arm, run, write_project
from tests.serve.labels.project import COLUMNS, PARAMS
from trunkline.core.errors import UserError
from trunkline.serve.prediction_log.place import Place

INTERFACE = """\
<View>
  <Table name="columns" value="$columns" />
  <Header value="late" />
  <Choices name="late" toName="columns" required="true" choice="single">
    <Choice value="true" />
    <Choice value="false" />
  </Choices>
</View>
"""


@pytest.fixture(autouse=True)
def project(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    write_project(tmp_path)


def chosen(*options: str) -> list[str]:
    run("sample", *options, "--format", "csv", "-o", "tasks.csv")
    return pl.read_csv("tasks.csv")["request_id"].to_list()


def test_the_least_sure_come_first_and_what_has_an_outcome_not_at_all():
    assert chosen("--by", "uncertain", "--count", "3") == ["e", "c", "b"]
    assert chosen("--by", "uncertain", "--count", "2", "--threshold", "0.8") in (["a", "f"], ["f", "a"])
    Path("known.csv").write_text("nr,late\n5,true\n")
    run("labels", "import", "known.csv")
    assert chosen("--by", "uncertain", "--count", "9") == ["c", "b", "f", "a", "d"]
    assert chosen("--since", "2026-11-01T00:03", "--by", "uncertain") == ["f", "d"]


def test_a_choice_at_random_depends_on_the_seed_and_the_rows_alone():
    first = chosen("--count", "4")
    assert chosen("--count", "4") == first
    assert len({tuple(chosen("--count", "4", "--seed", str(seed))) for seed in range(4)}) > 1
    assert sorted(chosen()) == list("abcdef")


def test_slices_are_chosen_of_equally():
    assert chosen("--by", "uncertain", "--per", "city", "--count", "4") == ["e", "f", "c", "b"]
    sliced = PARAMS | LOGGED | {"evaluation": {"slices": {"early": "hour < 2"}}}
    Path("params.yaml").write_text(json.dumps(sliced))
    assert chosen("--by", "uncertain", "--per", "early", "--count", "2") == ["e", "b"]
    with pytest.raises(UserError, match="--per town: the rows have no column 'town'"):
        chosen("--per", "town")


def test_rows_on_which_two_arms_disagree_come_by_how_much():
    assert run("sample", "--by", "disagreeing", "-o", "none.json", code=1).startswith("no row is left to be labelled")
    arm(Place("log"), "v2", "shadow", (0.9, 0.05, 0.5, 0.7))
    assert chosen("--by", "disagreeing") == ["d", "b", "c"]
    assert sorted(chosen()) == list("abcdef")


def test_an_annotator_sees_no_score_no_outcome_and_nothing_personal():
    private = {name: {"description": "What it is"} | column for name, column in COLUMNS.items()}
    private["city"]["privacy"] = "personal"
    trips = PARAMS["contract"]["tables"]["trips"] | {"columns": private}
    Path("params.yaml").write_text(json.dumps(PARAMS | LOGGED | {"contract": {"tables": {"trips": trips}}}))
    run("sample", "--log", "log", "--by", "uncertain", "--count", "1", "-o", "tasks.json")
    [task] = json.loads(Path("tasks.json").read_text())
    assert task == {"data": {"request_id": "e", "row": 0, "columns": {"nr": 5, "hour": 4}}}
    assert Path("tasks.interface.xml").read_text() == INTERFACE


def test_rows_of_a_table_are_known_by_their_key_or_their_request():
    Path("trips.csv").write_text("nr,city,delay,score\n1,Roma,3,0.9\n2,Bari,,0.5\n")
    said = run("sample", "trips.csv", "--by", "uncertain", "--count", "5", "-o", "tasks.json")
    assert said.startswith("tasks.json: 2 tasks of the 5 that were asked for; there are no more\n")
    tasks = json.loads(Path("tasks.json").read_text())
    assert tasks[0] == {"data": {"nr": "2", "columns": {"city": "Bari"}}}
    with pytest.raises(UserError, match="a table knows one model"):
        run("sample", "trips.csv", "--by", "disagreeing", "-o", "tasks.json")
    Path("scored.csv").write_text("request_id,city,score\nx,Roma,0.9\n")
    run("sample", "scored.csv", "-o", "tasks.json")
    assert json.loads(Path("tasks.json").read_text()) == [{"data": {"request_id": "x", "columns": {"city": "Roma"}}}]


def test_a_key_that_tells_who_somebody_is_is_in_no_task():
    trips = PARAMS["contract"]["tables"]["trips"] | {"privacy": "personal"}
    Path("params.yaml").write_text(json.dumps(PARAMS | LOGGED | {"contract": {"tables": {"trips": trips}}}))
    Path("trips.csv").write_text("nr,city\n1,Roma\n")
    with pytest.raises(UserError, match="column nr: tells who somebody is, and would be in each task"):
        run("sample", "trips.csv", "-o", "tasks.json")


def test_cvat_has_a_tag_for_each_picture():
    Path("trips.csv").write_text("nr,file\n1,a.jpg\n2,b.jpg\n")
    run("sample", "trips.csv", "--format", "cvat", "--image", "file", "-o", "tasks.xml")
    images = ElementTree.parse("tasks.xml").getroot().findall("image")
    tags = {each.get("name"): {a.get("name"): a.text for a in each.iter("attribute")} for each in images}
    assert tags == {"a.jpg": {"late": "unlabelled", "nr": "1"}, "b.jpg": {"late": "unlabelled", "nr": "2"}}
    [label] = json.loads(Path("tasks.labels.json").read_text())
    assert label["attributes"][0]["values"] == ["unlabelled", "true", "false"]
    with pytest.raises(UserError, match="CVAT shows pictures: name the column of their paths"):
        run("sample", "trips.csv", "--format", "cvat", "-o", "tasks.xml")
    Path("trips.csv").write_text("nr,file\n1,a.jpg\n2,a.jpg\n")
    with pytest.raises(UserError, match="--image file: row 1 of the sample: is that of another row too"):
        run("sample", "trips.csv", "--format", "cvat", "--image", "file", "-o", "tasks.xml")
