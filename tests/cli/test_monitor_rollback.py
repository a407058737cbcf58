"""`trunkline monitor --act` opens a rollback that an alert asks for: a pull request with its reason, and once."""

import json
import math
from datetime import UTC, datetime, timedelta

import numpy as np
import onnx
import polars as pl
import pytest
import yaml
from onnx import TensorProto, helper

from tests import bundles
from tests.monitor.logs import reference_of, rows, write, write_outcomes
from tests.releases import REGISTRY, Project, registry
from tests.rig.rig import rigged
from trunkline import cli
from trunkline.cli import commands

# pygtrie, which DVC uses.
pytestmark = pytest.mark.filterwarnings("ignore:_NoneStep.value will soon raise:DeprecationWarning")

INPUTS = (bundles.field("distance", "number"), bundles.field("origin", "text"))
ROLLBACK = {"of": "performance", "measure": "roc_auc", "worse_by": 0.05, "rows": 500, "then": "rollback"}
SCALE = 0.001
ME = "monitor[bot]"


@pytest.fixture
def project(root, tmp_path):
    """A model of two versions, of which v1 ranks by the distance, and v2 runs in production."""
    params = yaml.safe_load((root / "params.yaml").read_text(encoding="utf-8"))
    released = Project(tmp_path / "project", store=tmp_path / "store").create()
    released.params(data=params["data"], monitoring={"matures": "1h", "read": "4d", "rules": {"worse": ROLLBACK}})
    released.declare(staging="latest").commit("A project")
    for number in (1, 2):
        released.build(bundle=bundle(tmp_path / f"v{number}", number)).commit()
        released.release()
        released.declare(production=f"v{number}").merge(number, f"Promote v{number}")
    return released


def graph():
    """A graph whose score is a chance, and the larger the farther."""
    summed = onnx.load_from_string(bundles.graph(1, 1)).graph
    summed.node[-1].output[0] = "sum"
    summed.initializer.append(helper.make_tensor("scale", TensorProto.DOUBLE, [], [SCALE]))
    summed.node.extend(
        [
            helper.make_node("Mul", ["sum", "scale"], ["scaled"]),
            helper.make_node("Sigmoid", ["scaled"], ["score"]),
        ]
    )
    return bundles.model(summed)


def bundle(folder, number):
    bundles.make(folder, INPUTS, graph())
    request = {"distance": 600.0, "origin": "JFK"}
    golden = [{"request": request, "score": 1 / (1 + math.exp(-SCALE * bundles.expected(INPUTS, request)))}]
    (folder / "golden.json").write_text(json.dumps(golden), encoding="utf-8")
    reference = reference_of(rows(5000, seed=1), {"roc_auc": 0.77})
    (folder / "reference.json").write_text(json.dumps(reference), encoding="utf-8")
    (folder / "card.md").write_text(f"# Sums {number}\n", encoding="utf-8")
    bundles.seal(folder)
    return folder


def log(folder, digest):
    """Log four days of a version whose scores say nothing, and their outcomes."""
    content = rows(4000, seed=2, days=4, start=datetime.now(UTC) - timedelta(days=4))
    noise = pl.Series("score", np.random.default_rng(0).random(content.height))
    write(folder, content.with_columns(noise), digest=digest, environment="production")
    write_outcomes(folder, content, after=timedelta(minutes=1))


def test_a_rollback_is_opened_with_its_reason_said_on_the_issue_and_not_opened_again(
    project, tmp_path, monkeypatch, capsys
):
    log(tmp_path / "log", project.digest(2))

    def act():
        capsys.readouterr()
        given = ["monitor", "--log", str(tmp_path / "log"), "--act"]
        return commands.exit_code(lambda: cli.trunkline.main(given, standalone_mode=False))

    with rigged(tmp_path / "rig") as rig:
        rig.import_(project.root)
        monkeypatch.chdir(rig.clone(tmp_path / "clone"))
        opener = rig.state.grant("opener", {"contents": "write", "pull-requests": "write"})
        for name, value in rig.variables(rig.state.grant(ME, {"contents": "read", "issues": "write"})).items():
            monkeypatch.setenv(name, value)
        monkeypatch.setenv("TRUNK_TOKEN", opener)
        assert act() == 0
        [issue], [pull] = rig.state.issues.values(), rig.state.pulls.values()
        assert (issue.user, issue.title) == (ME, "production: worse of roc_auc")
        assert (pull.user, pull.head_ref, pull.base_ref) == ("opener", "rollback/production-v1", "main")
        assert pull.title == "Roll production back to flight-delay v1"
        changed = rig.upstream.text(pull.head_sha, REGISTRY)
        assert f"{changed}\n" == registry(staging="latest", production="v1")
        assert "Reason: worse of roc_auc: v1 has roc_auc 0." in pull.body.replace("\\", "")
        assert f"rollback proposed, #{issue.number} {rig.forge.url}/acme/model/issues/" in capsys.readouterr().out
        [said] = rig.comments(issue.number)
        assert f"A rollback is proposed: {rig.forge.url}/acme/model/pull/{pull.number}" in said.content["body"]

        before = pull.head_sha
        assert act() == 0
        assert ([*rig.state.pulls.values()], pull.head_sha) == ([pull], before)
        assert rig.comments(issue.number) == [said]
        assert rig.forge.violations == []
