"""The model in production, fetched by its tag and scored on this commit's rows, and the verdict on the next one."""

import json
import re
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from tests.e2e.conftest import Checkout

pytestmark = pytest.mark.e2e

V1 = "flight-delay@v1"


@pytest.fixture(scope="module")
def released(small: Checkout, tmp_path_factory: pytest.TempPathFactory) -> Checkout:
    """A checkout whose production runs the model of its first commit, and whose model is another."""
    made = small.copy(tmp_path_factory.mktemp("released") / "project")
    made.run("git", "tag", "--annotate", V1, "--message", "the first")
    made.edit("models/registry.yaml", "production: null", "production: v1")
    made.edit("conf/model/boosting_small.yaml", "max_iter: 40", "max_iter: 20")
    ran = made.repro()
    assert "champion" in ran
    assert "gate" in ran
    made.commit("v1 is in production, and a shorter model")
    return made


@pytest.fixture
def project(released: Checkout, tmp_path: Path) -> Checkout:
    """A copy to change."""
    return released.copy(tmp_path / "project")


def champion_scores(project: Checkout) -> np.ndarray:
    """The scores that the champion stage wrote."""
    return pl.read_parquet(project.root / "data/champion/scores.parquet")["score"].to_numpy()


def evaluated_scores(project: Checkout) -> np.ndarray:
    """The scores that a commit's own model was evaluated with."""
    return pl.read_parquet(project.root / "data/predictions/holdout.parquet")["score"].to_numpy()


def champion_rules(project: Checkout) -> dict[str, list[dict[str, object]]]:
    """The verdicts of rules that compare with production, by name."""
    found: dict[str, list[dict[str, object]]] = {}
    for verdict in json.loads(project.read("reports/gates.json"))["gates"]:
        if verdict["kind"] == "champion":
            found.setdefault(verdict["id"], []).append(verdict)
    return found


def test_the_champion_is_the_tagged_model_on_this_commits_rows(released: Checkout, small: Checkout) -> None:
    np.testing.assert_allclose(champion_scores(released), evaluated_scores(small), atol=1e-9)
    assert np.abs(champion_scores(released) - evaluated_scores(released)).max() > 0.01
    judged = json.loads(released.read("reports/gates.json"))
    announced = {name: json.loads(made.read("reports/bundle.json")) for name, made in (("v1", small), ("v2", released))}
    assert judged["champion"] == {"version": V1, "digest": announced["v1"]["digest"]}
    assert judged["challenger"] == announced["v2"]["digest"]
    assert {verdict["verdict"] for verdicts in champion_rules(released).values() for verdict in verdicts} <= {
        "pass",
        "fail",
    }
    [fair] = [verdict for verdict in judged["gates"] if verdict["id"] == "carriers_calibrated"]
    assert fair["reason"].endswith("; too few rows to judge: AS, F9, FL, HA, YV")
    shown = released.run("trunkline", "gate", "--json", check=False)
    timed = [verdict for verdict in json.loads(shown)["gates"] if verdict["id"] == "as_fast"]
    assert [verdict["verdict"] for verdict in timed] == ["pass"], timed
    assert "as_fast" not in released.read("reports/gates.json")


def test_a_champion_with_other_features_computes_its_own(project: Checkout, small: Checkout) -> None:
    project.edit("conf/features/point_in_time.yaml", "    window: 14d", "    window: 21d")
    for stage in ("compose", "features", "champion"):
        project.run("python", f"stages/{stage}.py")
    assert project.read("params.yaml") != small.read("params.yaml")
    np.testing.assert_allclose(champion_scores(project), evaluated_scores(small), atol=1e-9)


def test_the_model_in_production_is_the_same_model_in_another_bundle(project: Checkout) -> None:
    project.edit("conf/model/boosting_small.yaml", "max_iter: 20", "max_iter: 40")
    project.edit("conf/bundle/flights.yaml", "golden_rows: 20", "golden_rows: 5")
    project.repro("gate")
    judged = json.loads(project.read("reports/gates.json"))
    assert judged["challenger"] != judged["champion"]["digest"]
    for verdicts in champion_rules(project).values():
        for verdict in verdicts:
            assert verdict["verdict"] == "not_applicable"
            assert str(verdict["reason"]).startswith("same model: every score")


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        (["git", "tag", "--delete", V1], "there is no annotated tag flight-delay@v1 here; run: git fetch --tags"),
        (["git", "tag", "--force", V1, "HEAD"], "there is no annotated tag flight-delay@v1 here"),
        (["rm", "-rf", ".dvc/cache"], "flight-delay@v1: its bundle could not be fetched"),
        (["git", "tag", "--annotate", "--force", "-m", "none", V1, "orphan"], "its commit has no reports/bundle.json"),
        (["git", "tag", "--annotate", "--force", "-m", "lies", V1, "lie"], "but its commit says 000000000000"),
    ],
    ids=["no tag", "a tag that can be moved", "no files", "a commit without a bundle", "another digest"],
)
def test_a_champion_that_cannot_be_had_stops_the_pipeline(project: Checkout, spoil: list[str], said: str) -> None:
    project.run(
        "git",
        "branch",
        "orphan",
        project.run("git", "commit-tree", "-m", "x", "4b825dc642cb6eb9a060e54bf8d69288fbee4904").strip(),
    )
    project.run("git", "checkout", "--quiet", "-b", "lie", V1)
    report = json.loads(project.read("reports/bundle.json")) | {"digest": "0" * 64}
    (project.root / "reports/bundle.json").write_text(json.dumps(report))
    project.commit("a lie")
    project.run("git", "checkout", "--quiet", "main")
    project.run(*spoil)
    project.run("rm", "-rf", "data/champion")
    printed = project.run("python", "stages/champion.py", check=False)
    assert said in printed
    assert "Traceback" not in printed
    assert len([line for line in printed.splitlines() if line.startswith("error: ")]) == 1
    assert not (project.root / "data/champion/champion.json").exists()


def test_an_experiment_in_a_workspace_of_its_own_finds_the_champion(project: Checkout) -> None:
    project.run("dvc", "exp", "run", "--temp", "-S", "model.max_iter=10", "--name", "short")
    shown = project.run("git", "show", "exps/short:reports/gates.json", check=False)
    if "fatal" in shown:
        [ref] = project.run("git", "for-each-ref", "--format=%(objectname)", "refs/exps/*/*/short").split()
        shown = project.run("git", "show", f"{ref}:reports/gates.json")
    assert json.loads(shown)["champion"]["version"] == V1


def test_the_verb_says_no_and_a_file_made_by_hand_is_refused(project: Checkout) -> None:
    project.edit("conf/gates/flights.yaml", "metric: roc_auc, minimum: 0.70}", "metric: roc_auc, minimum: 0.99}")
    project.repro("gate")
    done = project.run("sh", "-c", "trunkline gate; echo exit $?")
    assert done.rstrip().endswith("exit 1")
    assert "FAIL" in done
    text = project.read("reports/gates.json")
    (project.root / "reports/gates.json").write_text(text.replace('"verdict": "fail"\n}', '"verdict": "pass"\n}'))
    done = project.run("sh", "-c", "trunkline gate; echo exit $?")
    assert "reports/gates.json: verdict: is 'pass', which does not follow from its gates" in done
    assert done.rstrip().endswith("exit 2")
    (project.root / "reports/gates.json").write_text(text.replace(json.loads(text)["challenger"], "0" * 64))
    done = project.run("sh", "-c", "trunkline gate; echo exit $?")
    assert "judges another bundle than reports/bundle.json describes" in done
    assert done.rstrip().endswith("exit 2")


def test_the_comment_says_what_changed_and_whether_it_may_be_merged(project: Checkout) -> None:
    project.run("git", "checkout", "--quiet", "-b", "work")
    project.edit("conf/evaluation/binary.yaml", "slice_min_rows: 200", "slice_min_rows: 250")
    quiet = {"PYTHONWARNINGS": "ignore"}  # those of DVC's packages
    stale = project.run("trunkline", "review", "--base", "main", env=quiet)
    assert "## ⚠️ Not reproduced: " in stale
    assert "with changes that are not committed" in stale
    project.repro()
    project.commit("larger slices")
    text = project.run("trunkline", "review", "--base", "main", env=quiet)
    assert text.startswith("## ")
    assert "Not reproduced" not in text
    assert "| `evaluation.slice_min_rows` | `200` | `250` | evaluate, bundle, gate |" in text
    assert "| 0 | the same |" in text, "the scores are the base's, from the cache, row by row"
    assert f"`{V1}`" in text
    assert re.search(r", runs on onnx, \d+ µs for one prediction", text)

    def moved_on(file: str, old: str, new: str) -> str:
        """Change the trunk, and return what the comment says of it."""
        project.run("git", "checkout", "--quiet", "main")
        project.edit(file, old, new)
        project.commit("the trunk moves on")
        project.run("git", "checkout", "--quiet", "work")
        told = project.run("trunkline", "review", "--base", "main", env=quiet)
        return next(line for line in told.splitlines() if line.startswith("> `main` has moved on by "))

    told = moved_on("README.md", "# Trunkline", "# Trunk line")
    assert told.endswith("Nothing would run on it: its results are there already.")
    told = moved_on("conf/gates/flights.yaml", "confidence: 0.9\n", "confidence: 0.95\n")
    assert "These stages would run on it: `compose` (`conf/gates/flights.yaml changed`)" in told
    assert "`gate` (`gates.confidence 0.9 → 0.95`)" in told
    assert "`train`" not in told
    told = moved_on("conf/evaluation/binary.yaml", "slice_min_rows: 200", "slice_min_rows: 300")
    assert "The merge has conflicts, in " in told
    assert "`conf/evaluation/binary.yaml`" in told
    assert project.run("git", "worktree", "list").count("\n") == 1
    assert "merge.trunkline" not in project.run("git", "config", "--local", "--list")
