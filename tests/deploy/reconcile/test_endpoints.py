"""What endpoints say, and what they cannot do to whoever asks."""

import shutil
import socket
import ssl
import time
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from threading import Thread

import pytest

from tests.authority import Authority
from tests.releases import declare_trust, released
from tests.serve.conftest import golden_bundle
from tests.serving import serving
from trunkline.bundle.manifest import digest
from trunkline.conf.deploy import ClientTls
from trunkline.core.errors import OutsideError
from trunkline.deploy.reconcile import endpoints
from trunkline.deploy.reconcile.endpoints import LoadedNothingError, Served
from trunkline.deploy.reconcile.store import BundleStore

GOOD = b'{"name": "m", "version": "v1", "digest": "d", "more": [1]}'
HEAD = b"HTTP/1.1 200 OK\r\n"


def plain(body):
    return HEAD + f"Content-Length: {len(body)}\r\n\r\n".encode() + body


@contextmanager
def listening(*pieces, wait=0.0, secure=None):
    """Yield the address of a server that answers each call with these bytes, with pauses, whatever it is asked."""
    with socket.create_server(("127.0.0.1", 0)) as server:

        def answer():
            while True:
                try:
                    plain = server.accept()[0]
                    with secure.wrap_socket(plain, server_side=True) if secure else plain as call:
                        asked.append(call.recv(9999))
                        for piece in pieces:
                            call.sendall(piece)
                            time.sleep(wait)
                except OSError:
                    return

        asked = []
        thread = Thread(target=answer, daemon=True)
        thread.start()
        yield f"http://127.0.0.1:{server.getsockname()[1]}", asked
        server.shutdown(socket.SHUT_RDWR)
    thread.join()


def told(address):
    found = endpoints.ask({address: None})[address]
    assert isinstance(found, OutsideError)
    assert isinstance(found, LoadedNothingError) == str(found).endswith((" answers 404", " answers 503"))
    assert str(found).startswith(f"{address}/version: ")
    return str(found).removeprefix(f"{address}/version: ")


def test_all_are_asked_at_once():
    with listening(b"", plain(GOOD), wait=0.4) as (one, _), listening(b"", plain(GOOD), wait=0.4) as (other, asked):
        began = time.monotonic()
        asked_for = (one, other, f"{other}/base")
        assert endpoints.ask(dict.fromkeys(asked_for)) == dict.fromkeys(asked_for, Served("m", "v1", "d"))
        assert time.monotonic() - began < 2
        assert {call.split(b" ")[1] for call in asked} == {b"/version", b"/base/version"}
    assert endpoints.ask({}) == {}


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        (plain(b"[]"), "the answer has no name, version and digest"),
        (plain(b'{"name": "m", "version": 1, "digest": "d"}'), "the answer has no name, version and digest"),
        (plain(b'{"name": "m", "digest": "d"}'), "the answer has no name, version and digest"),
        (plain(b"\xff"), "the answer has no name, version and digest"),
        (b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n", "answers 404"),
        (b"HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\n\r\n", "answers 503"),
        (b"HTTP/1.1 500 Internal Server Error\r\nContent-Length: 0\r\n\r\n", "answers 500"),
        (b"HTTP/1.1 302 Found\r\nLocation: http://127.0.0.1:1/\r\nContent-Length: 0\r\n\r\n", "answers 302"),
        (plain(b" " * 17_000 + GOOD), "answers with more than 16,384 bytes"),
        (HEAD + b"Content-Length: 99\r\n\r\n" + GOOD, "no answer (ProtocolError)"),
        (b"nonsense\r\n\r\n", "no answer (ProtocolError)"),
        (b"", "no answer (ProtocolError)"),
    ],
)
def test_what_is_no_answer(answer, said):
    with listening(answer) as (address, _):
        assert told(address) == said


def test_nobody_is_waited_for_for_long(monkeypatch):
    monkeypatch.setattr(endpoints, "SECONDS", 0.5)
    began = time.monotonic()
    with listening(HEAD, *[b"a"] * 30, wait=0.1) as (address, _):
        assert told(address) == "takes too long to answer"
        assert time.monotonic() - began < 3
    assert told(address) == "no answer (NewConnectionError)"
    with listening(b"", wait=1.5) as (address, _):
        assert told(address) == "no answer (ReadTimeoutError)"


def test_nobody_waits_for_a_name_that_takes_long_to_resolve(monkeypatch):
    resolve = socket.getaddrinfo
    monkeypatch.setattr(endpoints, "SECONDS", 0.2)
    monkeypatch.setattr(socket, "getaddrinfo", lambda *a, **k: time.sleep(3) or resolve("127.0.0.1", *a[1:], **k))
    began = time.monotonic()
    assert told("http://slow.example") == "takes too long to answer"
    assert time.monotonic() - began < 2


def test_an_endpoint_of_https_is_believed_if_an_authority_that_is_trusted_vouches_for_it(tmp_path, monkeypatch):
    authority = Authority()
    (tmp_path / "ca.crt").write_bytes(authority.pair.pem)
    secure = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    secure.load_cert_chain(*authority.sign().write(tmp_path, "server"))
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "ca.crt"))
    with listening(plain(GOOD), secure=secure) as (address, _):
        [answer] = endpoints.ask({address.replace("http", "https"): None}).values()
        assert answer == Served("m", "v1", "d")
    monkeypatch.delenv("SSL_CERT_FILE")
    with listening(plain(GOOD), secure=secure) as (address, _):
        assert told(address.replace("http", "https")) == "no answer (SSLError)"


def test_a_server_that_demands_a_certificate_is_shown_the_declared_one_as_it_is_now(tmp_path, monkeypatch):
    authority, store = Authority(), BundleStore(tmp_path / "store")
    release = released(put(store, golden_bundle(tmp_path / "sums")), name="sums")
    store.deliver("production", release)
    project = declare_trust(
        tmp_path / "server", "sums", tls={"certificate": "s.crt", "key": "s.key", "clients": "ca.crt"}
    )
    (project / "ca.crt").write_bytes(authority.pair.pem)
    authority.sign().write(project, "s")
    monkeypatch.setenv("SSL_CERT_FILE", str(project / "ca.crt"))
    tls = ClientTls(certificate="c.crt", key="c.key")  # in the folder that reconcile runs in
    with serving("--env", "production", "--store", str(store.folder), cwd=project) as server:

        def ask(shows: ClientTls | None = tls) -> Served | OutsideError:
            return endpoints.ask({server.address: shows}, tmp_path)[server.address]

        assert "no answer" in str(ask(None))
        assert "c.crt, " in str(ask())
        assert "cannot be used: No such file" in str(ask())
        Authority().sign("client").write(tmp_path, "c")
        assert "no answer" in str(ask()), "of an authority that the server does not know"
        client = authority.sign("client")
        client.write(tmp_path, "c")
        assert ask() == Served("sums", "v1", release.digest)
        (tmp_path / "c.key").write_bytes(client.key_pem(b"secret"))
        assert "cannot be used" in str(ask()), "nobody is asked for a passphrase"


def put(store: BundleStore, source: Path) -> str:
    store.put(digest(source), partial(shutil.copytree, source))
    return digest(source)
