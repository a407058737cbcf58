"""Which files of the project its sources are read from: what the ingest stage depends on, besides their pins. Pure."""

import posixpath
from collections.abc import Iterable, Mapping
from pathlib import PurePosixPath
from typing import Any

_WRITTEN = ("data", "models", "reports")  # folders that stages write into
_SQLITE = ("sqlite:///", "sqlite+pysqlite:///")


def paths(sources: Iterable[Mapping[str, Any]]) -> tuple[str, ...]:
    """Return the files and folders of the project that sources are read from, each once, in order.

    Of files that is their folder, so that a new one is noticed; where stages write into that, the files themselves.
    A table of a lake is left out: what its pinned version consists of does not change when the table grows.
    """
    return tuple(dict.fromkeys(path for source in sources for path in _paths(source)))


def _paths(source: Mapping[str, Any]) -> Iterable[str]:
    url = str(source.get("url") or "")
    if source.get("kind") == "sql":
        return [posixpath.normpath(url.partition(":///")[2].partition("?")[0])] if url.startswith(_SQLITE) else ()
    if source.get("kind") != "files" or "://" in url:
        return ()
    folder = posixpath.normpath(url)
    if any(PurePosixPath(written).is_relative_to(folder) for written in _WRITTEN):
        return (posixpath.normpath(url + file) for file in source.get("files") or {})
    return (folder,)
