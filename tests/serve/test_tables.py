"""A row of a file means what the same request means to the bundle: refused or accepted alike, with the same score."""

import pyarrow as pa
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from tests import bundles
from trunkline.bundle import columns as bundle_columns
from trunkline.bundle.runtime import Bundle
from trunkline.core.errors import UserError

TEXTS = st.sampled_from([None, "", "EWR", "JFK", "LAX", "laX", "Zürich ✈", "arrival", "departure", "\ue000"])
FLOATS = st.sampled_from([None, float("nan"), -120.0, -120.5, 0.0, 0.5, 7.0, 23.0, 24.0, 3000.0, 3001.0, float("inf")])
INTEGERS = st.sampled_from([None, -121, -1, 0, 1, 2, 3, 4, 7, 23, 24, 3000, 3001])
COLUMNS = {
    "delay": st.sampled_from([(pa.float64(), FLOATS), (pa.int64(), INTEGERS), (pa.int16(), INTEGERS)]),
    "hour": st.sampled_from([(pa.int64(), INTEGERS), (pa.float64(), FLOATS)]),
    "holiday": st.just((pa.bool_(), st.sampled_from([None, True, False]))),
    "engines": st.sampled_from([(pa.int64(), INTEGERS), (pa.float64(), FLOATS)]),
    "origin": st.sampled_from([(pa.string(), TEXTS), (pa.large_string(), TEXTS)]),
    "dest": st.sampled_from([(pa.string(), TEXTS), (pa.dictionary(pa.int32(), pa.string()), TEXTS)]),
    "kind": st.just((pa.string(), TEXTS)),
}


@st.composite
def tables(draw):
    """A table whose columns are stored in one of the types that they may have."""
    count = draw(st.integers(1, 6))
    columns = {}
    for name, kinds in COLUMNS.items():
        stored, values = draw(kinds)
        columns[name] = pa.array(draw(st.lists(values, min_size=count, max_size=count)), stored)
    return pa.table(columns)


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    return Bundle.load(bundles.make(tmp_path_factory.mktemp("bundles") / "one"))


def by_request(bundle, row):
    try:
        return bundle.score(row)
    except UserError:
        return None


GOOD = {
    "delay": pa.array([None, -120.0, 3000.0]),
    "hour": pa.array([0, 23, 7]),
    "holiday": pa.array([True, None, False]),
    "engines": pa.array([1, None, 4]),
    "origin": pa.array(["EWR", "", "JFK"]),
    "dest": pa.array(["LAX", None, "SFO"]),
    "kind": pa.array(["arrival", None, "departure"]),
}


@example(pa.table(GOOD))
@example(pa.table(GOOD | {"hour": pa.array([0, None, 7])}))
@example(pa.table(GOOD | {"hour": pa.array([0.5, 7.0, 23.0])}))
@given(tables())
def test_a_row_of_a_file_is_a_request(bundle, table):
    rows = bundle_columns.check_rows(table, bundle.contract)
    refused = bundle_columns.reasons(table, rows.breaches)
    scores = bundle.scores(rows.numeric, rows.categorical)
    for place, row in enumerate(table.to_pylist()):
        expected = by_request(bundle, row)
        assert (expected is None) == (place in refused), (row, refused.get(place))
        assert expected is None or expected == scores[place]


def test_what_the_glance_lets_through_the_closer_look_does_too(bundle):
    """Both ways give the same numbers for the same column."""
    table = pa.table(GOOD)
    for field in bundle.contract.inputs[:2]:
        reported = []
        closer = bundle_columns._number(table, field, reported.append)
        assert not reported
        assert bundle_columns._good_numbers(table, field).tobytes() == closer.tobytes()
