"""A file of the project that is not what conf/data has pinned is told before any stage reads it."""

import hashlib
from pathlib import Path

import pytest

from trunkline.conf.data.sources import Files
from trunkline.pipeline.plan.sources import unpinned


def test_a_changed_a_missing_and_a_new_file_are_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    folder = tmp_path / "in"
    folder.mkdir()
    for name in "abc":
        (folder / f"{name}.csv").write_text(name)
    pinned = {f"{name}.csv": hashlib.sha256(name.encode()).hexdigest() for name in "abc"}
    source = Files(kind="files", url="in/", glob="*.csv", files=pinned)
    assert list(unpinned({"trips": source})) == []
    (folder / "a.csv").write_text("another")
    (folder / "b.csv").unlink()
    (folder / "d.csv").write_text("d")
    assert list(unpinned({"trips": source})) == [
        "in/a.csv: was changed; run: trunkline pin trips",
        "in/d.csv: is not pinned; run: trunkline pin trips",
        "in/b.csv: is missing; run: trunkline pin trips",
    ]
    listed = source.model_copy(update={"glob": None})
    assert list(unpinned({"trips": listed})) == [
        "in/b.csv: there is no such file; put it there, or fix its name in conf/data"
    ]
    folder.rename(tmp_path / "elsewhere")
    assert next(iter(unpinned({"trips": listed}))).startswith("in/a.csv: there is no such file")
    (tmp_path / "in.dvc").write_text("outs: []\n")
    assert list(unpinned({"trips": listed})) == [], "DVC brings it"
    assert list(unpinned({"trips": source.model_copy(update={"url": "s3://bucket/in/"})})) == [], "asks no network"
