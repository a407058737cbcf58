"""An edit of models/registry.yaml changes one value, however a person has laid the file out."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trunkline.conf import registry
from trunkline.conf.registry import Candidate, Declaration
from trunkline.core.errors import UserError
from trunkline.deploy import registry_edit


def parsed(text):
    return registry.parse(text, "flights", Path("models/registry.yaml"))


def edited(text, environment, desired):
    declaration = desired if isinstance(desired, Declaration) else Declaration(desired)
    return registry_edit.edited(text, parsed(text), environment, declaration)


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
    assert parsed(found).environments == {**before, environment: Declaration(desired)}
    written = registry.label(desired)
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


SHADOW, CANARY = Declaration(4, Candidate("shadow", 5), (3,)), Declaration(4, Candidate("canary", 5, 5.0), (3,))
FORMS = [
    Declaration(4),
    Declaration(None),
    Declaration(5, None, (3, 2)),
    SHADOW,
    CANARY,
    Declaration(6, CANARY.candidate),
]
BLOCK = """flights:
  # who answers
  production:  # since May
    version: v4  # the present one
    shadow: v5
    hold:
      - v3
  # who tries
  staging: latest  # follows
"""


@given(st.lists(st.sampled_from(FORMS), min_size=1, max_size=4), st.booleans())
def test_whatever_is_declared_next_the_other_environments_stay_byte_for_byte(declarations, block):
    text = BLOCK if block else f"# ours\nflights: {{production: {SHADOW}, staging: latest}}  # two\n"
    for declaration in declarations:
        text = edited(text, "production", declaration)
        assert parsed(text).environments["production"] == declaration
    if block:
        assert text.startswith("flights:\n  # who answers\n  production:")
        assert text.endswith("\n  # who tries\n  staging: latest  # follows\n")
    else:
        assert text.startswith("# ours\nflights: {production: ")
        assert text.endswith(", staging: latest}  # two\n")


def test_of_a_mapping_only_the_keys_that_differ_change():
    canary = edited(BLOCK, "production", CANARY)
    assert canary == BLOCK.replace("    shadow: v5\n", "").replace(
        "the present one\n", "the present one\n    canary: {version: v5, share: 5}\n"
    )
    assert edited(canary, "production", SHADOW) == BLOCK.replace("    shadow: v5\n", "").replace(
        "the present one\n", "the present one\n    shadow: v5\n"
    )
    held = edited(BLOCK, "production", Declaration(4, None, (3, 5)))
    assert held == BLOCK.replace("    shadow: v5\n", "").replace("hold:\n      - v3", "hold: [v3, v5]")
    short = edited(BLOCK, "production", Declaration(5))
    assert short == BLOCK[: BLOCK.index("    version")] + "    v5\n" + BLOCK[BLOCK.index("  # who tries") :]
