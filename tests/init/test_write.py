"""A project is written whole or not at all, and over nothing."""

from pathlib import Path

import pytest

from trunkline.core.errors import UserError
from trunkline.init import write

TEXTS = {Path("conf/a.yaml"): "a: 1\n", Path("README.md"): "new\n", Path("run"): "#!/bin/sh\n"}


def content(folder: Path) -> dict[str, str]:
    return {path.relative_to(folder).as_posix(): path.read_text() for path in folder.rglob("*") if path.is_file()}


def test_everything_is_written_and_scripts_can_be_run(tmp_path):
    (tmp_path / "source.csv").write_text("x\n")
    write.write(tmp_path, TEXTS, {Path("data/in/source.csv"): tmp_path / "source.csv"})
    assert content(tmp_path) == {
        "conf/a.yaml": "a: 1\n", "README.md": "new\n", "run": "#!/bin/sh\n", "source.csv": "x\n",
        "data/in/source.csv": "x\n",
    }  # fmt: skip
    assert (tmp_path / "run").stat().st_mode & 0o111


@pytest.mark.parametrize("there", ["conf/a.yaml", "conf", "run"])
def test_what_is_there_is_named_and_left(tmp_path, there):
    (tmp_path / there).parent.mkdir(exist_ok=True)
    (tmp_path / there).write_text("old\n")
    with pytest.raises(UserError, match=rf"^{there}: is there already, and nothing is overwritten"):
        write.new(tmp_path, TEXTS)
    assert content(tmp_path) == {there: "old\n"}


def test_a_readme_that_is_there_is_kept(tmp_path):
    (tmp_path / "README.md").write_text("old\n")
    assert Path("README.md") not in write.new(tmp_path, TEXTS)


def test_a_list_of_lines_that_is_there_gets_those_that_it_has_not(tmp_path):
    path = Path(".gitignore")
    (tmp_path / path).write_text("*.log\n.venv/")
    texts = write.new(tmp_path, {path: "# ours\n.venv/\nmlruns/\n", Path("run"): "#!/bin/sh\n"})
    assert texts[path] == "*.log\n.venv/\n# ours\nmlruns/\n"
    (tmp_path / "run").mkdir()  # appears after `new` has looked
    with pytest.raises(OSError, match="run"):
        write.write(tmp_path, texts, {})
    assert (tmp_path / path).read_text() == "*.log\n.venv/"
    (tmp_path / "run").rmdir()
    write.write(tmp_path, texts, {})
    assert (tmp_path / path).read_text() == texts[path]


def test_nothing_is_left_where_a_file_cannot_be_moved(tmp_path):
    (tmp_path / "run").mkdir()  # appears after `new` has looked
    (tmp_path / "run/x").write_text("old\n")
    with pytest.raises(OSError, match="run"):
        write.write(tmp_path, TEXTS, {})
    assert content(tmp_path) == {"run/x": "old\n"}


def test_a_conf_with_a_mistake_is_told_by_the_paths_that_it_would_have():
    with pytest.raises(UserError, match=r"^conf/config.yaml: there is no such file") as refused:
        write.check({Path("conf/other.yaml"): "a: 1\n"})
    assert "this is what init would have written" in str(refused.value)
