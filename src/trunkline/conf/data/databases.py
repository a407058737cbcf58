"""Which databases conf/ may name, and how: all else that SQLAlchemy or a driver takes may name files, hosts or code."""

import re
from collections.abc import Collection
from urllib.parse import parse_qsl

from trunkline.core.addresses import holds_a_secret, normal
from trunkline.core.errors import nearest

# Whose connections can be kept from writing by the connection itself, with the driver that keeps to it.
READABLE = ("sqlite", "sqlite+pysqlite", "postgresql", "postgresql+psycopg", "mysql+pymysql", "mariadb+pymysql")

# What MLflow and Iceberg catalogs may keep their own tables in.
WRITABLE = (
    *READABLE, "postgresql+psycopg2", "mysql", "mysql+mysqldb", "mariadb", "mariadb+mysqldb", "mssql", "mssql+pyodbc",
    "mssql+pymssql",
)  # fmt: skip

OPTIONS = ("application_name", "charset", "connect_timeout", "driver", "Encrypt", "sslmode", "TrustServerCertificate")
_VALUE = re.compile(r"[\w .-]{1,100}")


def database(url: str, allowed: Collection[str]) -> str:
    """Return the address of a database in its normal form.

    Raises ValueError, which never repeats the address, for a kind that is not allowed, a secret, an option that is not
    in OPTIONS, or a SQLite file outside of the project.
    """
    scheme, separator, rest = normal(url).partition("://")
    if not separator:
        raise ValueError("is not an address such as sqlite:///data/flights.db or postgresql+psycopg://host/database")
    if scheme not in allowed:
        raise ValueError(f"'{scheme[:60]}' is no kind of database that conf/ may name{nearest(scheme, allowed)}")
    if holds_a_secret(url):
        raise ValueError(
            "holds a secret, which git would keep for ever; give it to the environment: docs/ingest.md of the framework"
        )
    path, _, options = rest.partition("?")
    for key, value in parse_qsl(options, keep_blank_values=True):
        if key not in OPTIONS or not _VALUE.fullmatch(value):
            raise ValueError(f"the option '{key[:60]}' is not for conf/, or not with that value; remove it")
    if scheme.partition("+")[0] == "sqlite":
        _file(path, options)
    return f"{scheme}://{rest}"


def local(path: str) -> None:
    """Raise ValueError for a path that is not, as it is written, below the project."""
    if (
        path.startswith(("/", "~", "\\"))
        or "\\" in path
        or not path.isprintable()
        or ".." in path.split("/")
        or ":" in path.split("/", maxsplit=1)[0]
    ):
        raise ValueError(
            "is not a path inside the project, such as data/incoming/, nor an address such as s3://bucket/"
        )


def _file(path: str, options: str) -> None:
    if options:
        raise ValueError("takes no options here; write sqlite:///, then the path inside the project")
    if not path.startswith("/") or path in ("/", "/:memory:"):
        raise ValueError("names no file; write sqlite:///, then its path inside the project")
    local(path[1:])
