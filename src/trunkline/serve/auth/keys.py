"""API keys: a file of their hashes, which is read again whenever it changes.

A key is `ID.SECRET`. The id is public and finds the entry; of the secret, 256 random bits, the file holds the sha256.
A slow hash would protect a secret that can be guessed, and would cost more than a prediction.
"""

import hashlib
import hmac
import logging
import os
import secrets
from collections.abc import Callable
from http import HTTPStatus
from pathlib import Path
from typing import Annotated

import msgspec
from filelock import FileLock

from trunkline.core.errors import UserError
from trunkline.core.files import write_text
from trunkline.serve.auth.principal import Principal, Scope
from trunkline.serve.problems import ProblemError

_log = logging.getLogger(__name__)


class Key(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """An entry of the file; several of the same name are one principal, so that a key can be replaced by another."""

    id: str
    name: str
    scopes: list[Scope]
    sha256: Annotated[str, msgspec.Meta(pattern=r"^[0-9a-f]{64}$")]


class _Content(msgspec.Struct, forbid_unknown_fields=True):
    keys: list[Key]


_Known = tuple[bytes, Principal]  # the hash of a key's secret, and whose it is

_NOBODY = b"\0" * 32, Principal("", frozenset())  # takes the same comparison as an entry


def new_key(name: str, scopes: list[Scope]) -> tuple[Key, str]:
    """Return an entry for the file, and the key itself, which is stored nowhere."""
    identifier, secret = secrets.token_hex(6), secrets.token_urlsafe(32)
    hashed = hashlib.sha256(secret.encode()).hexdigest()
    return Key(identifier, name, sorted(set(scopes)), hashed), f"{identifier}.{secret}"


def parse(content: bytes, path: Path) -> list[Key]:
    """Return the entries of a file; raises UserError for a file that is not one of keys."""
    try:
        keys = msgspec.json.decode(content, type=_Content).keys
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise UserError(f"{path}: is not a file of keys: {error}; make one with: trunkline key add NAME") from None
    identifiers = [key.id for key in keys]
    if len(set(identifiers)) < len(keys):
        twice = next(each for each in identifiers if identifiers.count(each) > 1)
        raise UserError(f"{path}: the id {twice} is there twice; remove one of the entries")
    return keys


def format_keys(keys: list[Key]) -> str:
    """Return the content of the file that holds these entries."""
    return msgspec.json.format(msgspec.json.encode(_Content(keys)), indent=2).decode() + "\n"


def entries(path: Path) -> list[Key]:
    """Return the entries of a file, none if it is not there yet; raises UserError as `parse` does, and OSError."""
    return parse(path.read_bytes(), path) if path.exists() else []


def edit(path: Path, change: Callable[[list[Key]], list[Key]]) -> None:
    """Change the entries of a file, which need not be there yet, one change at a time: none is lost to another.

    Raises UserError as `parse` does, and OSError.
    """
    with FileLock(f"{path}.lock"):
        write_text(path, format_keys(change(entries(path))))


class KeyFile:
    """The keys of a file as they are now; while the file cannot be read, none of them counts."""

    def __init__(self, path: Path) -> None:
        """Read the file; raises UserError or OSError where that fails."""
        self._path = path
        if not path.exists():
            raise UserError(f"{path}: is missing; make it with: trunkline key add NAME")
        self._stamp = _stamp(path)
        self._keys = _by_id(path)

    def principal(self, credential: str) -> Principal | None:
        """Return whose key it is, None if it is none; raises ProblemError while the file cannot be read."""
        identifier, _, secret = credential.partition(".")
        sha256, principal = self._current().get(identifier, _NOBODY)
        return principal if hmac.compare_digest(hashlib.sha256(secret.encode()).digest(), sha256) else None

    def _current(self) -> dict[str, _Known]:
        try:
            stamp = _stamp(self._path)
            if stamp != self._stamp:
                self._keys = _by_id(self._path)
                self._stamp = stamp
                _log.info("%s: was read again, %d keys", self._path, len(self._keys))
        except (OSError, UserError) as error:
            before, self._stamp = self._stamp, None
            if before is not None:
                _log.error("no key is accepted: %s", error)
            detail = "the server cannot read its keys"
            raise ProblemError(HTTPStatus.SERVICE_UNAVAILABLE, detail, {"retry-after": "1"}) from None
        return self._keys


def _by_id(path: Path) -> dict[str, _Known]:
    return {
        key.id: (bytes.fromhex(key.sha256), Principal(f"key:{key.name}", frozenset(key.scopes)))
        for key in parse(path.read_bytes(), path)
    }


def _stamp(path: Path) -> tuple[int, int, int] | None:
    status = os.stat(path)  # noqa: PTH116  asked for each request
    return status.st_mtime_ns, status.st_size, status.st_ino
