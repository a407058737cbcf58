import pytest

from trunkline.conf.review import Review
from trunkline.conf.search import Search
from trunkline.core.errors import UserError
from trunkline.core.params import Params


def test_a_group_is_checked_when_it_is_asked_for(tmp_path):
    (tmp_path / "params.yaml").write_text("name: flights\nseed: 7\nsearch: {trails: 3}\nreview: {attribution: 5min}\n")
    params = Params.read(tmp_path)
    assert (params.name, params.seed, params.group(Review).attribution.seconds) == ("flights", 7, 300)
    with pytest.raises(UserError, match=r"params\.yaml: search\.\w+: .*; run: trunkline compose --check$"):
        params.group(Search)


def test_what_is_missing_is_one_message():
    params = Params({"seed": -1}, "params.yaml of main")
    with pytest.raises(UserError, match=r"^params.yaml of main: search: the group is missing; run: trunkline compose$"):
        params.group(Search)
    with pytest.raises(UserError, match=r"^params.yaml of main: seed: must be a whole number of at least 0; "):
        _ = params.seed
    with pytest.raises(UserError, match=r"^params.yaml of main: name: is missing; "):
        _ = params.name


@pytest.mark.parametrize(
    ("text", "why"), [(None, "there is no such file"), ("[1]", "not a mapping"), ("a: [", "not YAML")]
)
def test_a_file_that_holds_no_groups_is_one_message(tmp_path, text, why):
    if text is not None:
        (tmp_path / "params.yaml").write_text(text)
    with pytest.raises(UserError, match=rf"params\.yaml: {why}.*; run: trunkline compose$"):
        Params.read(tmp_path)
