"""Tags are versions, or are not; GTO reads the same ones."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trunkline.conf import versions
from trunkline.conf.versions import Version
from trunkline.core.errors import UserError

NAMES = st.from_regex(r"[a-z][a-z0-9-]{0,59}", fullmatch=True)


@given(NAMES, st.integers(1, 999_999_999))
def test_a_version_is_read_back_from_its_tag_and_its_label(name, number):
    version = Version(name, number)
    assert (
        Version.of_tag(version.tag)
        == versions.named(version.label, name)
        == versions.named(version.tag, name)
        == version
    )


@pytest.mark.parametrize(
    "tag",
    [
        "flights@v0",
        "flights@v01",
        "flights@1",
        "flights@v1 ",
        "Flights@v1",
        "flights#prod#1",
        "v1",
        "a/b@v1",
        "flights@v\u0661",
    ],
)
def test_any_other_tag_is_none(tag):
    assert Version.of_tag(tag) is None


def test_versions_of_a_model_count_up_as_numbers():
    found = versions.of("flights", ["flights@v10", "other@v3", "flights@v9", "notes", "flights-2@v1"])
    assert [version.tag for version in found] == ["flights@v9", "flights@v10"]


@pytest.mark.parametrize("text", ["v0", "3", "latest", "other@v3", "", "v3 "])
def test_a_person_who_means_no_version_is_told_the_form(text):
    with pytest.raises(UserError, match=r"is no version of flights; name one such as v3 or flights@v3"):
        versions.named(text, "flights")
