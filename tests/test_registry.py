"""The registry file says which version production runs, or is refused."""

from pathlib import Path

import pytest

from trunkline import registry
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
        ("flights: {staging: latest}", "flights: must have exactly production and staging, has staging"),
        ("flights: {staging: latest, production: v1, prod: v2}", "must have exactly production and staging"),
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


def test_the_projects_own_names_its_model(root: Path):
    registry.production(root / "models/registry.yaml", "flight-delay")
