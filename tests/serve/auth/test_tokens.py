"""A token counts only as its issuer signed it, for us and now; whatever is changed in it, it is refused."""

import asyncio
import base64
import json
import logging
import time
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives import serialization
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.serve.auth.issuer import AUDIENCE, ISSUER, SigningKey, ec_key, key_set, rsa_key
from trunkline.conf.serving import Jwt
from trunkline.serve.auth.principal import Principal
from trunkline.serve.auth.tokens import Tokens

RSA, EC = rsa_key("r1"), ec_key("e1")
SHORT = SigningKey("short", "RS256", rsa_key("short", 1024).private)


def declared(jwks: object, **changed: Any) -> Jwt:
    return Jwt(issuer=ISSUER, audience=AUDIENCE, jwks=str(jwks), **changed)


@pytest.fixture(scope="module")
def path(tmp_path_factory):
    path = tmp_path_factory.mktemp("issuer") / "jwks.json"
    path.write_bytes(key_set(RSA, EC, SHORT))
    return path


@pytest.fixture(scope="module")
def tokens(path):
    return Tokens(declared(path))


def principal(tokens: Tokens, token: str) -> Principal | None:
    return asyncio.run(tokens.principal(token))


def now() -> int:
    """The time of the test, not of the file's import, which may be half an hour before."""
    return int(time.time())


def part(content: object) -> str:
    return base64.urlsafe_b64encode(json.dumps(content).encode()).rstrip(b"=").decode()


def by_public_key_as_secret() -> str:
    """A token of HS256 whose secret is the RSA key's public half, as everyone has it."""
    pem = RSA.private.public_key().public_bytes(
        serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
    )
    head = part({"alg": "HS256", "kid": RSA.id, "typ": "JWT"})
    body = RSA.token().split(".")[1]
    signature = jwt.algorithms.HMACAlgorithm(jwt.algorithms.HMACAlgorithm.SHA256).sign(f"{head}.{body}".encode(), pem)
    return f"{head}.{body}.{base64.urlsafe_b64encode(signature).rstrip(b'=').decode()}"


@pytest.mark.parametrize("key", [RSA, EC], ids=["RS256", "ES256"])
@pytest.mark.parametrize(
    ("claims", "scopes"),
    [
        ({}, {"predict"}),
        ({"scope": "openid admin  explain root"}, {"admin", "explain"}),
        ({"scope": ["predict", "root", 7, None]}, {"predict"}),
        ({"scope": 7}, set()),
        ({"scope": None}, set()),
        ({"aud": [AUDIENCE]}, {"predict"}),
    ],
)
def test_a_good_token_is_of_its_subject_and_has_the_scopes_that_are_ours(tokens, key, claims, scopes):
    assert principal(tokens, key.token(**claims)) == Principal("jwt:ann", frozenset(scopes))


BAD: dict[str, tuple[Callable[[], str], str]] = {
    "expired": (lambda: RSA.token(exp=now() - 100), "it has expired"),
    "not yet": (lambda: RSA.token(nbf=now() + 10_000), "it does not count yet"),
    "of the future": (lambda: RSA.token(iat=now() + 10_000), "it does not count yet"),
    "another audience": (lambda: RSA.token(aud="trains"), "it is for another audience"),
    "two audiences": (lambda: RSA.token(aud=[AUDIENCE, "trains"]), "it is for others as well"),
    "no audience": (lambda: RSA.token(aud=[]), "it lacks a claim that is required"),
    "another issuer": (lambda: RSA.token(iss="https://other.example"), "it is of another issuer"),
    "empty name": (lambda: RSA.token(sub=""), "its claim sub is no name"),
    "no name": (lambda: RSA.token(sub=None), "its claim sub is no name"),
    "long name": (lambda: RSA.token(sub="a" * 256), "its claim sub is no name"),
    "without exp": (lambda: RSA.token(exp=None), "it lacks a claim"),
    "without nbf": (lambda: RSA.token(nbf=None), "it lacks a claim"),
    "without iat": (lambda: RSA.token(iat=None), "it lacks a claim"),
    "without iss": (lambda: RSA.token(iss=None), "it lacks a claim"),
    "without aud": (lambda: RSA.token(aud=None), "it lacks a claim"),
    "no time": (lambda: RSA.token(exp="soon"), "it is malformed"),
    "unknown key": (lambda: RSA.token(header={"kid": "r2"}), "the issuer has no key of its id"),
    "without kid": (lambda: RSA.token(header={"kid": None}), "it names no key"),
    "key of another kind": (lambda: RSA.token(header={"kid": EC.id}), "its algorithm is not accepted"),
    "huge": (lambda: RSA.token(more="x" * 9000), "it is longer than 8192 bytes"),
    "wrong key": (SigningKey(RSA.id, "RS256", rsa_key("other").private).token, "its signature is wrong"),
    "short key": (SHORT.token, "the issuer's key is too short"),
    "public key as secret": (by_public_key_as_secret, "its algorithm is not accepted"),
    "not signed": (
        lambda: f"{part({'alg': 'none', 'kid': RSA.id})}.{RSA.token().split('.')[1]}.",
        "its algorithm is not accepted",
    ),
    "critical extension": (lambda: RSA.token(header={"crit": ["exp"]}), "it is malformed"),
    "letters": (lambda: "a.b.c", "it is malformed"),
    "dots": (lambda: "..", "it is malformed"),
    "latin": (lambda: "é.b.c", "it is malformed"),
}


@pytest.mark.parametrize("name", BAD)
@pytest.mark.filterwarnings("ignore::jwt.InsecureKeyLengthWarning")
def test_any_other_is_refused_and_the_log_says_why_without_it(tokens, caplog, name):
    make, reason = BAD[name]
    token = make()
    with caplog.at_level(logging.INFO, "trunkline"):
        assert principal(tokens, token) is None
    [line] = caplog.messages
    assert line.startswith(f"a token is refused: {reason}")
    assert [piece for piece in token.split(".") if len(piece) > 8 and piece in line] == []


def test_clocks_may_differ_by_the_leeway(path):
    tokens = Tokens(declared(path, leeway=timedelta(hours=1)))
    assert principal(tokens, EC.token(exp=now() - 600))
    assert principal(tokens, EC.token(nbf=now() + 600, iat=now() + 600))
    assert principal(tokens, EC.token(exp=now() - 3600)) is None


@given(st.data())
@settings(max_examples=300, deadline=None)
def test_no_token_with_anything_changed_is_accepted(tokens, data):
    token = data.draw(st.sampled_from([RSA.token(), EC.token()]))
    begin = data.draw(st.integers(0, len(token)))
    end = data.draw(st.integers(begin, min(len(token), begin + 4)))
    mutated = token[:begin] + data.draw(st.text(st.characters(max_codepoint=255), max_size=4)) + token[end:]
    if decoded(mutated) != decoded(token):
        assert principal(tokens, mutated) is None


def decoded(token: str) -> object:
    """What the parts of a token say: base64 can write the last bits of the same bytes in several ways."""
    try:
        return [base64.b64decode(piece + "==", altchars=b"-_") for piece in token.split(".")]
    except ValueError:
        return token


@given(st.dictionaries(st.sampled_from(["exp", "nbf", "iat", "iss", "aud", "sub", "scope", "jti"]), st.recursive(
    st.none() | st.booleans() | st.floats() | st.integers() | st.text(max_size=9),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=5,
)))  # fmt: skip
@settings(max_examples=200, deadline=None)
def test_whatever_a_claim_is_it_is_accepted_as_it_should_be_or_refused(tokens, claims):
    result = principal(tokens, RSA.token(**claims))
    if result is not None:
        assert (claims.get("iss", ISSUER), claims.get("aud", AUDIENCE)) in ((ISSUER, AUDIENCE), (ISSUER, [AUDIENCE]))
        assert result.name == f"jwt:{claims.get('sub', 'ann')}"
        assert result.scopes <= {"predict", "explain", "admin"}


def test_other_names_of_claims_and_tokens_without_nbf_are_declared(path):
    tokens = Tokens(declared(path, principal_claim="azp", scopes_claim="scp", require_nbf=False))
    token = EC.token(azp="dashboard", scp=["admin"], nbf=None)
    assert principal(tokens, token) == Principal("jwt:dashboard", frozenset({"admin"}))
    assert principal(tokens, EC.token(azp="dashboard", nbf=now() + 1000)) is None


def test_an_algorithm_that_is_not_declared_is_refused(path):
    tokens = Tokens(declared(path, algorithms=("ES256",)))
    assert principal(tokens, RSA.token()) is None
    assert principal(tokens, EC.token())
