"""Sources outside of packages, on the real thing: a web server, S3, SQLite, PostgreSQL, Delta and Iceberg tables."""

import gzip
import hashlib
import io
import os
import re
import sqlite3
import subprocess
import sys
import zipfile
from collections.abc import Iterator
from datetime import date
from pathlib import Path
from typing import Any

import polars as pl
import pytest
import yaml
from deltalake import write_deltalake
from hypothesis import given
from hypothesis import strategies as st
from pydantic import TypeAdapter, ValidationError
from s3fs import S3FileSystem

from tests.fileserver import FileServer, serving
from tests.rig.s3 import Remote
from tests.servers import postgres
from trunkline.conf.data.catalogs import PROPERTIES
from trunkline.conf.data.sources import Source
from trunkline.core.errors import OutsideError, TrunklineError, UserError
from trunkline.pipeline.ingest import download, read, stores
from trunkline.pipeline.ingest import pins as ingest_pins
from trunkline.pipeline.ingest.pins import PinMove

SECRET = "open-sesame"
ROWS = pl.DataFrame({"id": [3, 1, 2], "name": ["c", None, "b"], "day": [date(2013, 1, 1), date(2013, 1, 3), None]})
MONTHS = {"2013-01.csv": b"id,name\n1,a\n", "2013-02.csv": b"id,name\n2,b\n3,c\n"}


def source(**declared: object) -> Source:
    return TypeAdapter(Source).validate_python(declared, strict=True)


def digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def refusal(declared: Source) -> str:
    with pytest.raises(TrunklineError) as caught:
        read.read("t", declared)
    assert "\n" not in str(caught.value)
    return str(caught.value)


@pytest.fixture(autouse=True)
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty project, which is the working directory."""
    (tmp_path / "project").mkdir()
    monkeypatch.chdir(tmp_path / "project")
    return tmp_path / "project"


def put(folder: Path, files: dict[str, bytes]) -> dict[str, str]:
    """Write files and return their pins."""
    for name, content in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(content)
    return {name: digest(content) for name, content in files.items()}


# Files of the project


def test_months_are_read_in_the_order_of_their_names(project: Path) -> None:
    packed = {
        "2013/03.csv.gz": gzip.compress(b"id,name\n4,d\n"),
        "2013/02.csv": MONTHS["2013-02.csv"],
        "2013/01.csv": MONTHS["2013-01.csv"],
    }
    pins = put(project / "data/in", packed)
    found = read.read("t", source(kind="files", url="data/in/", glob="**/*.csv*", files=pins))
    assert found.table.collect().rows() == [("1", "a"), ("2", "b"), ("3", "c"), ("4", "d")]
    assert [(piece.name, piece.size) for piece in found.files] == [
        (f"data/in/{name}", len(packed[name])) for name in sorted(packed)
    ]
    assert {piece.sha256 for piece in found.files} == set(pins.values())


def test_only_what_is_pinned_is_read_and_nothing_else_in_its_place(project: Path) -> None:
    pins = put(project / "data/in", MONTHS)
    put(project / "data/in", {"2013-03.csv": b"id,name\n9,z\n"})
    months = {"kind": "files", "url": "data/in/", "glob": "*.csv"}
    assert read.read("t", source(**months, files=pins)).table.collect().height == 3  # a new month waits for its pin
    (project / "data/in/2013-02.csv").write_bytes(b"id,name\n2,x\n")
    changed = digest(b"id,name\n2,x\n")
    assert refusal(source(**months, files=pins)) == (
        "data/in/2013-02.csv: is not what data.sources.t.files has pinned: "
        f"its sha256 is {changed}; if it was changed on purpose, write that, or run: trunkline pin t"
    )
    assert refusal(source(**months, files={"2013-01.csv": None})) == (
        "data.sources.t.files: 2013-01.csv: has no sha256; run: trunkline pin t"
    )
    assert refusal(source(**months)) == "data.sources.t.files: no file is pinned; run: trunkline pin t"
    (project / "data/in/2013-02.csv").unlink()
    assert refusal(source(**months, files=pins)).startswith("data/in/2013-02.csv: there is no such file; put it there")
    third = digest(b"id,name\n9,z\n")
    assert list(ingest_pins.moves("t", source(**months, files={**pins, "2013-01.csv": None}))) == [
        PinMove(("t", "files", "2013-01.csv"), None, pins["2013-01.csv"]),
        PinMove(("t", "files", "2013-03.csv"), None, third),
        PinMove(("t", "files", "2013-02.csv"), pins["2013-02.csv"], None),
    ]


def test_other_columns_in_one_of_the_files_are_told(project: Path) -> None:
    def told(second: bytes, **more: object) -> str:
        pins = put(project / "in", {"a.csv": b"id,name\n1,a\n", "b.csv": second})
        return refusal(source(kind="files", url="in/", files=pins, **more))

    assert told(b"id,nme\n1,a\n") == (
        "in/b.csv: has other columns than in/a.csv: column 'nme' is in one of the two only; "
        "fix it, or name the wanted ones in `keep`"
    )
    assert "the columns are in another order" in told(b"name,id\n1,a\n")
    assert told(b"name,id\n1,a\n", keep={"key": "nam"}) == "in/a.csv: has no column 'nam'; did you mean 'name'?"
    pins = put(project / "in", {"b.csv": b"name,id\nb,2\n"})
    kept = source(kind="files", url="in/", files=pins | {"a.csv": digest(b"id,name\n1,a\n")}, keep={"key": "id"})
    assert read.read("t", kept).table.collect().to_dict(as_series=False) == {"key": ["1", "2"]}


def test_a_member_of_a_zip_and_a_comma_at_the_end_of_lines(project: Path) -> None:
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        archive.writestr("readme.html", "<p>")
        archive.writestr("Flights (1987 present).csv", '"Year","Name",\n2013,"x",\n2013,,\n')
    pins = put(project / "in", {"a.zip": packed.getvalue()})
    found = read.read("t", source(kind="files", url="in/", files=pins, member="*.csv")).table.collect()
    assert found.to_dict(as_series=False) == {"Year": ["2013", "2013"], "Name": ["x", None]}
    told = refusal(source(kind="files", url="in/", files=pins, member="*.txt"))
    assert told == (
        "in/a.zip: holds 0 files named '*.txt'; `member` must name one of: Flights (1987 present).csv, readme.html"
    )
    pins = put(project / "in", {"a.csv.gz": gzip.compress(b"a\n1\n")[:-4]})
    assert refusal(source(kind="files", url="in/", files=pins)).startswith("in/a.csv.gz: is not a readable gzip file (")


def test_no_way_leads_out_of_the_project(project: Path) -> None:
    outside = put(project.parent, {"secret.csv": b"a\n1\n"})
    (project / "in").symlink_to(project.parent)
    assert refusal(source(kind="files", url="in/", files=outside)) == (
        "in/secret.csv: leads out of the project; copy the file into it"
    )
    sqlite3.connect(project.parent / "x.db").close()
    sql = source(kind="sql", url="sqlite:///in/x.db", query="select 1", pin="x")
    assert refusal(sql) == "data.sources.t.url: in/x.db leads out of the project; copy the database into it"
    delta = source(kind="delta", url="in/lake", version=0)
    assert refusal(delta) == "data.sources.t.url: in/lake leads out of the project; copy the table into it"


REFUSED = {
    "/etc/": "is not a path inside the project",
    "../other/": "is not a path inside the project",
    "data/../../x/": "is not a path inside the project",
    "~/x/": "is not a path inside the project",
    "C:/x/": "is not a path inside the project",
    "file:///etc/": "file:// is no store of tables",
    "local:///etc/": "local:// is no store",
    "reference://x/": "reference:// is no store",
    "simplecache::s3://bucket/x/": "patterns belong into `glob`, and archives",
    "zip://a.csv::https://host/x/": "patterns belong into `glob`, and archives",
    "s3://bucket/*/": "patterns belong into `glob`",
    "s3://bucket/x": "is not a folder: end it with /",
    f"https://me:{SECRET}@host/x/": "holds a secret",
    f"https://{SECRET}@host/x/": "holds a secret",
    f"s3://key:{SECRET}@bucket/x/": "holds a secret",
    f"https://host/x/?X-Amz-Signature={SECRET}/": "holds a secret",
    f"https://host/x/?sig={SECRET}/": "holds a secret",
}


@pytest.mark.parametrize("url", REFUSED)
def test_a_url_that_reaches_too_far_or_tells_a_secret_is_refused_without_repeating_it(url: str) -> None:
    with pytest.raises(ValidationError) as caught:
        source(kind="files", url=url, files={"a.csv": None})
    message = caught.value.errors()[0]["msg"]
    assert REFUSED[url] in message
    assert SECRET not in message


@pytest.mark.parametrize("name", ["../a.csv", "/a.csv", "a/../../b.csv", "a//b.csv", "", "x\\y", "a\n", "s3://b/a.csv"])
def test_a_name_stays_below_its_url(name: str) -> None:
    with pytest.raises(ValidationError):
        source(kind="files", url="https://host/x/", files={name: None})


# A web server


@pytest.fixture(scope="module")
def web() -> Iterator[FileServer]:
    with serving() as server:
        yield server


def test_files_of_a_web_server_are_downloaded_once(web: FileServer, project: Path) -> None:
    web.reset({f"in/{name}": content for name, content in MONTHS.items()})
    months = {"kind": "files", "url": f"{web.url}in/", "private_hosts": ["127.0.0.1"]}
    first = source(**months, files=dict.fromkeys(MONTHS))
    found = {move.key[-1]: move.now for move in ingest_pins.moves("t", first)}
    assert found == {name: digest(content) for name, content in MONTHS.items()}
    asked = len(web.asked)
    for _ in range(2):
        got = read.read("t", source(**months, files=found))
        assert got.table.collect()["id"].to_list() == ["1", "2", "3"]
    assert len(web.asked) == asked
    assert [piece.name for piece in got.files] == [f"{web.url}in/{name}" for name in MONTHS]
    web.files["in/2013-01.csv"] = b"id,name\n1,A\n"
    (project / ".dvc/tmp/downloads" / digest(MONTHS["2013-01.csv"])).unlink()
    assert refusal(source(**months, files=found)).startswith(
        f"{web.url}in/2013-01.csv: is not what data.sources.t.files"
    )
    assert [move.now for move in ingest_pins.moves("t", source(**months, files=found))] == [digest(b"id,name\n1,A\n")]


# S3


@pytest.fixture(scope="module")
def s3(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Remote]:
    remote = Remote(tmp_path_factory.mktemp("s3"))
    bucket = remote.folder / remote.bucket
    put(bucket / "in", {**MONTHS, "sub/2013-03.csv": b"id,name\n4,d\n", "note.txt": b"-"})
    yield remote
    remote.close()


def test_a_glob_of_s3(s3: Remote, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in {**s3.environment, "AWS_ENDPOINT_URL": s3.endpoint}.items():
        monkeypatch.setenv(name, value)
    months = {"kind": "files", "url": f"s3://{s3.bucket}/in/", "glob": "**/*.csv"}
    found = {move.key[-1]: move.now for move in ingest_pins.moves("t", source(**months))}
    assert list(found) == ["2013-01.csv", "2013-02.csv", "sub/2013-03.csv"]
    got = read.read("t", source(**months, files=found))
    assert got.table.collect()["id"].to_list() == ["1", "2", "3", "4"]
    assert got.files[0].name == f"s3://{s3.bucket}/in/2013-01.csv"
    gone = refusal(source(kind="files", url=f"s3://{s3.bucket}/in/", files={"x.csv": digest(b"")}))
    assert gone.startswith(f"s3://{s3.bucket}/in/x.csv: there is no such file; fix the url")
    monkeypatch.setattr(download, "CHUNK", 5)  # in pieces, with what has arrived of an earlier run
    part = download._Part.of(Path(".dvc/tmp/downloads"), f"s3://{s3.bucket}/in/2013-02.csv")
    with stores.remote(f"s3://{s3.bucket}/in/2013-02.csv").open_at(0, "") as stream:
        part.restart(stream.validator)
        part.append(iter([next(stream.chunks)]), lambda size: None)
    with stores.remote(f"s3://{s3.bucket}/in/2013-02.csv").open_at(5, part.validator) as stream:
        assert (stream.offset, b"".join(stream.chunks)) == (5, MONTHS["2013-02.csv"][5:])
    Path(".dvc/tmp/downloads", found["2013-02.csv"]).unlink()
    assert read.read("t", source(**months, files=found)).table.collect().equals(got.table.collect())
    S3FileSystem.clear_instance_cache()  # which has the credentials of before
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", SECRET)
    other = digest(b"")
    refused = refusal(source(kind="files", url=f"s3://{s3.bucket}/in/", files={"2013-01.csv": other}))
    assert refused.startswith(f"s3://{s3.bucket}/in/2013-01.csv: may not be read (PermissionError)")


def test_an_address_that_nothing_opens() -> None:
    with pytest.raises(ValidationError, match=r"s4:// is no store of tables; .* stores are: http, https, ftp, "):
        source(kind="files", url="s4://bucket/", files={"a.csv": digest(b"")})
    missing = source(kind="files", url="oss://bucket/", files={"a.csv": digest(b"")})
    assert "needs a library that is not installed" in refusal(missing)


# Databases


def _fill(database: str) -> None:
    connection = sqlite3.connect(database)
    connection.execute("create table flights (id integer, name text, loaded text)")
    rows = [(3, "c", "2013-02-01"), (1, None, "2013-01-01"), (2, "b", "2013-01-02")]
    connection.executemany("insert into flights values (?, ?, ?)", rows)
    connection.commit()
    connection.close()


def test_a_query_of_sqlite_is_pinned_by_a_text_or_a_fingerprint(project: Path) -> None:
    _fill("flights.db")
    sql = {"kind": "sql", "url": "sqlite:///flights.db"}
    dated = {**sql, "query": "select id, name from flights where loaded < :pin", "pin": "2013-02"}
    found = read.read("t", source(**dated, keep={"key": "id", "name": "name"}))
    assert (found.table.collect().rows(), found.table.collect().columns) == ([(1, None), (2, "b")], ["key", "name"])
    assert (found.address, found.pin) == ("sqlite:///flights.db", "2013-02")
    stamped = {**sql, "query": "select * from flights", "fingerprint": "select count(*), max(loaded) from flights"}
    assert list(ingest_pins.moves("t", source(**stamped))) == [PinMove(("t", "pin"), None, "3, 2013-02-01")]
    assert read.read("t", source(**stamped, pin="3, 2013-02-01")).table.collect().height == 3
    assert refusal(source(**stamped, pin="2, x")) == (
        "data.sources.t.pin: the fingerprint is '3, 2013-02-01', not the pinned '2, x'; "
        "if the rows were changed on purpose, write that, or run: trunkline pin t"
    )
    assert refusal(source(**stamped)) == "data.sources.t.pin: the key is missing; run: trunkline pin t"
    assert list(ingest_pins.moves("t", source(**dated))) == []


def test_a_query_may_call_its_columns_anything(project: Path) -> None:
    _fill("flights.db")
    query = """select id as "delay", -id as "Delay", id * 2 as "select", id * 3 as "a ""b.c" from flights order by id"""
    keep = {"low": "delay", "high": "Delay", "Low": "select", "quoted": 'a "b.c'}
    kept = read.read("t", source(kind="sql", url="sqlite:///flights.db", query=query, pin="x", keep=keep))
    assert kept.table.collect().columns == list(keep)
    assert kept.table.collect().rows()[0] == (1, -1, 2, 3)


SQL_MISTAKES = {
    "select * from flihgts": "refuses the query: no such table: flihgts; fix it",
    "delete from flights": "refuses the query: not authorized",
    "select id, id from flights": "data.sources.t.query: column 'id' appears more than once; name it apart with `as`",
    "select 1 as a union all select 'x'": "column 'a' holds values of more than one type (int, str); cast it",
    "select 1 as a where 1 = 2": "has no rows",
}


@pytest.mark.parametrize("query", SQL_MISTAKES)
def test_a_query_that_is_wrong_or_writes_is_one_line(query: str) -> None:
    _fill("flights.db")
    assert SQL_MISTAKES[query] in refusal(source(kind="sql", url="sqlite:///flights.db", query=query, pin="x"))
    assert sqlite3.connect("flights.db").execute("select count(*) from flights").fetchone() == (3,)


def test_a_database_that_is_not_there_is_not_made(project: Path) -> None:
    told = refusal(source(kind="sql", url="sqlite:///x.db", query="select 1", pin="x"))
    assert told == "data.sources.t: x.db: there is no such database; a path starts at the project"
    assert not (project / "x.db").exists()


def test_a_query_of_postgresql(monkeypatch: pytest.MonkeyPatch) -> None:
    import sqlalchemy

    declared: dict[str, Any] = {"kind": "sql", "environment": "FLIGHTS_DB"}
    with postgres() as address:
        engine = sqlalchemy.create_engine(address, poolclass=sqlalchemy.NullPool)
        with engine.begin() as connection:
            connection.execute(
                sqlalchemy.text("create table flights (id int, at timestamptz, name text, cost numeric)")
            )
            values = "(2, '2012-12-02 00:00+01', 'b', 1.5), (1, '2013-01-01 00:00+01', null, 2), (3, now(), 'c', 3)"
            connection.execute(sqlalchemy.text(f"insert into flights values {values}"))
        monkeypatch.setenv("FLIGHTS_DB", address)
        query = "select id, at, name, cost from flights where at < :pin"
        found = read.read("t", source(**declared, query=query, pin="2013-01-01"))  # in UTC
        assert found.table.collect().select("id", "name").rows() == [(1, None), (2, "b")]
        assert found.table.collect().schema["at"] == pl.Datetime("us", "UTC")
        assert found.table.collect().schema["cost"].is_decimal()
        assert found.address == "$FLIGHTS_DB"
        for writes in ("delete from flights returning id", "create table x (a int)"):
            assert "refuses the query: syntax error at or near" in refusal(source(**declared, query=writes, pin="x"))
        nobody = address.replace("postgres@", f"{SECRET}:{SECRET}@")  # a driver may tell the name
        monkeypatch.setenv("FLIGHTS_DB", nobody)
        told = refusal(source(**declared, query=query, pin="x"))
        assert 'role "***" does not exist' in told
        assert SECRET not in told


def test_no_message_of_a_database_holds_the_password(monkeypatch: pytest.MonkeyPatch) -> None:
    declared = source(kind="sql", environment="FLIGHTS_DB", query="select 1", pin="x")
    monkeypatch.delenv("FLIGHTS_DB", raising=False)
    assert (
        refusal(declared) == "data.sources.t.environment: FLIGHTS_DB is not set; set it to the address of the database"
    )
    for address in (
        f"postgresql+psycopg://me:{SECRET}@127.0.0.1:1/db",
        f"postgresql+psycopg://me@127.0.0.1:1/db?password={SECRET}",
        f"nothing://me:{SECRET}@host/db",
        f"no address {SECRET}",
        f"postgresql+psycopg://me:{SECRET}@host:port/db",
        f"mysql+nothing://me:{SECRET}@host/db",
    ):
        monkeypatch.setenv("FLIGHTS_DB", address)
        assert SECRET not in refusal(declared)
    for url in (f"postgresql://me:{SECRET}@host/db", f"postgresql://host/db?password={SECRET}", "sqlite:////etc/x.db"):
        with pytest.raises(ValidationError) as caught:
            source(kind="sql", url=url, query="select 1")
        assert SECRET not in caught.value.errors()[0]["msg"]


# Tables of a lake


def test_a_delta_table_at_a_version(project: Path) -> None:
    write_deltalake("lake", ROWS.to_arrow())
    write_deltalake("lake", ROWS.with_columns(pl.col("id") + 10).to_arrow(), mode="append")
    delta = {"kind": "delta", "url": "lake"}
    first = read.read("t", source(**delta, version=0))
    assert first.table.collect().equals(ROWS.sort("id"))
    assert first.pin == "0"
    assert read.read("t", source(**delta, version=1)).table.collect()["id"].to_list() == [1, 2, 3, 11, 12, 13]
    assert list(ingest_pins.moves("t", source(**delta, version=0))) == [PinMove(("t", "version"), 0, 1)]
    assert refusal(source(**delta)) == "data.sources.t.version: the key is missing; run: trunkline pin t"
    assert refusal(source(**delta, version=9)) == (
        "data.sources.t.version: lake has no version 9 yet, the newest is 1; run: trunkline pin t"
    )
    assert refusal(source(kind="delta", url="nowhere", version=0)) == (
        "data.sources.t.url: there is no Delta table in nowhere; fix it"
    )


def test_an_iceberg_table_at_a_snapshot(project: Path) -> None:
    from pyiceberg.catalog import load_catalog

    catalog = load_catalog("lake", type="sql", uri="sqlite:///lake.db", warehouse=f"file://{project}/warehouse")
    catalog.create_namespace("flights")
    table = catalog.create_table("flights.months", schema=ROWS.to_arrow().schema)
    iceberg = {
        "kind": "iceberg",
        "catalog": "lake",
        "properties": {"type": "sql", "uri": "sqlite:///lake.db"},
        "table": "flights.months",
    }
    with pytest.raises(UserError, match=r"flights\.months has no snapshot yet"):
        list(ingest_pins.moves("t", source(**iceberg)))
    table.append(ROWS.to_arrow())
    [move] = ingest_pins.moves("t", source(**iceberg))
    table.append(ROWS.with_columns(pl.col("id") + 10).to_arrow())
    assert read.read("t", source(**iceberg, snapshot=move.now)).table.collect().equals(ROWS.sort("id"))
    assert refusal(source(**iceberg, snapshot="5")) == (
        "data.sources.t.snapshot: flights.months has no snapshot 5; it may have expired; run: trunkline pin t"
    )
    other = {**iceberg, "table": "flights.month"}
    assert refusal(source(**other, snapshot="5")) == "data.sources.t.table: catalog lake has no table 'flights.month'"
    with pytest.raises(ValidationError, match="holds a secret"):
        source(**{**iceberg, "properties": {"s3.secret-access-key": SECRET}})
    for key in ("py-io-impl", "py-catalog-impl", "PY-IO-IMPL", "hadoop.x", "Uri", ""):
        with pytest.raises(ValidationError, match="is not for conf/data"):
            source(**{**iceberg, "properties": {**iceberg["properties"], key: "subprocess.run"}})
    with pytest.raises(ValidationError, match="is no kind of catalog"):
        source(**{**iceberg, "properties": {"type": "in-memory"}})
    with pytest.raises(OutsideError, match="catalog lake cannot be opened"):
        read.read("t", source(**{**iceberg, "properties": {"type": "sql", "uri": "sqlite:///no/x.db"}}, snapshot="5"))


@given(key=st.text().filter(lambda key: key not in PROPERTIES))
def test_conf_hands_an_iceberg_catalog_no_property_but_those_that_are_allowed(key: str) -> None:
    with pytest.raises(ValidationError, match=r"is not for conf/data|holds a secret"):
        source(kind="iceberg", catalog="lake", table="a.b", properties={key: "subprocess.run"})


def test_the_example_of_the_page_is_right(root: Path) -> None:
    [example] = re.findall(r"```yaml\n(.*?)```", (root / "docs/ingest.md").read_text(), re.DOTALL)
    kinds = [source(**declared).kind for declared in yaml.safe_load(example)["sources"].values()]
    assert kinds == ["files", "files", "sql", "delta", "iceberg"]


def test_a_package_needs_no_library_of_another_kind(root: Path) -> None:
    code = (
        "import sys; from trunkline.pipeline.ingest import read; "
        "from trunkline.conf.data import Data; from trunkline.core.params import Params; "
        "[read.read(name, source) for name, source in Params.read().group(Data).sources.items()]; "
        "print({'requests', 'fsspec', 'sqlalchemy', 'deltalake', 'pyiceberg', 'psycopg'} & set(sys.modules))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=root, env=os.environ, capture_output=True, text=True, check=True
    )
    assert done.stdout == "set()\n"
