"""What an editor says of conf/: nothing of what is right, and of what is wrong all that one file shows."""

import copy
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st
from jsonschema import Draft7Validator
from pydantic import ValidationError

from trunkline.conf.project import Project
from trunkline.core.safe_yaml import parse_yaml
from trunkline.core.values import Group
from trunkline.pipeline.compose import schema

ROOT = Path(__file__).parents[3]
CONF = ROOT / "conf"
FILES = sorted(CONF.rglob("*.yaml"))
SCHEMAS = schema.schemas()
MISTAKES = yaml.safe_load((ROOT / "tests/golden/mistakes.yaml").read_text(encoding="utf-8"))


def named(path: Path) -> str:
    """Name of the schema of a file: that of its group."""
    return path.parent.name if path.parent.name in SCHEMAS else "config"


def judge(name: str) -> Draft7Validator:
    return Draft7Validator(SCHEMAS[name])


def test_the_schemas_are_up_to_date():
    committed = {path.stem: json.loads(path.read_text("utf-8")) for path in (ROOT / "docs/schemas").iterdir()}
    assert committed == SCHEMAS, "stale; run: make docs"


@pytest.mark.parametrize("name", SCHEMAS)
def test_a_schema_is_one(name):
    Draft7Validator.check_schema(SCHEMAS[name])


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(CONF)))
def test_a_file_names_its_schema_and_is_right_by_it(path):
    text = path.read_text(encoding="utf-8")
    comment, _, address = text.removeprefix("# @package _global_\n").partition("\n")[0].partition("=")
    assert comment == "# yaml-language-server: $schema"
    assert (path.parent / address).resolve() == ROOT / f"docs/schemas/{named(path)}.json"
    assert [error.message for error in judge(named(path)).iter_errors(parse_yaml(text))] == []


@pytest.mark.parametrize("mistake", MISTAKES, ids=[mistake["new"][:40] for mistake in MISTAKES])
def test_a_mistake_that_one_file_shows_is_refused(mistake):
    path = CONF / mistake["file"]
    try:
        content = parse_yaml(path.read_text(encoding="utf-8").replace(mistake["old"], mistake["new"]))
    except yaml.YAMLError:
        return  # as any editor of YAML says
    assert judge(named(path)).is_valid(content) == (not mistake.get("editor"))


def places(content: Any, key: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Yield where the values inside a content are."""
    for part in content if isinstance(content, dict) else range(len(content)) if isinstance(content, list) else ():
        yield (*key, part)
        yield from places(content[part], (*key, part))


def holder(content: Any, place: tuple[Any, ...]) -> Any:
    for part in place[:-1]:
        content = content[part]
    return content


CONTENTS = {path: parse_yaml(path.read_text(encoding="utf-8")) for path in FILES}
PLACES = [(path, place) for path, content in CONTENTS.items() for place in places(content) if place[0] != "defaults"]
INHERITED = [
    ({"defaults": ["gbm", "_self_"], "max_iter": 300}, "model"),
    ({"defaults": ["static_weather"], "views": {"plane": {"keys": ["tailnum"]}}}, "features"),
    ({"defaults": ["flights"], "rules": {"small": {"maximum": 20}}}, "gates"),
    ({"defaults": [{"/model@families.ridge.model": "ridge"}], "families": {"ridge": {"space": {}}}}, "search"),
    ({"defaults": ["_self_", {"model": "gbm"}, {"experiment": None}], "name": "x", "seed": 1}, "config"),
    ({"defaults": [{"override /model": "forest"}], "gates": {"rules": {"small": {"maximum": 20}}}}, "config"),
    ({"model": {"max_depth": 3}}, "config"),
]


@pytest.mark.parametrize(("content", "name"), INHERITED)
def test_a_file_that_changes_others_says_only_what_it_changes(content, name):
    assert judge(name).is_valid(content)
    assert not judge(name).is_valid({**content, "gatse": 1}) or name == "model"


@pytest.mark.parametrize(
    ("name", "entry"), [("model", {"model": "gbm"}), ("config", {"modle": "gbm"}), ("data", "a b")]
)
def test_a_defaults_list_names_options_that_there_may_be(name, entry):
    assert not judge(name).is_valid({"defaults": [entry]})


# What one file shows; value_error is what only code can tell.
SAYABLE = {
    *("extra_forbidden", "missing", "literal_error", "int_type", "float_type", "string_type", "bool_type"),
    *("tuple_type", "dict_type", "model_type", "string_pattern_mismatch", "string_too_short", "too_short", "too_long"),
    *("greater_than", "greater_than_equal", "less_than", "less_than_equal"),
}


def refusals(group: type[Group], content: Any) -> set[str]:
    """Kinds of what compose would say of a group's content."""
    try:
        group.parse(content)
    except ValidationError as error:
        return {entry["type"] for entry in error.errors()}
    return set()


JUDGED_ABOVE = {"metric", "metrics", "_target_"}  # by modules that the structures of conf/ do not know
WHOLE = [(path, place) for path, place in PLACES if "defaults" not in CONTENTS[path] and not JUDGED_ABOVE & set(place)]
JUNK = [None, True, -1, 0.5, 10**7, "", "junk", "A b", [], {}, ["a"], [{}], {"a": 1}]


@settings(max_examples=200, deadline=None)
@given(data=st.data())
def test_what_compose_refuses_for_its_form_is_refused_and_nothing_else(data):
    path, place = data.draw(st.sampled_from(WHOLE))
    content = copy.deepcopy(CONTENTS[path])
    parent = holder(content, place)
    value = parent.pop(place[-1])
    if isinstance(parent, list):
        parent.insert(place[-1], data.draw(st.sampled_from(JUNK)))
    elif key := data.draw(st.sampled_from([None, place[-1], place[-1], f"{place[-1]}x", "A b"])):
        parent[key] = data.draw(st.sampled_from(JUNK)) if key == place[-1] else value
    told = refusals(Project.model_fields[named(path)].annotation, content)
    errors = list(judge(named(path)).iter_errors(content))
    assert errors or not told & SAYABLE, told
    assert told or not errors, errors


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(CONF)))
def test_a_reference_may_stand_in_place_of_any_value(path):
    referring = copy.deepcopy(CONTENTS[path])
    for place in [place for file, place in PLACES if file == path]:
        if isinstance(holder(CONTENTS[path], place)[place[-1]], dict | list):
            content = copy.deepcopy(CONTENTS[path])
            holder(content, place)[place[-1]] = "${name}"
            assert [error.message for error in judge(named(path)).iter_errors(content)] == [], place
        else:
            holder(referring, place)[place[-1]] = "${name}"
    assert [error.message for error in judge(named(path)).iter_errors(referring)] == []
