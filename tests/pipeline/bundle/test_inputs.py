"""What a bundle says that a request must be: by the contract of each column, and the same to every reader."""

import json
from types import SimpleNamespace
from typing import Any

import polars as pl
import pytest

from trunkline.bundle.contract import Input
from trunkline.conf.contract import Contract
from trunkline.conf.data import Data
from trunkline.conf.features import Features
from trunkline.conf.model import Preprocess
from trunkline.core.dataset import Dataset, Schema
from trunkline.core.features import Feature
from trunkline.core.params import Params
from trunkline.pipeline.bundle import build, inputs
from trunkline.pipeline.features import compiler, plan_json
from trunkline.pipeline.features import plan as features_plan

COLUMN = {"description": "Some column"}
TABLES = {
    "rides": {
        "privacy": "public",
        "unique": ["id"],
        "columns": {
            "id": {"type": "integer", **COLUMN},
            "at": {"type": "time", **COLUMN},
            "zone": {"type": "text", "pattern": "[A-Z]+", **COLUMN},
            "seats": {"type": "integer", "min": 1, "max": 9, "allowed": [1, 2, 9], "nullable": True, **COLUMN},
            "shared": {"type": "boolean", **COLUMN},
            "late": {"type": "number", "known": "outcome", "min": -5, "max": 60, **COLUMN},
        },
    },
    "zones": {
        "privacy": "public",
        "unique": ["zone"],
        "columns": {
            "zone": {"type": "text", **COLUMN},
            "area": {"type": "number", "min": 0, "description": "Area in km²"},
        },
    },
}
SOURCE = {"package": "rides", "version": "1", "path": "rides.csv"}
DATA = {
    "sources": {"rides": SOURCE, "zones": SOURCE | {"path": "zones.csv", "nulls": ["", "NA"]}},
    "observations": "rides",
    "unique_key": ["id"],
    "timezone": "UTC",
    "event_time": "at",
    "prediction_lead": "2h",
    "target": {"name": "is_late", "expression": "late > 10", "known_after": "1d"},
    "window": {"train": "2013-01", "holdout": "2013-02"},
}
STREAM = {"table": "rides", "event_time": "at", "available_at": "event_time + hours(1)"}
ROLLING = {
    "rides_7d": {"aggregate": "count"},
    "late_7d": {"aggregate": "mean", "of": "late"},
    "late_or_99_7d": {"aggregate": "mean", "of": "late", "default": 99},
    "late_share_7d": {"aggregate": "mean", "of": "late > 10"},
    "late_sum_7d": {"aggregate": "sum", "of": "late"},
}
FEATURES = {
    "streams": {"past": STREAM},
    "views": {
        "request": {
            "kind": "expression",
            "features": {name: name for name in ("zone", "seats", "shared")}
            | {"hour": "hour(at)", "busy": "rides_7d > 5"},
        },
        "recent": {"kind": "rolling", "stream": "past", "keys": ["zone"], "window": "7d", "features": ROLLING},
        "last": {
            "kind": "latest",
            "stream": "past",
            "keys": ["zone"],
            "max_age": "36h",
            "features": {"last_late": "late", "last_seats": "seats"},
        },
        "place": {"kind": "lookup", "table": "zones", "keys": ["zone"], "features": {"area": "area"}},
    },
    "categorical": ["last_seats"],
}  # fmt: skip


@pytest.fixture(scope="module")
def plan() -> features_plan.FeaturePlan:
    return compiler.plan(Features.parse(FEATURES), Data.parse(DATA), Contract.parse({"tables": TABLES}))


@pytest.fixture(scope="module")
def found(plan: features_plan.FeaturePlan) -> dict[str, Input]:
    sources = Data.parse(DATA).sources
    declared = inputs.inputs(Features.parse(FEATURES), plan, Contract.parse({"tables": TABLES}), sources)
    return {field.name: field for field in declared}


@pytest.mark.parametrize(
    ("name", "type_", "nullable", "limits"),
    [
        ("zone", "text", False, (None, None, None, "[A-Z]+")),
        ("seats", "integer", True, (1, 9, [1, 2, 9], None)),
        ("shared", "boolean", False, (None, None, None, None)),
        ("hour", "integer", True, (None, None, None, None)),
        ("busy", "boolean", True, (None, None, None, None)),
        ("rides_7d", "integer", False, (0, None, None, None)),
        ("late_7d", "number", True, (-5, 60, None, None)),
        ("late_or_99_7d", "number", True, (-5, 99, None, None)),
        ("late_share_7d", "number", True, (0, 1, None, None)),
        ("late_sum_7d", "number", True, (None, None, None, None)),
        ("last_late", "number", True, (-5, 60, None, None)),
        ("last_seats", "text", True, (None, None, ["1", "2", "9"], None)),
        ("area", "number", True, (0, None, None, None)),
    ],
)
def test_an_input_is_held_to_what_follows_from_the_contract(found, name, type_, nullable, limits):
    field = found[name]
    assert (field.type, field.nullable) == (type_, nullable)
    assert (field.min, field.max, field.allowed, field.pattern) == limits
    assert (field.role == "categorical") == (type_ == "text")


def test_every_input_says_what_it_is(found):
    assert found["zone"].description == "Some column"
    assert found["area"].description == "Area in km²; from zones by zone"
    assert found["last_late"].description == "Some column; the latest of past, at most 36h old, by zone"
    assert found["rides_7d"].description == "count of past, last 7d by zone"
    assert found["hour"].description == "hour(at)"
    assert list(found) == sorted(found)


def test_an_input_is_read_as_its_own_source_is(found):
    nulls = {"zone": [""], "last_late": [""], "last_seats": [""], "area": ["", "NA"], "hour": None, "late_7d": None}
    assert {name: found[name].nulls for name in nulls} == nulls
    assert {name: field.category_of for name, field in found.items() if field.category_of} == {"last_seats": "integer"}


def test_the_plan_is_plain_json_and_complete(plan):
    content = json.loads(json.dumps(plan_json.plan_content(plan)))
    assert [part["kind"] for part in content["primitives"]] == ["latest", "lookup", "rolling"]
    assert content["request"]["lead"] == "2h"
    assert content["primitives"][2]["features"][1] == {
        "name": "late_or_99_7d", "function": "mean", "operand": {"column": "late"}, "default": 99.0,
    }  # fmt: skip
    assert {"name": "zone", "role": "categorical"} in content["outputs"]
    assert ["busy", {"call": "greater", "operands": [{"column": "rides_7d"}, {"constant": 5}]}] in content["rows"]
    assert content["types"]["last_seats"] == "integer"


def test_a_plan_survives_a_round_through_json(plan, root):
    params = Params.read(root)
    shipped = compiler.plan(params.group(Features), params.group(Data), params.group(Contract))
    for each in (plan, shipped):
        assert plan_json.plan_of(json.loads(json.dumps(plan_json.plan_content(each)))) == each


@pytest.mark.parametrize(("text", "listed"), [(None, {"zone", "last_seats"}), ({"features": ["zone"]}, {"last_seats"})])
def test_a_contract_lists_the_categories_that_were_trained_on_and_no_texts(plan, text: Any, listed: set[str]) -> None:
    frame = pl.DataFrame({"zone": ["A", "B"], "last_seats": ["1", "2"], "is_late": [0, 1]})
    features = tuple(Feature(name, "categorical") for name in ("zone", "last_seats"))
    declared: Any = SimpleNamespace(
        data=Data.parse(DATA),
        contract=Contract.parse({"tables": TABLES}),
        features=Features.parse(FEATURES),
        plan=plan,
        model=SimpleNamespace(preprocess=Preprocess.model_validate({"text": text})),
        origins=SimpleNamespace(personal_features=frozenset()),
        packaging=SimpleNamespace(on_bad_row="quarantine"),
    )
    contract = build.request_contract(declared, Dataset(frame, Schema(features, "is_late", "UTC")), None)
    assert {field.name for field in contract.inputs if field.levels} == listed
