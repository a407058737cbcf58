"""Segments that tasks of an executor compare give what one process says of the log."""

import shutil
from pathlib import Path

from tests.lineage.test_replay import changed, folder, log, replay, tables
from tests.serve.batch.test_spread import Elsewhere
from trunkline.lineage import spread

__all__ = ["folder", "log", "tables"]  # fixtures of both


def test_tasks_anywhere_say_what_one_process_says(log, folder, tables, tmp_path, monkeypatch):
    changed(log, people=lambda value: value + 1)
    shutil.copy(log / "part-1.parquet", tmp_path)
    changed(log, people=lambda value: value + 2, city=lambda _: "Ostia")
    for place in ("part-2", "part-3"):
        shutil.copy(log / "part-1.parquet", log / f"{place}.parquet")
    shutil.move(tmp_path / "part-1.parquet", log / "part-1.parquet")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(spread, "TASK", 1)
    for joined in (Path(tables), None):
        places, elsewhere = spread.Places(Path(), Path(folder), Path(".trunkline"), joined), Elsewhere(folder.parent)
        assert spread.run(["log"], places, 1e-9, elsewhere) == replay(log, folder, joined)
        assert [part.segments for part in elsewhere.returned] == [1, 1, 1]
