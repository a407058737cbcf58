"""A certificate authority, and what it signs, for tests of TLS."""

import ipaddress
import ssl
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

_LOOPBACK = x509.SubjectAlternativeName(
    [x509.DNSName("localhost"), x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]
)  # fmt: skip


@dataclass(frozen=True)
class Pair:
    """A certificate and its key."""

    certificate: x509.Certificate
    private: Any

    @property
    def pem(self) -> bytes:
        return self.certificate.public_bytes(serialization.Encoding.PEM)

    def key_pem(self, passphrase: bytes | None = None) -> bytes:
        protection = (
            serialization.BestAvailableEncryption(passphrase) if passphrase else serialization.NoEncryption()
        )  # fmt: skip
        return self.private.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, protection
        )  # fmt: skip

    def write(self, folder: Path, name: str) -> tuple[Path, Path]:
        """Write both beside each other, and return their paths."""
        certificate, key = folder / f"{name}.crt", folder / f"{name}.key"
        certificate.write_bytes(self.pem)
        key.write_bytes(self.key_pem())
        return certificate, key


class Authority:
    """Signs certificates for this machine and for clients."""

    def __init__(self, name: str = "authority") -> None:
        self.pair = _pair(name, None, timedelta(0), timedelta(days=1), authority=True)

    def sign(self, name: str = "server", begins: timedelta = timedelta(0), ends: timedelta = timedelta(days=1)) -> Pair:
        return _pair(name, self.pair, begins, ends, authority=False)

    def client(self, folder: Path, shows: Pair | None = None) -> ssl.SSLContext:
        """Return what trusts this authority alone, and shows a certificate."""
        context = ssl.create_default_context(cadata=self.pair.pem.decode())
        if shows:
            context.load_cert_chain(*shows.write(folder, "shown"))
        return context


def _pair(name: str, signer: Pair | None, begins: timedelta, ends: timedelta, *, authority: bool) -> Pair:
    private = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    now = datetime.now(UTC) - timedelta(minutes=1)
    issuer = signer.certificate.subject if signer else subject
    signing = signer.private if signer else private
    builder = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(private.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now + begins)
        .not_valid_after(now + ends)
        .add_extension(x509.BasicConstraints(ca=authority, path_length=None), critical=True)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(signing.public_key()), critical=False)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(private.public_key()), critical=False)
    )
    if authority:
        usage = dict.fromkeys(
            ["digital_signature", "content_commitment", "key_encipherment", "data_encipherment", "key_agreement"], False
        ) | dict.fromkeys(["crl_sign", "encipher_only", "decipher_only"], False)
        builder = builder.add_extension(x509.KeyUsage(**usage, key_cert_sign=True), critical=True)
    else:
        builder = builder.add_extension(_LOOPBACK, critical=False)
    return Pair(builder.sign(signing, hashes.SHA256()), private)
