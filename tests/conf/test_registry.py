"""The registry file says which version production runs, or is refused."""

from pathlib import Path

import pytest

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
