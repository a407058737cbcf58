"""Files of a web server: requests, and on it what requests leaves open, which is going on where an answer broke off.

Credentials are those of ~/.netrc for the host, which requests reads itself. No error of requests is shown: it may
hold the address that a server has redirected to, with a signature in it.
"""

import re
from collections.abc import Iterator
from contextlib import contextmanager

import requests

from trunkline.core.addresses import shown
from trunkline.core.errors import OutsideError, UserError
from trunkline.pipeline.ingest.download import CHUNK, BrokenOffError, Remote, Stream

TIMEOUT = (20, 60)  # seconds to connect, and without a byte
_PASSING = (requests.ConnectionError, requests.Timeout, requests.exceptions.ChunkedEncodingError)


def remote(url: str) -> Remote:
    """Return a file of a web server, not yet asked for."""

    @contextmanager
    def open_at(offset: int, validator: str) -> Iterator[Stream]:
        headers = {"Accept-Encoding": "identity"}
        if offset and validator:
            headers |= {"Range": f"bytes={offset}-", "If-Range": validator}
        try:
            with requests.get(url, headers=headers, stream=True, timeout=TIMEOUT) as answer:
                yield _stream(shown(url), answer, offset)
        except requests.exceptions.SSLError:
            raise OutsideError(f"{shown(url)}: its certificate cannot be trusted; ask who runs it") from None
        except _PASSING as error:
            raise BrokenOffError(f"the connection broke off ({type(error).__name__})") from None
        except requests.RequestException as error:
            raise UserError(f"{shown(url)}: cannot be asked for ({type(error).__name__}); fix the url") from None

    return Remote(url, shown(url), open_at)


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
