"""`/invocations` gives the bundle's scores in every form that MLflow documents, and refuses as its server does."""

import pandas as pd
import pytest

from tests.serve.conftest import GOOD
from trunkline.bundle.runtime import Bundle

ROWS = [GOOD, {"hour": 1, "origin": "EWR", "delay": None, "dest": None}, {"hour": 2, "origin": "a,b", "holiday": False}]
NAMES = sorted({name for row in ROWS for name in row})
TABLE = [[row.get(name) for name in NAMES] for row in ROWS]
COLUMNS = {name: [row.get(name) for row in ROWS] for name in NAMES}


@pytest.mark.parametrize(
    "body",
    [
        {"dataframe_split": {"index": [0, 1, 2], "columns": NAMES, "data": TABLE}},
        {"dataframe_records": ROWS},
        {"instances": ROWS},
        {"instances": COLUMNS},
        {"inputs": COLUMNS},
        {"inputs": ROWS, "params": {}},
    ],
    ids=["split", "records", "instances", "instances by column", "inputs", "inputs by row"],
)
def test_every_form_gives_the_scores_of_the_bundle(server, bundle: Bundle, body):
    answer = server.post("/invocations", body)
    assert answer.json == {"predictions": [bundle.score(row) for row in ROWS]}


def test_a_csv_of_pandas_gives_the_same_scores(server, bundle):
    body = pd.DataFrame(ROWS, dtype=object).to_csv(index=False).encode()
    answer = server.post("/invocations", body, "text/csv; charset=utf-8")
    assert answer.json == {"predictions": [bundle.score(row) for row in ROWS]}


@pytest.mark.parametrize(
    ("body", "media_type", "words"),
    [
        ({"dataframe_records": [GOOD, GOOD | {"hour": 24}]}, "application/json", "row 1: field hour: 24 is above 23"),
        ({"rows": [GOOD]}, "application/json", "one of dataframe_split, dataframe_records, instances, inputs"),
        ({"inputs": [GOOD], "instances": [GOOD]}, "application/json", "one of"),
        ({"inputs": [GOOD], "params": {"a": 1}}, "application/json", "params: the model takes none"),
        ({"inputs": {"hour": [1, 2], "origin": ["JFK"]}}, "application/json", "columns have 1, 2 values"),
        ({"dataframe_split": {"columns": ["hour"], "data": [[1, 2]]}}, "application/json", "row 0: is not a list of 1"),
        ({"dataframe_split": {"columns": ["hour", "hour"], "data": []}}, "application/json", "'hour': is there twice"),
        (b"hour,origin\n1,JFK,2\n", "text/csv", "row 0: has 3 values, but the header 2"),
        (b"hour,origin\nseven,JFK\n", "text/csv", "row 0: field hour: 'seven' is not a whole number"),
        (b"hour,orign\n7,JFK\n", "text/csv", "field 'orign': is not in the contract"),
        (b"", "text/csv", "not a CSV with a header"),
    ],
)
def test_what_is_wrong_is_told_as_mlflow_tells_it(server, body, media_type, words):
    answer = server.post("/invocations", body, media_type)
    assert (answer.status, answer.json["error_code"]) == (400, "BAD_REQUEST")
    assert words in answer.json["message"]


def test_its_states_are_those_that_mlflows_clients_ask(server):
    assert [server.get(path).status for path in ("/ping", "/health")] == [200, 200]
