"""What stands in the names of folders is read with the files in them."""

import hashlib
from pathlib import Path

import polars as pl
import pytest

from trunkline.conf.data.sources import Files
from trunkline.core.errors import UserError
from trunkline.pipeline.ingest import decode, read


def source(folder: Path, name: str, frame: pl.DataFrame, **more: object) -> Files:
    path = folder / "in" / name
    path.parent.mkdir(parents=True)
    frame.write_parquet(path)
    pinned = {name: hashlib.sha256(path.read_bytes()).hexdigest()}
    return Files.model_validate({"kind": "files", "url": "in/", "format": "parquet", "files": pinned} | more)


def test_the_columns_of_folders_are_read_as_texts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    declared = source(tmp_path, "month=2024-01/place=a%20b/part-0.parquet", pl.DataFrame({"a": [1, 2]}))
    rows = read.read("t", declared).table.collect().rows(named=True)
    assert rows == [{"a": a, "month": "2024-01", "place": "a b"} for a in (1, 2)]
    kept = declared.model_copy(update={"keep": {"at": "month"}})
    assert read.read("t", kept).table.collect().rows(named=True) == [{"at": "2024-01"}] * 2


def test_a_column_of_a_folder_that_the_file_has_too_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    declared = source(tmp_path, "a=1/part-0.parquet", pl.DataFrame({"a": [1, 2]}))
    with pytest.raises(UserError, match="column 'a' is in the file and in the name of its folder; remove it"):
        read.read("t", declared)


@pytest.mark.parametrize(
    ("name", "columns"),
    [
        ("part-0.parquet", {}),
        ("a=1.parquet", {}),
        ("x/a=1/b=/c.csv", {"a": "1", "b": ""}),
        ("a=__HIVE_DEFAULT_PARTITION__/c.csv", {"a": None}),
        ("a%3Db=c=d/e.csv", {"a=b": "c=d"}),
    ],
)
def test_a_name_says_its_columns(name: str, columns: dict[str, str | None]) -> None:
    assert decode.partition(name) == columns
