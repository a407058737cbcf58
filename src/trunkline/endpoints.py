"""What serving processes say that they serve: `GET /version`, asked of all at once, and believed in no other way."""

import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

import msgspec
import urllib3

from trunkline.core.errors import OutsideError

SECONDS = 3.0
_LIMIT = 16 * 1024
_AT_ONCE = 16
_CLIENT = urllib3.PoolManager(retries=False, timeout=urllib3.Timeout(connect=SECONDS, read=SECONDS))


class Served(msgspec.Struct, frozen=True):
    """The version that an endpoint serves: what else it says is its own affair."""

    name: str
    version: str
    digest: str


def ask(addresses: Sequence[str]) -> dict[str, Served | OutsideError]:
    """Return what each endpoint serves, or why that is not known, within about twice three seconds for all."""
    known = sorted(set(addresses))
    if not known:
        return {}
    with ThreadPoolExecutor(min(len(known), _AT_ONCE), "endpoint") as threads:
        return dict(zip(known, threads.map(_ask, known), strict=True))


def _ask(address: str) -> Served | OutsideError:
    try:
        return msgspec.json.decode(_get(f"{address}/version"), type=Served)
    except (msgspec.DecodeError, UnicodeDecodeError):
        why = "the answer has no name, version and digest"
    except urllib3.exceptions.HTTPError as error:
        why = f"no answer ({type(error).__name__})"
    except _OddError as error:
        why = str(error)
    return OutsideError(f"{address}/version: {why}")


class _OddError(Exception):
    """An answer that is none."""


def _get(url: str) -> bytes:
    """Return the body of a plain 200; it is read piece by piece, so that no endpoint can hold us up for long."""
    end = time.monotonic() + SECONDS
    found = bytearray()
    answer = _CLIENT.request("GET", url, redirect=False, preload_content=False)
    try:
        if answer.status != 200:
            raise _OddError(f"answers {answer.status}")
        while piece := answer.read1(_LIMIT):
            found += piece
            if len(found) > _LIMIT:
                raise _OddError(f"answers with more than {_LIMIT:,} bytes")
            if time.monotonic() > end:
                raise _OddError(f"takes more than {SECONDS:.0f} s to answer")
    finally:
        answer.close()
    return bytes(found)
