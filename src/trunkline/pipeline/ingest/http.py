"""Files of a web server: requests, and on it what requests leaves open, which is going on where an answer broke off.

Whom a connection has reached is looked at before anything is asked, so neither a redirect nor a name that resolves to
another address each time leads into a private network. Through a proxy of the environment, which connects by itself,
it is the host's name that is looked at.

Credentials are those of ~/.netrc for the host, which requests reads itself. No error of requests is shown: it may
hold the address that a server has redirected to, with a signature in it.
"""

import re
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager, suppress
from typing import Any

import requests
from requests.adapters import HTTPAdapter
from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.connectionpool import HTTPConnectionPool, HTTPSConnectionPool

from trunkline.core.addresses import host_of, shown
from trunkline.core.errors import OutsideError, UserError
from trunkline.pipeline.ingest import hosts
from trunkline.pipeline.ingest.download import CHUNK, BrokenOffError, Remote, Stream

TIMEOUT = (20, 60)  # seconds to connect, and without a byte
_PASSING = (requests.ConnectionError, requests.Timeout, requests.exceptions.ChunkedEncodingError)


Judge = Callable[[str, str], None]  # of a host and the IP address that it has turned out to be


class _Adapter(HTTPAdapter):
    """What connects to public addresses, and to hosts that a source names."""

    def __init__(self, title: str, private_hosts: Collection[str]) -> None:
        self._title, self._private = title, frozenset(private_hosts)
        super().__init__()

    def init_poolmanager(self, *arguments: Any, **options: Any) -> None:
        super().init_poolmanager(*arguments, **options)
        self.poolmanager.pool_classes_by_scheme = _pools(self._judge)

    def send(self, request: requests.PreparedRequest, *arguments: Any, **options: Any) -> requests.Response:
        with suppress(OutsideError):  # what this machine cannot resolve, a proxy may, and else the connection fails
            hosts.resolved(self._title, host_of(request.url or ""), self._private)
        return super().send(request, *arguments, **options)

    def _judge(self, host: str, address: str) -> None:
        hosts.verify(self._title, host, address, self._private)


def _pools(judge: Judge) -> dict[str, type[HTTPConnectionPool]]:
    """Return urllib3's pools by scheme, with connections whose other end is judged before they are used."""

    class Plain(HTTPConnection):
        def connect(self) -> None:
            super().connect()
            judge(self.host, self.sock.getpeername()[0])

    class Secure(HTTPSConnection):
        def connect(self) -> None:
            super().connect()
            judge(self.host, self.sock.getpeername()[0])

    class PlainPool(HTTPConnectionPool):
        ConnectionCls = Plain

    class SecurePool(HTTPSConnectionPool):
        ConnectionCls = Secure

    return {"http": PlainPool, "https": SecurePool}


def remote(url: str, private_hosts: Collection[str] = ()) -> Remote:
    """Return a file of a web server, not yet asked for; the hosts may be of a private network."""
    adapter = _Adapter(shown(url), private_hosts)

    @contextmanager
    def open_at(offset: int, validator: str) -> Iterator[Stream]:
        headers = {"Accept-Encoding": "identity"}
        if offset and validator:
            headers |= {"Range": f"bytes={offset}-", "If-Range": validator}
        try:
            with (
                _session(adapter) as session,
                session.get(url, headers=headers, stream=True, timeout=TIMEOUT) as answer,
            ):
                yield _stream(shown(url), answer, offset)
        except requests.exceptions.SSLError:
            raise OutsideError(f"{shown(url)}: its certificate cannot be trusted; ask who runs it") from None
        except _PASSING as error:
            raise BrokenOffError(f"the connection broke off ({type(error).__name__})") from None
        except requests.RequestException as error:
            raise UserError(f"{shown(url)}: cannot be asked for ({type(error).__name__}); fix the url") from None

    return Remote(url, shown(url), open_at)


def _session(adapter: _Adapter) -> requests.Session:
    session = requests.Session()
    session.mount("http://", adapter)
    session.mount("https://", adapter)
    return session


def _stream(title: str, answer: requests.Response, offset: int) -> Stream:
    status, headers = answer.status_code, answer.headers
    if headers.get("Content-Encoding", "identity") != "identity":
        raise OutsideError(f"{title}: is sent in the encoding {headers['Content-Encoding']}, which was not asked for")
    etag = headers.get("ETag", "")
    # What may stand in If-Range (RFC 9110, 13.1.5): a strong ETag, else the time of the last change.
    validator = etag if etag and not etag.startswith("W/") else headers.get("Last-Modified", "")
    if status == 200:
        return Stream(0, _number(headers.get("Content-Length")), validator, answer.iter_content(CHUNK))
    sent = re.fullmatch(r"bytes (\d+)-\d+/(\d+|\*)", headers.get("Content-Range", ""))
    if status == 206 and sent and int(sent[1]) == offset:
        return Stream(offset, _number(sent[2]), validator, answer.iter_content(CHUNK))
    if status == 416 and headers.get("Content-Range") == f"bytes */{offset}":  # all of it is here already
        return Stream(offset, offset, validator, iter(()))
    raise _refused(title, status, headers.get("Retry-After", ""))


def _refused(title: str, status: int, after: str) -> Exception:
    if status in (404, 410):
        return UserError(f"{title}: there is no such file (HTTP {status}); fix the url or the name under `files`")
    if status in (401, 403):
        return OutsideError(f"{title}: may not be read (HTTP {status}); put its login into ~/.netrc")
    if status in (206, 408, 416, 425, 429) or status >= 500:
        wait = float(after) if re.fullmatch(r"\d{1,6}", after) else None
        return BrokenOffError(f"answers {status}", wait=wait, anew=status in (206, 416))
    return OutsideError(f"{title}: answers {status}")


def _number(text: str | None) -> int | None:
    return int(text) if text and text.isdecimal() else None
