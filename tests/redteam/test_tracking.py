"""A process that is killed while MLflow creates the tables of its SQLite file, which takes MLflow a while."""

import os
import signal
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from trunkline.adapters.mlflow import MlflowStore, library


def create(home: Path) -> None:
    with MlflowStore("sqlite:///mlflow.db", home).client("try again") as client:
        client.search_experiments()


def sizes(home: Path) -> Iterator[int]:
    """The sizes of the files of a store, which another process makes and deletes."""
    for path in home.glob("*mlflow.db*"):
        with suppress(FileNotFoundError):
            yield path.stat().st_size if path.suffix != ".lock" else 0


def killed(home: Path, size: int) -> bool:
    """Create the store in a process that is killed when any file of it has so many bytes; tell whether it was."""
    child = os.fork()
    if child == 0:
        os.setsid()
        create(home)
        os._exit(0)
    while not os.waitpid(child, os.WNOHANG)[0]:
        if any(found >= size for found in sizes(home)):
            os.kill(child, signal.SIGKILL)
            return os.WIFSIGNALED(os.waitpid(child, 0)[1])
        time.sleep(0.001)
    return False


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # of SQLAlchemy, which MLflow uses as it was
@pytest.mark.parametrize("size", [1, 200_000])
def test_the_next_process_finds_a_store_that_works(tmp_path, size):
    library()
    assert killed(tmp_path, size)
    create(tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["mlflow.db", "mlflow.db.lock"]
