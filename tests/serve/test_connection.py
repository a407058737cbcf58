"""Slow clients: whatever they hold back, they hold nothing of the server for long, and others are answered."""

import selectors
import socket
import time
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager, suppress
from pathlib import Path

import pytest

from tests.serve.conftest import GOOD, PARAMS
from tests.serving import serving

SECONDS, CONNECTIONS = 1.0, 230
TCP = Path("/proc/net/tcp")
GET = b"GET /healthz HTTP/1.1\r\nHost: x\r\n"


@pytest.fixture(scope="module")
def server(folder, tmp_path_factory):
    home = tmp_path_factory.mktemp("slow")
    limits = f"queue: 8, headers: 1s, connections: {CONNECTIONS}"
    (home / "params.yaml").write_text(PARAMS.replace("queue: 8", limits), encoding="utf-8")
    with serving(str(folder), cwd=home, grpc=True) as running:
        yield running


@contextmanager
def connections(server, count: int = 1, address: str = "") -> Iterator[list[socket.socket]]:
    port = int((address or server.address).rpartition(":")[2])
    with ExitStack() as stack:
        yield [stack.enter_context(closing(socket.create_connection(("127.0.0.1", port), 30))) for _ in range(count)]


def ended(connection: socket.socket) -> bool:
    """Read what has come; tell whether the server has closed the connection."""
    try:
        return not connection.recv(65536)
    except ConnectionError:
        return True


def send(connection: socket.socket, data: bytes) -> None:
    """Send more on a connection that the server may have closed in this moment."""
    with suppress(ConnectionError):
        connection.sendall(data)


def test_two_hundred_slow_clients_keep_nobody_waiting_and_are_closed_each(server):
    with connections(server, 200) as slow, selectors.DefaultSelector() as selector:
        began = time.monotonic()
        for number, connection in enumerate(slow):
            connection.sendall((b"", GET, GET + b"\r\n", GET + b"\r\nG")[number % 4])
            selector.register(connection, selectors.EVENT_READ)
        times, answered = [], 0
        while selector.get_map():
            assert time.monotonic() - began < 30
            answered += server.post("/v1/predict", GOOD).status == 200
            for key, _ in selector.select(0.02):
                if ended(key.fileobj):
                    times.append(time.monotonic() - began)
                    selector.unregister(key.fileobj)
            for number, connection in enumerate(slow):
                if number % 4 == 1 and connection in selector.get_map():
                    send(connection, b"X: y\r\n")  # and never the end of the headers
        assert answered > 10
        assert min(times) > SECONDS / 2
        assert max(times) < SECONDS + 5
        assert server.get("/healthz").status == 200


@pytest.mark.parametrize(
    "sent",
    [
        b"GET / HTTP/1.1\r\n" + b"X: y\r\n" * 50_000,
        b"GET /" + b"x" * 300_000,
    ],
    ids=["headers", "path"],
)
def test_headers_without_end_are_cut_off_at_once(server, sent):
    with connections(server) as [connection]:
        began = time.monotonic()
        for begin in range(0, len(sent), 10_000):
            send(connection, sent[begin : begin + 10_000])
        assert ended(connection)
        assert time.monotonic() - began < SECONDS


def test_a_body_that_goes_on_after_its_refusal_ends_in_time(server):
    with connections(server) as [connection]:
        connection.sendall(b"POST /nowhere HTTP/1.1\r\nHost: x\r\nContent-Length: 1000000\r\n\r\n")
        assert connection.recv(12) == b"HTTP/1.1 404"
        connection.settimeout(0.05)
        end = time.monotonic() + 30
        while True:
            assert time.monotonic() < end
            send(connection, b"x")
            try:
                if ended(connection):
                    return
            except TimeoutError:
                continue


@pytest.mark.parametrize("sent", [b"", GET, GET + b"\r\n", b"POST /v1/predict HTTP/1.1\r\nContent-Length: 9\r\n\r\n{"])
def test_who_sends_no_more_is_closed(server, sent):
    with connections(server) as [connection]:
        connection.sendall(sent)
        connection.shutdown(socket.SHUT_WR)
        while not ended(connection):
            pass
    assert server.get("/healthz").status == 200


def held(server_port: int, client_port: int) -> bool:
    """Tell whether the server has a connection: one that it closed may live on in the system for a while."""
    for line in TCP.read_text(encoding="ascii").splitlines()[1:]:
        _, local, remote, *rest = line.split()
        if [int(end.partition(":")[2], 16) for end in (local, remote)] == [server_port, client_port]:
            return rest[6] != "0"  # the inode of the socket that a process has
    return False


@pytest.mark.skipif(not TCP.exists(), reason=f"needs {TCP}, which tells whose a connection is")
def test_who_reads_no_answers_is_cut_off_after_the_time_of_a_request(server):
    with connections(server) as [connection]:
        ports = connection.getpeername()[1], connection.getsockname()[1]
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        connection.setblocking(False)
        request = b"GET /openapi.json HTTP/1.1\r\nHost: x\r\n\r\n" * 100
        began = time.monotonic()
        while held(*ports) or time.monotonic() < began + SECONDS:
            assert time.monotonic() < began + 30
            assert server.post("/v1/predict", GOOD).status == 200
            with suppress(BlockingIOError, ConnectionError):
                connection.send(request)
        assert time.monotonic() > began + 2  # limits.time


def test_more_connections_than_declared_are_refused_until_others_end(server):
    with connections(server, CONNECTIONS) as others:
        refused = server.get("/healthz", **{"X-Request-Id": "one-too-many"})
        assert (refused.status, refused.json["request_id"]) == (503, "one-too-many")
        assert [refused.headers[name] for name in ("content-type", "retry-after", "connection")] == [
            "application/problem+json",
            "1",
            "close",
        ]
        assert "too many connections" in refused.json["detail"]
        others[0].close()
        for each in others[1:]:
            assert ended(each)
        assert server.get("/healthz").status == 200


def test_grpc_ends_a_connection_on_which_nothing_is_said(server):
    with connections(server, address=server.grpc) as [connection]:
        while not ended(connection):
            pass
