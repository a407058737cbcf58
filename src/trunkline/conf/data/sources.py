"""conf/data's sources: where a table is kept, and the pin that says exactly which bytes of it are meant.

Every kind but a package holds a pin (docs/adr/0009): sha256 of files, the version of a Delta table, the snapshot of an
Iceberg table, a text for a database. `trunkline pin` writes it. An address never holds a secret, and a path never
leaves the project.
"""

import re
from collections.abc import Sequence
from typing import Annotated, Any, Literal, Self

from pydantic import AfterValidator, BeforeValidator, Field, StringConstraints, WithJsonSchema, model_validator

from trunkline.conf.data import catalogs, databases
from trunkline.core.addresses import holds_a_secret, host_of, ip_of, is_public, normal
from trunkline.core.errors import nearest
from trunkline.core.values import Column, Columns, Strict, Tuple

KINDS = ("package", "files", "sql", "delta", "iceberg")
HTTP = ("http", "https")

# What tables may be read from besides the project, by scheme. All else that a library opens is refused: the machine's
# own files by another name, caches and archives of other addresses, made-up content, or what a plug-in has brought.
SERVERS = ("ftp", "hdfs", "sftp", "smb", "ssh", "webhdfs")  # the host of the address is what is asked
STORES = ("abfs", "abfss", "adl", "az", "gcs", "gs", "hf", "oci", "oss", "s3", "s3a")  # a provider's own hosts are
_ASKED = (*HTTP, *SERVERS, *databases.READABLE)
_FILES = (*HTTP, *SERVERS, *STORES)
_LAKES = ("abfs", "abfss", "adl", "az", "azure", "gs", "hdfs", "hf", "oss", "s3", "s3a")

_PATTERN = re.compile(r"[*?\[]")
_BRACKETS = re.compile(r"(?<=//)\[[0-9a-fA-F:.]+\]")  # around an IPv6 address, which is no pattern


def _inside(path: str) -> str:
    if path.startswith("/") or ".." in path.split("/"):
        raise ValueError(f"'{path}' is not a path inside the package, such as pkg/data/table.csv")
    return path


def _without_secret(url: str) -> str:
    # No message may repeat the address: a secret in it would end in a log.
    if holds_a_secret(url):
        raise ValueError(
            "holds a secret, which git would keep for ever; give it to the environment: docs/ingest.md of the framework"
        )
    return url


def _address(url: str, schemes: Sequence[str]) -> str:
    url = _without_secret(normal(url))
    scheme, separator, _ = url.partition("://")
    if "::" in (bare := _BRACKETS.sub("", url)) or _PATTERN.search(bare.partition("?")[0]):
        raise ValueError("is one folder; patterns belong into `glob`, and archives are opened by the name of the file")
    if not separator:
        databases.local(url)
    elif scheme not in schemes:
        raise ValueError(
            f"{scheme[:60]}:// is no store of tables; a folder of the project is written without it, "
            f"and stores are: {', '.join(schemes)}"
        )
    elif not url.isprintable():
        raise ValueError("holds a control character; remove it")
    return url


def _table(url: str) -> str:
    return _address(url, _LAKES)


def _folder(url: str) -> str:
    url = _address(url, _FILES)
    if not url.endswith("/"):
        raise ValueError("is not a folder: end it with / and name its files under `files`, or by a `glob`")
    return url


def _name(name: str) -> str:
    # An address, or a path from the root, has an empty part.
    if name.startswith("~") or "\\" in name or not name.isprintable() or {"", ".", ".."} & set(name.split("/")):
        raise ValueError(f"'{name}' is not the name of a file below the url, such as 2013-01.csv")
    return _without_secret(name)


def _database(url: str) -> str:
    return databases.database(url, databases.READABLE)


def _asked(url: str) -> tuple[str, ...]:
    """Return the host that an address has its tables asked for at; none of a store or of the project."""
    scheme = url.partition("://")[0]
    host = host_of(url) if scheme in _ASKED else ""
    return (host,) if host else ()


Folder = Annotated[
    str,
    AfterValidator(_folder),
    WithJsonSchema({"type": "string", "title": "folder, such as data/incoming/", "pattern": "/$"}),
]
Database = Annotated[
    str,
    AfterValidator(_database),
    WithJsonSchema(
        {"type": "string", "title": "address, such as postgresql+psycopg://host/database", "pattern": "://"}
    ),
]
FileName = Annotated[str, StringConstraints(min_length=1, max_length=500), AfterValidator(_name)]
Host = Annotated[str, StringConstraints(pattern=r"^[a-z0-9._:-]+$", max_length=255)]
Sha256 = Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{64}$")]
Variable = Annotated[str, StringConstraints(pattern=r"^[A-Z][A-Z0-9_]*$", max_length=100)]


class TableSource(Strict):
    """What all sources have: which columns are kept."""

    keep: dict[Column, Column] = Field(
        default_factory=dict,
        description="The columns to keep: the name here, then its name there; all if none is named.",
    )


class _OnNetwork(TableSource):
    """What sources have that a host may be asked for."""

    private_hosts: Annotated[tuple[Host, ...], Tuple] = Field(
        (),
        description="Hosts of its address, as written there, that may be of this machine or of a private network.",
    )

    @property
    def hosts(self) -> tuple[str, ...]:
        """The hosts that conf/data itself names."""
        return ()

    @model_validator(mode="after")
    def _public_unless_named(self) -> Self:
        for host in self.hosts:
            if (ip := ip_of(host)) and not is_public(ip) and host not in self.private_hosts:
                raise ValueError(private(host))
        return self


def private(host: str) -> str:
    """Return what is said of a host that is at no public address, and that its source does not name."""
    return (
        f"{host[:255]} is of this machine or of a private network; "
        f"if the source is there, write private_hosts: [{host[:255]}] beside its address"
    )


class _InFiles(TableSource):
    format: Literal["csv", "parquet"] = Field("csv", description="Format of the file; a CSV may be in a .zip or a .gz.")
    member: str | None = Field(
        None, min_length=1, description="The one file to read in a .zip, such as *.csv; its only one if not declared."
    )
    nulls: Annotated[tuple[str, ...], Tuple] = Field(("",), description="CSV texts that mean a missing value.")
    separator: str = Field(",", min_length=1, max_length=1, description="Character between the fields of a CSV.")
    skip_lines: int = Field(0, ge=0, description="Lines of a CSV before its header, or before its rows with `header`.")
    header: Columns = Field((), description="Names of the columns, in order, of a CSV that has no header itself.")


class Package(_InFiles):
    """A file of an installed package; `kind` may be left out. The version is its pin."""

    kind: Literal["package"] = Field("package", description="What the source is.")
    package: str = Field(
        description="Distribution that carries the file, as pip knows it.",
        pattern=r"^[A-Za-z0-9]([A-Za-z0-9._-]*[A-Za-z0-9])?$",
    )
    version: str = Field(description="The exact version that must be installed.", min_length=1)
    path: Annotated[str, AfterValidator(_inside)] = Field(
        description="The file inside the distribution, such as pkg/data/table.csv."
    )
    beside: Columns = Field((), description="More such files of the package, whose columns stand beside, row by row.")

    @model_validator(mode="after")
    def _header_for_all(self) -> Self:
        if self.beside and not self.header:
            raise ValueError("beside: needs `header`, which names the columns of all files")
        return self


class Files(_InFiles, _OnNetwork):
    """One or more files in a folder of the project, on a web server or in a store, read in the order of their names."""

    kind: Literal["files"] = Field(description="What the source is.")
    url: Folder = Field(
        description="The folder, with / at its end: data/incoming/, https://host/folder/, s3://bucket/folder/, "
        "or another store; docs/ingest.md of the framework lists them."
    )
    glob: str | None = Field(
        None, min_length=1, description="Which files `trunkline pin` takes up, such as *.csv or **/*.parquet."
    )
    files: dict[FileName, Sha256 | None] = Field(
        default_factory=dict, description="The files to read, by name below the url: the sha256 that each must have."
    )

    @property
    def hosts(self) -> tuple[str, ...]:
        """The hosts that conf/data itself names."""
        return _asked(self.url)

    @model_validator(mode="after")
    def _named(self) -> Self:
        if self.glob is None and not self.files:
            raise ValueError("files: name at least one, or declare a `glob` that `trunkline pin` finds them by")
        if self.glob is not None and self.url.partition("://")[0] in HTTP:
            raise ValueError("glob: a web server lists no files; name them under `files`")
        if self.glob is not None and (self.glob.startswith("/") or ".." in self.glob.split("/")):
            raise ValueError("glob: must stay below the url, such as *.csv")
        return self


class Query(_OnNetwork):
    """The rows of a SQL query, sorted by all their columns. A password comes from the environment only."""

    kind: Literal["sql"] = Field(description="What the source is.")
    url: Database | None = Field(
        None, description="Address of the database as SQLAlchemy writes it, without a password."
    )
    environment: Variable | None = Field(
        None, description="In place of `url`: the environment variable that holds the address, with its password."
    )
    query: str = Field(min_length=1, description="The query; it may read the pin as the parameter :pin.")
    fingerprint: str | None = Field(
        None, min_length=1, description="A query of one row that changes when the rows do; its result is the pin."
    )
    pin: Annotated[str, StringConstraints(min_length=1, max_length=500)] | None = Field(
        None, description="Which rows are meant: the result of `fingerprint`, else a text such as a date."
    )

    @property
    def hosts(self) -> tuple[str, ...]:
        """The hosts that conf/data itself names."""
        return _asked(self.url or "")

    @model_validator(mode="after")
    def _one_address(self) -> Self:
        if (self.url is None) == (self.environment is None):
            raise ValueError("declare either `url` or `environment`")
        return self


class Delta(_OnNetwork):
    """A Delta table at one version, sorted by all its columns."""

    kind: Literal["delta"] = Field(description="What the source is.")
    url: Annotated[str, AfterValidator(_table)] = Field(
        description="Folder of the table: data/lake/flights, s3://bucket/flights, or another store of "
        "docs/ingest.md of the framework."
    )
    version: int | None = Field(None, ge=0, description="The version that is read.")

    @property
    def hosts(self) -> tuple[str, ...]:
        """The hosts that conf/data itself names."""
        return _asked(self.url)


class Iceberg(_OnNetwork):
    """An Iceberg table at one snapshot, sorted by all its columns."""

    kind: Literal["iceberg"] = Field(description="What the source is.")
    catalog: str = Field(
        min_length=1,
        description="Name of the catalog, whose secrets stand in PYICEBERG_CATALOG__<NAME>__… or ~/.pyiceberg.yaml.",
    )
    properties: Annotated[dict[str, str], AfterValidator(catalogs.verify)] = Field(
        default_factory=dict,
        description="Properties of the catalog, such as type: sql, without secrets; "
        "docs/ingest.md of the framework lists them.",
    )
    table: Annotated[str, StringConstraints(pattern=r"^[^.\s]+(\.[^.\s]+)+$")] = Field(
        description="Namespace and name of the table, such as flights.departures."
    )
    snapshot: Annotated[str, StringConstraints(pattern=r"^\d{1,19}$")] | None = Field(
        None, description="Id of the snapshot that is read, in quotes."
    )

    @property
    def hosts(self) -> tuple[str, ...]:
        """The hosts that conf/data itself names."""
        return catalogs.hosts(self.properties)


def _kind(value: Any) -> Any:
    if not isinstance(value, dict) or "kind" in value:
        return value
    if "package" in value:
        return {**value, "kind": "package"}
    raise ValueError(f"kind: the key is missing{nearest('', KINDS)}")


Source = Annotated[
    Annotated[Package | Files | Query | Delta | Iceberg, Field(discriminator="kind")], BeforeValidator(_kind)
]
