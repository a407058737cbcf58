"""The same key is always in the same arm, a larger share holds a smaller one, and another candidate has other keys."""

import math
from hashlib import blake2b

import pytest

from trunkline.serve.rollout.sticky import Share

KEYS = [{"carrier": carrier, "flight": flight} for carrier in ("UA", "Zürich ✈") for flight in range(5000)]
DIGESTS = ("a" * 64, "b" * 64)


def taken(digest: str, percent: float) -> set[tuple[str, int]]:
    share = Share(digest, percent, ("carrier", "flight"))
    return {(key["carrier"], key["flight"]) for key in KEYS if share.has(key)}


@pytest.mark.parametrize("digest", DIGESTS)
def test_shares_are_as_large_as_declared_and_nested(digest):
    smaller: set[tuple[str, int]] = set()
    for percent in (0.5, 5, 25, 50, 99.5, 100):
        keys, part = taken(digest, percent), percent / 100
        spread = 4 * math.sqrt(part * (1 - part) / len(KEYS))
        assert abs(len(keys) / len(KEYS) - part) <= spread
        assert smaller <= keys
        smaller = keys


def test_another_candidate_has_other_keys():
    both = taken(DIGESTS[0], 25) & taken(DIGESTS[1], 25)
    assert abs(len(both) / len(KEYS) - 0.25**2) < 4 * math.sqrt(0.25**2 / len(KEYS))


def test_it_is_the_hash_that_is_documented():
    hashed = blake2b(b"c" * 64 + b'["UA", "7"]', digest_size=8).digest()
    place = 100 * int.from_bytes(hashed) / 2**64
    row = {"carrier": "UA", "flight": 7}
    assert not Share("c" * 64, place - 1e-6, ("carrier", "flight")).has(row)
    assert Share("c" * 64, place + 1e-6, ("carrier", "flight")).has(row)


def test_a_value_counts_by_its_text():
    share = Share(DIGESTS[0], 50, ("carrier", "flight"))
    for flight in range(50):
        arms = {share.has({"carrier": "UA", "flight": same}) for same in (flight, float(flight), str(flight))}
        assert len(arms) == 1
    assert len({share.has({"carrier": flag, "flight": 1}) for flag in (True, "true")}) == 1


@pytest.mark.parametrize("flight", [None, math.nan, [7], {"a": 7}])
def test_a_row_without_a_whole_key_is_in_no_share_but_by_what_is_given_otherwise(flight):
    every = Share(DIGESTS[0], 100, ("carrier", "flight"))
    for row in ({"carrier": "UA", "flight": flight}, {"carrier": "UA"}, ["UA", 7], None):
        assert not every.has(row)
        assert every.has(row, "request")
    assert not Share(DIGESTS[0], 100, ()).has({"carrier": "UA"})
    half = Share(DIGESTS[0], 50, ("carrier", "flight"))
    assert {half.has({"carrier": "UA"}, f"request {number}") for number in range(50)} == {True, False}
