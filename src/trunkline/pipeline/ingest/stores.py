"""Files of whatever fsspec opens, such as s3://; credentials are those that the provider's own library finds.

No text of a provider's error is shown, since it may hold a signed address; its type says what it was.
"""

from collections.abc import Collection, Iterator
from contextlib import contextmanager
from typing import Any

import fsspec
from fsspec.core import url_to_fs

from trunkline.conf.data.sources import SERVERS
from trunkline.core.addresses import host_of, shown
from trunkline.core.errors import OutsideError, UserError, nearest
from trunkline.pipeline.ingest import hosts
from trunkline.pipeline.ingest.download import CHUNK, BrokenOffError, Remote, Stream


def remote(url: str, private_hosts: Collection[str] = ()) -> Remote:
    """Return a file of a store, not yet asked for; the hosts may be of a private network."""

    @contextmanager
    def open_at(offset: int, validator: str) -> Iterator[Stream]:
        files, path = _system(url, private_hosts)
        try:
            total, current = files.info(path).get("size"), str(files.ukey(path))
            file = files.open(path, "rb")
        except Exception as error:  # each store's library has errors of its own
            raise _failed(url, error) from None
        with file:
            start = offset if validator == current else 0
            yield Stream(start, total, current, _chunks(url, file, start))

    return Remote(url, shown(url), open_at)


def listed(url: str, pattern: str, private_hosts: Collection[str] = ()) -> list[str]:
    """Return the names below a folder that match a pattern, sorted.

    Raises UserError for a folder that is not there, OutsideError for one that cannot be listed.
    """
    files, base = _system(url, private_hosts)
    base = base.rstrip("/") + "/"
    try:
        entries = files.glob(base + pattern, detail=True)
    except Exception as error:  # each store's library has errors of its own
        raise _fatal(url, error) from None
    return sorted(str(path).removeprefix(base) for path, entry in entries.items() if entry.get("type") != "directory")


def _system(url: str, private_hosts: Collection[str]) -> tuple[Any, str]:
    scheme = url.partition("://")[0]
    if scheme in SERVERS and (host := host_of(url)):
        hosts.resolved(shown(url), host, private_hosts)
    try:
        files, path = url_to_fs(url, use_listings_cache=False)
    except ImportError:
        s3 = scheme in ("s3", "s3a")
        advice = "run: pip install 'trunkline[s3]'" if s3 else f"install the one that fsspec names for {scheme}://"
        raise UserError(f"{shown(url)}: needs a library that is not installed; {advice}") from None
    except ValueError:
        schemes = fsspec.available_protocols()
        raise UserError(f"{shown(url)}: fsspec knows no {scheme}://{nearest(scheme, schemes)}") from None
    except Exception as error:  # each store's library has errors of its own
        raise _fatal(url, error) from None
    files.invalidate_cache()
    return files, path


def _chunks(url: str, file: Any, start: int) -> Iterator[bytes]:
    try:
        file.seek(start)
        while chunk := file.read(CHUNK):
            yield chunk
    except Exception as error:  # each store's library has errors of its own
        raise _failed(url, error) from None


def _failed(url: str, error: Exception) -> Exception:
    """Return the error of an attempt to read: most pass."""
    if (
        isinstance(error, FileNotFoundError | PermissionError | IsADirectoryError)
        or "Credential" in type(error).__name__
    ):
        return _fatal(url, error)
    return BrokenOffError(f"cannot be read ({type(error).__name__})")


def _fatal(url: str, error: Exception) -> Exception:
    if isinstance(error, FileNotFoundError | IsADirectoryError):
        return UserError(f"{shown(url)}: there is no such file; fix the url or the name under `files`")
    if isinstance(error, PermissionError) or "Credential" in type(error).__name__:
        kind = type(error).__name__
        return OutsideError(f"{shown(url)}: may not be read ({kind}); give the environment credentials for it")
    return OutsideError(f"{shown(url)}: cannot be read ({type(error).__name__}); is the address right, is it up?")
