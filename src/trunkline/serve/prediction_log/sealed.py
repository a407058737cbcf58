"""Files of a log at rest, encrypted by AES-256-GCM with a key that the environment holds; plain ones are still read.

A sealed file is MAGIC, what its key is known by, a nonce, and the ciphertext of the file with its tag, which covers
what stands before it too. The key is in the environment, or in a file that the variable names, and nowhere else.
"""

import base64
import binascii
import hashlib
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from trunkline.conf.serving import Log, Serving
from trunkline.core import paths
from trunkline.core.errors import OutsideError, UserError
from trunkline.core.params import Params, dig

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.ciphers.aead import AESGCM

MAGIC = b"TRKLOG1\n"  # Parquet begins with PAR1

_KEY, _ID, _NONCE = 32, 8, 12  # bytes
_HEADER = len(MAGIC) + _ID


@dataclass(frozen=True)
class Keys:
    """The environment variables that hold the key of new files, and those of files that were written before."""

    variable: str
    before: tuple[str, ...] = ()

    @classmethod
    def of(cls, log: Log | None, *, reads: bool = True) -> Self | None:
        """Return what a log declares, None if nothing; who only writes needs no key of older files.

        Raises UserError where the environment lacks a key.
        """
        if log is None or log.encrypt is None:
            return None
        keys = cls(log.encrypt.key, log.encrypt.before if reads else ())
        keys.by_id()
        return keys

    @classmethod
    def declared(cls, project: Path = Path(), *, reads: bool = True) -> Self | None:
        """Return what the log of a project declares, as `of`; None in a folder without params.yaml, or a log."""
        if not (project / paths.PARAMS).is_file():
            return None
        params = Params.read(project)
        return cls.of(params.group(Serving).log, reads=reads) if dig(params.content, Serving.key, "log") else None

    def by_id(self) -> dict[bytes, bytes]:
        """Return each key by what it is known by, that of new files first."""
        keys = [key_in(self.variable, "key"), *(key_in(name, "before") for name in self.before)]
        return {_id(key): key for key in keys}

    def seal(self, content: bytes) -> bytes:
        """Return content encrypted by the key of new files."""
        known_by, key = next(iter(self.by_id().items()))
        header, nonce = MAGIC + known_by, os.urandom(_NONCE)
        return header + nonce + _cipher(key).encrypt(nonce, content, header)


def is_sealed(content: bytes) -> bool:
    """Tell whether a file that begins so is encrypted."""
    return content.startswith(MAGIC)


def unsealed(content: bytes, name: str, keys: Keys | None) -> bytes:
    """Return what a file holds, decrypted if it is sealed; `name` is what messages call it.

    Raises UserError without its key, OutsideError for a file that was changed after it was written.
    """
    if not is_sealed(content):
        return content
    if keys is None:
        raise UserError(f"{name}: is encrypted; declare the variable that holds its key: serving.log.encrypt")
    header, rest = content[:_HEADER], content[_HEADER:]
    key = keys.by_id().get(header[len(MAGIC) :])
    if key is None:
        raise UserError(
            f"{name}: is encrypted by another key than that of {', '.join((keys.variable, *keys.before))}; name the "
            "variable that holds it: serving.log.encrypt.before"
        )
    from cryptography.exceptions import InvalidTag  # noqa: PLC0415  who reads a plain log needs none

    try:
        return _cipher(key).decrypt(rest[:_NONCE], rest[_NONCE:], header)
    except (InvalidTag, ValueError):
        raise OutsideError(f"{name}: is encrypted, and was changed or cut after that; fetch it again") from None


@contextmanager
def parquet(path: Path, keys: Keys | None) -> Iterator[Any]:
    """Yield what pyarrow reads a file of Parquet of: its path, or where it is sealed, its content in memory."""
    with path.open("rb") as file:
        begins = file.read(len(MAGIC))
    if not is_sealed(begins):
        yield path
        return
    import pyarrow as pa  # noqa: PLC0415  a server without a log needs none

    yield pa.BufferReader(unsealed(path.read_bytes(), str(path), keys))


def key_in(variable: str, declared: str, environ: Mapping[str, str] = os.environ) -> bytes:
    """Return the key that a variable holds as base64, or that is in the file that it names.

    Raises UserError, which names serving.log.encrypt's key of `declared`, where it is none.
    """
    text = environ.get(variable, "").strip()
    key = _decoded(text)
    if key is None and text:
        try:
            key = _decoded(Path(text).read_text(encoding="ascii").strip())
        except (OSError, ValueError):
            key = None
    if key is None:
        raise UserError(
            f"serving.log.encrypt.{declared}: the environment variable {variable} has to hold a key of {_KEY} bytes in "
            "base64, or the path of a file with one; make it with: openssl rand -base64 32"
        )
    return key


def file_in(variable: str, environ: Mapping[str, str]) -> Path | None:
    """Return the file that a variable names, which holds a key; None where it holds the key itself."""
    text = environ.get(variable, "").strip()
    return Path(text) if text and _decoded(text) is None else None


def _decoded(text: str) -> bytes | None:
    try:
        key = base64.b64decode(text, validate=True)
    except (ValueError, binascii.Error):
        return None
    return key if len(key) == _KEY else None


def _id(key: bytes) -> bytes:
    """Return what a key is known by, which tells nothing of it."""
    return hashlib.sha256(b"trunkline log key\0" + key).digest()[:_ID]


def _cipher(key: bytes) -> "AESGCM":
    from cryptography.hazmat.primitives.ciphers.aead import AESGCM  # noqa: PLC0415  as above

    return AESGCM(key)
