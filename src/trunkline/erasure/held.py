"""Which tables hold the subject: files here, and what DVC keeps of every commit of the history, in cache and remote.

A table that has the subject's column is counted. One that lacks it and was made of one that holds them, such as
features or predictions, holds them too, though nothing tells which rows.
"""

import io
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from functools import cached_property
from pathlib import Path

import polars as pl

from trunkline.adapters.dvc import cache
from trunkline.adapters.dvc.remote_files import RemoteFiles
from trunkline.adapters.git import ancestry
from trunkline.adapters.git.snapshot import Snapshot
from trunkline.core import paths
from trunkline.core.errors import OutsideError
from trunkline.core.params import dig
from trunkline.erasure.subject import Subject

MADE_OF_ROWS = (paths.FEATURES, paths.PREDICTIONS, paths.RIVALS, paths.QUARANTINE)  # without the subject's column, too
_TABLES = (paths.RAW, paths.VALID, *MADE_OF_ROWS)


def rows(table: Path | bytes, subject: Subject) -> pl.DataFrame | None:
    """Return the subject's rows of a Parquet file; None of one without the column."""
    source = io.BytesIO(table) if isinstance(table, bytes) else table
    if subject.column not in pl.read_parquet_schema(source):
        return None
    mask = subject.matches(pl.read_parquet(source, columns=[subject.column])[subject.column])
    return pl.read_parquet(source).filter(mask) if mask.any() else pl.DataFrame()


@dataclass(frozen=True)
class Held:
    """An object that holds the subject: where a commit has it, and how many rows, None where they cannot be told."""

    md5: str
    path: Path
    rows: int | None


@dataclass(frozen=True)
class History:
    """What DVC keeps of the commits of a repository; `remote` is None where a project has none, or is not asked."""

    root: Path
    subject: Subject
    remote: RemoteFiles | None
    _counts: dict[str, int | None] = field(default_factory=dict)

    @cached_property
    def commits(self) -> tuple[str, ...]:
        """Every commit of all branches and tags that changed dvc.lock."""
        return ancestry.that_changed(self.root, paths.LOCK)

    def held(self, commit: str) -> tuple[Held, ...]:
        """Return the objects of a commit that hold the subject.

        Raises OutsideError where its data is neither in the cache nor in the remote, so that nobody can tell.
        """
        objects = dict(self._objects(commit))
        raw = {path: md5 for path, md5 in objects.items() if path.is_relative_to(paths.RAW)}
        if not any(self.count(md5) for md5 in raw.values()):
            return ()
        objects_of_rows = []
        for path, md5 in objects.items():
            count = self.count(md5)
            if count or (count is None and any(path.is_relative_to(folder) for folder in MADE_OF_ROWS)):
                objects_of_rows.append(Held(md5, path, count))
        return tuple(objects_of_rows)

    def count(self, md5: str) -> int | None:
        """Return how many rows of the subject a Parquet object has; None of one without the column."""
        if md5 not in self._counts:
            table = rows(self._content(md5), self.subject)
            self._counts[md5] = None if table is None else table.height
        return self._counts[md5]

    def cached(self, md5: str) -> Path | None:
        """Return where the cache has an object."""
        return cache.file(self.root, md5)

    def remains(self, md5: str) -> datetime | None:
        """Return since when the remote has an object; None where it has none."""
        return self.remote.written(md5) if self.remote else None

    def _content(self, md5: str) -> Path | bytes:
        path = cache.file(self.root, md5)
        if path is None and self.remote is None:
            raise OutsideError(f"object {md5}: is not in the cache; run: dvc fetch --all-commits")
        return path or self.remote.object(md5)  # type: ignore[union-attr]

    def _objects(self, commit: str) -> Iterator[tuple[Path, str]]:
        """Yield the tables that a commit's dvc.lock names, with their hashes."""
        stages = dig(Snapshot(self.root, commit).mapping(paths.LOCK), "stages") or {}
        for stage in stages.values():
            for out in dig(stage, "outs") or []:
                path, md5 = Path(out["path"]), str(out.get("md5") or "")
                if any(path.is_relative_to(folder) for folder in _TABLES) and md5:
                    yield from self._files(path, md5)

    def _files(self, path: Path, md5: str) -> Iterator[tuple[Path, str]]:
        if not md5.endswith(".dir"):
            listed: Mapping[str, str] = {"": md5}
        else:
            here = cache.listing(self.root, md5)
            if here is None and self.remote is None:
                raise OutsideError(f"{path}: its list is not in the cache; run: dvc fetch --all-commits")
            listed = dict(here) if here is not None else self._listed(md5)
        yield from ((path / name, each) for name, each in listed.items() if (path / name).suffix == ".parquet")

    def _listed(self, md5: str) -> dict[str, str]:
        """Return the names and hashes of a folder's files, as the remote has its list."""
        content = json.loads(self.remote.object(md5)) if self.remote else []
        return {each["relpath"]: each["md5"] for each in content}


def working_tree(root: Path, subject: Subject) -> dict[Path, int]:
    """Return the tables of data/ that hold the subject, with their rows."""
    counted = {}
    for path in sorted((root / "data").rglob("*.parquet")):
        table = rows(path, subject)
        if table is not None and table.height:
            counted[path.relative_to(root)] = table.height
    return counted
