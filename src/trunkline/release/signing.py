"""Signs a statement, and says who signed one: with a key, or keyless in a workflow.

With a key the result is a DSSE envelope; keyless it is a Sigstore bundle, which holds such an envelope, a certificate
that was good for minutes, and the transparency log's receipt. Both are verified offline. No message holds a secret.
"""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.resources import as_file, files
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from trunkline.conf.signers import Key, Keyless
from trunkline.core.errors import OutsideError, UserError, one_line

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePrivateKey
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
    from cryptography.x509 import Certificate
    from securesystemslib.signer import SSlibKey
    from sigstore.models import ClientTrustConfig, TrustedRoot


KEY, PASSWORD = "TRUNKLINE_SIGNING_KEY", "TRUNKLINE_SIGNING_PASSWORD"
TOKEN_ADDRESS, TOKEN = "ACTIONS_ID_TOKEN_REQUEST_URL", "ACTIONS_ID_TOKEN_REQUEST_TOKEN"
TYPE = "application/vnd.in-toto+json"
LIMIT = 1_000_000  # bytes; an envelope of ours has some thousand

_NO_KEY = (
    f"nothing to sign with: {KEY} is not set, and this is no workflow with `id-token: write` that conf/deploy "
    "declares; make a key:\n"
    "  openssl genpkey -algorithm ed25519 -out release.pem\n"
    "  openssl pkey -in release.pem -pubout\n"
    f"set {KEY} to release.pem, or in a workflow to a secret that holds its text, keep it out of git, and declare what "
    "the second command prints in conf/deploy, in a pull request: signers: {release: {key: …}}"
)


KEYED = ("cryptography", "securesystemslib")  # what signatures by keys need
KEYLESS = (*KEYED, "sigstore")


class SignatureError(UserError):
    """A signature that is not believed."""


class MissingError(UserError):
    """A library that signatures need is not installed."""


@dataclass(frozen=True)
class Signed:
    """What was signed, byte for byte, and the name in conf/deploy of who signed it."""

    signer: str
    payload: bytes


class _Signature(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    keyid: str
    sig: bytes


class _Envelope(msgspec.Struct, frozen=True, forbid_unknown_fields=True, rename="camel"):
    """A DSSE envelope; its JSON is written in one way only, and read in no other."""

    payload: bytes
    payload_type: str
    signatures: list[_Signature]


def sign(payload: bytes, environ: Mapping[str, str], trust: "ClientTrustConfig | None" = None) -> str:
    """Sign an in-toto statement, with the key of the environment or else as the workflow that runs.

    `trust` is another instance of Sigstore than the public one. Returns JSON. Raises UserError for a key that cannot
    be used, and if there is nothing to sign with; OutsideError if no keyless signature is granted.
    """
    installed()
    if environ.get(KEY):
        return _sign_with(_private(environ[KEY], environ.get(PASSWORD)), payload)
    if environ.get(TOKEN_ADDRESS):
        return _sign_keyless(payload, environ, trust)
    raise UserError(_NO_KEY)


def verify(signed: str, signers: Mapping[str, Key | Keyless], root: "TrustedRoot | None" = None) -> Signed:
    """Return what was signed and by whom.

    `root` is what a keyless signature must lead back to: Sigstore's public instance as the installed library knows
    it. Raises SignatureError for what is not an envelope, has another type or not exactly one signature, does not match
    what was signed, or is by a signer that is not declared; MissingError where a library that it needs is missing.
    """
    installed(KEYED)
    if len(signed) > LIMIT:
        raise SignatureError(f"the signature has more than {LIMIT:,} characters, which none has")
    try:
        content = json.loads(signed)
    except (ValueError, RecursionError):
        raise _unreadable() from None
    if isinstance(content, dict) and "mediaType" in content:
        if _compact(content) != signed:
            raise _unreadable()
        installed()
        return _verify_keyless(signed, signers, root)
    return _verify_with(signed, signers)


def holder(environ: Mapping[str, str], declared: Mapping[str, Key | Keyless]) -> str | None:
    """Return the declared name of the key that the environment holds; None where its public half is not declared.

    Raises UserError for a key that cannot be used.
    """
    installed()
    own = _with_id(_private(environ.get(KEY, ""), environ.get(PASSWORD)).public_key())
    keys = {name: _declared(name, signer) for name, signer in declared.items() if isinstance(signer, Key)}
    return next((name for name, key in keys.items() if key.keyid == own.keyid), None)


def _compact(content: object) -> str:
    return json.dumps(content, sort_keys=True, separators=(",", ":"))


def _unreadable() -> SignatureError:
    return SignatureError("the signature is unreadable: it is no envelope as trunkline release writes it")


def _unfit() -> SignatureError:
    return SignatureError("the signature does not fit: it, or what was signed, has been changed")


def _undeclared(who: str, signers: Mapping[str, Key | Keyless]) -> SignatureError:
    declared = ", ".join(sorted(signers)) or "none"
    return SignatureError(
        f"signed by {who}, which conf/deploy does not declare, or no longer does; declared signers: {declared}"
    )


def _one_of_type(payload_type: object, count: int) -> None:
    """Refuse an envelope of something else, or without exactly one signature: nobody could say which one is meant."""
    if payload_type != TYPE:
        raise SignatureError(f"what was signed is of another type than {TYPE}")
    if count != 1:
        raise SignatureError(f"the envelope has {count} signatures; that of a version has exactly one")


def installed(names: tuple[str, ...] = KEYLESS) -> None:
    """Raise MissingError, which says what to install, where a library that signatures need is missing."""
    for name in names:
        if find_spec(name) is None:
            raise MissingError(f"{name} is not installed; run: pip install 'trunkline[sign]'")


# With a key


def _sign_with(private: "Ed25519PrivateKey | EllipticCurvePrivateKey", payload: bytes) -> str:
    from securesystemslib.dsse import Envelope
    from securesystemslib.signer import CryptoSigner

    envelope = Envelope(payload, TYPE, {}).sign(CryptoSigner(private, _with_id(private.public_key())))
    signature = _Signature(envelope.keyid, bytes.fromhex(envelope.signature))
    return msgspec.json.encode(_Envelope(payload, TYPE, [signature])).decode()


def _verify_with(signed: str, signers: Mapping[str, Key | Keyless]) -> Signed:
    try:
        envelope = msgspec.json.decode(signed, type=_Envelope)
    except (msgspec.MsgspecError, UnicodeError):
        raise _unreadable() from None
    if msgspec.json.encode(envelope) != signed.encode():
        raise _unreadable()
    _one_of_type(envelope.payload_type, len(envelope.signatures))
    [signature] = envelope.signatures
    keys = {_declared(name, signer): name for name, signer in signers.items() if isinstance(signer, Key)}
    for key, name in keys.items():
        if key.keyid == signature.keyid:
            _check(key, envelope)
            return Signed(name, envelope.payload)
    raise _undeclared(f"the key {ascii(signature.keyid[:64])[1:-1]}", signers)


def _check(key: "SSlibKey", envelope: _Envelope) -> None:
    from securesystemslib.dsse import Envelope
    from securesystemslib.exceptions import VerificationError
    from securesystemslib.signer import Signature

    signatures = {signature.keyid: Signature(signature.keyid, signature.sig.hex()) for signature in envelope.signatures}
    try:
        Envelope(envelope.payload, envelope.payload_type, signatures).verify([key], threshold=1)
    except VerificationError:
        raise _unfit() from None


def _private(setting: str, password: str | None) -> "Ed25519PrivateKey | EllipticCurvePrivateKey":
    """Return the private key that a setting holds, or the file that it names; no message says what it is."""
    from cryptography.exceptions import UnsupportedAlgorithm
    from cryptography.hazmat.primitives.asymmetric import ec, ed25519
    from cryptography.hazmat.primitives.serialization import load_pem_private_key

    secret = password.encode() if password else None
    try:
        key = load_pem_private_key(pem(setting, KEY), secret)
    except TypeError:  # so it says that a password is missing, or is not needed
        advice = "is not encrypted; unset" if secret else "is encrypted; set"
        raise UserError(f"{KEY}: the key {advice} {PASSWORD}") from None
    except (ValueError, UnsupportedAlgorithm):
        wrong = f", or {PASSWORD} is not its password" if secret else ""
        raise UserError(f"{KEY}: is no private key in PEM as openssl genpkey writes it{wrong}") from None
    if isinstance(key, ed25519.Ed25519PrivateKey):
        return key
    if isinstance(key, ec.EllipticCurvePrivateKey) and isinstance(key.curve, ec.SECP256R1):
        return key
    raise UserError(f"{KEY}: is a key of another kind than Ed25519 and ECDSA P-256")


def pem(setting: str, variable: str) -> bytes:
    """Return the private key in PEM that a variable of the environment holds, or that the file it names does.

    Raises UserError for another setting; no message says what it is.
    """
    if "-----BEGIN" in setting:
        return setting.encode()
    try:
        return Path(setting).expanduser().read_bytes()
    except (OSError, ValueError, RuntimeError):
        raise UserError(f"{variable}: is neither a private key in PEM nor a file that can be read") from None


def _declared(name: str, signer: Key) -> "SSlibKey":
    from cryptography.hazmat.primitives.serialization import load_pem_public_key

    try:
        return _with_id(load_pem_public_key(signer.key.encode()))
    except ValueError:
        raise UserError(f"conf/deploy: signers.{name}.key: is no point of its curve; declare the key again") from None


def _with_id(public: Any) -> "SSlibKey":
    """Return a key with its id: the sha256 of its DER, which `openssl pkey -pubin -outform DER | sha256sum` prints."""
    from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
    from securesystemslib.signer import SSlibKey

    der = public.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    return SSlibKey.from_crypto(public, keyid=hashlib.sha256(der).hexdigest())


# Keyless


def _sign_keyless(payload: bytes, environ: Mapping[str, str], trust: "ClientTrustConfig | None") -> str:
    """Sign with a key of this moment, which Sigstore certifies for the workflow that asks.

    The library asks the process's own environment for the workflow's token.
    """
    from sigstore.dsse import Statement
    from sigstore.models import ClientTrustConfig
    from sigstore.oidc import IdentityToken, detect_credential
    from sigstore.sign import SigningContext

    statement, token = Statement(payload), None
    try:
        token = detect_credential() or ""
        context = SigningContext.from_trust_config(trust or ClientTrustConfig.production())
        with context.signer(IdentityToken(token)) as signer:
            bundle = signer.sign_dsse(statement)
    except Exception as error:  # whatever network, token, certificate authority and log make of it
        reason = _without(f"{type(error).__name__}: {error}", token, environ.get(TOKEN))
        raise OutsideError(f"no keyless signature was granted: {reason}; try again, or set {KEY}") from None
    return _compact(json.loads(bundle.to_json()))


def _without(text: str, *secrets: str | None) -> str:
    for secret in filter(None, secrets):
        text = text.replace(secret, "…")
    return one_line(text)[:200]


def _verify_keyless(signed: str, signers: Mapping[str, Key | Keyless], root: "TrustedRoot | None") -> Signed:
    from sigstore.models import Bundle
    from sigstore.verify import Verifier

    envelope = json.loads(signed).get("dsseEnvelope")
    signatures = envelope.get("signatures") if isinstance(envelope, dict) else None
    if not isinstance(signatures, list):
        raise SignatureError("the signature is of something else than a statement: it has no envelope")
    _one_of_type(envelope.get("payloadType"), len(signatures))
    try:
        bundle = Bundle.from_json(signed)
    except Exception:  # the parsers of JSON, base64, DER and X.509 each have their own
        raise _unreadable() from None
    policy = _Identities(signers)
    try:
        verified, payload = Verifier(trusted_root=root or _public_root()).verify_dsse(bundle, policy)
    except SignatureError:
        raise
    except Exception as error:  # what cannot be verified is refused, however it cannot
        raise SignatureError(f"{_unfit()} ({_without(str(error))})") from None
    _one_of_type(verified, 1)
    return Signed(policy.name, payload)


def _public_root() -> "TrustedRoot":
    """Return the root of Sigstore's public instance that came with the library, whose hash is in the lock.

    Not the library's cache in the user's folder, which anything may have written.
    """
    from sigstore.models import TrustedRoot

    resource = files("sigstore._store") / "https%3A%2F%2Ftuf-repo-cdn.sigstore.dev" / "trusted_root.json"
    with as_file(resource) as path:
        return TrustedRoot.from_file(str(path))


class _Identities:
    """A policy for Sigstore: accepts the certificates of declared signers; `name` is the signer that matched."""

    def __init__(self, signers: Mapping[str, Key | Keyless]) -> None:
        self.signers = signers
        self.name = ""

    def verify(self, cert: "Certificate") -> None:
        """Raise SignatureError for the certificate of an identity, or from an issuer, that is not declared."""
        from sigstore.errors import VerificationError
        from sigstore.verify.policy import Identity

        for name, signer in self.signers.items():
            if isinstance(signer, Keyless):
                try:
                    Identity(identity=signer.identity, issuer=signer.issuer).verify(cert)
                except VerificationError:
                    continue
                self.name = name
                return
        raise _undeclared(_holder(cert), self.signers)


def _holder(cert: "Certificate") -> str:
    from cryptography import x509

    names = cert.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    identities = [
        *names.get_values_for_type(x509.UniformResourceIdentifier),
        *names.get_values_for_type(x509.RFC822Name),
    ]
    return ascii(identities[0][:300])[1:-1] if identities else "an unnamed holder"
