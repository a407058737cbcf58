"""A bundle scores what its contract allows as its graph says, says what is wrong, and runs nothing but its graph."""

import json
import math
import os
import subprocess
import sys
import threading
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from onnx import TensorProto, helper

from tests import bundles
from tests.bundles import INPUTS, expected, field
from trunkline.bundle import manifest
from trunkline.bundle.contract import Input
from trunkline.bundle.manifest import BundleError
from trunkline.bundle.runtime import Bundle
from trunkline.core.errors import UserError
from trunkline.core.graphs import MISSING

GOOD = {"hour": 7, "origin": "JFK", "delay": -3.5, "engines": 2, "holiday": True, "dest": "LAX", "kind": "arrival"}


@pytest.fixture(scope="module")
def loaded(tmp_path_factory):
    return Bundle.load(bundles.make(tmp_path_factory.mktemp("bundles") / "sums"))


REQUESTS = st.fixed_dictionaries(
    {"hour": st.integers(0, 23), "origin": st.one_of(st.sampled_from([*bundles.WEIGHTS]), st.just("a\0b"))},
    optional={
        "delay": st.none() | st.integers(-120, 3000) | st.floats(-120, 3000) | st.just(math.nan),
        "holiday": st.none() | st.booleans(),
        "engines": st.sampled_from([None, 1, 2, 4]),
        "dest": st.none() | st.from_regex("[A-Z]{3}", fullmatch=True),
        "kind": st.sampled_from([None, "arrival", "departure"]),
    },
)


@given(st.lists(REQUESTS, min_size=1, max_size=5))
def test_a_request_scores_what_the_graph_says_and_what_its_row_scores_in_a_batch(loaded, requests):
    wanted = [expected(INPUTS, request) for request in requests]
    alone = [loaded.score(request) for request in requests]
    assert alone == pytest.approx(wanted, rel=1e-12)
    numeric = [[request.get(name) for name in loaded.numeric] for request in requests]
    categorical = [[request.get(name) for name in loaded.categorical] for request in requests]
    together = loaded.scores(np.array(numeric, np.float64), np.array(categorical, object))
    assert together.dtype == np.float64
    assert together.tolist() == alone


def test_the_columns_of_a_batch_are_named_in_their_order_and_checked(loaded):
    assert (loaded.numeric, loaded.categorical) == (("delay", "hour", "holiday", "engines"), ("origin", "dest", "kind"))
    assert loaded.scores(np.empty((0, 4)), np.empty((0, 3), object)).shape == (0,)
    for shapes in [((2, 3), (2, 3)), ((2, 4), (2, 4)), ((2, 4), (1, 3))]:
        with pytest.raises(ValueError, match="must be"):
            loaded.scores(np.zeros(shapes[0]), np.full(shapes[1], "x", object))


@pytest.mark.parametrize("inputs", [INPUTS[:1], INPUTS[5:]], ids=["numbers", "texts"])
def test_a_bundle_may_have_inputs_of_one_role_only(tmp_path, inputs):
    bundle = Bundle.load(bundles.make(tmp_path / "b", inputs))
    counts = [len(bundle.numeric), len(bundle.categorical)]
    assert bundle.score({}) == expected(inputs, {})
    rows = bundle.scores(np.full((3, counts[0]), np.nan), np.full((3, counts[1]), None, object))
    assert rows.tolist() == [bundle.score({})] * 3


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"orign": "JFK"}, "field 'orign': is not in the contract; did you mean 'origin'?"),
        ({7: "JFK"}, "field 7: is not in the contract"),
        ({"hour": None}, "field hour: is missing; give its value: The hour"),
        ({"hour": 24}, "field hour: 24 is above 23"),
        ({"hour": 7.5}, "field hour: 7.5 is not a whole number"),
        ({"hour": True}, "field hour: True is not a whole number"),
        ({"hour": "7"}, "field hour: '7' is not a whole number"),
        ({"delay": -120.5}, "field delay: -120.5 is below -120"),
        ({"delay": math.inf}, "field delay: inf is not a finite number"),
        ({"delay": 10**400}, "0... is not a finite number"),
        ({"delay": False}, "field delay: False is not a number"),
        ({"delay": [1.0]}, "field delay: [1.0] is not a number"),
        ({"holiday": 1}, "field holiday: 1 is not true or false"),
        ({"engines": 3}, "field engines: 3 is not one of 1, 2, 4"),
        ({"origin": MISSING}, "reserved for missing texts; leave the field out"),
        ({"origin": 5}, "field origin: 5 is not a text"),
        ({"origin": "\ud800"}, "field origin: '\\ud800' is not Unicode"),
        ({"dest": "LAX\n"}, "field dest: 'LAX\\n' is not of the form [A-Z]{3}"),
        ({"kind": ""}, "field kind: '' is not one of arrival, departure"),
    ],
)
def test_a_request_against_the_contract_is_refused_with_the_field_and_the_reason(loaded, change, message):
    with pytest.raises(UserError) as caught:
        loaded.score(GOOD | change)
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 160


def test_numbers_of_other_types_count_by_their_value(loaded):
    wanted = expected(INPUTS, GOOD)
    for same in [{"hour": 7.0}, {"hour": np.int64(7)}, {"delay": np.float64(-3.5)}, {"holiday": np.True_}]:
        assert loaded.score(GOOD | same) == wanted


def test_threads_may_share_a_bundle(tmp_path):
    bundle = Bundle.load(bundles.make(tmp_path / "b"), threads=2)
    wrong = []

    def work(hour):
        request = GOOD | {"hour": hour}
        wrong.extend(1 for _ in range(300) if bundle.score(request) != expected(INPUTS, request))

    threads = [threading.Thread(target=work, args=(hour,)) for hour in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []


def elsewhere(location):
    """A tensor whose values are in another file."""
    tensor = TensorProto(name="w", data_type=TensorProto.DOUBLE, dims=[1], data_location=TensorProto.EXTERNAL)
    tensor.external_data.add(key="location", value=location)
    return tensor


def one_number(*nodes, constants=()):
    """A graph of one number that these nodes make the score of."""
    given = helper.make_tensor_value_info("numeric", TensorProto.DOUBLE, ["n", 1])
    score = helper.make_tensor_value_info("score", TensorProto.DOUBLE, ["n"])
    flat = helper.make_node("Squeeze", ["numeric", "axis"], ["flat"])
    axis = helper.make_tensor("axis", TensorProto.INT64, [1], [1])
    graph = helper.make_graph([flat, *nodes], "g", [given], [score], [axis, *constants])
    return bundles.model(graph, domains=["evil.example"])


ADD = helper.make_node("Add", ["flat", "w"], ["score"])


@pytest.mark.parametrize("location", ["secret.bin", "../secret.bin", "{folder}/secret.bin"])
@pytest.mark.parametrize("kind", ["initializer", "constant"])
def test_a_graph_that_reads_another_file_is_refused(tmp_path, monkeypatch, location, kind):
    for folder in (tmp_path, tmp_path / "b"):
        folder.mkdir(exist_ok=True)
        np.ones(1).tofile(folder / "secret.bin")
    tensor = elsewhere(location.format(folder=tmp_path))
    constant = helper.make_node("Constant", [], ["w"], value=tensor)
    onnx = one_number(constant, ADD) if kind == "constant" else one_number(ADD, constants=[tensor])
    folder = bundles.make(tmp_path / "b" / "c", INPUTS[:1], onnx)
    np.ones(1).tofile(folder / "secret.bin")
    bundles.seal(folder)
    monkeypatch.chdir(folder)
    with pytest.raises(
        BundleError, match=r"model\.onnx: cannot be loaded: .*(External|external|stored|relative|inside)"
    ):
        Bundle.load(folder)


def other_graphs():
    number = helper.make_node("Identity", ["flat"], ["score"])
    yield "unknown operators", one_number(helper.make_node("Run", ["flat"], ["score"], domain="evil.example")), "Run"
    yield "no graph", b"import os; os.system('true')", "cannot be loaded"
    yield "another width", bundles.graph(2, 0), "but its contract needs"
    yield "an input that nobody gives", bundles.graph(1, 1), "but its contract needs"
    yield "a score of another name", one_number(number).replace(b"score", b"label"), "but its contract needs"


@pytest.mark.parametrize(("onnx", "said"), [pytest.param(*rest, id=name) for name, *rest in other_graphs()])
def test_a_graph_that_is_not_the_contracts_is_refused(tmp_path, onnx, said):
    folder = bundles.make(tmp_path / "b", INPUTS[:1], onnx)
    with pytest.raises(BundleError, match=r"model\.onnx: ") as caught:
        Bundle.load(folder)
    assert said in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("inputs", "said"),
    [
        ([], "inputs: must be one or more"),
        ([INPUTS[0], INPUTS[0]], "each of another name"),
        ([INPUTS[0] | {"role": "categorical"}], "inputs.delay: is categorical, but of type number"),
        ([field("dest", "text", pattern="[")], "inputs.dest.pattern: "),
        ([INPUTS[0] | {"code": "print()"}], "unknown field `code`"),
    ],
)
def test_a_contract_that_cannot_be_is_refused(tmp_path, inputs, said):
    with pytest.raises(BundleError, match=r"contract\.json: ") as caught:
        Bundle.load(bundles.make(tmp_path / "b", inputs, onnx=b""))
    assert said in str(caught.value)


def test_a_bundle_is_verified_before_anything_of_it_is_read(tmp_path):
    folder = bundles.make(tmp_path / "b")
    (folder / "contract.json").write_text("{}")
    with pytest.raises(BundleError, match=r"contract\.json: was changed"):
        Bundle.load(folder)


def test_a_bundle_for_scikit_learn_says_which_install_runs_it(tmp_path):
    folder = bundles.make(tmp_path / "b")
    (folder / "model.onnx").rename(folder / "model.skops")
    bundles.seal(folder, runtime="sklearn")
    assert manifest.verify(folder) == manifest.digest(folder)
    with pytest.raises(UserError, match=r"runtime is sklearn: .* \(locks/pipeline\.txt\)"):
        Bundle.load(folder)


def test_what_a_bundle_holds_survives_a_round_through_json():
    import msgspec

    declared = [msgspec.convert(item, Input) for item in INPUTS]
    assert msgspec.json.decode(msgspec.json.encode(declared), type=list[Input]) == declared


def test_without_rapidfuzz_a_misspelled_field_still_gives_the_nearest():
    code = (
        "import sys; sys.modules['rapidfuzz'] = None\n"
        "from trunkline.core.errors import nearest\n"
        "print(nearest('orign', ['origin', 'dest']), nearest('qqq', ['origin', 'dest']), nearest('x', []))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, env=os.environ)
    assert done.stdout == "; did you mean 'origin'? ; valid are: dest, origin \n"


def test_the_schema_of_a_request_comes_as_it_was_written(tmp_path):
    folder = bundles.make(tmp_path / "b")
    content = json.loads((folder / "contract.json").read_text())
    content["request"] = {"$schema": "https://json-schema.org/draft/2020-12/schema", "additionalProperties": False}
    Path(folder / "contract.json").write_text(json.dumps(content))
    bundles.seal(folder)
    assert Bundle.load(folder).contract.request == content["request"]
