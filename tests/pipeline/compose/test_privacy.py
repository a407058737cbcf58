"""What a privacy class refuses, what a reason allows, and where each column appears."""

import copy
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml

from trunkline.conf.privacy import personal_names, personal_slices
from trunkline.conf.project import Project
from trunkline.core.errors import UserError
from trunkline.pipeline.compose import judge, privacy
from trunkline.pipeline.compose.files import Composed

BECAUSE = "airlines are companies, and nobody's secret"


@pytest.fixture(scope="module")
def shipped(root: Path) -> Mapping[str, Any]:
    content: Mapping[str, Any] = yaml.safe_load((root / "params.yaml").read_text(encoding="utf-8"))
    return content


def project(shipped: Mapping[str, Any], **columns: Mapping[str, Any]) -> Project:
    """The shipped project, with a log, and these keys of columns of flights."""
    content = copy.deepcopy(dict(shipped))
    content["serving"]["log"] = {"to": "log", "columns": {"month": "keep"}}
    content["monitoring"]["slices"] = ["origin"]
    for name, keys in columns.items():
        content["contract"]["tables"]["flights"]["columns"][name] |= keys
    return Project.model_validate(content, strict=True)


def places(project: Project, column: str) -> dict[str, set[str]]:
    listed: dict[str, set[str]] = {}
    for each in privacy.appearances(project):
        if (each.table, each.column) == ("flights", column):
            listed.setdefault(each.place, set()).add(each.treatment)
    return listed


def test_nothing_that_is_shipped_is_personal_or_looks_so(shipped):
    declared = project(shipped)
    privacy.verify(declared)
    assert privacy.suspicions(declared) == ()
    assert {each.privacy for each in privacy.appearances(declared)} == {"public"}
    assert personal_slices(shipped) == frozenset()


@pytest.mark.parametrize("privacy_class", ["sensitive", "identifier"])
def test_each_place_of_a_strict_class_is_refused_until_its_reason_is_declared(shipped, privacy_class):
    strict = {"privacy": privacy_class}
    with pytest.raises(UserError) as refused:
        privacy.verify(project(shipped, carrier=strict, month=strict, origin=strict))
    lines = str(refused.value).splitlines()
    key = "contract.tables.flights.columns"
    for place, column, where in (
        ("slice", "carrier", "evaluation.slices.carrier: reads flights.carrier"),
        ("log", "month", "serving.log.columns.month: reads flights.month"),
        ("report", "origin", "monitoring.slices: reads flights.origin"),
        ("feature", "carrier", "features.views.schedule.features.carrier: reads flights.carrier"),
    ):
        assert [
            line
            for line in lines
            if line.startswith(where) and line.endswith(f"{key}.{column}.privacy_because.{place}")
        ]
    every = dict.fromkeys(("slice", "log", "report", "feature"), BECAUSE)
    allowed = {name: strict | {"privacy_because": every} for name in ("carrier", "month", "origin")}
    privacy.verify(project(shipped, **allowed))
    del every["slice"]
    with pytest.raises(UserError, match=r"^evaluation.slices.\w+: reads flights.\w+, which is"):
        privacy.verify(project(shipped, **allowed))


def test_a_refusal_names_the_file_of_the_key(shipped):
    content = project(shipped, carrier={"privacy": "sensitive"}).model_dump(mode="json", by_alias=True)
    with pytest.raises(UserError, match=r"params.yaml.*evaluation.slices.carrier: reads flights.carrier"):
        judge.check(Composed({**shipped, "contract": content["contract"]}, merged=()), Path("params.yaml"))


def test_what_becomes_of_a_personal_column_is_listed_from_source_to_log(shipped):
    declared = project(shipped, carrier={"privacy": "personal"}, month={"privacy": "personal"})
    assert places(declared, "carrier") == {
        "source": {"kept"}, "tables": {"kept"}, "rows": {"kept"}, "key": {"kept"}, "feature": {"kept"},
        "golden.json": {"replaced"}, "reference.json": {"small cells left out", "left out"},
        "contract.json": {"left out"}, "slice": {"kept"}, "card": {"left out"}, "mlflow": {"left out"},
        "log": {"left out"},
    }  # fmt: skip
    assert places(declared, "month")["log"] == {"kept", "left out"}  # itself, as declared, and what is made of it
    assert places(declared, "dest")["golden.json"] == {"kept"}


def test_a_column_is_followed_through_what_is_derived_of_it_and_through_other_features(shipped):
    content = copy.deepcopy(dict(shipped))
    flights = content["contract"]["tables"]["flights"]["columns"]
    content["data"]["derive"] = {"flights": {"minute": "sched_dep_time % 100"}}
    flights["sched_dep_time"]["privacy"] = "personal"
    content["features"]["views"]["more"] = {"kind": "expression", "features": {"a": "minute + 1", "b": "a > 3"}}
    declared = Project.model_validate(content, strict=True)
    listed = {(each.place, each.name) for each in privacy.appearances(declared) if each.column == "sched_dep_time"}
    assert {("derived", "flights.minute"), ("feature", "a"), ("feature", "b")} <= listed
    assert {"minute", "a", "b"} <= personal_names(content)


def test_what_looks_personal_and_is_public_is_warned_about_until_a_person_says_why(shipped):
    content = copy.deepcopy(dict(shipped))
    columns = content["contract"]["tables"]["flights"]["columns"]
    for name, kind in {
        "eMail": "text",
        "pilotPhone": "text",
        "lat": "number",
        "remarks": "text",
        "sex": "text",
    }.items():
        columns[name] = {"type": kind, "description": "Something"}
    content["data"]["unique_key"] = ["flight"]
    warned = privacy.suspicions(Project.model_validate(content, strict=True))
    assert [line.split(": ")[0].rpartition(".")[2] for line in warned] == [
        "flight", "eMail", "pilotPhone", "lat", "remarks", "sex",
    ]  # fmt: skip
    assert "declare privacy: sensitive" in warned[-1]
    assert "declare privacy: identifier" in warned[0]
    columns["eMail"]["privacy"], columns["lat"]["privacy_because"] = (
        "personal",
        {"public": "of airports, not of people"},
    )
    names = " ".join(privacy.suspicions(Project.model_validate(content, strict=True)))
    assert "eMail" not in names
    assert "columns.lat" not in names
