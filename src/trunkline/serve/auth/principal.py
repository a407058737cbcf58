"""Who asks, what it may ask for, and the refusals of who may not."""

from dataclasses import dataclass
from http import HTTPStatus
from typing import Literal

from trunkline.serve.problems import ProblemError

Scope = Literal["predict", "explain", "push", "admin"]

# Any other state is open: probes ask it, `trunkline reconcile` asks /version, and the page of /docs asks for a key.
STATE_SCOPES: dict[str, Scope] = {"/metrics": "admin", "/openapi.json": "predict", "/v2": "predict"}


@dataclass(frozen=True)
class Principal:
    """Who asks: the name of a key, or the subject of a token; and its scopes."""

    name: str
    scopes: frozenset[str]


def unauthorized() -> ProblemError:
    """Return the refusal of a credential that is missing or wrong; it never says which part of it is wrong."""
    detail = "give a valid credential in the header Authorization: Bearer"
    return ProblemError(HTTPStatus.UNAUTHORIZED, detail, {"www-authenticate": "Bearer"})


def forbidden(scope: Scope) -> ProblemError:
    """Return the refusal of a principal that lacks a scope."""
    challenge = f'Bearer error="insufficient_scope", scope="{scope}"'
    return ProblemError(
        HTTPStatus.FORBIDDEN, f"the credential lacks the scope {scope}", {"www-authenticate": challenge}
    )
