"""Expressions over the rows of a frame, whatever its columns are called."""

import polars as pl
import pytest
from pydantic import TypeAdapter, ValidationError

from trunkline.core.tables import rows
from trunkline.core.values import Column

FRAME = pl.DataFrame({"low": [1, 5], "Low": [2, 2], "LOW": [3, 3]})


def test_names_that_differ_in_case_are_different_columns() -> None:
    found = rows.evaluate(FRAME, {"holds": "low < Low", "Holds": "Low < LOW", "HOLDS": "low == LOW"}, "UTC")
    assert found.columns == ["holds", "Holds", "HOLDS"]
    assert found.rows() == [(True, True, False), (False, True, False)]


def test_a_share_depends_on_the_values_of_the_named_column() -> None:
    each = [rows.shares(FRAME, [name], 0).to_list() for name in FRAME.columns]
    assert each == [rows.shares(pl.DataFrame({"x": FRAME[name]}), ["x"], 0).to_list() for name in FRAME.columns]


@pytest.mark.parametrize("name", ["*", "^low$", "^$"])
def test_a_name_that_means_other_columns_is_refused(name: str) -> None:
    with pytest.raises(ValidationError, match="which means others; rename it"):
        TypeAdapter(Column).validate_python(name)
