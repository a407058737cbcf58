"""The public keys of an issuer of tokens: read beside the requests, kept while the issuer cannot be reached.

An issuer renews its keys, and a token of a new one is often the first that is heard of it: so they are read again for
a key that is not known, but no oftener than once per cooldown, since anyone can make up a key's id.
"""

import asyncio
import logging
import time
import urllib.request
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from http import HTTPStatus
from http.client import HTTPException
from pathlib import Path
from typing import Any

import msgspec
from jwt import PyJWK, PyJWKSet, PyJWTError

from trunkline.conf.serving import Jwt, is_url
from trunkline.core.errors import OutsideError, TrunklineError, UserError
from trunkline.serve.problems import ProblemError

_LIMIT = 1024 * 1024  # bytes of a JWK set; those of large issuers have some 10 KB
_PIECE = 64 * 1024

_log = logging.getLogger(__name__)


class IssuerKeys:
    """The keys of an issuer by their ids, as new as is declared."""

    def __init__(self, declared: Jwt, clock: Callable[[], float] = time.monotonic) -> None:
        """Read the keys if they are in a file, which raises UserError; a URL is asked when a token comes."""
        self._declared, self._clock = declared, clock
        self._keys: Mapping[str, PyJWK] = {}
        self._read_at = self._due = -float("inf")
        self._reading: asyncio.Future[None] | None = None
        self._thread = ThreadPoolExecutor(1, "issuer")
        if not is_url(declared.jwks):
            self._keys, self._read_at = _read_file(Path(declared.jwks)), clock()

    async def key(self, identifier: str) -> PyJWK | None:
        """Return a key, None for an id that the issuer has not; raises ProblemError, 503, while its keys are not known.

        Only who asks with an unknown id waits until they are read, and no longer than is declared.
        """
        old = self._age() > self._declared.refresh.total_seconds()
        known = identifier in self._keys and self._counts()
        if (old or not known) and self._clock() >= self._due:
            self._due = self._clock() + self._declared.cooldown.total_seconds()
            self._reading = asyncio.ensure_future(self._read())
        if not known and self._reading:
            await asyncio.wait([self._reading], timeout=self._declared.timeout.total_seconds())
        if not self._counts():
            detail = "the server cannot read the keys of those who sign tokens"
            raise ProblemError(HTTPStatus.SERVICE_UNAVAILABLE, detail, {"retry-after": "1"})
        return self._keys.get(identifier)

    def _age(self) -> float:
        return self._clock() - self._read_at

    def _counts(self) -> bool:
        return self._age() <= self._declared.stale.total_seconds()

    async def _read(self) -> None:
        """Take the keys as they are now; the old ones stay where that fails."""
        seconds = self._declared.timeout.total_seconds()
        try:
            keys = await asyncio.get_running_loop().run_in_executor(self._thread, _read, self._declared.jwks, seconds)
        except TrunklineError as error:
            _log.error("the keys for tokens stay as they are: %s", error)
            return
        before, self._keys, self._read_at = self._keys, keys, self._clock()
        if keys.keys() != before.keys():
            _log.info("%s: was read, %d keys for tokens", self._declared.jwks, len(keys))


def parse(content: bytes, place: str) -> dict[str, PyJWK]:
    """Return the keys of a JWK set (RFC 7517) that check signatures, by their ids; raises UserError for none."""
    try:
        keys = PyJWKSet.from_dict(msgspec.json.decode(content, type=dict[str, Any])).keys
    except (msgspec.DecodeError, UnicodeDecodeError, PyJWTError):  # whose words may repeat what a file holds
        raise UserError(f"{place}: is not a set of keys in JSON (JWK set), or has none that can be used") from None
    named = {key.key_id: key for key in keys if key.key_id and key.public_key_use in ("sig", None)}
    if not named:
        raise UserError(f"{place}: no key has an id (kid) and is for signatures; ask the issuer for its JWK set")
    return named


def _read(place: str, seconds: float) -> dict[str, PyJWK]:
    return parse(_fetch(place, seconds), place) if is_url(place) else _read_file(Path(place))


def _read_file(path: Path) -> dict[str, PyJWK]:
    try:
        return parse(path.read_bytes(), str(path))
    except OSError as error:
        raise UserError(f"{path}: cannot be read: {error.strerror}; put the issuer's JWK set there") from None


class _NoRedirect(urllib.request.HTTPRedirectHandler):
    """Follows nobody elsewhere: keys come from the address that is declared."""

    def redirect_request(self, *_: Any) -> None:
        """Follow no redirect, which then is an answer that is no 200."""


_OPENER = urllib.request.build_opener(_NoRedirect)


def _fetch(url: str, seconds: float) -> bytes:
    """Return what a URL answers, within a time and a size; raises OutsideError."""
    end = time.monotonic() + seconds
    content = bytearray()
    try:
        with _OPENER.open(url, timeout=seconds) as answer:
            while piece := answer.read1(_PIECE):
                content += piece
                if len(content) > _LIMIT:
                    raise OutsideError(f"{url}: answers with more than {_LIMIT:,} bytes")
                if time.monotonic() > end:
                    raise OutsideError(f"{url}: takes longer than {seconds:g} s to answer")
    except (OSError, HTTPException) as error:  # URLError and a time-out are OSErrors
        raise OutsideError(f"{url}: cannot be read: {error}") from None
    return bytes(content)
