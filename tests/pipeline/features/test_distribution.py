"""Each view of the flights goes to tasks by its own keys, and a table without times whole."""

import json
import re
from pathlib import Path

import pytest
from click.testing import CliRunner

from tests.pipeline.features.test_partitioned import planned
from trunkline.cli import plan as plan_verb
from trunkline.pipeline.features import distribution
from trunkline.pipeline.features.distribution import Distribution


def test_every_view_says_how_its_rows_are_distributed_and_why() -> None:
    plan = planned([("latest", ["line"], None), ("rolling", ["line"], "3h")])
    whole, latest, rolling = sorted(distribution.table(plan), key=lambda each: each.view)
    assert whole == Distribution("place", "broadcast", (), "stations has one row of each key, and no time to be cut by")
    sees = "a request sees events of its own line alone; a slice reads"
    assert latest == Distribution("v0", "shuffled", ("line",), f"{sees} all events before it")
    assert rolling == Distribution("v1", "shuffled", ("line",), f"{sees} those of the last 3h before it")


def test_plan_shows_the_views_of_the_flights(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(root)
    shown = CliRunner().invoke(plan_verb.plan, ["--views"]).output
    assert re.search(r"\nplane_days +shuffled +tailnum ", shown)
    assert shown.endswith("executor: local; slices of 524,288 requests in order of time, of 1 bucket\n")
    content = json.loads(CliRunner().invoke(plan_verb.plan, ["--views", "--json"]).output)
    assert {each["how"] for each in content["views"] if each["view"] == "plane"} == {"broadcast"}
