"""What may be declared as a feature, above all that no outcome can be read without saying when it was known."""

import copy
from typing import Any

import pytest

from tests.pipeline.features.test_duckdb import CONTRACT, DATA, FEATURES
from trunkline.conf.contract import Contract
from trunkline.conf.data import Data
from trunkline.conf.features import Features
from trunkline.core.errors import UserError
from trunkline.core.features import Feature
from trunkline.pipeline.features.compiler import plan
from trunkline.pipeline.features.plan import FeaturePlan, LatestAsOf


def planned(key: str = "", value: Any = None) -> FeaturePlan:
    """Plan the example with one key of the three groups changed."""
    groups = copy.deepcopy({"data": DATA, "contract": CONTRACT, "features": FEATURES})
    node: Any = groups
    *parents, last = key.split(".")
    for parent in parents:
        node = node[parent]
    if key:
        node[last] = value
    return plan(Features.parse(groups["features"]), Data.parse(groups["data"]), Contract.parse(groups["contract"]))


def test_the_plan_is_ordered_by_name_and_typed() -> None:
    found = planned()
    assert found.outputs == tuple(sorted(found.outputs, key=lambda feature: feature.name))
    assert Feature("station", "categorical") in found.outputs
    assert Feature("trips_6h", "numeric") in found.outputs
    assert "last_start" not in [feature.name for feature in found.outputs]
    assert found.request.columns == ("number", "starts", "station")
    assert [type(primitive).__name__ for primitive in found.primitives] == [
        "LatestAsOf",
        "StaticLookup",
        "RollingAggregate",
    ]
    assert isinstance(found.primitives[0], LatestAsOf)


def test_a_number_can_be_a_category() -> None:
    assert Feature("local_hour", "categorical") in planned("features.categorical", ["local_hour"]).outputs


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        (
            "features.views.row.features.leak",
            "delay * 2",
            "features.views.row.features.leak: column 'delay' is known only after the prediction; "
            "read it through a stream, which says when it becomes available",
        ),
        ("features.views.last.keys", ["delay"], "features.views.last.keys: column 'delay' is known only after"),
        ("data.event_time", "starts + minutes(delay)", "data.event_time: column 'delay' is known only after"),
        (
            "features.views.self",
            {"kind": "lookup", "table": "trips", "keys": ["number"], "features": {"peek": "delay"}},
            "features.views.self.table: trips holds events, not static rows; declare a stream of it",
        ),
        (
            "features.views.place.keys",
            ["number"],
            "features.views.place.keys: table stations has no column 'number'",
        ),
        (
            "contract.tables.stations.unique",
            ["station", "platforms"],
            "features.views.place.keys: a lookup needs exactly the unique columns of stations: station, platforms",
        ),
        (
            "contract.tables.stations.columns.platforms.known",
            "outcome",
            "features.views.place.features.tracks: column 'platforms' is known only after the prediction",
        ),
        (
            "features.views.row.features.x",
            "local_huor + 1",
            "features.views.row.features.x: no column or feature 'local_huor'; did you mean 'local_hour'?",
        ),
        ("features.views.row.features.x", "x + 1", "features.views.row.features.x: 'x' is defined by itself: x -> x"),
        ("features.views.row.features.x", "None", "features.views.row.features.x: is always missing"),
        ("features.views.row.features.starts", "hour(starts)", "features.views.row.features.starts: the name 'starts'"),
        ("features.views.row.features.delay", "1", "features.views.row.features.delay: the name 'delay' is a column's"),
        ("features.hidden", [], "features.hidden: feature 'last_start' is a time, which no model can read; hide it"),
        ("features.views.recent.features.trips_6h", {"aggregate": "sum", "of": "station"}, "`of` must be a number"),
        ("features.streams.done.event_time", "delay", "features.streams.done.event_time: must be a time, is integer"),
        ("features.streams.done.available_at", "delay", "features.streams.done.available_at: must be a time"),
        ("features.streams.done.table", "trip", "no table 'trip' in the contract; did you mean 'trips'?"),
        ("data.target.expression", "delay", "data.target.expression: must be a boolean for binary, is integer"),
        ("data.target.name", "delay", "data.target.name: 'delay' is a column of trips; choose another"),
        (
            "data.unique_key",
            ["number", "delay"],
            "data.unique_key: column 'delay' is known only after the prediction, and a row is told by what is known",
        ),
        ("data.unique_key", ["nubmer"], "data.unique_key: no column 'nubmer'; did you mean 'number'?"),
        (
            "contract.tables.trips.columns.event_time",
            {"type": "time", "description": "clash"},
            "contract.tables.trips.columns.event_time: the name is reserved; rename the column",
        ),
        (
            "contract.tables.stations.columns.station.type",
            "integer",
            "features.views.place.keys: 'station' is text in the request and integer in stations",
        ),
    ],
)
def test_refused_with_the_key_and_the_remedy(key: str, value: Any, message: str) -> None:
    with pytest.raises(UserError) as refused:
        planned(key, value)
    assert message in str(refused.value)
    assert "\n" not in str(refused.value)
