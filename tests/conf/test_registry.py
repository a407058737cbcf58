"""The registry file says which version production runs, or is refused."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trunkline.conf import registry
from trunkline.conf.versions import Version
from trunkline.core.errors import UserError


def production(tmp_path, text):
    path = tmp_path / "registry.yaml"
    path.write_text(text, encoding="utf-8")
    return registry.production(path, "flights")


@pytest.mark.parametrize(
    ("text", "number"),
    [
        ("flights: {staging: latest, production: v12}", 12),
        ("flights: {staging: v3, production: null}", None),
        ("flights: {staging: latest, production: v1}\nother: {staging: latest, production: v9}", 1),
    ],
)
def test_it_names_a_version_or_none(tmp_path, text, number):
    assert production(tmp_path, text) == number


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("flights: {staging: latest, production: 3}", "flights.production: must be a version such as v3, or null"),
        ("flights: {staging: latest, production: v0}", "must be a version such as v3"),
        ("flights: {staging: latest, production: latest}", "must be a version such as v3, or null, not 'latest'"),
        ("flights: {staging: latest, production: v03}", "must be a version such as v3"),
        ("flights: {staging: latest}", "flights: lacks production, has staging; write: production: null"),
        ("flights: {staging: newest, production: v1}", "staging: must be a version such as v3, latest or null"),
        (
            "flights: {staging: 3, production: v1}",
            "flights.staging: must be a version such as v3, latest or null, not 3",
        ),
        ("flight: {staging: latest, production: v1}", "has no model flights; did you mean 'flight'?"),
        ("flights: v1", "has no model flights"),
        ("- flights", "must be a mapping of keys"),
        ("", "has no model flights"),
        ("flights: {", "not YAML"),
        ("flights: {staging: latest, production: v1, production: null}", "flights.production: is also in line 1"),
    ],
)
def test_anything_else_is_refused(tmp_path, text, said):
    with pytest.raises(UserError, match=r"registry\.yaml:") as refused:
        production(tmp_path, text)
    assert said in str(refused.value)


def test_a_missing_file_says_what_to_write(tmp_path):
    with pytest.raises(UserError, match=r"write: flights: \{staging: latest, production: null\}"):
        registry.production(tmp_path / "registry.yaml", "flights")


DECLARED = {"staging", "production", "shadow"}
RELEASED = [Version("flights", 2), Version("other", 9), Version("flights", 10)]


def resolved(text, released=RELEASED):
    found = registry.parse(text, "flights", Path("models/registry.yaml"))
    found.check(DECLARED)
    return {name: version and version.label for name, version in found.resolve(released).items()}


def test_latest_is_the_highest_number_and_none_stays_none():
    text = "flights: {staging: latest, production: v2, shadow: null}"
    assert resolved(text) == {"staging": "v10", "production": "v2", "shadow": None}
    assert resolved(text.replace("v2", "null"), []) == {"staging": None, "production": None, "shadow": None}


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (
            "flights: {staging: latest, production: v3, shadow: null}",
            "production: v3 was never released (the newest is v10",
        ),
        ("flights: {staging: latest, production: v9, shadow: null}", "v9 was never released"),
        ("flights: {staging: latest, production: v2}", "flights: lacks shadow; write: shadow: null"),
        (
            "flights: {stagging: latest, production: v2}",
            "stagging: no such environment in conf/deploy; did you mean 'stag",
        ),
    ],
)
def test_an_unknown_version_or_environment_is_refused(text, said):
    with pytest.raises(UserError) as refused:
        resolved(text)
    assert said in str(refused.value)
    assert str(refused.value).startswith("models/registry.yaml: flights")


def test_the_projects_own_names_its_model(root: Path):
    registry.production(root / "models/registry.yaml", "flight-delay")


def parsed(text):
    return registry.parse(text, "flights", Path("models/registry.yaml"))


def edited(text, environment, desired):
    return registry.edited(text, "flights", environment, desired, Path("models/registry.yaml"))


SPACE = st.sampled_from([" ", "  ", "\t ", "    "])
COMMENT = st.sampled_from(["", " # production: v9", "  # ü ✈ {x: y}", ' # it\'s "v1"'])
END = st.sampled_from(["\n", "\r\n"])
WRITTEN = {None: ["null", "~", "Null", ""], "latest": ["latest", "'latest'"], 3: ["v3", "'v3'", '"v3"']}


@st.composite
def registries(draw):
    """A text with a mark where the value to be changed stands, and the environment and its value."""
    end, before = draw(END), draw(st.sampled_from([None, "latest", 3]))
    names = draw(st.permutations(["production", "staging", "shadow"]))
    changed = draw(st.sampled_from(names))
    before = 3 if before == "latest" and changed == "production" else before
    value = draw(st.sampled_from(WRITTEN[before]))
    other = [f"other:{end}  production: v3{end}", "", f"# flights: {{production: v1}}{end}"]
    head, tail = draw(st.sampled_from(other)), draw(st.sampled_from(other))
    tail = tail if tail != head or tail.startswith("#") else ""
    values = {name: "v12" if name != changed else "\0" for name in names}
    if draw(st.booleans()):
        joint = draw(st.sampled_from([", ", ",", f",{end}  ", f", # v3{end}  "]))
        pairs = joint.join(f"{name}:{draw(SPACE)}{text}" for name, text in values.items())
        body = f"flights: {{{pairs}{draw(st.sampled_from(['', ',', ' ']))}}}{draw(COMMENT)}{end}"
    else:
        lines = (f"  {name}:{draw(SPACE)}{text}{draw(COMMENT)}{end}" for name, text in values.items())
        body = f"flights:{draw(COMMENT)}{end}{''.join(lines)}"
    return f"{head}{body}{tail}", changed, value


@given(registries(), st.sampled_from([None, "latest", 3, 45]))
def test_an_edit_changes_one_value_and_not_one_other_byte(made, desired):
    marked, environment, value = made
    text = marked.replace("\0", value)
    if desired == "latest" and environment == "production":
        return
    before = parsed(text).environments
    found = edited(text, environment, desired)
    assert parsed(found).environments == {**before, environment: desired}
    written = registry.written(desired)
    if value:
        assert found == marked.replace("\0", written)
    else:  # where nothing was written, a space may have to go before it
        ways = [f"{text[:at]}{space}{written}{text[at:]}" for at in range(len(text)) for space in ("", " ")]
        assert found in ways


def test_a_value_of_several_lines_is_replaced_and_what_cannot_be_said_is_refused():
    text = "flights:\n  production: |-\n    v3\n  staging: latest\n"
    assert edited(text, "production", 4) == "flights:\n  production: v4\n  staging: latest\n"
    flat = "{flights: {production, staging: v3}}"
    for content, environment, desired in [(text, "shadow", 4), (text, "production", "latest"), (flat, "production", 3)]:
        said = rf"flights\.{environment}: cannot be edited; write by hand: {environment}: "
        with pytest.raises(UserError, match=said):
            edited(content, environment, desired)
