"""What serving processes say that they serve: `GET /version`, asked of all at once, and believed in no other way."""

import ssl
import time
from collections.abc import Mapping
from pathlib import Path
from threading import Thread

import msgspec
import urllib3

from trunkline.conf.deploy import ClientTls
from trunkline.core.errors import OutsideError, one_line

SECONDS = 3.0
_LIMIT = 16 * 1024
_NOTHING_LOADED = (404, 503)
_WITHOUT_CERTIFICATE = urllib3.PoolManager(retries=False)


class Served(msgspec.Struct, frozen=True):
    """The version that an endpoint serves: other keys of the answer are ignored."""

    name: str
    version: str
    digest: str


class LoadedNothingError(OutsideError):
    """An endpoint answers, but with 404 or 503: as one that has loaded nothing yet, or that is broken."""


def ask(addresses: Mapping[str, ClientTls | None], folder: Path = Path()) -> dict[str, Served | OutsideError]:
    """Return what each endpoint serves, or why that is not known, within about twice `SECONDS` for all.

    An endpoint is shown the certificate that its address goes with; the paths of its files begin in the folder.
    """
    answers: dict[str, Served | OutsideError] = {}

    def tell(address: str) -> None:
        answers[address] = _ask(address, addresses[address], folder)

    # No pool and no event loop: an endpoint that answers byte by byte would keep a pool, and a name that takes long to
    # resolve an event loop, from ending, and the whole process with it.
    threads = {address: Thread(target=tell, args=(address,), daemon=True) for address in addresses}
    for thread in threads.values():
        thread.start()
    end = time.monotonic() + 2 * SECONDS
    for thread in threads.values():
        thread.join(max(0.0, end - time.monotonic()))
    late = {address: OutsideError(f"{address}/version: takes too long to answer") for address in threads}
    return late | answers


def _ask(address: str, tls: ClientTls | None, folder: Path) -> Served | OutsideError:
    try:
        client = _showing(folder / tls.certificate, folder / tls.key) if tls else _WITHOUT_CERTIFICATE
        return msgspec.json.decode(_get(client, f"{address}/version"), type=Served)
    except OutsideError as error:
        return error
    except (msgspec.DecodeError, UnicodeDecodeError):
        why = "the answer has no name, version and digest"
    except urllib3.exceptions.HTTPError as error:
        why = f"no answer ({type(error).__name__})"
    except _OddError as error:
        if error.status in _NOTHING_LOADED:
            return LoadedNothingError(f"{address}/version: {error}")
        why = str(error)
    return OutsideError(f"{address}/version: {why}")


class _OddError(Exception):
    """Not a usable answer; `status` is the HTTP status, if that is the reason."""

    def __init__(self, why: str, status: int | None = None) -> None:
        super().__init__(why)
        self.status = status


def _showing(certificate: Path, key: Path) -> urllib3.PoolManager:
    """Return a client that shows a certificate, as its files are now; raises OutsideError where they are wrong."""
    context = ssl.create_default_context()
    try:
        context.load_cert_chain(
            certificate, key, password=bytes
        )  # no passphrase; OpenSSL would ask for it at a terminal
    except OSError as error:  # of ssl, too
        why = one_line(error.strerror or error)
        raise OutsideError(
            f"{certificate}, {key}: cannot be used: {why}; tls of an environment in conf/deploy "
            "names them: a certificate in PEM, and its key, without passphrase"
        ) from None
    return urllib3.PoolManager(retries=False, ssl_context=context)


def _get(client: urllib3.PoolManager, url: str) -> bytes:
    """Return the body of a plain 200, and read no more than a version takes."""
    content = bytearray()
    answer = client.request("GET", url, redirect=False, preload_content=False, timeout=SECONDS)
    try:
        if answer.status != 200:
            raise _OddError(f"answers {answer.status}", answer.status)
        while piece := answer.read1(_LIMIT):
            content += piece
            if len(content) > _LIMIT:
                raise _OddError(f"answers with more than {_LIMIT:,} bytes")
    finally:
        answer.close()
    return bytes(content)
