"""The subject in the sources: files of the project are filtered, others repinned once their owner has erased them.

What changes is one commit on a branch of the trunk's tip. Files that git tracks are changed there alone, others where
they are. No text of it names the subject but by a digest.
"""

import csv
import hashlib
import io
from collections.abc import Iterator, Mapping
from contextlib import chdir
from dataclasses import dataclass
from pathlib import Path

import polars as pl

from trunkline.adapters import pulls
from trunkline.adapters.git import ancestry, remote, repository
from trunkline.adapters.git.snapshot import Snapshot
from trunkline.conf.data.sources import Files, Package, Source
from trunkline.core import files, paths
from trunkline.core.errors import UserError
from trunkline.erasure import held, pull
from trunkline.erasure.place import Place, State
from trunkline.erasure.subject import Subject
from trunkline.pipeline.compose import rewrite
from trunkline.pipeline.ingest import pins
from trunkline.retrain import change

_FILTERED = (".csv", ".parquet")


@dataclass(frozen=True)
class Branch:
    """The branch of an erasure, and its commit; None where nothing of the sources changes."""

    name: str
    commit: str | None


def places(root: Path, sources: Mapping[str, Source], subject: Subject) -> list[Place]:
    """Return the sources whose pinned rows hold the subject, as ingest has read them, and what becomes of each."""
    listed = []
    for name, source in sources.items():
        raw = root / paths.RAW / f"{name}.parquet"
        table = held.rows(raw, subject) if raw.is_file() else None
        if table is not None and table.height:
            state, then = _follows(source)
            listed.append(Place("source", name, table.height, state, then))
    return listed


def _follows(source: Source) -> tuple[State, str]:
    if isinstance(source, Package):
        return "owner", "a version of the package without them, which conf/data then names"
    files_here = own(source)
    if files_here is None:
        return "owner", "erased by its owner; run this again, and the branch repins it"
    odd = [name for name in files_here.files if Path(name).suffix not in _FILTERED]
    if odd:
        return "owner", f"{odd[0]} is neither CSV nor Parquet: erased by hand; run this again, and the branch repins it"
    return "merge", "filtered and repinned by the branch"


def branch_of(subject: Subject) -> str:
    """Return the name of the branch of a subject's erasure."""
    return f"erase/{subject.digest}"


def propose(root: Path, tip: str, subject: Subject, theirs: str | None = None) -> Branch:
    """Filter the files, and return the branch, made anew on the trunk's tip unless it has the same change there.

    `theirs` is what origin has of it, which is taken if it is the same. A run that was killed in between is finished by
    the next. Raises UserError where conf/ cannot be changed so, or somebody has changed more on the branch.
    """
    name = branch_of(subject)
    with change.opened(root, tip) as declaration:
        edits: list[tuple[tuple[str, ...], str | int | None]] = []
        blobs: dict[Path, str] = {}
        for source_name, source in declaration.project.data.sources.items():
            here = own(source)
            if here is not None:
                for file, digest, tracked in _filtered(root, declaration.folder, here, subject):
                    edits.append((("data", "sources", source_name, "files", file), digest))
                    if tracked is not None:
                        blobs[Path(here.url + file)] = tracked
            else:
                moves = [] if isinstance(source, Package) else pins.moves(source_name, source)
                edits += [(("data", "sources", *move.key), move.now) for move in moves]
        if not edits:
            return Branch(name, None)
        with chdir(declaration.folder):
            texts = rewrite.rewritten(declaration.composed, edits)
    blobs |= {path: remote.blob(root, text) for path, text in texts.items()}
    return Branch(name, _committed(root, tip, name, subject, blobs, theirs))


def _committed(  # noqa: PLR0913, PLR0917  a change, where it is to be, and where it may be already
    root: Path, tip: str, name: str, subject: Subject, blobs: dict[Path, str], theirs: str | None
) -> str:
    message = f"{pull.title(subject)}\n\nSources are filtered or repinned; the digest is keyed, and tells nobody who.\n"
    here = repository.resolve(root, f"refs/heads/{name}")
    is_ahead = here is not None and (theirs is None or repository.is_ancestor(root, theirs, here))
    commit = pulls.committed(root, tip, here if is_ahead else theirs, blobs, message)
    remote.branch(root, name, commit, here)
    return commit


def own(source: Source) -> Files | None:
    """Return a source that is files of the project; None for any other."""
    return source if isinstance(source, Files) and "://" not in source.url else None


def _filtered(root: Path, checkout: Path, source: Files, subject: Subject) -> Iterator[tuple[str, str, str | None]]:
    """Yield the files whose pin changes, with their sha256 and, of one that git tracks, the id of its new content.

    A file that git does not know is rewritten where it is; one that was before has another pin than the trunk's.
    """
    for file, pinned in source.files.items():
        path = Path(source.url + file)
        is_tracked = (checkout / path).is_file()
        place = (checkout if is_tracked else root) / path
        if not place.is_file():
            raise UserError(f"{path}: there is no such file; put it there, or fix its name in conf/data")
        before = place.read_bytes()
        content = without(before, path, source, subject)
        if content is not None and not is_tracked:
            with files.atomic_path(place) as temporary:
                temporary.write_bytes(content)
        digest = hashlib.sha256(before if content is None else content).hexdigest()
        if digest != pinned:
            yield file, digest, remote.blob(root, content) if is_tracked and content is not None else None


def without(content: bytes, path: Path, source: Files, subject: Subject) -> bytes | None:
    """Return a file's bytes without the rows of the subject; None where none is theirs, or it is of another format."""
    column = source.keep.get(subject.column, subject.column)
    if path.suffix == ".csv":
        return _csv_without(content, source, column, subject)
    if path.suffix != ".parquet":
        return None
    table = pl.read_parquet(io.BytesIO(content))
    mask = subject.matches(table[column]) if column in table.columns else None
    if mask is None or not mask.any():
        return None
    written = io.BytesIO()
    table.filter(~mask).write_parquet(written, compression="zstd")
    return written.getvalue()


def _csv_without(content: bytes, source: Files, column: str, subject: Subject) -> bytes | None:
    """Return a CSV without rows; the bytes of the others, and lines before the header, stay as they are."""
    lines = io.StringIO(content.decode("utf-8", errors="surrogateescape"), newline="")
    before = "".join(next(lines, "") for _ in range(source.skip_lines))
    records = _records(lines, source.separator)
    text, header = ("", list(source.header)) if source.header else next(records, ("", []))
    names = [name.removeprefix("\ufeff") for name in header]
    if column not in names:
        return None
    place, rows = names.index(column), list(records)
    values = [record[place] if place < len(record) else None for _, record in rows]
    mask = subject.matches(pl.Series(values, dtype=pl.String))
    if not mask.any():
        return None
    kept = [line for (line, _), theirs in zip(rows, mask, strict=True) if not theirs]
    return "".join([before, text, *kept]).encode("utf-8", errors="surrogateescape")


def _records(lines: Iterator[str], separator: str) -> Iterator[tuple[str, list[str]]]:
    """Yield the records of a CSV, each with its own text: one that is quoted may have several lines."""
    consumed: list[str] = []

    def feed() -> Iterator[str]:
        for line in lines:
            consumed.append(line)
            yield line

    for record in csv.reader(feed(), delimiter=separator):
        yield "".join(consumed), record
        consumed.clear()


def in_git(root: Path, sources: Mapping[str, Source], subject: Subject) -> list[Place]:
    """Return the files of sources of which git's history has contents with rows of the subject."""
    listed = []
    for source in filter(None, map(own, sources.values())):
        for file in source.files:
            path = Path(source.url + file)
            commits = ancestry.that_changed(root, path)
            contents = [Snapshot(root, commit).content(path) for commit in commits]
            holding = [each for each in contents if each and without(each, path, source, subject) is not None]
            if holding:
                then = "until the history is rewritten, in every clone"
                listed.append(Place("git", f"{path} in {len(holding):,} commits", None, "kept", then))
    return listed
