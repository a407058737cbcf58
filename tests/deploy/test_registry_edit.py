"""An edit of models/registry.yaml changes one value, however a person has laid the file out."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trunkline.conf import registry
from trunkline.core.errors import UserError
from trunkline.deploy import propose


def parsed(text):
    return registry.parse(text, "flights", Path("models/registry.yaml"))


def edited(text, environment, desired):
    return propose.edited(text, parsed(text), environment, desired)


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
    assert edited(flat, "production", 3) == "{flights: {production: v3, staging: v3}}"
    for environment, desired in [("shadow", 4), ("production", "latest")]:
        said = rf"flights\.{environment}: cannot be edited; write by hand: {environment}: "
        with pytest.raises(UserError, match=said):
            edited(text, environment, desired)
