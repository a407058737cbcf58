"""Opens the store that an address names."""

from collections.abc import Mapping
from pathlib import Path

from trunkline.core.errors import UserError, nearest
from trunkline.serve.online.store.protocol import Store

KINDS = ("sqlite", "postgresql", "postgresql+psycopg", "redis", "rediss", "unix")
PASSWORD = "REDISCLI_AUTH"  # noqa: S105  the variable, as redis-cli has it; PostgreSQL's driver reads PGPASSWORD itself


def open_store(url: str, environ: Mapping[str, str], folder: Path = Path()) -> Store:
    """Open the store at an address, such as sqlite:///data/online.db, of which the file is below `folder`.

    Raises UserError for an address of another kind and for a driver that is missing, OutsideError for a store that
    cannot be used.
    """
    scheme, separator, rest = url.partition("://")
    if not separator or scheme not in KINDS:
        raise UserError(f"store '{scheme[:60]}': is no kind of store of online features{nearest(scheme, KINDS)}")
    try:
        if scheme == "sqlite":
            from trunkline.serve.online.store.sqlite import SQLiteStore  # noqa: PLC0415

            return SQLiteStore(folder / rest.removeprefix("/"))
        if scheme.startswith("postgresql"):
            from trunkline.serve.online.store.postgresql import PostgreSQLStore  # noqa: PLC0415  an extra

            return PostgreSQLStore(url)
        from trunkline.serve.online.store.redis import RedisStore  # noqa: PLC0415  an extra

        return RedisStore.connect(url, environ.get(PASSWORD))
    except ModuleNotFoundError as error:
        extra = "postgresql" if scheme.startswith("postgresql") else "online-redis"
        raise UserError(f"store {scheme}: no driver ({error}); run: pip install 'trunkline[{extra}]'") from None
