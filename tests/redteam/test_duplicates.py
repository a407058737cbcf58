"""A key that stands twice: whoever reviews sees the one, and a reader may take the other."""

import json
from pathlib import Path

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from trunkline.conf import registry
from trunkline.core.errors import UserError
from trunkline.core.files import parse_json
from trunkline.core.safe_yaml import parse_yaml
from trunkline.pipeline import reports

KEYS = st.text("abcxyz", min_size=1, max_size=2)
TREES = st.recursive(
    st.integers() | st.booleans() | st.none(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(KEYS, inner, max_size=3),
    max_leaves=12,
)


def doubled(tree: object, place: int) -> str | None:
    """Write a tree as JSON in which one key, the `place`th of the text, stands twice; None where there is none."""
    text = json.dumps(tree)
    ends = [index for index in range(len(text)) if text.startswith('": ', index)]
    if not ends:
        return None
    end = ends[place % len(ends)]
    start = text.rindex('"', 0, end)
    return f"{text[:start]}{text[start : end + 1]}: 0, {text[start:]}"


@given(TREES, st.integers(0, 20))
def test_a_key_that_stands_twice_is_refused_in_json_and_in_yaml(tree, place):
    assert parse_json(json.dumps(tree)) == parse_yaml(json.dumps(tree)) == tree
    text = doubled(tree, place)
    if text is not None:
        with pytest.raises(ValueError, match="stands twice"):
            parse_json(text)
        with pytest.raises(yaml.MarkedYAMLError, match="stands twice"):
            parse_yaml(text)


def test_a_key_may_be_given_and_merged():
    assert parse_yaml("a: &a {x: 1, y: 2}\nb: {<<: *a, x: 3}\n") == {"a": {"x": 1, "y": 2}, "b": {"x": 3, "y": 2}}


def test_an_environment_that_is_declared_twice_runs_neither():
    text = "flight-delay: {production: v1}\nflight-delay: {production: v9}\n"
    with pytest.raises(UserError, match="is also in line 1"):
        registry.parse(text, "flight-delay", Path("models/registry.yaml"))


def test_a_report_with_two_verdicts_is_refused(tmp_path):
    (tmp_path / "reports").mkdir()
    (tmp_path / "reports/gates.json").write_text('{"verdict": "fail", "verdict": "pass", "gates": []}')
    with pytest.raises(UserError, match=r"reports/gates\.json: .*stands twice"):
        reports.read(tmp_path, [Path("reports/gates.json")])
