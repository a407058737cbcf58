"""A CSV has one grammar: what the fast readers make of whatever passes it is what Python's own reader makes of it."""

import csv
import io

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from trunkline.core.errors import UserError
from trunkline.pipeline.ingest import csv_records
from trunkline.serve import tables

PIECES = st.sampled_from(["a", "é", " ", ",", '"', '""', "\r", "\n", "\r\n", "?", "\ufeff", "\x00"])
BODIES = st.lists(PIECES, max_size=14).map("".join)


def read(content: bytes, size: int = 1 << 20) -> list[csv_records.Block]:
    return list(csv_records.Records("in.csv", io.BytesIO(content)).blocks(size))


@given(BODIES, st.sampled_from(["a\n", "a,b\n", '"a\nb",c\r\n']))
def test_who_reads_what_passes_reads_the_same(body: str, header: str) -> None:
    content = (header + body).encode()
    try:
        rows = sum(block.rows for block in read(content))
    except UserError:
        return
    expected = list(csv.reader(io.StringIO(content.decode(), newline="")))
    names, values = expected[0], [tuple(row or [""]) for row in expected[1:]]
    assert rows == len(values)
    by_polars = pl.read_csv(content, infer_schema=False, null_values=[], empty_string_is_null=False)
    assert (by_polars.columns, by_polars.rows()) == (names, values)
    by_pyarrow = [tables._parsed_csv(block.content, names).to_pylist() for block in read(content, 1)]
    assert [tuple(text or "" for text in row.values()) for block in by_pyarrow for row in block] == values


@given(st.integers(1, 40), st.integers(1, 60))
def test_blocks_are_the_file_without_its_header(rows: int, size: int) -> None:
    lines = [f'{row},"x\n{row}"\n'.encode() for row in range(rows)]
    blocks = read(b"a,b\n" + b"".join(lines), size)
    assert b"".join(block.content for block in blocks) == b"".join(lines)
    assert sum(block.rows for block in blocks) == rows
    assert all(block.content.endswith(b"\n") for block in blocks)


PLAIN = st.sampled_from(
    ["1,2\n", "1,2\r\n", ",\n", "1,\r2\n", "1\n", "1,2,3\n", "\n", "1,\xff\n", f"1,{'2' * 140_000}\n"]
)


@given(st.lists(PLAIN, max_size=5))
def test_lines_without_quotes_take_a_shorter_way_to_the_same_end(lines: list[str]) -> None:
    def outcome(first: str) -> object:
        try:
            return sum(block.rows for block in read(f"a,b\n{first}{''.join(lines)}".encode("latin-1")))
        except UserError as error:
            return str(error)

    assert outcome("1,2\n") == outcome('"1",2\n')


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "is empty or has no header; name the columns in its first line"),
        (b"a,b,a\n", "line 1: column 'a' appears more than once; give each column a name of its own"),
        (b"a,,b\n", "line 1: a column has no name; give each column a name of its own"),
        (b'"a\nb",c\n1\n', "line 3: has 1 fields, the header has 2; fix it"),
        (b"a,b\n1,2\n\n", "line 3: has 0 fields, the header has 2; fix it"),
        (b'a\n"x\n', "line 2: is not valid CSV (unexpected end of data); fix it"),
        (b'a\n"x"y\n', "line 2: is not valid CSV (',' expected after '\"'); fix it"),
        (b"a\nx\ry\n", "line 2: ends with \\r alone; save the file with \\n at the end of lines"),
        (b'a\n5" pipe\n', "line 2: has a quote inside a field without quotes; put the field in quotes and write the "
         "quote twice"),
        (b"a\nx\n\xff\n", "line 3: byte 0xff is not UTF-8; save it as UTF-8"),
    ],
)  # fmt: skip
def test_what_does_not_pass_is_told_by_its_line(content: bytes, message: str) -> None:
    with pytest.raises(UserError) as caught:
        read(content)
    assert str(caught.value) == f"in.csv: {message}"
