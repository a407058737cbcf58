"""A commit's files, and how the working tree differs from them: a few processes of git, however much is asked."""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from trunkline.adapters.git import documents, repository
from trunkline.adapters.git.process import output


@dataclass(frozen=True)
class Snapshot:
    """The files of a commit, each read once: the `expected` ones together, another one when it is asked for."""

    folder: Path
    commit: str
    expected: tuple[Path, ...] = ()

    @cached_property
    def prefix(self) -> str:
        """Where the folder is in its repository; empty for its root."""
        return repository.prefix(self.folder)

    def content(self, path: Path) -> bytes | None:
        """Return a file as it is in the commit; None if the commit has no such file."""
        if path not in self._contents:
            self._contents.update(self._read(path))
        return self._contents[path]

    def mapping(self, path: Path) -> dict[str, Any]:
        """Return the content of a JSON or YAML file, parsed once; nothing where there is none that is a mapping."""
        if path not in self._mappings:
            content = self.content(path)
            self._mappings[path] = (documents.mapping({path: content}, path) if content is not None else None) or {}
        return self._mappings[path]

    def text(self, path: Path) -> str | None:
        """Return the text of a file; None if the commit has no such file."""
        content = self.content(path)
        return None if content is None else content.decode(errors="replace")

    @cached_property
    def _mappings(self) -> dict[Path, dict[str, Any]]:
        return {}

    @cached_property
    def _contents(self) -> dict[Path, bytes | None]:
        return self._read(*self.expected) if self.expected else {}

    def _read(self, *paths: Path) -> dict[Path, bytes | None]:
        files = repository.files_at(self.folder, [self.commit], paths, self.prefix)[self.commit]
        return {path: files.get(path) for path in paths}


@dataclass(frozen=True)
class Status:
    """The commit that is checked out, the files that differ from it, and those that git does not know, sorted."""

    head: str
    modified: tuple[str, ...]
    untracked: tuple[str, ...]

    def uncommitted(self, *paths: str) -> list[str]:
        """Return the files among the paths, which `within` describes, that differ from the commit or are new."""
        return sorted(name for name in (*self.modified, *self.untracked) if repository.within(name, paths))


@dataclass(frozen=True)
class Since:
    """What has changed in the working tree since a commit; without a commit, nothing is known."""

    folder: Path
    before: Snapshot | None

    def text(self, path: str) -> str | None:
        """Return the text of a file as it was; None if there was none."""
        return self.before.text(Path(path)) if self.before else None

    def current(self, path: str) -> str | None:
        """Return the text of a file as it is; None if there is none."""
        file = self.folder / path
        return file.read_text(encoding="utf-8", errors="replace") if file.is_file() else None

    def changed(self, *paths: str) -> list[str]:
        """Return the files that have changed since, or are new, among the paths, which `within` describes."""
        if self.before is None:
            return []
        files = [*self._differing, *((name,) for name in self.status.untracked)]
        inside = ([name for name in names if repository.within(name, paths)] for names in files)
        return sorted({names[-1] for names in inside if names})

    @cached_property
    def status(self) -> Status:
        """How the working tree differs from the commit that is checked out."""
        prefix = self.before.prefix if self.before else repository.prefix(self.folder)
        words = ("--porcelain=v2", "--branch", "--untracked-files=all", "--no-renames", "-z", "--", ".")
        lines = output(self.folder, "status", *words).decode(errors="replace").split("\0")
        head = next(line for line in lines if line.startswith("# branch.oid ")).split(" ")[2]
        # A line of a file has eight fields before the name, and ten if it is in conflict.
        modified = [line.split(" ", 10 if line[0] == "u" else 8)[-1] for line in lines if line[:2] in {"1 ", "u "}]
        untracked = [line[2:] for line in lines if line.startswith("? ")]
        return Status(head, *(tuple(sorted(name.removeprefix(prefix) for name in of)) for of in (modified, untracked)))

    @cached_property
    def _differing(self) -> tuple[tuple[str, ...], ...]:
        """The tracked files that differ from the commit; one that was renamed with the name that it had."""
        words = ("--name-status", "--relative", "-z", self.before.commit if self.before else "HEAD", "--")
        return tuple(_names(iter(output(self.folder, "diff", *words).decode(errors="replace").split("\0"))))


def _names(words: Iterator[str]) -> Iterator[tuple[str, ...]]:
    """Yield the names of every file, of which one that was renamed or copied has two."""
    for status in words:
        if status:
            yield (next(words), next(words)) if status[0] in "RC" else (next(words),)
