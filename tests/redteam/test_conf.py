"""A pull request whose conf/ makes the pipeline reach what is not the project's: files, networks, databases, code."""

import inspect
import json
import re
import socket
import sqlite3
import sys
from collections.abc import Callable, Iterator
from contextlib import suppress
from ipaddress import IPv4Address, IPv6Address, ip_network
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import polars as pl
import pytest
import sqlalchemy
from deltalake import write_deltalake
from hypothesis import given
from hypothesis import strategies as st
from pydantic import TypeAdapter, ValidationError
from sklearn.utils import all_estimators

from tests.fileserver import Answer, FileServer, serving
from tests.servers import nobody, postgres
from trunkline.conf.contract import RowCheck
from trunkline.conf.data import Target
from trunkline.conf.data.sources import Source
from trunkline.conf.evaluation import Evaluation
from trunkline.conf.features import Latest, RowExpression, Stream
from trunkline.conf.model import Model
from trunkline.conf.tracking import Tracking
from trunkline.core import expressions
from trunkline.core.errors import TrunklineError, UserError
from trunkline.core.tables import rows
from trunkline.deploy.reconcile.manifests import manifests
from trunkline.pipeline.ingest import pins, read, sql
from trunkline.pipeline.train import estimators

SECRETS = pl.DataFrame({"secret": ["x"]})
PIN = "0" * 64
PRIVATE = r"is of this machine or of a private network; if the source is there, write private_hosts: \["


def source(**declared: object) -> Source:
    return TypeAdapter(Source).validate_python(declared, strict=True)


def files(url: str, **more: object) -> Source:
    return source(kind="files", url=url, files={"a.csv": PIN}, **more)


def table(url: str) -> Source:
    return source(kind="delta", url=url, version=0)


def query(url: str) -> Source:
    return source(kind="sql", url=url, query="select 1 as a", pin="x")


def catalog(**properties: str) -> Source:
    named = {key.replace("_", "."): value for key, value in properties.items()}
    return source(kind="iceberg", catalog="lake", table="a.b", snapshot="1", properties=named)


def refused(make: Callable[[], Source], reason: str) -> None:
    """Expect that a source is refused with a reason, as it is written or, at the latest, as it is read."""
    with pytest.raises((ValidationError, TrunklineError), match=reason):
        read.read("t", make())


@pytest.fixture(autouse=True)
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty project, which is the working directory, beside a folder that is none of its business."""
    (tmp_path / "project").mkdir()
    (tmp_path / "outside").mkdir()
    monkeypatch.chdir(tmp_path / "project")
    return tmp_path / "project"


@pytest.fixture
def outside(project: Path) -> Path:
    return project.parent / "outside"


# Schemes


@pytest.mark.parametrize("scheme", ["file", "FILE", " file", "\tfile", "fi\tle", "File ", "opendal+fs", "memory", "uc"])
def test_a_delta_table_of_the_machine_is_refused_by_any_spelling_of_its_scheme(outside: Path, scheme: str) -> None:
    """`FILE://`, and `file://` after a blank or with a tab in it, went past a list of refused schemes to delta-rs."""
    write_deltalake(outside / "lake", SECRETS.to_arrow())
    refused(lambda: table(f"{scheme}://{outside}/lake"), r"is no store of tables")


SCHEMES = (
    "FILE", " file", "asynclocal", "dir", "git", "github", "zip", "tar", "libarchive", "reference", "dvc", "jupyter",
    "generic", "dask", "wandb", "a/b", "data", "s4", "HTTPS\t",
)  # fmt: skip


@pytest.mark.parametrize("scheme", SCHEMES)
def test_files_are_read_by_the_schemes_of_a_list_only(outside: Path, scheme: str) -> None:
    """`asynclocal://` and `git://` of fsspec read the machine's own files, `dvc://` runs DVC; no list refused them."""
    refused(lambda: files(f"{scheme}://{outside}/"), r"is no store of tables|is not a path inside")


@given(scheme=st.from_regex(r"[ -~]{1,12}", fullmatch=True))
def test_no_other_scheme_is_ever_taken(scheme: str) -> None:
    """Any text before ://, as an attacker may choose it; what is taken is in the list, in small letters."""
    taken = r"abfss?|adl|az|azure|ftp|gcs|gs|hdfs|hf|https?|oci|oss|s3a?|sftp|smb|ssh|webhdfs"
    for make in (files, table):
        try:
            made = make(f"{scheme}://example.org/x/")
        except ValidationError:
            continue
        assert re.fullmatch(taken, made.url.partition("://")[0])  # type: ignore[union-attr]


def test_an_address_is_judged_and_used_in_its_normal_form() -> None:
    """`HTTPS://` was handed to fsspec, which has no such protocol: refused already, by luck."""
    made = files(" HTTPS://Example.org/x/ ")
    assert made.url == "https://Example.org/x/"  # type: ignore[union-attr]
    with pytest.raises(ValidationError, match="a web server lists no files"):
        source(kind="files", url="HTTPS://example.org/x/", glob="*.csv")


# Private networks


SPELLINGS = (
    "127.0.0.1", "0x7f000001", "2130706433", "127.1", "0177.0.0.1", "[::ffff:127.0.0.1]", "[::ffff:7f00:1]",
    "localhost",
    "0.0.0.0", "0", "[::1]", "①27.0.0.1",
)  # fmt: skip


@pytest.fixture(scope="module")
def running() -> Iterator[FileServer]:
    with serving() as server:
        yield server


@pytest.fixture
def inner(running: FileServer) -> FileServer:
    """A web server of a private network."""
    running.reset({"a.csv": b"secret\nx\n"})
    return running


@pytest.mark.parametrize("host", SPELLINGS)
def test_a_server_of_this_machine_is_not_asked_however_it_is_spelt(inner: FileServer, host: str) -> None:
    """A source at an address of this machine: its bytes came into the report of a pull request."""
    url = inner.url.replace("127.0.0.1", host)
    with pytest.raises((ValidationError, TrunklineError), match=f"{PRIVATE}|cannot be asked for"):
        list(pins.moves("t", source(kind="files", url=url, files={"a.csv": None})))
    assert inner.asked == []


LINKS = (
    "http://169.254.169.254/latest/", "http://[::ffff:169.254.169.254]/", "http://[64:ff9b::a9fe:a9fe]/",
    "http://[2002:a9fe:a9fe::]/", "http://0xa9fea9fe/", "http://2852039166/", "http://[fd00:ec2::254]/",
    "http://[fe80::1]/", "http://10.0.0.1/", "http://100.64.0.1/", "http://192.168.0.1/", "HTTP://172.16.0.1/",
    "ftp://127.0.0.1/", "sftp://10.0.0.1/x/", "smb://10.0.0.1/x/", "webhdfs://10.0.0.1/x/", "hdfs://0x7f000001/x/",
)  # fmt: skip


@pytest.mark.parametrize("url", LINKS)
def test_what_a_cloud_tells_its_machines_is_refused_as_it_is_written(url: str) -> None:
    """The credentials of the machine itself, which a cloud serves at a link-local address, and private networks."""
    with pytest.raises(ValidationError, match=PRIVATE):
        files(url)


def resolving(monkeypatch: pytest.MonkeyPatch, **answers: list[str]) -> list[str]:
    """Have names resolve to addresses, another at each call until the last; return the names that were asked for."""
    asked: list[str] = []
    real = socket.getaddrinfo

    def resolve(host: Any, *arguments: Any, **options: Any) -> Any:
        key = str(host).replace(".", "_")
        if key not in answers:
            return real(host, *arguments, **options)
        asked.append(host)
        address = answers[key][0]
        answers[key] = answers[key][1:] or answers[key]
        return real(address, *arguments, **options)

    monkeypatch.setattr(socket, "getaddrinfo", resolve)
    return asked


@pytest.mark.parametrize("addresses", [["127.0.0.1"], ["127.0.0.1", "93.184.216.34"], ["93.184.216.34", "127.0.0.1"]])
def test_a_name_that_resolves_to_a_private_address_is_not_asked(
    inner: FileServer, monkeypatch: pytest.MonkeyPatch, addresses: list[str]
) -> None:
    """A name of the attacker's own zone, also one that is public when it is looked at and private when it is used."""
    resolving(monkeypatch, files_example_org=addresses)
    url = inner.url.replace("127.0.0.1", "files.example.org")
    refused(lambda: files(url), f"files.example.org {PRIVATE}")
    assert inner.asked == []


def test_a_redirect_to_a_private_address_is_not_followed(inner: FileServer) -> None:
    """A server that may be asked, and that sends on to one that may not, or to another scheme."""
    url = inner.url.replace("127.0.0.1", "localhost")
    inner.plan = [Answer(status=302, location=f"{inner.url}a.csv")]
    refused(lambda: files(url, private_hosts=["localhost"]), f"127.0.0.1 {PRIVATE}")
    assert len(inner.asked) == 1
    inner.plan = [Answer(status=302, location="file:///etc/passwd")]
    refused(lambda: files(url, private_hosts=["localhost"]), r"cannot be asked for \(InvalidSchema\)")


def test_a_private_host_that_conf_names_is_asked(inner: FileServer) -> None:
    """No attack: a reviewer reads the name of the host in the pull request."""
    declared = source(kind="files", url=inner.url, files={"a.csv": None}, private_hosts=["127.0.0.1"])
    assert len(list(pins.moves("t", declared))) == 1
    refused(lambda: files(inner.url, private_hosts=["localhost"]), f"127.0.0.1 {PRIVATE}")
    assert len(inner.asked) == 1


@pytest.mark.parametrize(
    "url", ["ftp://files.example.org/", "hdfs://files.example.org/x/", "sftp://files.example.org/"]
)
def test_a_server_that_fsspec_asks_is_resolved_before(monkeypatch: pytest.MonkeyPatch, url: str) -> None:
    """The same through a protocol whose connections are not Trunkline's own."""
    resolving(monkeypatch, files_example_org=["10.0.0.1"])
    refused(lambda: files(url), f"files.example.org {PRIVATE}")
    with pytest.raises(UserError, match=PRIVATE):
        list(pins.moves("t", source(kind="files", url=url, glob="*.csv")))


PUBLIC = st.ip_addresses(v=4).filter(lambda address: address.is_global and not address.is_multicast)
INNER = st.sampled_from(
    ["0.0.0.0/8", "10.0.0.0/8", "100.64.0.0/10", "127.0.0.0/8", "169.254.0.0/16", "172.16.0.0/12", "192.168.0.0/16",
     "224.0.0.0/4", "240.0.0.0/4"]
).flatmap(lambda network: st.ip_addresses(v=4, network=network))  # fmt: skip


def spellings(address: IPv4Address) -> Iterator[str]:
    """Yield the texts that this address may be written as."""
    number = int(address)
    yield from (str(address), str(number), hex(number), oct(number).replace("o", ""))
    yield ".".join(hex(part) for part in address.packed)
    for prefix in ("::ffff:0:0/96", "::/96", "64:ff9b::/96"):
        yield str(IPv6Address(int(ip_network(prefix).network_address) + number))
    yield str(IPv6Address((0x2002 << 112) + (number << 80)))


@given(private=INNER, public=PUBLIC)
def test_an_address_is_judged_alike_in_every_spelling(private: IPv4Address, public: IPv4Address) -> None:
    """Decimal, hexadecimal and octal numbers, and the addresses of IPv6 that lead to one of IPv4."""
    from trunkline.core.addresses import ip_of, is_public

    for address, expected in ((private, False), (public, True)):
        for text in spellings(address):
            found = ip_of(text)
            assert found is not None, text
            assert is_public(found) is expected, text


# Databases


def database(path: str | Path) -> None:
    connection = sqlite3.connect(path)
    connection.execute("create table flights (id integer)")
    connection.executemany("insert into flights values (?)", [(1,), (2,), (3,)])
    connection.commit()
    connection.close()


DATABASES = {
    "sqlite:////etc/passwd": "is not a path inside the project",
    "sqlite:///../outside/x.db": "is not a path inside the project",
    "sqlite:///data/../../outside/x.db": "is not a path inside the project",
    "SQLITE:////etc/passwd": "is not a path inside the project",
    " sqlite:////etc/passwd": "is not a path inside the project",
    "sqlite+pysqlite:////etc/passwd": "is not a path inside the project",
    "sqlite+aiosqlite:////etc/passwd": "is no kind of database",
    "sqlite+pysqlcipher:////etc/passwd": "is no kind of database",
    "sqlite:///file:/etc/passwd": "is not a path inside the project",
    "sqlite:///file:/etc/passwd?uri=true": "the option 'uri' is not for conf/",
    "sqlite:///x.db?charset=utf8": "takes no options here",
    "sqlite://etc/passwd": "names no file",
    "duckdb:////etc/passwd": "is no kind of database",
    "csvpath:///x": "is no kind of database",
    "oracle://host/x": "is no kind of database",
    "postgresql+psycopg2://host/x": "is no kind of database",
    "postgresql://host/x?host=/var/run/postgresql": "the option 'host' is not for conf/",
    "postgresql://host/x?hostaddr=127.0.0.1": "the option 'hostaddr' is not for conf/",
    "postgresql://host/x?service=prod": "the option 'service' is not for conf/",
    "postgresql://host/x?options=-cdefault_transaction_read_only%3Doff": "the option 'options' is not for conf/",
    "postgresql://host/x?plugin=x": "the option 'plugin' is not for conf/",
    "postgresql://host/x?sslmode=/etc/passwd": "the option 'sslmode' is not for conf/, or not with that value",
    "mysql+pymysql://host/x?read_default_file=/etc/my.cnf": "the option 'read_default_file' is not for conf/",
    "mysql+pymysql://host/x?local_infile=1": "the option 'local_infile' is not for conf/",
    "mysql+pymysql://host/x?unix_socket=/x": "the option 'unix_socket' is not for conf/",
    "postgresql://127.0.0.1/x": PRIVATE,
    "postgresql://me@[::1]:5432/x": PRIVATE,
    "mysql+pymysql://0x7f000001/x": PRIVATE,
    "postgresql://a.example.org,127.0.0.1/x": "knows no host",
}


@pytest.mark.parametrize("url", DATABASES)
def test_an_address_of_a_database_leads_to_no_file_and_no_code_of_the_machine(url: str) -> None:
    """Files outside of the project, drivers that are code of others, options that name files, sockets and hosts."""
    refused(lambda: query(url), DATABASES[url])


def test_a_database_behind_a_name_is_resolved_once_and_connected_to_as_it_was(monkeypatch: pytest.MonkeyPatch) -> None:
    """A name that is public when it is looked at, and private when PostgreSQL's client looks at it again."""
    asked = resolving(monkeypatch, db_example_org=["127.0.0.1", "10.0.0.1"])
    refused(lambda: query("postgresql://db.example.org/x"), f"db.example.org {PRIVATE}")
    asked.clear()
    with nobody() as port:
        url = f"postgresql://db.example.org:{port}/x?connect_timeout=5"
        declared = source(kind="sql", url=url, query="select 1", pin="x", private_hosts=["db.example.org"])
        refused(lambda: declared, "does not answer")
    assert asked == ["db.example.org"]


STATEMENTS = {
    "ATTACH DATABASE '{outside}/x.db' AS x": "not authorized",
    "VACUUM INTO '{outside}/copy.db'": "refuses the query",
    "PRAGMA writable_schema=ON": "not authorized",
    "PRAGMA journal_mode=WAL": "not authorized",
    "PRAGMA query_only=0": "not authorized",
    "PRAGMA user_version=7": "not authorized",
    "PRAGMA temp_store_directory='{outside}'": "not authorized",
    "select load_extension('{outside}/x')": "not authorized",
    "select 1 as a; DROP TABLE flights": "one statement at a time",
    "with x as (select 1 as a) insert into flights select a from x returning id": "not authorized",
    "create temp table z as select 1": "not authorized",
    "create virtual table z using fts5(a)": "not authorized",
    "delete from flights returning id": "not authorized",
    "update flights set id = 9 returning id": "not authorized",
    "BEGIN": "not authorized",
    "select * into z from flights": "syntax error",
    "select * from pragma_database_list": "not authorized|no such",
    "analyze": "not authorized",
}


@pytest.mark.parametrize("key", ["query", "fingerprint"])
@pytest.mark.parametrize("statement", STATEMENTS)
def test_a_statement_to_sqlite_reads_the_declared_database_and_does_nothing_else(
    outside: Path, statement: str, key: str
) -> None:
    """`PRAGMA journal_mode` changed the file, `VACUUM INTO` made one elsewhere, a table of pragmas told the path."""
    database("flights.db")
    before = Path("flights.db").read_bytes()
    declared = {"kind": "sql", "url": "sqlite:///flights.db", "query": "select 1 as a", "pin": "x"}
    refused(lambda: source(**declared | {key: statement.format(outside=outside)}), STATEMENTS[statement])
    assert Path("flights.db").read_bytes() == before
    assert list(outside.iterdir()) == []
    assert [path.name for path in Path().iterdir()] == ["flights.db"]


READS = (
    "select count(*) as a from flights",
    "with recursive n(a) as (select 1 union all select a + 1 from n where a < 3) "
    "select a from n",
    "select value as a from json_each('[1]')", "pragma schema_version", "pragma user_version",
    "select row_number() over (order by id) as a from flights", "select upper('a') as a",
)  # fmt: skip


@pytest.mark.parametrize("wal", [False, True])
@pytest.mark.parametrize("text", READS)
def test_what_only_reads_is_read(text: str, wal: bool) -> None:
    """No attack: what a query may do, also of a database that keeps its log beside it."""
    database("flights.db")
    if wal:
        connection = sqlite3.connect("flights.db")
        connection.execute("pragma journal_mode=wal")
        connection.close()
    found = read.read("t", source(kind="sql", url="sqlite:///flights.db", query=text, pin="x"))
    assert found.table.collect().height


def test_a_database_behind_a_link_is_not_read(outside: Path) -> None:
    """A link that the pull request commits: refused already for a query, and not for a catalog of Iceberg."""
    database(outside / "x.db")
    Path("in").symlink_to(outside)
    refused(lambda: query("sqlite:///in/x.db"), "leads out of the project")
    refused(lambda: catalog(type="sql", uri="sqlite:///in/x.db"), "leads out of the project")


@pytest.fixture(scope="module")
def server() -> Iterator[str]:
    """A PostgreSQL server whose user may do everything."""
    with postgres() as address:
        yield address


POSTGRESQL = (
    "commit; delete from flights; select 1 as a",
    "set transaction read write; delete from flights; commit; select 1 as a",
    "select 1 as a; DROP TABLE flights",
    "rollback; begin read write; delete from flights; commit",
    "select * into other from flights",
    "with x as (delete from flights returning id) select * from x",
    "with x as (insert into flights values (9) returning id) select * from x",
    "copy (select 1) to '{outside}/copied'",
    "copy (select 1) to program 'touch {outside}/run'",
    "do $$ begin delete from flights; end $$",
    "set transaction read write",
    "select set_config('transaction_read_only', 'off', false)",
    "create temp table z (a int)",
    "explain analyze delete from flights",
    "for select 1; delete from flights",
    "select nextval('numbers')",
    "select * from flights for update",
)


@pytest.mark.parametrize("key", ["query", "fingerprint"])
@pytest.mark.parametrize("statement", POSTGRESQL)
def test_a_statement_to_postgresql_selects_and_does_nothing_else(
    server: str, statement: str, key: str, monkeypatch: pytest.MonkeyPatch, outside: Path
) -> None:
    """More statements than one left the read-only transaction, and COPY wrote files and ran programs within it."""
    outside.chmod(0o777)
    for folder in (*outside.parents[:3],):
        folder.chmod(0o755)
    monkeypatch.setenv("FLIGHTS_DB", server)
    engine = sqlalchemy.create_engine(server, poolclass=sqlalchemy.NullPool)
    with engine.begin() as connection:
        for text in ("drop table if exists flights, other", "create table flights (id int)",
                     "create sequence if not exists numbers", "insert into flights values (1), (2), (3)"):  # fmt: skip
            connection.execute(sqlalchemy.text(text))
    declared = {"kind": "sql", "environment": "FLIGHTS_DB", "query": "select 1 as a", "pin": "x"}
    refused(lambda: source(**declared | {key: statement.format(outside=outside)}), "refuses the query")
    with engine.begin() as connection:
        assert connection.execute(sqlalchemy.text("select count(*) from flights")).scalar() == 3
    assert list(outside.iterdir()) == []


def test_other_databases_are_read_in_a_read_only_transaction_or_not_at_all(monkeypatch: pytest.MonkeyPatch) -> None:
    """A database whose connection nothing kept from writing: all but SQLite and PostgreSQL."""
    told: list[str] = []
    dialect = SimpleNamespace(name="mysql")
    connection: Any = SimpleNamespace(dialect=dialect, execute=lambda statement: told.append(str(statement)))
    assert sql._unwritable(connection) is connection
    assert told[-1].startswith("START TRANSACTION READ ONLY")
    for address in ("mssql+pyodbc://host/x", "oracle://host/x", "duckdb:///x", "mysql+mysqldb://host/x"):
        monkeypatch.setenv("FLIGHTS_DB", address)
        declared = source(kind="sql", environment="FLIGHTS_DB", query="select 1", pin="x")
        refused(lambda declared=declared: declared, "cannot be kept from writing")  # type: ignore[misc]


# Catalogs


CATALOGS: tuple[tuple[dict[str, str], str], ...] = (
    ({"uri": "sqlite:////etc/x.db"}, "properties.uri: is not a path inside the project"),
    ({"uri": "SQLITE:////etc/x.db"}, "properties.uri: is not a path inside the project"),
    ({"uri": " sqlite:////etc/x.db"}, "properties.uri: is not a path inside the project"),
    ({"uri": "duckdb:////etc/x.db"}, "properties.uri: 'duckdb' is no kind of database"),
    ({"uri": "file:///etc/x.db"}, "properties.uri: 'file' is no kind of database"),
    ({"uri": "postgresql://host/x?service=x"}, "properties.uri: the option 'service'"),
    ({"uri": "http://169.254.169.254/"}, PRIVATE),
    ({"uri": "thrift://a.example.org:1,thrift://127.0.0.1:9083"}, PRIVATE),
    ({"s3_endpoint": "http://127.0.0.1:9000"}, PRIVATE),
    ({"s3_endpoint": "HTTP://0x7f000001:9000"}, PRIVATE),
    ({"s3_endpoint": "http://s3.example.org"}, PRIVATE),
    ({"s3_endpoint": "file:///etc/"}, "properties.s3.endpoint: is not an address such as https://host"),
    ({"s3_region": "x@127.0.0.1/#"}, "properties.s3.region: does not take"),
    ({"glue_region": "x/../y"}, "properties.glue.region: does not take"),
    ({"warehouse": "file:///etc/"}, "properties.warehouse: 'file' is no store of tables"),
    ({"warehouse": " FILE:/etc/"}, "properties.warehouse: 'file' is no store of tables"),
    ({"warehouse": "/etc"}, "properties.warehouse: is neither a name"),
    ({"type": "REST"}, "properties.type: 'REST' is no kind of catalog"),
)


@pytest.mark.parametrize(("properties", "reason"), CATALOGS)
def test_a_catalog_of_iceberg_leads_to_no_file_and_no_private_network(
    properties: dict[str, str], reason: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Properties were compared by name; SQLite was known by its first letters, and hosts by nothing."""
    resolving(monkeypatch, s3_example_org=["10.0.0.1"])
    refused(lambda: catalog(**properties), reason)


METADATA = {
    "format-version": 2, "table-uuid": "9c12d441-03fe-4693-9a96-a0705ddf69c1", "location": "s3://bucket/t",
    "last-sequence-number": 0, "last-updated-ms": 0, "last-column-id": 1, "current-schema-id": 0,
    "schemas": [
        {"type": "struct", "schema-id": 0, "fields": [{"id": 1, "name": "a", "required": True, "type": "int"}]}
    ],
    "default-spec-id": 0, "partition-specs": [{"spec-id": 0, "fields": []}], "last-partition-id": 999,
    "default-sort-order-id": 0, "sort-orders": [{"order-id": 0, "fields": []}],
}  # fmt: skip


def answers(at_first: dict[str, Any], table: dict[str, Any], metadata: dict[str, Any]) -> dict[str, bytes]:
    """What a REST catalog sends: properties when it is opened, with a table, and in what the table says of itself."""
    described = METADATA | {"properties": metadata}
    answer = {"metadata-location": "s3://bucket/m.json", "metadata": described, "config": table}
    opened = {"defaults": at_first, "overrides": {}}
    return {"v1/config": json.dumps(opened).encode(), "v1/namespaces/a/tables/b": json.dumps(answer).encode()}


# The library imports what is named and calls it: with the properties, or with those that are below `custom`.
CALLED: dict[str, dict[str, Any]] = {
    "a command": {"sh": "", "-c": "", "touch ../outside/owned": "", "py-io-impl": "subprocess.run"},
    "a signer": {
        "auth": {
            "type": "custom",
            "impl": "subprocess.run",
            "custom": {"args": "touch ../outside/owned", "shell": True},
        }
    },
    "a module": {"py-io-impl": "this.d"},
}


@pytest.mark.parametrize("where", ["at_first", "table", "metadata"])
@pytest.mark.parametrize("what", CALLED)
def test_what_a_catalog_sends_back_names_no_code(inner: FileServer, outside: Path, what: str, where: str) -> None:
    """A REST catalog of the attacker's own answers with properties, which the library took for the machine's."""
    places: dict[str, dict[str, Any]] = {"at_first": {}, "table": {}, "metadata": {}}
    inner.reset(answers(**(places | {where: CALLED[what]})))
    properties = {"type": "rest", "uri": inner.url.rstrip("/")}
    declared = {"kind": "iceberg", "catalog": "lake", "table": "a.b", "snapshot": "1", "properties": properties}
    with suppress(TrunklineError):
        read.read("t", source(**declared, private_hosts=["127.0.0.1"]))
    assert list(outside.iterdir()) == []
    assert "this" not in sys.modules
    assert [path for path, _ in inner.asked] == ["v1/config", "v1/namespaces/a/tables/b"]


def test_an_endpoint_of_this_machine_is_declared_by_its_name() -> None:
    """No attack: a store of S3 beside the pipeline, as tests use one."""
    properties = {"uri": "https://lake.example.org", "s3.endpoint": "http://localhost:9000"}
    declared = {"kind": "iceberg", "catalog": "lake", "table": "a.b", "properties": properties}
    assert source(**declared, private_hosts=["localhost"])


# MLflow


TRACKING = (
    "file:///etc", "FILE:///etc", "/etc/mlruns", "mlruns", "databricks", "databricks://x", "http+x://host", "ftp://host",
    "https+x://host", "sqlite+x:///y.db", "duckdb:///x", "oracle://host/x", "s3://bucket/x", "uc://x", "plugin+x://y",
    "sqlite:////etc/mlflow.db", "sqlite:///../mlflow.db", "SQLITE:////etc/mlflow.db", " sqlite:////etc/x.db",
    "sqlite:///file:/etc/x.db?uri=true", "postgresql://host/x?service=x", "mysql://host/x?read_default_file=/etc/my.cnf",
    "postgresql://host/x?plugin=x", "mssql+pyodbc://host/x?driver=/tmp/x.so", "mssql+pyodbc://host/x?odbc_connect=x",
    "http://169.254.169.254/", "http://[::ffff:169.254.169.254]/", "http://0xa9fea9fe/",
)  # fmt: skip


@pytest.mark.parametrize("uri", TRACKING)
def test_runs_are_logged_to_the_schemes_of_a_list_only(uri: str) -> None:
    """A database was made wherever `sqlite:////` said; other drivers, and options that name files, were taken."""
    with pytest.raises(ValidationError):
        Tracking.parse({"uri": uri, "experiment": "x"})


@pytest.mark.parametrize(
    "uri",
    ["sqlite:///mlflow.db", "https://mlflow.example.org", "http://127.0.0.1:5000", "postgresql+psycopg2://host/x",
     "mssql+pyodbc://host/x?driver=ODBC+Driver+18+for+SQL+Server", "mysql+pymysql://me@host/x?charset=utf8mb4"],
)  # fmt: skip
def test_an_address_that_mlflow_is_at_is_taken(uri: str) -> None:
    """No attack: the address itself names the server, which is often one of a private network."""
    assert Tracking.parse({"uri": uri, "experiment": "x"}).uri == uri


# Expressions


EXPRESSIONS = (
    "read_csv('/etc/passwd')", "read_text('/etc/passwd')", "glob('/*')", "getenv('HOME')",
    "COPY (SELECT 1) TO '/tmp/x'", "INSTALL httpfs", "LOAD httpfs", "ATTACH '/tmp/x.db'",
    "(SELECT content FROM read_text('/etc/passwd'))",
    "a; COPY x TO '/tmp/x'", "a -- ", "a::text", "current_setting('home_directory')", "query('select 1')",
    "__import__('os').system('id')", "a.b", "a[0]", "[x for x in a]", "lambda: a", "f'{a}'", "column(a)",
    "column('a', 'b')", "abs(a, b)", "abs(*a)", "abs(a=1)", "b'x'", "1j", "a if b", "(a := 1)", "await_(a)",
)  # fmt: skip
PLACES: dict[str, Callable[[str], object]] = {
    "a target": lambda text: Target.model_validate({"name": "y", "expression": text}),
    "a check of a contract": lambda text: RowCheck.model_validate({"expression": text, "description": "rule"}),
    "a slice": lambda text: TypeAdapter(Evaluation.model_fields["slices"].annotation).validate_python({"x": text}),
    "a feature of events": lambda text: Latest.model_validate(
        {"kind": "latest", "stream": "s", "keys": ("k",), "features": {"x": text}}
    ),
    "a feature of the request": lambda text: RowExpression.model_validate(
        {"kind": "expression", "features": {"x": text}}
    ),
    "the time of an event": lambda text: Stream.model_validate({"table": "t", "event_time": text, "available_at": "a"}),
}  # fmt: skip


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("text", EXPRESSIONS)
def test_an_expression_holds_no_sql_and_no_python(place: str, text: str) -> None:
    """SQL that reads or writes files, brings extensions or tells settings: refused already, by the grammar."""
    with pytest.raises((ValidationError, ValueError)):
        PLACES[place](text)


@given(
    st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=30)
    | st.sampled_from(EXPRESSIONS)
)
def test_a_text_or_a_name_in_an_expression_stays_one(text: str) -> None:
    """Quotes, braces and comments within a text or within the name of a column, as an attacker may choose them."""
    frame = pl.DataFrame({text or "a": ["x"]})
    sources = {"text": repr(text), "name": f"column({(text or 'a')!r})"}
    try:
        found = rows.evaluate(frame, sources, "UTC").row(0)
    except ValueError as error:
        assert "expression" in str(error)  # noqa: PT017  longer than one may be, or no literal
    else:
        assert found == (text, "x")


@given(name=st.from_regex(r"[a-z_]{1,20}", fullmatch=True))
def test_no_function_of_duckdb_is_called_that_is_not_in_the_list(name: str) -> None:
    """Any other name, such as those of DuckDB's some six hundred functions."""
    if name not in expressions.FUNCTIONS and name not in ("column", "not", "lambda", "await"):
        with pytest.raises(ValueError, match=f"no function '{name}'|is not an expression"):
            expressions.parse(f"{name}('/etc/passwd')")


BEYOND = (
    "SELECT * FROM read_text('/etc/hostname')", "COPY (SELECT 1) TO 'x.csv'", "INSTALL httpfs", "ATTACH 'x.db'",
    "SET enable_external_access=true",
)  # fmt: skip


@pytest.mark.parametrize("statement", BEYOND)
def test_an_expression_that_got_past_its_grammar_would_reach_nothing(statement: str) -> None:
    """The second line of defence of a contract's and an evaluation's expressions: held already."""
    import duckdb

    with rows.connect() as connection:
        connection.execute("SET enable_external_access=false; SET lock_configuration=true")
        with pytest.raises(duckdb.Error, match=r"disabled|locked|Permission|Cannot"):
            connection.execute(statement)
    assert list(Path().iterdir()) == []


# Estimators


def build(**declared: Any) -> object:
    return estimators.build(Model.model_validate({"preprocess": {}, **declared}), 0)


TARGETS = (
    "os.system", "builtins.eval", "subprocess.Popen", "sklearn.os.system", "sklearn.utils._joblib.Parallel",
    "joblib.load",
    "sklearn.datasets.fetch_openml", "sklearn.base.clone", "sklearn.pipeline.Pipeline", "sklearn", "eval", "",
    "sklearn.externals.x.Y", "sklearn.preprocessing.FunctionTransformer", "lightgbm.Dataset", "lightgbm.Booster",
    "xgboost.Booster", "xgboost.DMatrix", "xgboost.train", "catboost.Pool", "catboost.CatBoost", "catboost.cv",
    "sklearn.experimental.enable_halving_search_cv.X", "sklearn.utils.discovery.all_estimators", "sklearn..x",
)  # fmt: skip


@pytest.mark.parametrize("target", TARGETS)
def test_a_target_names_an_estimator_and_nothing_else(target: str) -> None:
    """A function, or a class that is no estimator, by its import path, also within an estimator: refused already."""
    inner = {"_target_": target, "x": "id"}
    for declared in (inner, {"_target_": "sklearn.calibration.CalibratedClassifierCV", "estimator": inner}):
        with pytest.raises(UserError):
            build(**declared)


INJECTED = (
    {"boosting_type": "gbdt forcedsplits_filename=/etc/passwd"},
    {"boosting_type": "gbdt\nforcedbins_filename=/etc/passwd"},
    {"objective": "binary output_model=/tmp/model"},
    {"bagging_by_query": "false machines=127.0.0.1:9 num_machines=2"},
    {"monotone_constraints_method": "basic\tinput_model=/etc/passwd"},
    {"interaction_constraints": [["0 forcedsplits_filename=/etc/passwd"]]},
    {"data_sample_strategy": "bagging device_type=gpu"},
    {"objective": "binary#"},
    {"monotone_constraints": {"1 input_model=/x": 1}},
)


@pytest.mark.parametrize("parameters", INJECTED)
def test_a_parameter_of_lightgbm_holds_no_other_parameter(parameters: dict[str, Any]) -> None:
    """LightGBM reads one text of all parameters, so that a blank in a value began one that names a file or machines."""
    with pytest.raises(UserError, match="is no single word; write the value alone"):
        build(_target_="lightgbm.LGBMClassifier", **parameters)


CLASSES = [cls for kind in ("classifier", "regressor") for _, cls in all_estimators(kind)]


PLAIN = {"_target_": "sklearn.linear_model.LogisticRegression"}
NEEDED = {"estimator": PLAIN, "estimators": [["a", PLAIN]]}


@pytest.mark.filterwarnings("ignore:Class PassiveAggressive:FutureWarning")
@pytest.mark.parametrize("cls", CLASSES, ids=lambda cls: cls.__name__)
def test_no_parameter_of_an_estimator_becomes_a_callable(cls: type) -> None:
    """The name of a function where a parameter takes one: the text is refused, or stays a text."""
    target = f"{cls.__module__.split('._')[0]}.{cls.__name__}"
    signature = inspect.signature(cls).parameters.values()
    needed = {each.name: NEEDED[each.name] for each in signature if each.name in NEEDED and each.default is each.empty}
    for name in estimators._parameters(cls):
        for value in ("os.system", "builtins.eval", {"_target_": "os.system"}):
            try:
                made: Any = build(**{"_target_": target, **needed, name: value})
            except UserError:
                continue
            assert made.get_params(deep=False)[name] == value, name


def test_an_estimator_without_what_it_needs_is_refused_in_one_line() -> None:
    """A class whose parameter has no default: an error of Python, with its traceback."""
    with pytest.raises(UserError, match=r"^model\.estimators: the key is missing: VotingClassifier needs it$"):
        build(_target_="sklearn.ensemble.VotingClassifier")


# Manifests


TEMPLATES = (
    "{{ ''.__class__.__mro__ }}", "{{ version.__class__ }}", "{{ version.__init__.__globals__ }}", "{{ lipsum }}",
    "{{ lipsum.__globals__['os'].popen('id').read() }}", "{{ cycler.__init__.__globals__ }}",
    "{{ self._TemplateReference__context }}",
    "{{ '{0.__class__}'.format(version) }}", "{{ '{0.__class__}'.format_map({'0': version}) }}",
    "{% include '/etc/passwd' %}", "{% import '/etc/passwd' as x %}", "{% extends '/etc/passwd' %}",
    "{{ version|attr('__class__') }}", "{{ (version|attr)('__class__') }}", "{{ config }}", "{{ range(3) }}",
    "{{ namespace() }}", "{{ joiner() }}", "{{ dict() }}", "{{ [].append(1) }}", "{{ ()['__class__'] }}",
)  # fmt: skip


@pytest.mark.parametrize("template", TEMPLATES)
def test_a_manifest_reaches_no_attribute_of_python(template: str) -> None:
    """The ways from a template to Python's classes: most refused already; Jinja2's own names could be called."""
    told = ""
    try:
        told = manifests({"deploy/x.yaml.j2": template}, {"version": "v1"})["x.yaml"]
    except UserError as error:
        assert re.match(r"deploy/x\.yaml\.j2", str(error))  # noqa: PT017
    assert told == ""
