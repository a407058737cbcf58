"""What is replaced of the libraries under DVC does what theirs does, and ends."""

import importlib
import threading
from pathlib import Path

import pygit2
import pytest

from trunkline.adapters.dvc import private

SECONDS = 20


@pytest.fixture
def imported_twice(monkeypatch: pytest.MonkeyPatch) -> None:
    """Replace what is replaced already, as a process does that has forgotten its modules."""
    monkeypatch.setattr(private.blob, "_BlobIO", private.blob._BlobIO)
    importlib.reload(private)


@pytest.mark.usefixtures("imported_twice")
@pytest.mark.parametrize("size", [0, 1, 100_000])
def test_a_file_of_a_commit_is_read_to_its_end_whenever_the_thread_that_reads_it_ends(
    tmp_path: Path, size: int
) -> None:
    repository, content = pygit2.init_repository(tmp_path), bytes(number % 251 for number in range(size))
    file = private.blob._BlobIO(repository[repository.create_blob(content)])
    clear, read = file._ready.clear, bytearray()

    def late() -> None:
        """Clear the signal when the thread has nothing more to say, as far as it can: it fills a queue of one."""
        file._thread.join(0.2)
        clear()

    def drain() -> None:
        chunk = bytearray(4096)
        while count := file.readinto(chunk):
            read.extend(chunk[:count])
        file.close()

    file._ready.clear = late
    reader = threading.Thread(target=drain, daemon=True)
    reader.start()
    reader.join(SECONDS)
    assert not reader.is_alive(), "it waits for ever"
    assert read == content
