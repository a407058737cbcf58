"""The server's certificate, for HTTP and gRPC: files that are followed, of which only what is whole and right counts.

Who renews a certificate writes two files, one after the other. So files that do not go together are no end: what was
read before stays, and they are looked at again.
"""

import logging
import ssl
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.serialization import Encoding, load_pem_private_key

from trunkline.conf.serving import Tls
from trunkline.core.errors import UserError, one_line

POLL = 0.5  # seconds; a look at three small files

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Files:
    """The content of the declared files: certificate and chain, private key, authorities of clients; all in PEM."""

    certificate: bytes
    key: bytes = field(repr=False)
    clients: bytes | None


@dataclass(frozen=True)
class Identity:
    """What the server shows its clients and asks of them; `expiry` is in seconds since the epoch."""

    files: Files
    expiry: float
    context: ssl.SSLContext


class Certificates:
    """The identity as its files are now, or were when they last were right; `problem` says what is wrong now."""

    def __init__(self, declared: Tls) -> None:
        """Read the files; raises UserError that names the one that is wrong."""
        self._declared, self.name = declared, Path(declared.certificate).name
        self.identity = _identity(declared, _read(declared))
        self.problem: str | None = None
        self.on_change: Callable[[Certificates], None] = lambda _: None
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._follow, name="certificates", daemon=True)

    def context(self) -> ssl.SSLContext:
        """Return a context whose handshakes, each as it begins, take the identity of that moment."""
        return _Following(self)

    def start(self) -> None:
        """Follow the files from now on."""
        self.on_change(self)
        self._thread.start()

    def stop(self) -> None:
        """Follow them no more."""
        self._stop.set()

    def look(self) -> None:
        """Take what the files hold now, if it is right; else go on with what is there, and say why."""
        identity, problem = self.identity, self.problem
        self.problem = self._renew()
        self.on_change(self)
        if self.identity is not identity:
            expiry = datetime.fromtimestamp(self.identity.expiry, UTC).date().isoformat()
            _log.info("%s: was read again; it expires on %s", self._declared.certificate, expiry)
        if self.problem and self.problem != problem:
            _log.error("the certificate stays as it was: %s", self.problem)

    def _renew(self) -> str | None:
        """Take what the files hold; return what is wrong with them, None if nothing is."""
        try:
            files = _read(self._declared)
            if files != self.identity.files:
                self.identity = _identity(self._declared, files)
        except UserError as error:
            return one_line(error)
        return None

    def _follow(self) -> None:
        while not self._stop.wait(POLL):
            self.look()


class _Following(ssl.SSLContext):
    """Begins handshakes in the context of now, so that sessions end with the files that they began with, too."""

    def __new__(cls, _: Certificates) -> "_Following":
        return super().__new__(cls, ssl.PROTOCOL_TLS_SERVER)

    def __init__(self, certificates: Certificates) -> None:
        self._certificates = certificates

    def wrap_bio(self, *arguments: Any, **named: Any) -> ssl.SSLObject:
        return self._certificates.identity.context.wrap_bio(*arguments, **named)


def _read(declared: Tls) -> Files:
    clients = _content(declared.clients) if declared.clients else None
    return Files(_content(declared.certificate), _content(declared.key), clients)


def _content(path: str) -> bytes:
    try:
        return Path(path).read_bytes()
    except OSError as error:
        raise UserError(f"{path}: cannot be read: {error.strerror}; serving.tls names it") from None


def _identity(declared: Tls, files: Files) -> Identity:
    """Return the identity of files; raises UserError where one is wrong or they do not go together."""
    certificate = _certificates(declared.certificate, files.certificate)[0]
    _check_time(declared.certificate, certificate)
    if _public_key(declared.key, files.key) != certificate.public_key():
        raise UserError(f"{declared.key}: is not the key of {declared.certificate}; give the two that go together")
    return Identity(files, certificate.not_valid_after_utc.timestamp(), _context(declared, files))


def _certificates(path: str, content: bytes) -> list[x509.Certificate]:
    try:
        return x509.load_pem_x509_certificates(content)
    except ValueError:
        raise UserError(f"{path}: holds no certificate that can be read; it has to be in PEM, and whole") from None


def _check_time(path: str, certificate: x509.Certificate) -> None:
    now = datetime.now(UTC)
    if certificate.not_valid_after_utc < now:
        raise UserError(f"{path}: has expired on {certificate.not_valid_after_utc:%Y-%m-%d}; renew it")
    if certificate.not_valid_before_utc > now:
        raise UserError(f"{path}: counts from {certificate.not_valid_before_utc} on only; look at the machine's clock")


def _public_key(path: str, content: bytes) -> object:
    try:
        return load_pem_private_key(content, None).public_key()
    except TypeError:
        raise UserError(f"{path}: has a passphrase; give a key without one, which only the server may read") from None
    except (ValueError, UnsupportedAlgorithm):
        raise UserError(f"{path}: holds no private key that can be read; it has to be in PEM, and whole") from None


def _context(declared: Tls, files: Files) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    try:
        context.load_cert_chain(declared.certificate, declared.key)
    except (ssl.SSLError, OSError) as error:
        raise UserError(f"{declared.certificate}, {declared.key}: cannot be used: {error}; renew both") from None
    if declared.clients and files.clients is not None:
        _demand_certificates(context, declared.clients, files.clients)
    return context


def _demand_certificates(context: ssl.SSLContext, path: str, content: bytes) -> None:
    """Let in only who has a certificate of an authority; where that can be had, each connection shows it anew."""
    authorities = _certificates(path, content)
    for authority in authorities:
        _check_time(path, authority)
    context.load_verify_locations(cadata=b"".join(each.public_bytes(Encoding.DER) for each in authorities))
    context.verify_mode = ssl.CERT_REQUIRED
    context.options |= ssl.OP_NO_TICKET
    context.num_tickets = 0
