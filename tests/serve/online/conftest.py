"""Empty stores of every kind, of real servers."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.servers import feature_store
from trunkline.serve.online.store.open import open_store
from trunkline.serve.online.store.protocol import Store


@pytest.fixture(scope="module", params=["sqlite", "postgresql", "redis"])
def address(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of a store; it may be emptied by `fresh`."""
    with feature_store(request.param, tmp_path_factory.mktemp("store")) as url:
        yield url


def opened(address: str) -> Store:
    return open_store(address, {}, Path("/"))


@pytest.fixture
def store(fresh: Callable[[], Store]) -> Store:
    return fresh()


@pytest.fixture(scope="module")
def fresh(address: str) -> Iterator[Callable[[], Store]]:
    """Makes the store at the address empty, and opens it."""
    with ExitStack() as stack:

        def emptied() -> Store:
            store = opened(address)
            stack.callback(store.close)
            _empty(address)
            return store

        yield emptied


def _empty(address: str) -> None:
    if address.startswith("sqlite"):
        import sqlite3

        with sqlite3.connect(address.removeprefix("sqlite:///")) as connection:
            connection.execute("DELETE FROM features")
        connection.close()
    elif address.startswith("unix"):
        import redis

        with redis.Redis.from_url(address) as client:
            client.flushall()
    else:
        import psycopg

        with psycopg.connect(address.replace("+psycopg", ""), autocommit=True) as connection:
            connection.execute("TRUNCATE trunkline_features")
