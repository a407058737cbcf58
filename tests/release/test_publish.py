"""Which version a commit is, or becomes: decided from what there is, whatever the order in which runs come."""

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from trunkline.conf.versions import Version
from trunkline.release.publish import ExistingVersion, decided

TRUNK = st.lists(st.sampled_from("abc"), min_size=1, max_size=8)  # the digest of each commit's bundle, oldest first


def is_ancestor(commit: str, other: str) -> bool:
    return int(commit) <= int(other)


def released(trunk: list[str], order: list[int], until: list[int]) -> list[ExistingVersion]:
    """Release commits of a trunk in some order, as runs of them come, each when the trunk is that long."""
    known: list[ExistingVersion] = []
    for commit, length in zip(order, until, strict=True):
        tip = trunk[length - 1] if commit != length - 1 else None
        if decided(known, str(commit), trunk[commit], tip, is_ancestor) is None:
            known.append(ExistingVersion(Version("flights", len(known) + 1), str(commit), trunk[commit]))
    return known


@given(st.data(), TRUNK)
def test_latest_is_what_the_tip_has_once_its_run_has_come(data, trunk):
    runs = st.tuples(st.integers(1, len(trunk)), st.integers(0, len(trunk) - 1))
    drawn = sorted((length, min(commit, length - 1)) for length, commit in data.draw(st.lists(runs, max_size=20)))
    late = [(len(trunk), commit) for commit in data.draw(st.lists(st.integers(0, len(trunk) - 1), max_size=5))]
    order = [*drawn, (len(trunk), len(trunk) - 1), *late]
    known = released(trunk, [commit for _, commit in order], [length for length, _ in order])
    assert known[-1].digest == trunk[-1]
    assert len({one.commit for one in known}) == len(known)
    assert all(one.digest != after.digest for one, after in pairwise(known))


@given(TRUNK)
def test_in_order_every_change_of_the_bundle_is_a_version(trunk):
    known = released(trunk, list(range(len(trunk))), list(range(1, len(trunk) + 1)))
    changes = [digest for place, digest in enumerate(trunk) if place == 0 or digest != trunk[place - 1]]
    assert [one.digest for one in known] == changes


def test_commits_of_lines_that_do_not_hold_each_other_are_both_released():
    known = [ExistingVersion(Version("flights", 1), "1", "a")]
    assert decided(known, "other", "b", None, lambda *_: False) is None
    superseded = decided(known, "0", "b", None, lambda commit, other: (commit, other) == ("0", "1"))
    assert superseded is not None
    assert superseded.what == "superseded"
    assert "flights@v1 is of a later commit of the trunk" in superseded.why[0]
