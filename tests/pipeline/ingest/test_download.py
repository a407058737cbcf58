"""A file arrives whole or not at all, whatever the server does on the way."""

import hashlib
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.fileserver import Answer, FileServer, serving
from trunkline.core.errors import OutsideError, UserError
from trunkline.pipeline.ingest import download, http

CONTENT = b"".join(f"{number},{number * number}\n".encode() for number in range(300_000))
HALF = 40 * download.CHUNK


@pytest.fixture(scope="module")
def running() -> Iterator[FileServer]:
    with serving() as state:
        yield state


@pytest.fixture
def server(running: FileServer) -> FileServer:
    running.reset({"a.csv": CONTENT})
    return running


def digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def fetch(
    server: FileServer, folder: Path, pinned: str | None = None, name: str = "a.csv"
) -> tuple[bytes, list[float]]:
    pauses: list[float] = []
    path = download.fetch(http.remote(server.url + name, ("127.0.0.1",)), pinned, folder, pauses.append)
    assert path.name == digest(path.read_bytes())
    assert {left.name for left in folder.iterdir() if left.suffix in (".part", ".tag")} == set()
    return path.read_bytes(), pauses


def test_what_broke_off_is_gone_on_with(server: FileServer, tmp_path: Path) -> None:
    server.plan = [
        Answer(cut=HALF),
        Answer(cut=download.CHUNK),
        Answer(status=503),
        Answer(status=429, retry_after="7"),
    ]
    content, pauses = fetch(server, tmp_path, digest(CONTENT))
    assert content == CONTENT
    assert [asked for _, asked in server.asked] == ["", f"bytes={HALF}-", *[f"bytes={HALF + download.CHUNK}-"] * 3]
    assert pauses == [1.0, 1.0, 1.0, 7.0]  # what brings something counts as no failure


def test_a_later_run_goes_on_too(server: FileServer, tmp_path: Path) -> None:
    server.plan = [Answer(cut=HALF), *[Answer(status=500)] * 6]
    with pytest.raises(OutsideError, match=r"a\.csv: answers 500; run again, which goes on from there$"):
        fetch(server, tmp_path)
    server.asked.clear()
    assert fetch(server, tmp_path)[0] == CONTENT
    assert server.asked == [("a.csv", f"bytes={HALF}-")]


def test_a_pinned_file_is_fetched_once_and_a_spoilt_one_again(server: FileServer, tmp_path: Path) -> None:
    for _ in range(2):
        assert fetch(server, tmp_path, digest(CONTENT))[0] == CONTENT
    assert len(server.asked) == 1
    (tmp_path / digest(CONTENT)).write_bytes(b"half")
    assert fetch(server, tmp_path, digest(CONTENT))[0] == CONTENT
    assert len(server.asked) == 2


@pytest.mark.parametrize("believes", [True, False])
def test_a_file_that_changes_on_the_way_is_fetched_anew(server: FileServer, tmp_path: Path, believes: bool) -> None:
    server.believes = believes
    other = bytes(reversed(CONTENT))
    server.plan = [Answer(cut=HALF), Answer(becomes=other)]
    assert fetch(server, tmp_path)[0] == other
    assert len(server.asked) == (2 if believes else 3)


def test_a_server_that_does_not_say_that_a_file_changed_is_found_out_by_the_pin(
    server: FileServer, tmp_path: Path
) -> None:
    other = bytes(reversed(CONTENT))
    server.tag = '"of everything"'
    server.plan = [Answer(cut=HALF), Answer(becomes=other)]
    assert fetch(server, tmp_path, digest(other))[0] == other
    assert [asked for _, asked in server.asked] == ["", f"bytes={HALF}-", ""]


@pytest.mark.parametrize("lacking", ["ranges", "validators"])
def test_a_server_that_cannot_go_on_begins_again(server: FileServer, tmp_path: Path, lacking: str) -> None:
    setattr(server, lacking, False)
    server.plan = [Answer(cut=HALF)]
    assert fetch(server, tmp_path)[0] == CONTENT
    assert len(server.asked) == 2


def test_a_length_that_is_too_long_ends_with_a_message(server: FileServer, tmp_path: Path) -> None:
    server.ranges = False
    server.plan = [Answer(claimed=len(CONTENT) + 5)] * 7
    with pytest.raises(OutsideError, match=r"a\.csv: the connection broke off .*; run again"):
        fetch(server, tmp_path, digest(CONTENT))
    assert not (tmp_path / digest(CONTENT)).exists()
    assert len(server.asked) == 7


def test_a_length_that_is_too_short_is_not_what_is_pinned(server: FileServer, tmp_path: Path) -> None:
    server.plan = [Answer(claimed=HALF)]
    assert fetch(server, tmp_path, digest(CONTENT))[0] == CONTENT[:HALF]


def test_what_no_attempt_can_mend_is_told_at_once(server: FileServer, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"b\.csv: there is no such file \(HTTP 404\); fix the url"):
        fetch(server, tmp_path, name="b.csv?page=1")
    server.plan = [Answer(status=403)]
    with pytest.raises(OutsideError, match=r"a\.csv: may not be read \(HTTP 403\); put its login into ~/\.netrc$"):
        fetch(server, tmp_path)
    server.plan = [Answer(status=503, retry_after="3600")]
    with pytest.raises(OutsideError, match="answers 503"):
        fetch(server, tmp_path)
    assert len(server.asked) == 3
    nobody = FileServer(url="http://127.0.0.1:1/")
    with pytest.raises(OutsideError, match=r"^http://127.0.0.1:1/a.csv: the connection broke off \(ConnectionError\)"):
        fetch(nobody, tmp_path)


@given(cuts=st.lists(st.integers(0, 300_000), max_size=5), changes=st.booleans())
def test_any_breaks_give_the_whole_file(
    cuts: list[int], changes: bool, running: FileServer, tmp_path_factory: pytest.TempPathFactory
) -> None:
    content = CONTENT[:300_000]
    last = bytes(reversed(content)) if changes else content
    running.reset({"a.csv": content})
    running.plan = [*(Answer(cut=cut) for cut in cuts), Answer(becomes=last)]
    assert fetch(running, tmp_path_factory.mktemp("kept"), None)[0] in (content, last)
