"""Events of OpenLineage: valid by the published classes, the same bytes in every clone, and what they say."""

import json
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import yaml
from click.testing import CliRunner
from openlineage.client.event_v2 import InputDataset, Job, OutputDataset, Run, RunEvent, RunState
from openlineage.client.generated import (
    column_lineage_dataset,
    data_quality_assertions_dataset,
    dataset_version_dataset,
    job_type_job,
    output_statistics_output_dataset,
    schema_dataset,
)
from openlineage.client.serde import Serde

from tests.releases import NAME, Project, history
from trunkline.adapters.git.ancestry import Commit
from trunkline.cli.lineage import lineage
from trunkline.core.errors import UserError
from trunkline.core.paths import LOCK
from trunkline.lineage import openlineage

CLASSES = {
    "version": dataset_version_dataset.DatasetVersionDatasetFacet,
    "schema": schema_dataset.SchemaDatasetFacet,
    "columnLineage": column_lineage_dataset.ColumnLineageDatasetFacet,
    "dataQualityAssertions": data_quality_assertions_dataset.DataQualityAssertionsDatasetFacet,
    "outputStatistics": output_statistics_output_dataset.OutputStatisticsOutputDatasetFacet,
    "jobType": job_type_job.JobTypeJobFacet,
}
INSIDE = {  # what the classes take as classes of their own
    "schema": lambda of: {"fields": [_field(each) for each in of["fields"]]},
    "columnLineage": lambda of: {
        "fields": {
            name: column_lineage_dataset.Fields(
                [column_lineage_dataset.InputField(**each) for each in field["inputFields"]]
            )
            for name, field in of["fields"].items()
        }
    },
    "dataQualityAssertions": lambda of: {
        "assertions": [data_quality_assertions_dataset.Assertion(**each) for each in of["assertions"]]
    },
}


def _field(of: Mapping[str, Any]) -> schema_dataset.SchemaDatasetFacetFields:
    within = [_field(each) for each in of.get("fields", [])]
    return schema_dataset.SchemaDatasetFacetFields(**{**of, "fields": within})


def facets(given: Mapping[str, Any]) -> dict[str, Any]:
    """Make each facet that is OpenLineage's own of its class, which refuses other keys; ours name their own schema."""
    made = {}
    for name, content in given.items():
        plain = {key: value for key, value in content.items() if key[0] != "_"}
        assert content["_producer"] == openlineage.PRODUCER
        if name in CLASSES:
            made[name] = CLASSES[name](**(INSIDE[name](plain) if name in INSIDE else plain))
            assert made[name]._schemaURL == content["_schemaURL"]
        else:
            assert content["_schemaURL"].startswith("urn:trunkline:facet:")
    return made


def check(text: str) -> list[dict[str, Any]]:
    """Build every event of the published classes, which check ids, times and addresses; return those that end a run."""
    events = [json.loads(line) for line in text.splitlines()]
    for event in events:
        assert event["schemaURL"] == RunEvent._get_schema()
        given = event["inputs"] + event["outputs"]
        assert all(each.keys() <= {"namespace", "name", "facets", "inputFacets", "outputFacets"} for each in given)
        job, run = event["job"], event["run"]
        built = RunEvent(
            eventTime=event["eventTime"],
            producer=event["producer"],
            eventType=RunState[event["eventType"]],
            run=Run(run["runId"], facets(run.get("facets", {}))),
            job=Job(job["namespace"], job["name"], facets(job["facets"])),
            inputs=[
                InputDataset(
                    i["namespace"], i["name"], facets=facets(i["facets"]), inputFacets=facets(i.get("inputFacets", {}))
                )
                for i in event["inputs"]
            ],
            outputs=[
                OutputDataset(
                    o["namespace"],
                    o["name"],
                    facets=facets(o["facets"]),
                    outputFacets=facets(o.get("outputFacets", {})),
                )
                for o in event["outputs"]
            ],
        )
        assert Serde.to_dict(built)["run"]["runId"] == run["runId"]
    pairs = [(event["eventType"], event["run"]["runId"]) for event in events]
    assert [kind for kind, _ in pairs] == ["START", "COMPLETE"] * (len(pairs) // 2)
    assert [run for _, run in pairs[::2]] == [run for _, run in pairs[1::2]]
    assert len({run for _, run in pairs}) == len(pairs) // 2
    return events[1::2]


@pytest.fixture(scope="module")
def shipped(root: Path) -> list[dict[str, Any]]:
    """The events of this repository as if all of it had run in one commit."""
    committed = {path: (root / path).read_bytes() for path in openlineage.READ}
    commit = Commit("ab" * 20, "abab", "Ada", "2026-03-01T09:00:00+01:00", "Everything", "Everything")
    return check(openlineage.lines([openlineage.Step(commit, committed, None)], []))


def test_a_run_of_everything_names_its_data_columns_and_verdicts(shipped):
    by_name = {event["job"]["name"]: event for event in shipped}
    assert {event["eventTime"] for event in shipped} == {"2026-03-01T08:00:00Z"}
    sources = {each["namespace"] for each in by_name["ingest"]["inputs"]}
    assert sources == {"package"}
    [features] = [each for each in by_name["features"]["outputs"] if each["name"] == "data/features"]
    made_of = features["facets"]["columnLineage"]["fields"]["dest"]["inputFields"]
    assert made_of == [{"namespace": NAME, "name": "data/valid", "field": "flights.dest"}]
    [raw] = [each for each in by_name["ingest"]["outputs"] if each["name"] == "data/raw"]
    assert [each["name"] for each in raw["facets"]["schema"]["fields"]] == ["flights", "planes", "weather"]
    assert "data/features" in {each["name"] for each in by_name["train"]["inputs"]}
    gates = by_name["gate"]["run"]["facets"]["trunkline_gates"]
    [bundle] = [each for each in by_name["gate"]["inputs"] if each["name"] == "models/bundle"]
    judged = bundle["inputFacets"]["dataQualityAssertions"]["assertions"]
    assert gates["verdict"] == "pass"
    assert {each["name"] for each in judged} <= {each["id"] for each in gates["rules"]}
    assert judged


def test_a_commit_has_the_runs_of_what_it_changed_alone(root):
    committed = {path: (root / path).read_bytes() for path in openlineage.READ}
    commit = Commit("cd" * 20, "cdcd", "Ada", "2026-03-02T09:00:00+01:00", "A seed", "A seed")
    assert openlineage.lines([openlineage.Step(commit, committed, committed)], []) == ""
    lock = yaml.safe_load(committed[LOCK])
    lock["stages"]["train"]["params"]["params.yaml"]["seed"] = 8
    changed = committed | {LOCK: yaml.safe_dump(lock, sort_keys=False).encode()}
    [event] = check(openlineage.lines([openlineage.Step(commit, changed, committed)], []))
    assert event["job"]["name"] == "train"
    assert event["run"]["facets"]["trunkline_commit"]["params"]["params.yaml"]["seed"] == 8


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Project:
    return history(tmp_path_factory.mktemp("history"))


def run(project: Project, *arguments: str, monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.chdir(project.root)
    return CliRunner().invoke(lineage, ["--openlineage", *arguments], catch_exceptions=False).stdout


def released(events: list[dict[str, Any]]) -> Iterator[str]:
    for event in events:
        if event["job"]["name"] == "release":
            assert event["run"]["facets"]["trunkline_release"]["signedBy"] == "release"
            yield event["outputs"][0]["name"].rpartition("@")[2]


def test_a_range_has_the_same_bytes_in_every_clone_and_is_part_of_the_whole(project, monkeypatch, tmp_path):
    whole = run(project, "main", monkeypatch=monkeypatch)
    assert list(released(check(whole))) == ["v1", "v2", "v3"]
    clone = replace(project, root=project.clone(tmp_path / "clone").root)
    assert run(clone, "HEAD", monkeypatch=monkeypatch) == whole
    first = project.git("rev-parse", f"{NAME}@v1^{{commit}}")
    early, late = (run(clone, part, monkeypatch=monkeypatch) for part in (first, f"{first}..HEAD"))
    assert list(released(check(early))) == ["v1"]
    assert list(released(check(late))) == ["v2", "v3"]
    assert sorted(early.splitlines() + late.splitlines()) == sorted(whole.splitlines())


def test_a_tag_that_does_not_hold_is_no_release(project, monkeypatch, tmp_path):
    clone = replace(project, root=project.clone(tmp_path / "clone").root)
    clone.tag(f"{NAME}@v2", clone.message(f"{NAME}@v2"), "HEAD")
    assert list(released(check(run(clone, "HEAD", monkeypatch=monkeypatch)))) == ["v1", "v3"]


def test_a_name_that_is_no_commit_is_told(project, monkeypatch):
    with pytest.raises(UserError, match="nothing: no commit has this name"):
        run(project, "nothing..HEAD", monkeypatch=monkeypatch)
