"""`trunkline privacy`, on the shipped project and on one with a personal column."""

import json
from pathlib import Path

import pytest
import yaml
from click.testing import CliRunner

from trunkline.cli.privacy import privacy
from trunkline.core.errors import UserError


@pytest.fixture
def project(root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    content = yaml.safe_load((root / "params.yaml").read_text(encoding="utf-8"))
    content["contract"]["tables"]["planes"]["columns"]["year"] |= {
        "privacy": "sensitive",
        "privacy_because": {"feature": "how old a plane is, not a person"},
    }
    (tmp_path / "params.yaml").write_text(yaml.safe_dump(content), encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def run(*arguments: str) -> str:
    return CliRunner().invoke(privacy, arguments, catch_exceptions=False).stdout


@pytest.mark.usefixtures("project")
def test_places_are_shown_as_a_table_of_what_is_personal_and_as_json_of_all() -> None:
    text = run()
    assert text.startswith("planes.year is sensitive\n")
    assert "(how old a plane is, not a person)" in text
    assert "flights" not in text.replace("flights.year", "")
    listed = json.loads(run("planes.year", "--json"))
    assert {each["privacy"] for each in listed} == {"sensitive"}
    assert [line.split()[0] for line in text.splitlines()[1:]] == [each["place"] for each in listed]
    everything = json.loads(run("--json"))
    assert {each["column"] for each in everything} > {"year", "carrier", "temp"}
    assert run("--json") == run("--json")


@pytest.mark.usefixtures("project")
def test_a_column_that_there_is_not_is_answered_with_the_nearest() -> None:
    with pytest.raises(UserError, match="no column 'tailnmu' in conf/contract; did you mean 'tailnum'"):
        run("tailnmu")
