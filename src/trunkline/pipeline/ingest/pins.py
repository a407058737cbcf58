"""Looks at where the sources are kept, and says what their pins would have to be."""

from collections.abc import Iterator
from dataclasses import dataclass

from trunkline.conf.data.sources import Delta, Files, Iceberg, Package, Query, Source
from trunkline.core.errors import UserError
from trunkline.core.files import sha256
from trunkline.pipeline.ingest import files


@dataclass(frozen=True)
class PinMove:
    """A pin that is not what is found: its key below data.sources; None before is no pin yet, None now is gone."""

    key: tuple[str, ...]
    before: str | int | None
    now: str | int | None


def moves(name: str, source: Source) -> Iterator[PinMove]:
    """Yield the pins of a source that would have to move; a package, and a SQL query without a fingerprint, have none.

    Raises UserError for a source that is not there, or has a pin that only a person can write; OutsideError where it
    cannot be reached.
    """
    match source:
        case Package():
            return
        case Files():
            yield from _of_files(name, source)
        case Query():
            from trunkline.pipeline.ingest import sql

            now = sql.fingerprint(name, source)
            if now is None and source.pin is None:
                raise UserError(
                    f"data.sources.{name}.pin: the key is missing; write a text that says which rows are meant"
                )
            yield from _moved(name, "pin", source.pin, source.pin if now is None else now)
        case Delta():
            from trunkline.pipeline.ingest import lakehouse

            yield from _moved(name, "version", source.version, lakehouse.delta_version(name, source))
        case Iceberg():
            from trunkline.pipeline.ingest import lakehouse

            yield from _moved(name, "snapshot", source.snapshot, lakehouse.iceberg_snapshot(name, source))


def _moved(name: str, key: str, before: str | int | None, now: str | int | None) -> Iterator[PinMove]:
    if before != now:
        yield PinMove((name, key), before, now)


def _of_files(name: str, source: Files) -> Iterator[PinMove]:
    present = files.names(name, source)
    for file in present:
        digest, pinned = sha256(files.locate(source, file)), source.files.get(file)
        if digest != pinned:
            yield PinMove((name, "files", file), pinned, digest)
    for file in sorted(source.files.keys() - set(present)):
        yield PinMove((name, "files", file), source.files[file], None)
