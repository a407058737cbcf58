"""TLS and mutual TLS, over HTTP and gRPC: real handshakes, and certificates that change while requests are answered."""

import http.client
import socket
import ssl
import subprocess
import time
import urllib.request
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing, suppress
from datetime import timedelta
from functools import partial

import grpc
import pytest
from open_inference.grpc import protocol
from open_inference.grpc.service import GRPCInferenceServiceStub

from tests.authority import Authority, Pair
from tests.serve.conftest import GOOD, PARAMS
from tests.serving import TRUNKLINE, serving
from trunkline.conf.serving import Tls
from trunkline.core.errors import UserError
from trunkline.serve.tls import Certificates

TLS = "  tls: {certificate: server.crt, key: server.key, clients: ca.crt}\n"
HOUR, DAY = timedelta(hours=1), timedelta(days=1)


@pytest.fixture(scope="module")
def authority():
    return Authority()


@pytest.fixture(scope="module")
def home(authority, tmp_path_factory):
    home = tmp_path_factory.mktemp("tls")
    params = PARAMS.replace("queue: 8", "queue: 8, headers: 2s") + TLS
    (home / "params.yaml").write_text(params, encoding="utf-8")
    (home / "ca.crt").write_bytes(authority.pair.pem)
    authority.sign().write(home, "server")
    return home


@pytest.fixture(scope="module")
def client(authority, home):
    return authority.client(home, authority.sign("client"))


@pytest.fixture(scope="module")
def guarded(folder, home, client):
    with serving(str(folder), "--bind", "0.0.0.0:0", cwd=home, grpc=True) as server:
        server.address = server.address.replace("0.0.0.0", "127.0.0.1")
        server.tls = client
        yield server


def port(address: str) -> int:
    return int(address.rpartition(":")[2])


def serial(number: int, context: ssl.SSLContext, **options: str) -> int:
    """Return the serial number of the certificate that is shown at a port."""
    with (
        socket.create_connection(("127.0.0.1", number), 30) as plain,
        context.wrap_socket(plain, server_hostname=options.get("name", "localhost")) as connection,
    ):
        return int(connection.getpeercert()["serialNumber"], 16)


def until(is_so: Callable[[], bool]) -> None:
    end = time.monotonic() + 30
    while not is_so():
        assert time.monotonic() < end, "it never came"


def test_who_shows_a_certificate_of_the_authority_is_answered_over_http_and_grpc(guarded, authority):
    assert guarded.address.startswith("https://")
    assert guarded.post("/v1/predict", GOOD).status == 200
    shown = authority.sign("client")
    credentials = grpc.ssl_channel_credentials(authority.pair.pem, shown.key_pem(), shown.pem)
    with grpc.secure_channel(f"localhost:{port(guarded.grpc)}", credentials) as channel:
        answer = GRPCInferenceServiceStub(channel).ModelMetadata(protocol.ModelMetadataRequest(name="sums"))
        assert answer.name == "sums"


@pytest.mark.parametrize("shows", ["nothing", "another authority's", "an expired one"])
def test_who_shows_none_or_another_is_not(guarded, authority, tmp_path, shows):
    pairs = {
        "nothing": None,
        "another authority's": Authority("authority").sign("client"),
        "an expired one": authority.sign("client", -2 * DAY, -DAY),
    }
    context = authority.client(tmp_path, pairs[shows])
    with pytest.raises(OSError, match=r"(?i)certificate|reset|EOF|closed"):
        urllib.request.urlopen(f"{guarded.address}/healthz", timeout=30, context=context)
    shown = pairs[shows]
    credentials = grpc.ssl_channel_credentials(
        authority.pair.pem, *((shown.key_pem(), shown.pem) if shown else (None, None))
    )  # fmt: skip
    with grpc.secure_channel(f"localhost:{port(guarded.grpc)}", credentials) as channel:
        stub = GRPCInferenceServiceStub(channel)
        with pytest.raises(grpc.RpcError, match="UNAVAILABLE"):
            stub.ServerLive(protocol.ServerLiveRequest(), timeout=30)
    assert guarded.get("/healthz").status == 200


def test_neither_plain_text_nor_an_old_version_is_spoken(guarded, authority, home):
    with pytest.raises((OSError, http.client.HTTPException)):
        urllib.request.urlopen(f"{guarded.address.replace('https', 'http')}/healthz", timeout=30)
    old = authority.client(home, authority.sign("client"))
    old.set_ciphers("ALL:@SECLEVEL=0")
    with pytest.warns(DeprecationWarning, match="TLS"):
        old.minimum_version, old.maximum_version = ssl.TLSVersion.TLSv1, ssl.TLSVersion.TLSv1_1
    for address in (guarded.address, guarded.grpc):
        with pytest.raises(OSError, match=r"(?i)version|reset|EOF"):
            serial(port(address), old)


@pytest.mark.parametrize("sent", [b"", b"\x16\x03\x01\x02\x00\x01"], ids=["nothing", "half a hello"])
def test_a_handshake_that_does_not_end_is_ended(guarded, sent):
    for address in (guarded.address, guarded.grpc):
        with socket.create_connection(("127.0.0.1", port(address)), 15) as connection:
            connection.sendall(sent)
            with suppress(ConnectionError):
                assert connection.recv(1) == b""


def test_certificates_change_under_load_without_a_failed_request_and_wrong_ones_change_nothing(
    guarded, authority, home, client
):
    stop: list[bool] = []

    def ask() -> int:
        asked = 0
        while not stop:
            assert guarded.post("/v1/predict", GOOD).status == 200  # each on a connection of its own
            asked += 1
        return asked

    def metric(name: str) -> float:
        text = guarded.get("/metrics").body.decode()
        return float(text.partition(f'\n{name}{{file="server.crt"}} ')[2].split()[0])

    def shown() -> set[int]:
        return {serial(port(address), client) for address in (guarded.address, guarded.grpc)}

    def is_shown(pair: Pair) -> bool:
        return shown() == {pair.certificate.serial_number}

    host = f"127.0.0.1:{port(guarded.address)}"
    with (
        ThreadPoolExecutor() as pool,
        closing(http.client.HTTPSConnection(host, context=client)) as kept,
        ExitStack() as at_the_end,
    ):
        at_the_end.callback(stop.append, True)
        asking = [pool.submit(ask) for _ in range(2)]
        for number in (2, 3):
            renewed = authority.sign(ends=number * DAY)
            replace(home, renewed.pem, "server.crt")  # and not yet its key
            assert "server.key: is not the key of " in guarded.logged("the certificate stays as it was")
            assert metric("trunkline_tls_problem") == 1
            assert renewed.certificate.serial_number not in shown()
            replace(home, renewed.key_pem(), "server.key")
            until(partial(is_shown, renewed))
            until(lambda: metric("trunkline_tls_problem") == 0)
            expiry = renewed.certificate.not_valid_after_utc.timestamp()
            assert metric("trunkline_tls_certificate_expiry_timestamp_seconds") == expiry
            kept.request("GET", "/healthz")
            assert kept.getresponse().read() == b'{"status":"alive"}'
        at_the_end.close()
        assert min(each.result(30) for each in asking) > 0


def test_authorities_of_clients_change_too(guarded, authority, home, tmp_path):
    other = Authority("other")
    context = authority.client(tmp_path, other.sign("client"))
    context.maximum_version = ssl.TLSVersion.TLSv1_2  # in which a refusal comes with the handshake
    replace(home, authority.pair.pem + other.pair.pem, "ca.crt")
    sessions: dict[str, ssl.SSLSession | None] = {}

    def let_in(address: str) -> bool:
        try:
            with (
                socket.create_connection(("127.0.0.1", port(address)), 30) as plain,
                context.wrap_socket(plain, server_hostname="localhost", session=sessions.get(address)) as connection,
            ):
                sessions[address] = connection.session
        except OSError:
            return False
        return True

    until(lambda: let_in(guarded.address) and let_in(guarded.grpc))
    assert sessions[guarded.address]
    replace(home, authority.pair.pem, "ca.crt")
    until(lambda: not let_in(guarded.address) and not let_in(guarded.grpc))  # nor with the sessions that it had


def replace(home, content: bytes, name: str) -> None:
    (home / "new").write_bytes(content)
    (home / "new").replace(home / name)


def pem(pair: Pair) -> tuple[bytes, bytes]:
    return pair.pem, pair.key_pem()


WRONG: dict[str, tuple[Callable[[Authority], dict[str, bytes]], str]] = {
    "other key": (lambda ca: {"server.key": ca.sign().key_pem()}, "server.key: is not the key of .*server.crt"),
    "half a certificate": (lambda ca: {"server.crt": ca.sign().pem[:200]}, "server.crt: holds no certificate"),
    "half a key": (lambda ca: {"server.key": ca.sign().key_pem()[:80]}, "server.key: holds no private key"),
    "nothing": (lambda _: {"server.crt": b""}, "server.crt: holds no certificate"),
    "passphrase": (lambda ca: {"server.key": ca.sign().key_pem(b"secret")}, "server.key: has a passphrase"),
    "expired": (lambda ca: {"server.crt": ca.sign(ends=-HOUR, begins=-DAY).pem}, "server.crt: has expired on 20"),
    "not yet": (lambda ca: {"server.crt": ca.sign(begins=HOUR).pem}, "server.crt: counts from 20"),
    "no authorities": (lambda _: {"ca.crt": b"x"}, "ca.crt: holds no certificate"),
}


@pytest.mark.parametrize("name", WRONG)
def test_what_is_wrong_is_told_with_its_file_and_does_not_replace_what_is_right(authority, tmp_path, name):
    wrong, words = WRONG[name]
    (tmp_path / "ca.crt").write_bytes(authority.pair.pem)
    certificate, key = authority.sign().write(tmp_path, "server")
    declared = Tls(certificate=str(certificate), key=str(key), clients=str(tmp_path / "ca.crt"))
    certificates = Certificates(declared)
    before = certificates.identity
    for file, content in wrong(authority).items():
        (tmp_path / file).write_bytes(content)
    certificates.look()
    assert certificates.identity is before
    with pytest.raises(UserError, match=words) as caught:
        Certificates(declared)
    assert certificates.problem == str(caught.value)
    (tmp_path / "ca.crt").write_bytes(authority.pair.pem)
    authority.sign().write(tmp_path, "server")
    certificates.look()
    assert certificates.problem is None
    assert certificates.identity is not before


def test_a_file_that_is_missing_stops_the_start_and_tls_alone_does_not_say_who_asks(folder, authority, tmp_path):
    (tmp_path / "params.yaml").write_text(PARAMS + TLS.replace(", clients: ca.crt", ""), encoding="utf-8")
    command = [TRUNKLINE, "serve", str(folder), "--bind", "0.0.0.0:0"]

    def refusal() -> str:
        done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False, timeout=60)
        assert done.returncode == 2
        return done.stderr

    assert "0.0.0.0:0: others than this machine could ask" in refusal()
    del command[-2:]
    assert "server.crt: cannot be read: No such file or directory" in refusal()
