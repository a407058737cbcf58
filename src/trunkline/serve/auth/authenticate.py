"""Whether a request may be answered: whose credential it bears, which scopes that has, and how often it asked."""

from pathlib import Path

from trunkline.conf.serving import Authentication
from trunkline.serve.auth.keys import KeyFile
from trunkline.serve.auth.principal import Principal, Scope, forbidden, unauthorized
from trunkline.serve.auth.rate import RateLimit


class Authenticator:
    """Holds requests to what conf/serving declares; without a declaration, everyone may ask for everything."""

    def __init__(self, declared: Authentication | None) -> None:
        """Read the keys; raises UserError or OSError where that fails."""
        self._open = declared is None
        self._keys = KeyFile(Path(declared.keys)) if declared and declared.keys else None
        self._rate = RateLimit(declared.rate) if declared and declared.rate else None

    async def check(self, authorization: str | None, scope: Scope) -> None:
        """Raise ProblemError for who is not known (401), may not ask for this (403), or asks too often (429)."""
        if self._open:
            return
        kind, _, credential = (authorization or "").partition(" ")
        principal = self._principal(credential.strip()) if kind.lower() == "bearer" else None
        if principal is None:
            raise unauthorized()
        if self._rate:
            self._rate.enter(principal.name)
        if scope not in principal.scopes:
            raise forbidden(scope)

    def _principal(self, credential: str) -> Principal | None:
        return self._keys.principal(credential) if self._keys else None
