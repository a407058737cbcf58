"""Tokens (JWT, RFC 7519) of one issuer: whose they are and what they allow, once signature and claims are checked.

A refusal says nothing to who asks; its reason is logged, without anything of the token.
"""

import logging
from typing import Any, get_args

import jwt
from jwt import PyJWK

from trunkline.conf.serving import Jwt
from trunkline.serve.auth.issuer import IssuerKeys
from trunkline.serve.auth.principal import Principal, Scope

_LIMIT = 8192  # bytes of a token; what proxies and servers take as a header is rarely more
_LONGEST_NAME = 255  # of a principal: what OpenID Connect allows `sub`
_REASONS: dict[type[Exception], str] = {  # the most special first
    jwt.ExpiredSignatureError: "it has expired",
    jwt.ImmatureSignatureError: "it does not count yet",
    jwt.InvalidIssuedAtError: "iat is no time",
    jwt.InvalidAudienceError: "it is for another audience",
    jwt.InvalidIssuerError: "it is of another issuer",
    jwt.MissingRequiredClaimError: "it lacks a claim that is required",
    jwt.InvalidAlgorithmError: "its algorithm is not accepted",
    jwt.InvalidSignatureError: "its signature is wrong",
    jwt.InvalidKeyError: "the issuer's key is too short",
}
_SCOPES = frozenset(get_args(Scope))

_log = logging.getLogger(__name__)


class Tokens:
    """The tokens of the declared issuer."""

    def __init__(self, declared: Jwt) -> None:
        """Raise UserError where the issuer's keys are in a file that has none."""
        self._declared = declared
        self._keys = IssuerKeys(declared)
        self._required = ["exp", "iat", "iss", "aud", *(["nbf"] if declared.require_nbf else [])]

    async def principal(self, token: str) -> Principal | None:
        """Return whose token it is, None for one that is refused; raises ProblemError while no key can be read."""
        try:
            return await self._principal(token)
        except _RefusedError as error:
            _log.info("a token is refused: %s", error)
        except jwt.PyJWTError as error:
            # In words of our own: the library's may quote the token.
            words = next((words for kind, words in _REASONS.items() if isinstance(error, kind)), "it is malformed")
            _log.info("a token is refused: %s", words)
        return None

    async def _principal(self, token: str) -> Principal:
        key = await self._keys.key(self._key_id(token))
        if key is None:
            raise _RefusedError("the issuer has no key of its id (kid)")
        claims = self._claims(token, key)
        name = claims.get(self._declared.principal_claim)
        if not isinstance(name, str) or not 0 < len(name) <= _LONGEST_NAME:
            raise _RefusedError(f"its claim {self._declared.principal_claim} is no name")
        return Principal(f"jwt:{name}", _scopes(claims.get(self._declared.scopes_claim)))

    def _key_id(self, token: str) -> str:
        """Return the id of the key that is to have signed a token, once its header is one that can be accepted."""
        if len(token) > _LIMIT:
            raise _RefusedError(f"it is longer than {_LIMIT} bytes")
        header = jwt.get_unverified_header(token)
        if header.get("alg") not in self._declared.algorithms:
            raise jwt.InvalidAlgorithmError
        identifier = header.get("kid")
        if not isinstance(identifier, str):
            raise _RefusedError("it names no key (kid)")
        return identifier

    def _claims(self, token: str, key: PyJWK) -> dict[str, Any]:
        declared = self._declared
        claims = jwt.decode(
            token,
            key,
            algorithms=list(declared.algorithms),
            audience=declared.audience,
            issuer=declared.issuer,
            leeway=declared.leeway,
            options={"require": self._required, "enforce_minimum_key_length": True},
        )
        if isinstance(claims["aud"], list) and len(claims["aud"]) > 1:
            raise _RefusedError("it is for others as well")
        return claims


class _RefusedError(Exception):
    """A token is not accepted, for a reason that holds nothing of it."""


def _scopes(claim: Any) -> frozenset[str]:
    """Return the scopes that are ours, of words in a text or of a list."""
    words = claim.split() if isinstance(claim, str) else claim if isinstance(claim, list) else []
    return _SCOPES & {word for word in words if isinstance(word, str)}
