"""conf/data's sources: where a table is kept, and the pin that says exactly which bytes of it are meant.

Every kind but a package holds a pin (docs/adr/0009): sha256 of files, the version of a Delta table, the snapshot of an
Iceberg table, a text for a database. `trunkline pin` writes it. An address never holds a secret, and a path never
leaves the project.
"""

import re
from typing import Annotated, Any, Literal, Self

from pydantic import AfterValidator, BeforeValidator, Field, StringConstraints, model_validator

from trunkline.core.addresses import holds_a_secret, is_secret
from trunkline.core.errors import nearest
from trunkline.core.values import Column, Columns, Strict, Tuple

# What conf/data may say of an Iceberg catalog. The library imports and runs what some other properties name, such as
# py-io-impl; those are the machine's to set, by PYICEBERG_CATALOG__<NAME>__… or ~/.pyiceberg.yaml.
PROPERTIES = (
    "type", "uri", "warehouse", "prefix", "s3.endpoint", "s3.region", "s3.force-virtual-addressing",
    "s3.connect-timeout", "s3.request-timeout", "glue.region", "rest.sigv4-enabled", "rest.signing-region",
    "rest.signing-name",
)  # fmt: skip
CATALOGS = ("dynamodb", "glue", "hive", "rest", "sql")

KINDS = ("package", "files", "sql", "delta", "iceberg")
HTTP = ("http", "https")

# What fsspec would open beside a store: the machine's own files, other protocols' caches, and made-up content.
_NOT_A_STORE = (
    "file",
    "local",
    "memory",
    "data",
    "dir",
    "reference",
    "cached",
    "blockcache",
    "filecache",
    "simplecache",
)
_PATTERN = re.compile(r"[*?\[]")


def _inside(path: str) -> str:
    if path.startswith("/") or ".." in path.split("/"):
        raise ValueError(f"'{path}' is not a path inside the package, such as pkg/data/table.csv")
    return path


def _local(path: str) -> None:
    if (
        path.startswith(("/", "~", "\\"))
        or "\\" in path
        or ".." in path.split("/")
        or ":" in path.split("/", maxsplit=1)[0]
    ):
        raise ValueError(
            "is not a path inside the project, such as data/incoming/, nor an address such as s3://bucket/"
        )


def _without_secret(url: str) -> str:
    # No message may repeat the address: a secret in it would end in a log.
    if holds_a_secret(url):
        raise ValueError("holds a secret, which git would keep for ever; give it to the environment: docs/ingest.md")
    return url


def _address(url: str) -> str:
    _without_secret(url)
    scheme, separator, _ = url.partition("://")
    if "::" in url or _PATTERN.search(url.partition("?")[0]):
        raise ValueError("is one folder; patterns belong into `glob`, and archives are opened by the name of the file")
    if not separator:
        _local(url)
    elif scheme in _NOT_A_STORE:
        raise ValueError(f"{scheme}:// is no store of tables; a folder of the project is written without it")
    return url


def _folder(url: str) -> str:
    if not _address(url).endswith("/"):
        raise ValueError("is not a folder: end it with / and name its files under `files`, or by a `glob`")
    return url


def _name(name: str) -> str:
    # An address, or a path from the root, has an empty part.
    if name.startswith("~") or "\\" in name or not name.isprintable() or {"", ".", ".."} & set(name.split("/")):
        raise ValueError(f"'{name}' is not the name of a file below the url, such as 2013-01.csv")
    return _without_secret(name)


def _database(url: str) -> str:
    scheme, separator, rest = _without_secret(url).partition("://")
    if not separator:
        raise ValueError("is not an address such as sqlite:///data/flights.db or postgresql+psycopg://host/database")
    if scheme.partition("+")[0] == "sqlite":
        if rest.partition("?")[0] in ("", "/", "/:memory:") or "file:" in rest:
            raise ValueError("names no file; write sqlite:///, then its path inside the project")
        _local(rest[1:])
    return url


Folder = Annotated[str, AfterValidator(_folder)]
FileName = Annotated[str, StringConstraints(min_length=1, max_length=500), AfterValidator(_name)]
Sha256 = Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{64}$")]
Variable = Annotated[str, StringConstraints(pattern=r"^[A-Z][A-Z0-9_]*$", max_length=100)]


class TableSource(Strict):
    """What all sources have: which columns are kept."""

    keep: dict[Column, Column] = Field(
        default_factory=dict,
        description="The columns to keep: the name here, then its name there; all if none is named.",
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


class Files(_InFiles):
    """One or more files in a folder of the project, on a web server or in a store, read in the order of their names."""

    kind: Literal["files"] = Field(description="What the source is.")
    url: Folder = Field(
        description="The folder, with / at its end: data/incoming/, https://host/folder/, s3://bucket/folder/, "
        "or any other address that fsspec opens."
    )
    glob: str | None = Field(
        None, min_length=1, description="Which files `trunkline pin` takes up, such as *.csv or **/*.parquet."
    )
    files: dict[FileName, Sha256 | None] = Field(
        default_factory=dict, description="The files to read, by name below the url: the sha256 that each must have."
    )

    @model_validator(mode="after")
    def _named(self) -> Self:
        if self.glob is None and not self.files:
            raise ValueError("files: name at least one, or declare a `glob` that `trunkline pin` finds them by")
        if self.glob is not None and self.url.partition("://")[0] in HTTP:
            raise ValueError("glob: a web server lists no files; name them under `files`")
        if self.glob is not None and (self.glob.startswith("/") or ".." in self.glob.split("/")):
            raise ValueError("glob: must stay below the url, such as *.csv")
        return self


class Query(TableSource):
    """The rows of a SQL query, sorted by all their columns. A password comes from the environment only."""

    kind: Literal["sql"] = Field(description="What the source is.")
    url: Annotated[str, AfterValidator(_database)] | None = Field(
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

    @model_validator(mode="after")
    def _one_address(self) -> Self:
        if (self.url is None) == (self.environment is None):
            raise ValueError("declare either `url` or `environment`")
        return self


class Delta(TableSource):
    """A Delta table at one version, sorted by all its columns."""

    kind: Literal["delta"] = Field(description="What the source is.")
    url: Annotated[str, AfterValidator(_address)] = Field(
        description="Folder of the table: data/lake/flights, s3://bucket/flights, or another address of delta-rs."
    )
    version: int | None = Field(None, ge=0, description="The version that is read.")


class Iceberg(TableSource):
    """An Iceberg table at one snapshot, sorted by all its columns."""

    kind: Literal["iceberg"] = Field(description="What the source is.")
    catalog: str = Field(
        min_length=1,
        description="Name of the catalog, whose secrets stand in PYICEBERG_CATALOG__<NAME>__… or ~/.pyiceberg.yaml.",
    )
    properties: dict[str, str] = Field(
        default_factory=dict,
        description="Properties of the catalog, such as type: sql, without secrets; docs/ingest.md lists them.",
    )
    table: Annotated[str, StringConstraints(pattern=r"^[^.\s]+(\.[^.\s]+)+$")] = Field(
        description="Namespace and name of the table, such as flights.departures."
    )
    snapshot: Annotated[str, StringConstraints(pattern=r"^\d{1,19}$")] | None = Field(
        None, description="Id of the snapshot that is read, in quotes."
    )

    @model_validator(mode="after")
    def _harmless(self) -> Self:
        for key, value in self.properties.items():
            if key not in PROPERTIES and not is_secret(key):
                raise ValueError(f"properties.{key[:60]}: is not for conf/data{nearest(key, PROPERTIES)}")
            if key == "type" and value not in CATALOGS:
                raise ValueError(f"properties.type: '{value[:60]}' is no kind of catalog{nearest(value, CATALOGS)}")
            if is_secret(key) or holds_a_secret(value):
                raise ValueError(f"properties.{key}: holds a secret, which git would keep for ever; see docs/ingest.md")
            if value.startswith("sqlite"):
                _database(value)
        return self


def _kind(value: Any) -> Any:
    if not isinstance(value, dict) or "kind" in value:
        return value
    if "package" in value:
        return {**value, "kind": "package"}
    raise ValueError(f"kind: the key is missing{nearest('', KINDS)}")


Source = Annotated[
    Annotated[Package | Files | Query | Delta | Iceberg, Field(discriminator="kind")], BeforeValidator(_kind)
]
