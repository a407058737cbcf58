"""Whose releases are believed: the public half of a key, or the identity of a workflow (conf/deploy, signers).

What is declared is judged by its shape alone, so that composing conf/ needs no library of cryptography.
"""

import base64
import binascii
import re
import textwrap
from collections.abc import Mapping
from typing import Annotated, Any
from urllib.parse import urlsplit

from pydantic import (
    AfterValidator,
    Discriminator,
    Field,
    StringConstraints,
    Tag,
    TypeAdapter,
    ValidationError,
    WithJsonSchema,
)

from trunkline.core.errors import UserError
from trunkline.core.values import Strict, Word

_PEM = re.compile(r"-----BEGIN PUBLIC KEY-----\n([A-Za-z0-9+/=\n]+)\n-----END PUBLIC KEY-----\n?")
# What a SubjectPublicKeyInfo of each kind begins with (RFC 8410 and RFC 5480), and how many bytes of key follow.
_KINDS = (
    (bytes.fromhex("302a300506032b6570032100"), 32),  # Ed25519
    (bytes.fromhex("3059301306072a8648ce3d020106082a8648ce3d03010703420004"), 64),  # ECDSA P-256, uncompressed
)


def _public(text: str) -> str:
    # No message may repeat the text: it may be a secret.
    if "PRIVATE KEY" in text:
        raise ValueError("is a private key, which is no secret any more; make a new pair, and declare its public half")
    match = _PEM.fullmatch(text)
    try:
        content = base64.b64decode(match[1].replace("\n", ""), validate=True) if match else b""
    except binascii.Error:
        content = b""
    if not any(content.startswith(kind) and len(content) == len(kind) + size for kind, size in _KINDS):
        raise ValueError(
            "is no public key of Ed25519 or ECDSA P-256 in PEM; write: key: | and below it, indented, "
            "what `openssl pkey -in release.pem -pubout` prints"
        )
    lines = textwrap.wrap(base64.b64encode(content).decode(), 64)  # so that a key is written in one way only
    return "\n".join(["-----BEGIN PUBLIC KEY-----", *lines, "-----END PUBLIC KEY-----", ""])


def _issuer(url: str) -> str:
    parts = urlsplit(url)
    if parts.scheme != "https" or not parts.hostname or parts.query or parts.fragment:
        raise ValueError("is no address such as https://token.actions.githubusercontent.com")
    return url


PublicKey = Annotated[
    str,
    AfterValidator(_public),
    WithJsonSchema({"type": "string", "title": "public key in PEM", "pattern": "^-----BEGIN PUBLIC KEY-----\\n"}),
]
Issuer = Annotated[
    str, AfterValidator(_issuer), WithJsonSchema({"type": "string", "title": "address", "pattern": "^https://"})
]


class Key(Strict):
    """Who holds the private half of this key; it is TRUNKLINE_SIGNING_KEY where versions are released."""

    key: PublicKey = Field(description="The public half, in PEM, of an Ed25519 or an ECDSA P-256 key.")


class Keyless(Strict):
    """A workflow that proves who it is to Sigstore, and has no key."""

    identity: Annotated[str, StringConstraints(min_length=1, max_length=500)] = Field(
        description="As in its certificate: "
        "https://github.com/OWNER/REPOSITORY/.github/workflows/main.yml@refs/heads/main."
    )
    issuer: Issuer = Field(description="Who confirms the identity: https://token.actions.githubusercontent.com.")


def _kind(content: Any) -> str:
    keys = content if isinstance(content, dict) else vars(content) if isinstance(content, Strict) else {}
    return "keyless" if {"identity", "issuer"} & set(keys) else "keyed"


Signer = Annotated[
    Annotated[Key, Tag("keyed")] | Annotated[Keyless, Tag("keyless")],
    Discriminator(_kind),
]


def _distinct(signers: dict[str, Key | Keyless]) -> dict[str, Key | Keyless]:
    names: dict[Key | Keyless, str] = {}
    for name, signer in signers.items():
        if names.setdefault(signer, name) != name:
            raise ValueError(f"{name}: is the same as {names[signer]}; one signer has one name")
    return signers


Signers = Annotated[dict[Word, Signer], AfterValidator(_distinct)]


def of(declared: Mapping[str, Mapping[str, str]]) -> dict[str, Key | Keyless]:
    """Return the signers that a mapping declares; raises UserError with a line, which begins with the key, for each."""
    try:
        signers: dict[str, Key | Keyless] = TypeAdapter(Signers).validate_python({**declared})
    except ValidationError as error:
        lines = (
            f"{'.'.join(str(part) for part in each['loc'] if part not in ('keyed', 'keyless'))}: {each['msg']}"
            for each in error.errors(include_url=False, include_input=False)
        )
        raise UserError("\n".join(line.replace("Value error, ", "") for line in lines)) from None
    return signers
