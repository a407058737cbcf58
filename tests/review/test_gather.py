"""What gathering a review costs: a handful of processes of git, and params.yaml parsed once of each commit."""

from pathlib import Path

import pytest

from tests.e2e.conftest import checkout
from tests.processes import counted
from trunkline.core import safe_yaml
from trunkline.core.params import Params
from trunkline.review import gather

# pygtrie, which DVC uses.
pytestmark = pytest.mark.filterwarnings("ignore:_NoneStep.value will soon raise:DeprecationWarning")


def test_a_review_starts_git_a_handful_of_times_and_parses_params_once(root, tmp_path, monkeypatch):
    project = checkout(root, tmp_path / "project")
    base = project.read("params.yaml")
    project.run("git", "checkout", "--quiet", "-b", "work")
    for file, old, new in (
        ("params.yaml", "\nseed: ", "\n# of the branch\nseed: "),
        ("locks/pipeline.txt", "\nnumpy==", "\nnumpy==9"),
        ("models/registry.yaml", "production: ", "production: v1} # "),
        ("src/trunkline/core/errors.py", '"""', '"""More: '),
    ):
        (project.root / file).write_text(project.read(file).replace(old, new, 1))
    project.commit("All kinds of changes")
    monkeypatch.chdir(project.root)
    parsed, parse = list[str](), safe_yaml.parse_yaml
    monkeypatch.setattr(safe_yaml, "parse_yaml", lambda text, **more: parsed.append(text) or parse(text, **more))
    started = counted(monkeypatch)
    review = gather.gather(Path(), Params.read(), "main")
    assert any("numpy" in reason for step in review.plan.steps for reason in step.reasons)
    assert [move.environment for move in review.moves] == ["production"]
    assert len(started) <= 10, started
    assert [text for text in (base, project.read("params.yaml")) if parsed.count(text) > 1] == []
