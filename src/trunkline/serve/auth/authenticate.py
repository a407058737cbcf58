"""Whether a request may be answered: whose credential it bears, which scopes that has, and how often it asked."""

from pathlib import Path
from typing import TYPE_CHECKING

from trunkline.conf.serving import Authentication, Jwt
from trunkline.serve.auth.keys import KeyFile
from trunkline.serve.auth.principal import Principal, Scope, forbidden, unauthorized
from trunkline.serve.auth.rate import RateLimit

if TYPE_CHECKING:
    from trunkline.serve.auth.tokens import Tokens


class Authenticator:
    """Holds requests to what conf/serving declares; without a declaration, everyone may ask for everything."""

    def __init__(self, declared: Authentication | None) -> None:
        """Read the files of keys; raises UserError or OSError where that fails."""
        self._open = declared is None
        self._keys = KeyFile(Path(declared.keys)) if declared and declared.keys else None
        self._tokens = _tokens(declared.jwt) if declared and declared.jwt else None
        self._rate = RateLimit(declared.rate) if declared and declared.rate else None

    async def check(self, authorization: str | None, scope: Scope) -> str | None:
        """Return the name of who asks, None where everyone may.

        Raises ProblemError for who is not known (401), may not ask for this (403), or asks too often (429).
        """
        if self._open:
            return None
        kind, _, credential = (authorization or "").partition(" ")
        principal = await self._principal(credential.strip()) if kind.lower() == "bearer" else None
        if principal is None:
            raise unauthorized()
        if self._rate:
            self._rate.enter(principal.name)
        if scope not in principal.scopes:
            raise forbidden(scope)
        return principal.name

    async def _principal(self, credential: str) -> Principal | None:
        if self._tokens and credential.count(".") == 2:  # those of a signed token; a key has one
            return await self._tokens.principal(credential)
        return self._keys.principal(credential) if self._keys else None


def _tokens(declared: Jwt) -> "Tokens":
    from trunkline.serve.auth.tokens import Tokens  # noqa: PLC0415  takes 0.1 s, and most servers need none

    return Tokens(declared)
