"""Which class a column gets at the start, by its name and by its values."""

import polars as pl
import pytest

from trunkline.init import roles
from trunkline.init.profile import profile


@pytest.mark.parametrize(
    ("name", "values", "expected"),
    [
        (
            "contact",
            ["ann@example.org", "bob@example.net", None],
            ("personal", "its values look like e-mail addresses"),
        ),
        ("reach", ["+49 151 2345678", "(555) 010-2030"], ("personal", "its values look like phone numbers")),
        ("where", ["48.13743, 11.57549", "52.52001, 13.40495"], ("personal", "its values look like coordinates")),
        ("lastName", ["Lovelace", "Hopper"], ("personal", "its name is that of names of people")),
        ("gender", ["a", "b"], ("sensitive", "its name is that of what nobody may be judged by")),
    ],
)
def test_what_looks_personal_gets_a_class_and_says_why(name, values, expected):
    column = profile("people", pl.DataFrame({name: values}), texts=True).column(name)
    assert (roles.privacy(column), roles.privacy_why(column)) == expected


@pytest.mark.parametrize("values", [["EWR", "JFK"], ["a@b"], ["2013-07-01", "2013-07-02"], ["N14228", "N24211"]])
def test_other_columns_get_none(values):
    assert roles.privacy(profile("flights", pl.DataFrame({"code": values}), texts=True).column("code")) is None
