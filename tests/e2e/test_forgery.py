"""A bad model whose author claims that it is a good one; the check runs in the author's own clone, cache and all."""

import hashlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.conftest import Checkout

pytestmark = pytest.mark.e2e


@pytest.fixture(scope="module")
def honest(small: Checkout, tmp_path_factory: pytest.TempPathFactory) -> Checkout:
    """A branch with a model that its gates refuse, and its true results."""
    branch = small.copy(tmp_path_factory.mktemp("honest") / "project")
    branch.run("git", "checkout", "--quiet", "-b", "work")
    branch.edit("conf/model/boosting_small.yaml", "max_iter: 40", "max_iter: 2")
    branch.repro()
    branch.commit("A smaller model")
    assert exit_code(branch, "gate", "--base", "main")[0] == 1
    return branch


@pytest.fixture
def forged(honest: Checkout, tmp_path: Path) -> Checkout:
    """A copy to lie in."""
    return honest.copy(tmp_path / "project")


def exit_code(project: Checkout, *arguments: str) -> tuple[int, str]:
    printed = project.run("sh", "-c", f"trunkline {' '.join(arguments)}; echo $?", check=False)
    text, _, code = printed.rstrip().rpartition("\n")
    return int(code), text


def rewrite(project: Checkout, report: str, change: Callable[[Any], None]) -> None:
    """Change a report, and its hash wherever dvc.lock has it."""
    path = project.root / report
    before, content = path.read_bytes(), json.loads(path.read_bytes())
    change(content)
    path.write_text(json.dumps(content, sort_keys=True, indent=2, ensure_ascii=False) + "\n")
    lock = project.read("dvc.lock").replace(*(hashlib.md5(data).hexdigest() for data in (before, path.read_bytes())))
    lock = lock.replace(f"size: {len(before)}\n", f"size: {path.stat().st_size}\n")
    (project.root / "dvc.lock").write_text(lock)


def pass_all(gates: Any) -> None:
    gates["verdict"] = "pass"
    for verdict in gates["gates"]:
        verdict["verdict"] = "pass" if verdict["verdict"] == "fail" else verdict["verdict"]


def test_verdicts_that_were_turned_into_passes_do_not_pass(forged: Checkout, honest: Checkout) -> None:
    rewrite(forged, "reports/gates.json", pass_all)
    forged.commit("All gates pass")
    assert forged.run("dvc", "status", "--quiet", "gate") == "", "the attack: every hash is in order"
    assert exit_code(forged, "gate")[0] == 0
    code, told = exit_code(forged, "gate", "--base", "main")
    assert (code, "reports/gates.json: is not what scores, labels and rules give" in told) == (1, True)

    forged.run("trunkline", "ci", "reproduce", "run", "--base", "main")
    assert forged.read("reports/gates.json") == honest.read("reports/gates.json")
    told = forged.run("trunkline", "review", "--base", "main")
    assert "❌ Do not merge: `reports/gates.json of gate` is not what its inputs give" in told
    assert exit_code(forged, "gate", "--base", "main")[0] == 1
    code, told = exit_code(forged, "ci", "reproduce", "check")
    assert (code, "not what its inputs give: gate: reports/gates.json is " in told) == (1, True)


def test_metrics_that_were_improved_are_computed_again(forged: Checkout, honest: Checkout) -> None:
    def improve(slices: Any) -> None:
        for part in slices["all"].values():
            part["metrics"]["roc_auc"] = {"value": 0.8125, "interval": [0.80, 0.83]}

    rewrite(forged, "reports/slices.json", improve)
    rewrite(forged, "reports/metrics.json", lambda metrics: metrics["holdout"].update(roc_auc=0.8125))
    forged.repro("bundle", "gate")
    forged.commit("A better model")
    code, told = exit_code(forged, "gate", "--base", "main")
    assert code == 1
    for name in ("metrics", "slices"):
        assert f"reports/{name}.json: is not what scores, labels and rules give" in told

    forged.run("trunkline", "ci", "reproduce", "run", "--base", "main")
    for name in ("metrics", "slices", "gates", "bundle"):
        assert forged.read(f"reports/{name}.json") == honest.read(f"reports/{name}.json")
    told = exit_code(forged, "ci", "reproduce", "check")[1]
    assert "evaluate: reports/metrics.json is " in told
    assert "gate: " not in told, "what follows has read other inputs"


def test_a_rule_that_the_change_itself_loosens_still_judges_it(forged: Checkout) -> None:
    failed = [
        verdict["id"]
        for verdict in json.loads(forged.read("reports/gates.json"))["gates"]
        if verdict["blocking"] and verdict["verdict"] == "fail"
    ]
    text = forged.read("conf/gates/flights.yaml")
    for rule in dict.fromkeys(failed):
        start = text.index(f"  {rule}:")
        line = text[start:].partition("\n")[0]
        text = text.replace(line, line.replace("{kind", "{advisory: true, kind"), 1)
    (forged.root / "conf/gates/flights.yaml").write_text(text)
    forged.repro()
    forged.commit("Looser rules")
    assert exit_code(forged, "gate")[0] == 0, "the attack: by its own rules it passes"
    code, told = exit_code(forged, "gate", "--base", "main")
    assert (code, "by the base's rules: " in told) == (1, True)
    told = forged.run("trunkline", "review", "--base", "main")
    assert f"❌ Do not merge: blocked by `{failed[0]}`" in told
    assert "It changes the rules that judge it: `gates.rules." in told


def test_a_report_that_leaves_out_what_fails_does_not_pass(forged: Checkout) -> None:
    rewrite(forged, "reports/gates.json", lambda gates: gates.update(verdict="fail", gates=[]))
    forged.commit("Nothing was judged")
    assert exit_code(forged, "gate")[0] == 1
    assert exit_code(forged, "gate", "--base", "main")[0] == 1
