"""An edit changes one value, and leaves every other character where it was."""

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from trunkline.core.errors import UserError
from trunkline.core.safe_yaml import parse_yaml
from trunkline.pipeline.compose import edit

CONF = """\
# Where the rows are.
sources:
  months: # one file each
    kind: files # of the project
    url: data/incoming/
    files:
      a.csv: 11 # the first

      b.csv:
    nulls:
      - ""
  lake: {kind: delta, url: data/lake} # moves often
  web: {kind: files, files: {x.zip, y.zip: null}}
  new:
    kind: files

after: 1
"""


def test_comments_and_layout_stay() -> None:
    text = CONF
    for key, value in {
        ("months", "files", "a.csv"): "aa",
        ("months", "files", "b.csv"): "bb",
        ("months", "files", "sub/c d.csv"): "1e5",
        ("lake", "version"): 3,
        ("web", "files", "x.zip"): "xx",
        ("web", "files", "y.zip"): "2539079612415412387",
        ("new", "files", "n.csv"): "nn",
        ("new", "files", "o.csv"): "oo",
    }.items():
        text = edit.put(text, ("sources", *key), value)
    assert (
        text
        == """\
# Where the rows are.
sources:
  months: # one file each
    kind: files # of the project
    url: data/incoming/
    files:
      a.csv: aa # the first

      b.csv: bb
      sub/c d.csv: "1e5"
    nulls:
      - ""
  lake: {kind: delta, url: data/lake, version: 3} # moves often
  web: {kind: files, files: {x.zip: xx, y.zip: '2539079612415412387'}}
  new:
    kind: files
    files:
      n.csv: nn
      o.csv: oo

after: 1
"""
    )
    for key in [
        ("web", "files", "x.zip"),
        ("months", "files", "a.csv"),
        ("lake", "version"),
        ("new", "files", "o.csv"),
    ]:
        text = edit.drop(text, ("sources", *key))
    assert "files: {y.zip: '2539079612415412387'}}" in text
    assert "    files:\n\n      b.csv: bb\n" in text
    assert "lake: {kind: delta, url: data/lake} # moves" in text
    assert "      n.csv: nn\n\nafter" in text


def test_what_cannot_be_edited_alone_is_left_to_a_person() -> None:
    with pytest.raises(UserError, match=r"^c: 1: finds no place to stand; write it by hand"):
        edit.put("a:\n  b:\n    d:\n      - 1\n", ("a", "b", "c"), 1)


_KEYS = st.text(st.characters(codec="utf-8", exclude_categories=["Cc", "Cs", "Zl", "Zp"]), min_size=1, max_size=8)
_VALUES = st.one_of(st.integers(-(2**40), 2**40), _KEYS, st.sampled_from(["1e5", "null", "yes", "0x1", "2013-01-01"]))


@given(
    content=st.dictionaries(_KEYS, st.dictionaries(_KEYS, _VALUES, min_size=1, max_size=3), min_size=1, max_size=3),
    key=_KEYS,
    value=_VALUES,
    flow=st.sampled_from([True, False, None]),
    data=st.data(),
)
def test_every_edit_is_exact_or_refused(
    content: dict[str, dict[str, int | str]], key: str, value: int | str, flow: bool | None, data: st.DataObject
) -> None:
    text = yaml.safe_dump(content, default_flow_style=flow, allow_unicode=True, sort_keys=False)
    if parse_yaml(text) != content:  # PyYAML itself writes what Hydra reads otherwise
        return
    group = data.draw(st.sampled_from(sorted(content)))
    key = data.draw(st.sampled_from([key, *content[group]]))
    edited = edit.put(text, (group, key), value)
    expected = {**content, group: {**content[group], key: value}}
    assert parse_yaml(edited) == expected
    if len(expected[group]) > 1:
        del expected[group][key]
        assert parse_yaml(edit.drop(edited, (group, key))) == expected
