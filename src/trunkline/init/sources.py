"""From what a person names to a pinned source of conf/data: a file, an address, a table of a database or of a lake."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import polars as pl
from pydantic import TypeAdapter, ValidationError

from trunkline.conf.data.sources import STORES, Files, Source
from trunkline.core.errors import UserError
from trunkline.core.files import sha256
from trunkline.init import names
from trunkline.pipeline.ingest import decode, pins, read
from trunkline.pipeline.ingest.decode import File

INCOMING = Path("data/in")  # where a file from outside of the project is copied to
_PACKED = (".gz", ".zip")
_DATABASE = re.compile(r"(?P<address>(?:sqlite|postgresql|mysql|mariadb)(?:\+\w+)?://[^#]+)#(?P<table>.+)")
_FOREIGN = (  # what people keep tables in, and no source reads
    ".xls", ".xlsx", ".xlsm", ".ods", ".json", ".jsonl", ".ndjson", ".feather", ".arrow", ".orc", ".avro", ".h5",
    ".hdf5", ".sas7bdat", ".xpt", ".dta", ".sav", ".rds", ".rda", ".pkl", ".pickle", ".db", ".sqlite", ".duckdb",
)  # fmt: skip
_SEPARATORS = (",", ";", "\t", "|")


@dataclass(frozen=True)
class Named:
    """A table: its name, its source as conf/data has it, and the file of this machine that has to be copied, if any.

    `left_out` are columns that the source has and the project has not, each with the reason.
    """

    name: str
    declared: dict[str, Any]
    copied: Path | None = None
    left_out: Mapping[str, str] = field(default_factory=dict)

    @property
    def source(self) -> Source:
        """The source as a type; raises UserError for one that conf/data could not name."""
        try:
            parsed: Source = TypeAdapter(Source).validate_python(self.declared, strict=True)
        except ValidationError as error:
            first = error.errors(include_url=False)[0]
            raise UserError(f"{self.name}: {first['msg'].removeprefix('Value error, ')}") from None
        return parsed


def named(text: str, root: Path) -> Named:
    """Return the source that a person means by a text of the command line.

    `data.csv`, `data.parquet`, `https://host/data.csv`, `s3://bucket/data.parquet`, `delta:PATH`,
    `postgresql://host/database#table`, `sqlite:///data/x.db#table`, `iceberg:catalog/namespace.table`,
    `$VARIABLE#table` for a database whose address, with its password, an environment variable holds.
    Raises UserError for anything else.
    """
    if text.startswith("$") and "#" in text:
        variable, _, table = text[1:].partition("#")
        return _query(table, {"environment": variable})
    if match := _DATABASE.fullmatch(text):
        address = re.sub(r"^postgresql://", "postgresql+psycopg://", match["address"])
        return _query(match["table"], {"url": address})
    kind, _, rest = text.partition(":")
    if kind == "delta":
        return Named(_name(rest.rstrip("/").rpartition("/")[2]), {"kind": "delta", "url": rest})
    if kind == "iceberg" and "/" in rest:
        catalog, _, table = rest.partition("/")
        return Named(_name(table.rpartition(".")[2]), {"kind": "iceberg", "catalog": catalog, "table": table})
    if "://" in text:
        return _elsewhere(text)
    return _file(Path(text), root)


def pinned(table: Named) -> Named:
    """Return a table with the pins that its source has now; raises as the source's reader does."""
    declared = dict(table.declared)
    if table.copied is not None:
        files = {table.copied.name: sha256(table.copied)}
        return Named(table.name, {**declared, "files": files}, table.copied)
    for move in pins.moves(table.name, table.source):
        if len(move.key) == 3:
            declared["files"] = {**declared["files"], move.key[2]: move.now}
        else:
            declared[move.key[1]] = move.now
    return Named(table.name, declared)


def rows(table: Named) -> pl.DataFrame:
    """Return all rows of a pinned table as they come; raises as the source's reader does."""
    source = table.source
    if table.copied is not None and isinstance(source, Files):
        return decode.table([File(table.copied.name, table.copied.read_bytes())], source).collect()
    return read.read(table.name, source).table.collect()


def _query(table: str, address: dict[str, str]) -> Named:
    if not re.fullmatch(r"[\w.]+", table):
        raise UserError(f"'{table[:60]}' is not the name of a table, such as public.wages, after the #")
    query = f"select * from {table}"  # noqa: S608  a name of letters, digits and points
    fingerprint = f"select count(*) from {table}"  # noqa: S608
    return Named(
        _name(table.rpartition(".")[2]), {"kind": "sql", **address, "query": query, "fingerprint": fingerprint}
    )


def _elsewhere(address: str) -> Named:
    folder, _, file = address.rpartition("/")
    if not file or folder.partition("://")[0] not in (*STORES, "http", "https"):
        raise UserError(f"'{address[:100]}': names no table; end it with a file such as data.csv, or see --help")
    declared = {"kind": "files", "url": f"{folder}/", **_format(file), "files": {file: None}}
    return Named(_name(file), declared)


def _file(path: Path, root: Path) -> Named:
    if path.is_dir() and (path / "_delta_log").is_dir():
        return Named(_name(path.name), {"kind": "delta", "url": _inside(path, root)})
    if not path.is_file():
        raise UserError(
            f"{path}: there is no such file; name a CSV or Parquet file, or an address (trunkline init --help)"
        )
    if path.suffix.lower() in _FOREIGN:
        raise UserError(f"{path}: is neither CSV nor Parquet; save the table as one of them")
    separator = {} if _format(path.name) else _separator(path)
    declared = {"kind": "files", **_format(path.name), **separator, "files": {path.name: None}}
    resolved = path.resolve()
    if resolved.is_relative_to(root.resolve()) and resolved.parent != root.resolve():
        return Named(_name(path.name), {**declared, "url": f"{_inside(path.parent, root)}/"})
    return Named(_name(path.name), {**declared, "url": f"{INCOMING}/"}, path)


def _inside(path: Path, root: Path) -> str:
    try:
        return path.resolve().relative_to(root.resolve()).as_posix()
    except ValueError:
        raise UserError(f"{path}: is outside of the project; copy it into {root}, or name a bucket") from None


def _format(file: str) -> dict[str, str]:
    return {"format": "parquet"} if file.lower().endswith((".parquet", ".pq")) else {}


def _separator(path: Path) -> dict[str, str]:
    """Return the separator of a CSV if it is not the comma: the one that its first line has most of."""
    if path.suffix in _PACKED:
        return {}
    with path.open("rb") as file:
        line = re.sub(r'"[^"]*"', "", file.readline(1 << 20).decode(errors="replace"))
    best = max(_SEPARATORS, key=line.count)
    return {"separator": best} if best != "," and line.count(best) else {}


def _name(file: str) -> str:
    stem = file.partition("?")[0]
    return names.slug(stem.split(".")[0] or stem, taken=(), fallback="rows")
