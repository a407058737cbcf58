"""What a bundle shows of personal features: no value of a row, and no cell that few rows share."""

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from trunkline.bundle.contract import Input
from trunkline.conf.privacy import SMALLEST_CELL
from trunkline.core.dataset import Dataset, Schema
from trunkline.core.features import Feature
from trunkline.pipeline.bundle import private
from trunkline.pipeline.evaluate import reference

ROLES = {"height": "numeric", "name": "categorical", "hour": "numeric"}
PERSONAL = {"height", "name"}


def dataset(heights, names):
    columns = {"height": pl.Series(heights, dtype=pl.Float64), "name": pl.Series(names, dtype=pl.String)}
    frame = pl.DataFrame(columns | {"hour": pl.Series(range(len(heights)), dtype=pl.Int64), "late": [0] * len(heights)})
    return Dataset(frame, Schema(tuple(Feature(*feature) for feature in ROLES.items()), "late", "UTC"))


def histograms(rows, personal):
    scores = pl.Series([0.5] * len(rows.frame)).to_numpy()
    return private.suppressed(reference.histograms(private.clipped(rows, personal), scores), personal)


@given(
    st.lists(
        st.tuples(st.floats(0, 300) | st.integers(150, 190).map(float) | st.none(), st.sampled_from("aaabbcdefg")),
        min_size=1,
        max_size=200,
    )
)
def test_no_cell_of_a_personal_feature_has_few_rows_and_none_is_lost(rows):
    people = dataset(*zip(*rows, strict=True))
    shown = histograms(people, PERSONAL)
    height, name, hour = (shown["features"][key] for key in ("height", "name", "hour"))
    assert min([*height["counts"], *name["counts"].values()], default=SMALLEST_CELL) >= SMALLEST_CELL
    assert sum([*height["counts"], height["below"], height["above"], height["missing"]]) == len(rows)
    assert sum([*name["counts"].values(), name["other"], name["missing"]]) == len(rows)
    assert height["edges"] == sorted(set(height["edges"]))
    assert hour == histograms(people, set())["features"]["hour"]


def test_the_lowest_and_the_highest_that_are_shown_are_those_of_several():
    people = dataset([1.0, *range(150, 190), 250.0], ["a"] * 42)
    height = histograms(people, PERSONAL)["features"]["height"]
    assert (height["lowest"], height["edges"][-1]) == (158, 181)
    assert histograms(people, set())["features"]["height"]["edges"][-1] == 250


@pytest.mark.parametrize(
    ("limits", "stands_in"),
    [
        ({"nullable": True}, None),
        ({"nullable": False}, 170.0),
        ({"nullable": False, "allowed": [160, 180]}, 160.0),
        ({"nullable": False, "type": "integer"}, 170.0),
    ],
)
def test_golden_rows_have_one_value_for_all_that_their_contract_allows(limits, stands_in):
    people = dataset([160.0, 180.0, None], ["ann", "bob", "bob"])
    field = Input(**{"name": "height", "role": "numeric", "type": "number", "description": "Height"} | limits)
    name = Input(name="name", role="categorical", type="text", description="Name", nullable=False)
    rows = private.replaced(people, people, [field, name], PERSONAL).frame
    assert rows["height"].to_list() == [stands_in] * 3
    assert rows["name"].to_list() == ["bob"] * 3
    assert rows["hour"].to_list() == [0, 1, 2]
