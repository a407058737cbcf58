"""A version's dossier: what the repository proves under each heading, and what it leaves to a person."""

import json
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from tests.releases import NAME, Project
from trunkline.cli.dossier import dossier
from trunkline.core.errors import UserError
from trunkline.lineage.dossier import HEADINGS
from trunkline.release.provenance import ReviewFacts


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Project:
    """Two versions; production went to the second, whose card has a text that would be markup."""
    project = Project(tmp_path / "project").create().build(0.74)
    project.commit()
    project.release()
    hostile = ["Flights <script>alert(1)</script> elsewhere"]
    project.params(seed=8, bundle__card__limits=hostile).build(0.76)
    slices = json.loads(project.read("reports/slices.json"))
    estimates = {"brier": {"value": 0.2, "interval": None}, "roc_auc": {"value": 0.71, "interval": [0.6, 0.8]}}
    slices["origin"] = {"EWR": {"n": 12, "metrics": estimates}, "XXX": {"n": 1, "metrics": {}}}
    project.write("reports/slices.json", slices).merge(7, "Another seed")
    project.release(ReviewFacts(7, "ada", ("bob", "eve")))
    project.declare(production="v2").merge(8, "Promote v2")
    monkeypatch.chdir(project.root)
    return project


def run(*arguments: str) -> Result:
    return CliRunner().invoke(dossier, arguments, catch_exceptions=False)


def sections(*arguments: str) -> dict[int, dict[str, Any]]:
    content = json.loads(run("v2", "--json", *arguments).stdout)
    return {section["number"]: section for section in content["sections"]}


def rows(section: dict[str, Any], caption: str) -> list[list[str]]:
    [table] = [table for table in section["tables"] if table["caption"] == caption]
    return list(table["rows"])


@pytest.mark.usefixtures("project")
def test_each_heading_has_what_is_proved_and_what_is_left_to_a_person() -> None:
    found = sections()
    assert [section["heading"] for section in found.values()] == list(HEADINGS)
    assert dict(found[1]["facts"])["Signed by"] == "release"
    assert dict(found[1]["facts"])["Intended use"].startswith("Tell who plans gates")
    assert rows(found[1], "Where it ran")[0][:2] == ["production", "declared"]
    assert rows(found[3], "On the whole holdout") == [["roc_auc", "0.7600", "0.7500 to 0.7700"]]
    assert rows(found[3], "By group") == [["origin EWR", "12", "roc_auc", "0.7100", "0.6000 to 0.8000"]]
    assert rows(found[3], "Who lets a version into an environment") == [
        ["production", "approval"],
        ["staging", "automatic"],
    ]
    assert [row[:2] for row in rows(found[4], "What was demanded of them")] == [
        ["ranks", "pass"],
        ["advised", "fail, warns only"],
    ]
    assert dict(found[6]["facts"]) == {"Pull request": "#7 by ada", "Approved by": "bob, eve", "Compared with": "v1"}
    assert any("seed" in row[0] for row in rows(found[6], "Declared otherwise"))
    assert all(found[number]["missing"] for number in (5, 7, 8, 9))
    assert not found[7]["facts"] + found[8]["facts"]


def test_the_page_shows_all_of_it_and_keeps_texts_texts(project, tmp_path) -> None:
    page = tmp_path / "dossier.html"
    assert run("v2", "--html", str(page)).exit_code == 0
    text = page.read_text(encoding="utf-8")
    assert all(f"{number}. {heading}" in text for number, heading in enumerate(HEADINGS, start=1))
    assert "<script" not in text
    assert "&lt;script&gt;alert(1)" in text
    assert text.count("To be written by a person") == len(HEADINGS)
    before = text
    run("v2", "--html", str(page))
    assert page.read_text(encoding="utf-8") == before


def test_what_monitoring_has_seen_is_of_this_bundle_only(project, tmp_path) -> None:
    rule = {"rule": "drift", "verdict": "beyond", "nearest": "hour", "value": 0.31}
    alert = {"id": "drift/hour", "severity": "warning", "since": "2026-04-01", "until": "2026-04-03"}
    report = {"digest": project.digest(2), "since": "2026-03-02", "as_of": "2026-04-03", "environment": "production"}
    report |= {"answer": "breach", "rules": [rule], "alerts": [alert]}
    file = tmp_path / "monitoring.json"
    file.write_text(json.dumps(report))
    section = sections("--monitoring", str(file))[9]
    assert dict(section["facts"])["Answer"] == "breach"
    assert rows(section, "Rules") == [["drift", "beyond", "hour: 0.31"]]
    assert rows(section, "Alerts") == [["drift/hour", "warning", "2026-04-01", "2026-04-03"]]
    assert not section["missing"]
    for wrong, words in (({"digest": "ab" * 32}, "is of the bundle abab"), ({"rules": None} | {"alerts": 1}, None)):
        file.write_text(json.dumps({**report, **wrong} if words else {"digest": 1}))
        with pytest.raises(UserError, match=words or "is no report of monitoring"):
            sections("--monitoring", str(file))


def test_a_version_whose_chain_does_not_hold_says_so_first(project, tmp_path) -> None:
    project.tag(f"{NAME}@v2", project.message(f"{NAME}@v2"), project.commit("Another"))
    page = tmp_path / "dossier.html"
    assert run("v2", "--html", str(page)).exit_code == 1
    assert "Its chain does not hold: " in page.read_text(encoding="utf-8").partition("</header>")[0]
