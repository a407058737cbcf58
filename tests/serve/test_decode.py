"""The compiled decoder takes and refuses what `Bundle.score` does, with the same bits; JSON is read strictly."""

import gc
import json

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from tests import bundles
from tests.bundles import INPUTS, field
from trunkline.bundle.contract import row_check
from trunkline.bundle.runtime import Bundle
from trunkline.core.errors import UserError
from trunkline.serve.decode import Decoder, request_check
from trunkline.serve.problems import ProblemError

MORE = (
    *INPUTS,
    field("wide", "number"),
    field("whole", "integer", nullable=False, min=-(2**60), max=2**60),
    field("code", "text", category_of="integer"),
    field("flag", "text", category_of="boolean"),
    field("class", "text", category_of="number"),
)
GOOD = {"hour": 7, "origin": "JFK", "whole": 3}


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    return Bundle.load(bundles.make(tmp_path_factory.mktemp("decode") / "sums", MORE))


@pytest.fixture(scope="module")
def decoder(bundle: Bundle) -> Decoder:
    return Decoder(bundle.contract, 5, 8)


NUMBERS = st.one_of(
    st.integers(-200, 3100),
    st.integers(),
    st.floats(allow_nan=False, allow_infinity=False),
    st.sampled_from([7.0, 7.5, -0.0, 2**53, 2**53 + 1, float(2**53), 2**60, 2**60 + 1, 2**64, 10**400, 1e308, 23.5]),
)
TEXTS = st.one_of(
    st.sampled_from(["JFK", "EWR", "", "LAX", "arrival", "7", "007", "true", "a:b", "\ue000", "\ud800", "Zürich ✈"]),
    st.text(max_size=5),
)
VALUES = st.one_of(st.none(), st.booleans(), NUMBERS, TEXTS, st.just([]), st.just({}))
ROWS = st.fixed_dictionaries(
    {"hour": st.one_of(st.integers(0, 23), VALUES), "origin": st.one_of(TEXTS, VALUES), "whole": NUMBERS},
    optional={each["name"]: VALUES for each in MORE if each["name"] not in GOOD} | {"orign": VALUES},
)

# Nearly right: of a row with several things wrong, only the first counts.
NEARLY = st.builds(lambda name, value: GOOD | {name: value}, st.sampled_from([each["name"] for each in MORE]), VALUES)


def reference(bundle: Bundle, body: str) -> str | None:
    """The bits of the score that `Bundle.score` gives; None where it refuses the row."""
    try:
        score = bundle.score(json.loads(body))
    except UserError:
        return None
    assert isinstance(score, float)
    return score.hex()


@example(GOOD | {"origin": "\ud800"}, (",", ":"))
@given(st.one_of(NEARLY, ROWS), st.sampled_from([(",", ":"), (" , ", " : ")]))
def test_a_row_is_taken_or_refused_as_the_bundle_does_with_the_same_bits(bundle, decoder, row, separators):
    body = json.dumps(row, separators=separators)
    for text, one in ((body, True), (f"[{body}]", False)):
        rows = decoder.decode(text.encode())
        assert rows.one is one
        scores = None if rows.refused else bundle.scores(*rows.matrices)[0]
        assert (None if scores is None else float(scores).hex()) == reference(bundle, body)


@given(st.one_of(NEARLY, ROWS))
def test_a_request_that_is_decoded_is_checked_as_in_words(bundle, row):
    in_words = checked(row_check(bundle.contract), row)
    if isinstance(in_words, str) or "\ud800" not in "".join(in_words[1]):
        assert checked(request_check(bundle.contract), row) == in_words


def checked(check, row):
    """The numbers and texts of a request, or why it is refused."""
    try:
        numbers, texts = check(row)
    except UserError as error:
        return str(error)
    return np.array(numbers, np.float64).tobytes(), list(texts)


def test_what_is_right_is_read_by_the_compiled_decoder(bundle, decoder, monkeypatch):
    def check(*_):
        raise AssertionError("the slow way")

    monkeypatch.setattr(decoder, "check", check)
    right = GOOD | {"delay": -3.5, "engines": 2, "holiday": True, "kind": "arrival", "code": 7, "dest": None}
    rows = decoder.decode(json.dumps([right, GOOD]).encode())
    assert bundle.scores(*rows.matrices).tolist() == [bundle.score(right), bundle.score(GOOD)]


@pytest.mark.parametrize(
    ("body", "status", "words"),
    [
        (b"", 400, "not JSON"),
        (b"{", 400, "not JSON"),
        (b'{"hour": 7,}', 400, "not JSON"),
        (b"7", 400, "neither a row"),
        (b'{"hour": NaN}', 400, "holds NaN"),
        (b'{"hour": -Infinity}', 400, "holds -Infinity"),
        (b'{"hour": 7, "origin": "JFK", "whole": 1, "hour": 8}', 400, "key 'hour': is there twice"),
        (b'{"hour": 7, "origin": "\xff", "whole": 1}', 400, "not UTF-8: byte 23"),
        (b"\xff\xfe{\x00}\x00", 400, "not UTF-8: byte 0"),
        (b"[" * 9 + b"]" * 9, 400, "nested too deeply: 8 arrays and objects may stand in one another"),
        (b'[{"hour":' * 5 + b"1" + b"}]" * 5, 400, "nested too deeply"),
        (b"[" * 8 + b"]" * 8, 422, "row 0: is not an object"),
        (b"[" * 100_000, 400, "nested too deeply"),
        (b'{"hour": ' * 100_000, 400, "nested too deeply"),
        (b'{"hour": ' + b"1" * 5000 + b"}", 400, "thousands of digits"),
        (b"[" + b",".join([b"{}"] * 6) + b"]", 413, "has 6 rows, of which 5 are allowed"),
        (b"[[]]", 422, "row 0: is not an object"),
    ],
)
def test_what_is_no_row_is_refused_with_its_status(decoder, body, status, words):
    with pytest.raises(ProblemError, match=words) as caught:
        decoder.decode(body)
    assert caught.value.status == status


def test_ten_thousand_keys_are_refused_by_the_first_that_is_unknown(decoder):
    rows = decoder.decode(json.dumps({f"key{number}": number for number in range(10_000)}).encode())
    assert rows.refused is not None
    assert rows.refused[0].field == "key0"


def test_rows_beside_a_refused_one_are_kept_in_their_order(bundle, decoder):
    rows = decoder.decode(json.dumps([GOOD, GOOD | {"hour": 24}, GOOD | {"hour": 8}]).encode())
    assert rows.refused is not None
    assert {number: error.field for number, error in rows.refused.items()} == {1: "hour"}
    expected = [bundle.score(GOOD), bundle.score(GOOD | {"hour": 8})]
    assert bundle.scores(*rows.matrices).tolist() == expected


def test_decoders_of_the_same_inputs_keep_no_class_each(bundle):
    def classes() -> int:
        gc.collect()
        return sum(isinstance(each, type) and each.__name__ == "Row" for each in gc.get_objects())

    Decoder(bundle.contract, 10, 8)
    before = classes()
    for _ in range(20):
        Decoder(bundle.contract, 10, 8)
    assert classes() == before
