"""A review as a file: what was written is read again, and nothing else is."""

import json
from dataclasses import replace
from functools import reduce
from operator import getitem

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from tests.review.test_comment import BLOCKED, HOSTILE, REVIEW, STALE, hostile
from trunkline.core.errors import UserError
from trunkline.pipeline.evaluate.estimate import Estimate
from trunkline.review import comment, file, post
from trunkline.review.data import Config, Curve, Moved
from trunkline.show.differences import Difference

REVIEWS = (REVIEW, BLOCKED, STALE)
NUMBERS = st.floats(allow_nan=False, allow_infinity=False)
LEAVES = st.none() | st.booleans() | st.integers(-(2**53), 2**53) | NUMBERS | st.text(max_size=20)
INTERVALS = st.none() | st.tuples(NUMBERS, NUMBERS)
ESTIMATES = st.builds(Estimate, value=st.none() | NUMBERS, interval=INTERVALS)
MOVED = st.builds(
    Moved,
    st.text(max_size=9),
    st.text(max_size=9),
    st.integers(0, 2**53),
    st.none() | ESTIMATES,
    ESTIMATES,
    st.none() | NUMBERS,
    INTERVALS,
)
VALUES = st.recursive(LEAVES, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner))


def accepted(data):
    """The review, or None where it is refused in one line."""
    try:
        return file.decode(data)
    except UserError as error:
        reason = str(error)
    assert "\n" not in reason
    assert len(reason) < 200
    return None


@st.composite
def reviews(draw):
    words = draw(st.just(HOSTILE) | st.text(max_size=40))
    change = Difference(draw(st.text(max_size=20)), draw(VALUES), draw(VALUES))
    return replace(
        draw(st.sampled_from((*REVIEWS, hostile(words)))),
        name=words,
        behind=draw(st.integers(0, 2**53)),
        dirty=draw(st.booleans()),
        config=(Config(change, (words,)),),
        whole=(draw(MOVED),),
        curves=(Curve("observed", tuple(draw(st.lists(st.tuples(NUMBERS, NUMBERS), max_size=4)))),),
    )


@given(reviews())
def test_what_was_written_is_read_again_and_gives_the_same_comment(review):
    found = file.decode(file.encode(review))
    assert found == review
    assert file.encode(found) == file.encode(review)
    assert comment.render(found) == comment.render(review)


def test_a_bound_that_is_infinite_reads_as_it_did():
    review = replace(REVIEW, config=(Config(Difference("model.clip", float("inf"), [float("nan")]), ("train",)),))
    found = file.decode(file.encode(review))
    assert found.config[0].change == Difference("model.clip", "Infinity", ["NaN"])
    assert "| `model.clip` | `Infinity` |" in comment.render(review)
    assert "| `model.clip` | `Infinity` |" in comment.render(found)


def places(value, path=()):
    """Every place in a tree of JSON."""
    yield path
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, item in items:
        yield from places(item, (*path, key))


def changed(content, path, value):
    if not path:
        return value
    copy = dict(content) if isinstance(content, dict) else list(content)
    copy[path[0]] = changed(copy[path[0]], path[1:], value)
    return copy


WRITTEN = [file.encode(review) for review in REVIEWS]
TREES = [json.loads(file.encode(hostile(words))) for words in ("x", "xy")]
PLACES = [(tree, path) for tree in TREES for path in places(tree)]
LISTS = {
    ".".join(key for key in path if isinstance(key, str)): (tree, path)
    for tree, path in PLACES
    if isinstance(reduce(getitem, path, tree), list) and reduce(getitem, path, tree)
}


def forged(tree):
    """What is to be rendered is refused, or gives one comment of its size."""
    data = json.dumps(tree, sort_keys=True, indent=2, ensure_ascii=False) + "\n"
    found = accepted(data.encode())
    if found is not None:
        text = comment.render(found)
        assert len(post.signed(text, found.head, f"https://{'x' * 500}")) < comment.LIMIT
        assert post.MARKER not in text


@settings(max_examples=400)
@given(
    st.sampled_from(PLACES),
    VALUES | st.sampled_from([HOSTILE, "@" * 19_000, [0] * 50_000, 1e308, 10**400, "<!-- trunkline:report -->"]),
)
def test_a_forged_value_is_refused_or_rendered_as_text_of_a_comments_size(place, value):
    forged(changed(*place, value))


@pytest.mark.parametrize("name", LISTS)
def test_a_list_as_long_as_can_be_is_rendered_to_a_comments_size(name):
    tree, path = LISTS[name]
    whole = reduce(getitem, path, tree)
    size = len(json.dumps(changed(tree, path, whole * 2), indent=2)) - len(json.dumps(tree, indent=2))
    forged(changed(tree, path, whole * (1_900_000 // size)))


@given(st.sampled_from(WRITTEN), st.data())
def test_no_other_bytes_are_read(written, data):
    place = data.draw(st.integers(0, len(written) - 1))
    other = data.draw(st.binary(max_size=3).filter(lambda other: other != written[place : place + 1]))
    found = accepted(written[:place] + other + written[place + 1 :])
    if found is not None:
        assert file.encode(found) == written[:place] + other + written[place + 1 :]
        assert len(comment.render(found)) < comment.LIMIT


@given(st.binary(max_size=200))
@example(b"")
@example(b"[" * 200_000)
@example(b'{"a":' * 100_000)
@example(b"\xff\xfe")
@example(b"1" * 5000)
def test_bytes_that_are_no_review_are_refused(data):
    assert accepted(data) is None


@pytest.mark.parametrize(
    ("edit", "reason"),
    [
        ({"extra": 1}, "does not write"),
        ({"behind": "3"}, "behind is not what trunkline review writes"),
        ({"behind": 10**30}, "integer beyond"),
        ({"behind": True}, "behind is not"),
        ({"dirty": 1}, "dirty is not"),
        ({"name": "x" * 20_001}, "text of more than"),
        ({"name": "x" * 2_000_000}, "has more than 2,000,000 bytes"),
        ({"head": "b" * 39}, "head is no commit"),
        ({"head": "b" * 40 + "\n"}, "head is no commit"),
        ({"base": "main; rm -rf ~"}, "base is no commit"),
        ({"curves": [{"kind": "roc", "points": [[0.1, float("nan")]]}]}, "is not JSON"),
        ({"curves": [{"kind": "roc", "points": [[0.1, "0.2"]]}]}, "curves.0.points.0.1 is not"),
        ({"roc": [[[[[[[[[[[[[[[[[[1]]]]]]]]]]]]]]]]]]}, "nested deeper"),
    ],
)  # fmt: skip
def test_what_is_wrong_is_named(edit, reason):
    data = json.dumps(json.loads(WRITTEN[0]) | edit, sort_keys=True, indent=2, ensure_ascii=False) + "\n"
    with pytest.raises(UserError, match=reason):
        file.decode(data.encode())


def test_a_verdict_that_does_not_follow_from_its_gates_is_refused():
    passed = WRITTEN[1].replace(b'"verdict": "fail"\n    }', b'"verdict": "pass"\n    }')
    assert passed != WRITTEN[1]
    with pytest.raises(UserError, match=r"reports\.gates"):
        file.decode(passed)
