"""Masks of the sites of a sum, which are uniform alone and cancel when all are added, modulo 2^64.

Each pair of sites agrees on a key (X25519, RFC 7748), derives that of a round (HKDF-SHA256, RFC 5869), and expands it
(ChaCha20, RFC 8439); the one whose name comes first adds the numbers, the other takes them off. This is the first
protocol of Bonawitz et al. ("Practical secure aggregation for privacy-preserving machine learning", CCS 2017), without
what they add for sites that drop out.
"""

import hashlib
from collections.abc import Mapping
from typing import TYPE_CHECKING, TypeAlias

import numpy as np
from numpy.typing import NDArray

from trunkline.core.errors import UserError
from trunkline.release import signing

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey

PublicKey: TypeAlias = "X25519PublicKey"
KEY = "TRUNKLINE_MASKING_KEY"
NUMBERS = np.dtype("<u8")  # of masks and shares, wherever they are computed
_PURPOSE = b"trunkline federate: masks of a share, version 1"


def private(environ: Mapping[str, str]) -> "X25519PrivateKey":
    """Return the key of the environment; raises UserError for none, or one that cannot be used."""
    signing.installed(("cryptography",))
    from cryptography.exceptions import UnsupportedAlgorithm  # noqa: PLC0415  of the extra `sign`
    from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey  # noqa: PLC0415
    from cryptography.hazmat.primitives.serialization import load_pem_private_key  # noqa: PLC0415

    make = "openssl genpkey -algorithm x25519 -out masking.pem"
    if not environ.get(KEY):
        raise UserError(f"nothing to mask with: {KEY} is not set; make a key, and keep it out of git: {make}")
    try:
        key = load_pem_private_key(signing.pem(environ[KEY], KEY), None)
    except (TypeError, ValueError, UnsupportedAlgorithm):
        key = None
    if not isinstance(key, X25519PrivateKey):
        raise UserError(f"{KEY}: is no private key of X25519 in PEM without a password; make one: {make}")
    return key


def public(pem: str, where: str) -> PublicKey:
    """Return a site's public key; raises UserError for another text, which begins with `where`."""
    signing.installed(("cryptography",))
    from cryptography.exceptions import UnsupportedAlgorithm  # noqa: PLC0415  as above
    from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PublicKey  # noqa: PLC0415
    from cryptography.hazmat.primitives.serialization import load_pem_public_key  # noqa: PLC0415

    try:
        key = load_pem_public_key(pem.encode())
    except (ValueError, UnsupportedAlgorithm):
        key = None
    if not isinstance(key, X25519PublicKey):
        raise UserError(f"{where}: is no public key of X25519 in PEM; write what `openssl pkey -pubout` prints of one")
    return key


def fingerprint(key: PublicKey) -> str:
    """Return the sha256 of a key's DER, in hex."""
    from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat  # noqa: PLC0415  as above

    return hashlib.sha256(key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)).hexdigest()


def total(
    own: "X25519PrivateKey", name: str, keys: Mapping[str, PublicKey], identity: bytes, count: int
) -> NDArray[np.uint64]:
    """Return what the site of a name adds to its numbers, shape (count): the sum of its masks with all others.

    `keys` are those of all sites, by name, and `identity` the sha256 of what the round is. Raises UserError for a key
    with which nobody can agree on a secret.
    """
    mask = np.zeros(count, dtype=NUMBERS)
    for other, key in keys.items():
        if other == name:
            continue
        try:
            secret = own.exchange(key)
        except ValueError:
            raise UserError(f"{other}: its key is of low order, with which no secret is shared; refuse it") from None
        stream = _stream(secret, identity, sorted((name, other)), count)
        mask = mask + stream if name < other else mask - stream
    return mask


def _stream(secret: bytes, identity: bytes, pair: list[str], count: int) -> NDArray[np.uint64]:
    """Return the numbers of a pair in a round; the key is of these alone, so that its nonce may be zero."""
    from cryptography.hazmat.primitives.ciphers import Cipher, algorithms  # noqa: PLC0415  as above
    from cryptography.hazmat.primitives.hashes import SHA256  # noqa: PLC0415
    from cryptography.hazmat.primitives.kdf.hkdf import HKDF  # noqa: PLC0415

    purpose = b"\0".join([_PURPOSE, *(each.encode() for each in pair)])
    key = HKDF(algorithm=SHA256(), length=32, salt=identity, info=purpose).derive(secret)
    encryptor = Cipher(algorithms.ChaCha20(key, bytes(16)), mode=None).encryptor()
    return np.frombuffer(encryptor.update(bytes(count * NUMBERS.itemsize)), dtype=NUMBERS)
