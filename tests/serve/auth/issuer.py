"""An issuer of tokens: real keys, and a web server of its public ones that can be slow, wrong or dead."""

import json
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cache
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import jwt
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from jwt.algorithms import ECAlgorithm, RSAAlgorithm

ISSUER, AUDIENCE = "https://issuer.example", "flights"


@dataclass(frozen=True)
class SigningKey:
    """A key pair of an issuer, with its id."""

    id: str
    algorithm: str
    private: Any

    @property
    def public(self) -> dict[str, Any]:
        maker = RSAAlgorithm if self.algorithm.startswith("RS") else ECAlgorithm
        return maker.to_jwk(self.private.public_key(), as_dict=True) | {"kid": self.id, "alg": self.algorithm}

    def token(self, *, header: dict[str, Any] | None = None, **claims: Any) -> str:
        """Return a token that is good for a minute; `claims` replaces its claims, and None leaves one out."""
        now = int(time.time())
        usual = {"iss": ISSUER, "aud": AUDIENCE, "sub": "ann", "scope": "predict", "exp": now + 60}
        content = usual | {"nbf": now - 1, "iat": now - 1} | claims
        content = {name: value for name, value in content.items() if value is not None}
        headers = {name: value for name, value in ({"kid": self.id} | (header or {})).items() if value is not None}
        return jwt.PyJWS().encode(json.dumps(content).encode(), self.private, self.algorithm, headers)


@cache
def rsa_key(name: str, bits: int = 2048) -> SigningKey:
    return SigningKey(name, "RS256", rsa.generate_private_key(65537, bits))


@cache
def ec_key(name: str) -> SigningKey:
    return SigningKey(name, "ES256", ec.generate_private_key(ec.SECP256R1()))


def key_set(*keys: SigningKey) -> bytes:
    return json.dumps({"keys": [key.public for key in keys]}).encode()


@dataclass
class Issuer:
    """Where its keys are, what is answered there, and how often that was asked; `gate` holds answers back."""

    url: str = ""
    content: bytes = b""
    status: int = 200
    asked: int = 0
    gate: threading.Event = field(default_factory=threading.Event)


class _Handler(BaseHTTPRequestHandler):
    state: Issuer

    def do_GET(self) -> None:
        self.state.asked += 1
        self.state.gate.wait(30)
        self.send_response(self.state.status)
        if self.state.status == 302:
            self.send_header("Location", "/elsewhere")
        self.end_headers()
        self.wfile.write(self.state.content)

    def log_message(self, *_: object) -> None:
        """Say nothing."""


@contextmanager
def issuing(*keys: SigningKey) -> Iterator[Issuer]:
    """Serve the keys of an issuer on loopback."""
    state = Issuer(content=key_set(*keys))
    state.gate.set()
    with ThreadingHTTPServer(("127.0.0.1", 0), type("Handler", (_Handler,), {"state": state})) as server:
        server.daemon_threads = True
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        state.url = f"http://127.0.0.1:{server.server_address[1]}/keys"
        try:
            yield state
        finally:
            state.gate.set()
            server.shutdown()
            thread.join()
