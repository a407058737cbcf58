"""An instance of Sigstore on this machine: who hands out a workflow's token, certifies, and keeps the log.

What is signed there is verified by Sigstore's own library as if it were the public instance, with another root: the
certificate with its receipt (RFC 6962), the log's inclusion proof, checkpoint and promise are all real.
"""

import base64
import hashlib
import json
import struct
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import jwt
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID, ObjectIdentifier
from sigstore.models import ClientTrustConfig

ISSUER = "https://token.actions.githubusercontent.com"
IDENTITY = "https://github.com/acme/model/.github/workflows/main.yml@refs/heads/main"
REQUEST_TOKEN = "s3cret-of-this-run"

_SHA = hashes.SHA256()
_OIDC_ISSUER, _SCT_LIST = ObjectIdentifier("1.3.6.1.4.1.57264.1.1"), ObjectIdentifier("1.3.6.1.4.1.11129.2.4.2")


def encoded(data: bytes) -> str:
    return base64.b64encode(data).decode()


def spki(key: ec.EllipticCurvePrivateKey) -> bytes:
    return key.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)


def key_id(key: ec.EllipticCurvePrivateKey) -> bytes:
    return hashlib.sha256(spki(key)).digest()


class Sigstore:
    """Its keys, and its answers; `failing` is a path that answers with an error instead."""

    def __init__(self, identity: str = IDENTITY) -> None:
        self.identity = identity
        self.failing: str | None = None
        self.now = datetime.now(UTC).replace(microsecond=0)
        self.ca, self.receipts, self.log = (ec.generate_private_key(ec.SECP256R1()) for _ in range(3))
        self.root = self._root()
        self.entries = 0

    def _certificate(self, subject: x509.Name, key: Any) -> x509.CertificateBuilder:
        issuer = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "stand-in")])
        start = self.now - timedelta(minutes=5)
        builder = x509.CertificateBuilder().subject_name(subject).issuer_name(issuer).public_key(key)
        return builder.serial_number(7).not_valid_before(start).not_valid_after(self.now + timedelta(minutes=10))

    def _usage(self, *, authority: bool) -> x509.KeyUsage:
        others = ("content_commitment", "key_encipherment", "data_encipherment", "key_agreement", "crl_sign")
        names = dict.fromkeys((*others, "encipher_only", "decipher_only"), False)
        return x509.KeyUsage(digital_signature=not authority, key_cert_sign=authority, **names)

    def _root(self) -> x509.Certificate:
        name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "stand-in")])
        builder = self._certificate(name, self.ca.public_key())
        builder = builder.add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        builder = builder.add_extension(self._usage(authority=True), critical=True)
        known = x509.SubjectKeyIdentifier.from_public_key(self.ca.public_key())
        return builder.add_extension(known, critical=False).sign(self.ca, _SHA)

    # The certificate authority

    def certified(self, request: x509.CertificateSigningRequest) -> x509.Certificate:
        builder = self._certificate(x509.Name([]), request.public_key())
        names = x509.SubjectAlternativeName([x509.UniformResourceIdentifier(self.identity)])
        builder = builder.add_extension(names, critical=True)
        builder = builder.add_extension(self._usage(authority=False), critical=True)
        builder = builder.add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.CODE_SIGNING]), critical=False)
        holder = x509.AuthorityKeyIdentifier.from_issuer_public_key(self.ca.public_key())
        builder = builder.add_extension(holder, critical=False)
        builder = builder.add_extension(x509.UnrecognizedExtension(_OIDC_ISSUER, ISSUER.encode()), critical=False)
        receipt = self._receipt(builder.sign(self.ca, _SHA).tbs_certificate_bytes)
        return builder.add_extension(x509.UnrecognizedExtension(_SCT_LIST, receipt), critical=False).sign(self.ca, _SHA)

    def _receipt(self, certificate: bytes) -> bytes:
        """Return a list of one signed certificate timestamp, as an octet string."""
        stamp = int(self.now.timestamp() * 1000)
        length = struct.pack("!I", len(certificate))[1:]
        entry = struct.pack("!H", 1) + key_id(self.ca) + length + certificate
        signature = self.receipts.sign(struct.pack("!BBQ", 0, 0, stamp) + entry + b"\0\0", ec.ECDSA(_SHA))
        receipt = struct.pack("!B32sQH", 0, key_id(self.receipts), stamp, 0)
        receipt += struct.pack("!BBH", 4, 3, len(signature)) + signature
        listed = struct.pack("!HH", len(receipt) + 2, len(receipt)) + receipt
        return b"\x04" + bytes([len(listed)]) + listed  # always shorter than 128 bytes

    # The log

    def logged(self, proposed: dict[str, Any]) -> dict[str, Any]:
        content = proposed["spec"]["proposedContent"]
        envelope = json.loads(content["envelope"])
        body = {
            "apiVersion": "0.0.1",
            "kind": "dsse",
            "spec": {
                "envelopeHash": _hashed(content["envelope"].encode()),
                "payloadHash": _hashed(base64.b64decode(envelope["payload"])),
                "signatures": [{"signature": envelope["signatures"][0]["sig"], "verifier": content["verifiers"][0]}],
            },
        }
        canonical = json.dumps(body, sort_keys=True, separators=(",", ":")).encode()
        entry = {
            "body": encoded(canonical),
            "integratedTime": int(self.now.timestamp()),
            "logID": key_id(self.log).hex(),
            "logIndex": 0,
        }
        promised = json.dumps(entry, sort_keys=True, separators=(",", ":")).encode()
        self.entries += 1
        return {"0" * 64: entry | {"verification": self._verification(promised, canonical)}}

    def _verification(self, promised: bytes, leaf: bytes) -> dict[str, Any]:
        root = hashlib.sha256(b"\0" + leaf).digest()  # of a tree with this one leaf
        note = f"stand-in\n1\n{encoded(root)}\n"
        signature = self.log.sign(note.encode(), ec.ECDSA(_SHA))
        signed = f"{note}\n\N{EM DASH} stand-in {encoded(key_id(self.log)[:4] + signature)}\n"
        proof = {"logIndex": 0, "rootHash": root.hex(), "treeSize": 1, "hashes": [], "checkpoint": signed}
        return {
            "inclusionProof": proof,
            "signedEntryTimestamp": encoded(self.log.sign(promised, ec.ECDSA(_SHA))),
        }

    # What it says of itself, and over HTTP

    def trust(self, address: str) -> ClientTrustConfig:
        valid = {"start": (self.now - timedelta(days=1)).strftime("%Y-%m-%dT%H:%M:%SZ")}
        service = {"url": address, "majorApiVersion": 1, "validFor": valid, "operator": "stand-in"}
        authority = {
            "subject": {"organization": "stand-in", "commonName": "stand-in"},
            "uri": address,
            "certChain": {"certificates": [{"rawBytes": encoded(self.root.public_bytes(Encoding.DER))}]},
            "validFor": valid,
        }
        log, receipts = (
            {
                "baseUrl": address,
                "hashAlgorithm": "SHA2_256",
                "publicKey": {
                    "rawBytes": encoded(spki(key)),
                    "keyDetails": "PKIX_ECDSA_P256_SHA_256",
                    "validFor": valid,
                },
                "logId": {"keyId": encoded(key_id(key))},
            }
            for key in (self.log, self.receipts)
        )
        content = {
            "mediaType": "application/vnd.dev.sigstore.clienttrustconfig.v0.1+json",
            "trustedRoot": {
                "mediaType": "application/vnd.dev.sigstore.trustedroot+json;version=0.1",
                "tlogs": [log],
                "ctlogs": [receipts],
                "certificateAuthorities": [authority],
                "timestampAuthorities": [],
            },
            "signingConfig": {
                "mediaType": "application/vnd.dev.sigstore.signingconfig.v0.2+json",
                "caUrls": [service],
                "oidcUrls": [service],
                "rekorTlogUrls": [service],
                "rekorTlogConfig": {"selector": "ANY"},
                "tsaUrls": [],
                "tsaConfig": {"selector": "ANY"},
            },
        }
        return ClientTrustConfig.from_json(json.dumps(content))

    def token(self) -> str:
        claims = {"iss": ISSUER, "sub": "repo:acme/model:ref:refs/heads/main", "aud": "sigstore"}
        times = {"iat": self.now, "exp": self.now + timedelta(minutes=5)}
        return jwt.encode(claims | times, "a key that nobody checks, of 32 bytes", algorithm="HS256")

    def answer(self, path: str, authorization: str, content: Any) -> tuple[int, Any]:
        if self.failing and path.startswith(self.failing):
            return 503, {"message": f"not now, says {authorization}"}
        if path.startswith("/token"):
            right = authorization == f"bearer {REQUEST_TOKEN}" and "audience=sigstore" in path
            return (200, {"value": self.token()}) if right else (403, {})
        if path == "/api/v2/signingCert":
            pem = base64.b64decode(content["certificateSigningRequest"])
            chain = [self.certified(x509.load_pem_x509_csr(pem)), self.root]
            pems = [certificate.public_bytes(Encoding.PEM).decode() for certificate in chain]
            return 201, {"signedCertificateEmbeddedSct": {"chain": {"certificates": pems}}}
        return (201, self.logged(content)) if path == "/api/v1/log/entries" else (404, {})


def _hashed(data: bytes) -> dict[str, str]:
    return {"algorithm": "sha256", "value": hashlib.sha256(data).hexdigest()}


@contextmanager
def serving(instance: Sigstore) -> Iterator[str]:
    """Serve an instance while the block runs; yields its address."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            length = int(self.headers.get("Content-Length", 0))
            content = json.loads(self.rfile.read(length)) if length else None
            status, said = instance.answer(self.path, self.headers.get("Authorization", ""), content)
            body = json.dumps(said).encode()
            self.send_response(status)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def do_GET(self) -> None:
            self.do_POST()

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}"
        finally:
            server.shutdown()
            thread.join()
