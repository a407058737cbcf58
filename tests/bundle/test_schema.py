"""The JSON Schema of a request takes what the bundle takes, and refuses what it refuses."""

import jsonschema
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests import bundles
from trunkline.bundle.runtime import Bundle
from trunkline.bundle.schema import request_schema
from trunkline.core.errors import UserError

VALUES = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-5, 30),
    st.sampled_from([0.5, 2.0, 23.0, -120.0, 3000.0, 3000.5]),
    st.sampled_from(["", "EWR", "LAX", "LA", "laX", "arrival", "departure", "Zürich"]),
    st.just([]),
)


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    return Bundle.load(bundles.make(tmp_path_factory.mktemp("bundles") / "one"))


VALID = {"hour": 7, "origin": "JFK", "dest": "LAX", "kind": "arrival", "engines": 2, "holiday": True, "delay": 0.5}
CHANGES = st.dictionaries(st.sampled_from([*VALID, "other"]), VALUES, max_size=2)


@given(CHANGES.map(lambda changes: VALID | changes), st.sets(st.sampled_from([*VALID]), max_size=2))
def test_the_json_schema_and_the_bundle_accept_the_same_requests(bundle, request, left_out):
    request = {name: value for name, value in request.items() if name not in left_out}
    schema = request_schema(bundle.contract.inputs)
    jsonschema.Draft202012Validator.check_schema(schema)
    by_schema = jsonschema.Draft202012Validator(schema).is_valid(request)
    try:
        bundle.score(request)
        by_bundle = True
    except UserError:
        by_bundle = False
    assert by_schema == by_bundle
