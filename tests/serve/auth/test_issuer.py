"""The issuer's keys are as new as they can be had, and nobody can make the server ask for them too often."""

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from tests.serve.auth.issuer import AUDIENCE, ISSUER, Issuer, ec_key, issuing, key_set
from trunkline.conf.serving import Authentication, Jwt
from trunkline.core.errors import UserError
from trunkline.core.values import parse_duration
from trunkline.serve.auth.issuer import IssuerKeys, parse
from trunkline.serve.problems import ProblemError

OLD, NEW = ec_key("old"), ec_key("new")


class Clock:
    now = 1000.0

    def __call__(self) -> float:
        return self.now


@contextmanager
def keys_of(issuer: Issuer, clock: Clock, **durations: str) -> Iterator[tuple[IssuerKeys, Any, Any]]:
    """Yield the keys, a function that asks for one, and the loop's that runs anything."""
    given = {name: parse_duration(text) for name, text in durations.items()}
    keys = IssuerKeys(Jwt(issuer=ISSUER, audience=AUDIENCE, jwks=issuer.url, **given), clock)
    with asyncio.Runner() as runner:
        yield keys, lambda identifier: runner.run(keys.key(identifier)), runner.run
        issuer.gate.set()


@pytest.mark.parametrize("status", [200, 500])
def test_unknown_ids_make_it_asked_once_per_cooldown_whether_or_not_it_answers(status):
    clock = Clock()
    with issuing(OLD) as issuer, keys_of(issuer, clock, cooldown="30s", refresh="1h") as (_, key, _):
        assert key("old")
        issuer.status, issuer.content = status, key_set(OLD, NEW)
        for seconds, asked in ((1, 1), (28, 1), (2, 2), (29, 2), (2, 3)):
            clock.now += seconds
            assert [key(f"unknown{number}") for number in range(5)] == [None] * 5
            assert issuer.asked == asked
        assert bool(key("new")) == (status == 200)
        assert key("old")


@pytest.mark.parametrize(
    ("status", "content"),
    [
        (500, b""),
        (302, key_set(NEW)),
        (200, b"{"),
        (200, b'{"keys": []}'),
        (200, b"[]"),
        (200, key_set(NEW) + b" " * 2_000_000),
    ],
)
def test_old_keys_count_while_new_ones_cannot_be_read_up_to_an_age(status, content):
    clock = Clock()
    with issuing(OLD) as issuer, keys_of(issuer, clock, cooldown="30s", refresh="5min", stale="1h") as (_, key, _):
        assert key("old")
        issuer.status, issuer.content = status, content
        clock.now += 3600
        assert (key("old") is not None, key("new")) == (True, None)
        assert issuer.asked == 2
        clock.now += 1
        with pytest.raises(ProblemError, match="cannot read the keys") as caught:
            key("old")
        assert caught.value.status == 503
        issuer.status, issuer.content = 200, key_set(OLD)
        clock.now += 30
        assert key("old")


def test_keys_of_an_age_are_read_again_while_the_old_ones_count():
    clock = Clock()

    async def until_it_is_withdrawn() -> None:
        issuer.gate.clear()
        assert await keys.key("old")  # at once, although the issuer answers nobody now
        issuer.gate.set()
        async with asyncio.timeout(10):
            while await keys.key("old"):
                await asyncio.sleep(0.01)

    with issuing(OLD) as issuer, keys_of(issuer, clock, refresh="5min") as (keys, key, run):
        assert key("old")
        issuer.content = key_set(NEW)
        clock.now += 301
        run(until_it_is_withdrawn())
        assert key("new")


def test_nobody_waits_for_a_slow_issuer_but_who_has_an_unknown_key():
    clock = Clock()

    async def race(keys: IssuerKeys) -> list[str]:
        order: list[str] = []

        async def ask(identifier: str) -> None:
            await keys.key(identifier)
            order.append(identifier)

        waiting = asyncio.create_task(ask("new"))
        await asyncio.sleep(0)
        await ask("old")
        issuer.gate.set()
        await waiting
        return order

    with issuing(OLD) as issuer, keys_of(issuer, clock) as (keys, key, run):
        assert key("old")
        clock.now += 31
        issuer.gate.clear()
        assert run(race(keys)) == ["old", "new"]


def test_a_dead_issuer_is_told_within_its_time():
    with issuing(OLD) as issuer:
        issuer.gate.clear()
        with keys_of(issuer, Clock(), timeout="1s") as (_, key, _), pytest.raises(ProblemError, match="cannot read"):
            key("old")
    with keys_of(issuer, Clock()) as (_, key, _), pytest.raises(ProblemError, match="cannot read"):
        key("old")


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"{", "is not a set of keys"),
        (b"\xff", "is not a set of keys"),
        (b'{"keys": [{"kty": "RSA", "n": "secret"}]}', "is not a set of keys"),
        (b'{"keys": [{"kty": "oct", "k": "c2VjcmV0"}]}', "no key has an id"),
    ],
)
def test_what_is_no_set_of_keys_is_refused_with_its_name_and_none_of_its_content(content, words):
    with pytest.raises(UserError, match=rf"^jwks.json: .*{words}") as caught:
        parse(content, "jwks.json")
    assert "secret" not in str(caught.value)


def test_a_file_that_is_missing_is_named(tmp_path):
    with pytest.raises(UserError, match=r"jwks.json: cannot be read: No such file"):
        IssuerKeys(Jwt(issuer=ISSUER, audience=AUDIENCE, jwks=str(tmp_path / "jwks.json")))


@pytest.mark.parametrize(
    "place",
    ["http://issuer.example/keys", "file:///keys", "ftp://issuer.example/keys", "https://", "http://10.0.0.1/k"],
)
def test_keys_come_by_https_alone(place):
    with pytest.raises(ValueError, match="neither a file nor a URL of https"):
        Jwt(issuer=ISSUER, audience=AUDIENCE, jwks=place)


def test_authentication_names_a_credential():
    with pytest.raises(ValueError, match="give keys, jwt or both"):
        Authentication(rate=1)
