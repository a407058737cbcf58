"""Serves one page, made again in the background when it is asked for: reading git and a log keeps nobody waiting.

It answers GET of `/` alone, and only by the names of this machine unless it is told to listen elsewhere: else a page of
elsewhere, whose name leads here, could read it.
"""

import re
import socket
import sys
import threading
import time
import traceback
from collections.abc import Callable
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import urlsplit

from trunkline.review.dashboard import page

LOCAL = "127.0.0.1"
AGAIN = 2  # seconds, after which a browser asks for the page that is being made

_LOCAL = re.compile(r"(localhost|127\.0\.0\.1|\[::1\])(:[0-9]{1,5})?", re.IGNORECASE)
_WAIT = """<!DOCTYPE html>
<html lang="en"><head><meta charset="utf-8"><meta name="color-scheme" content="light dark">
<link rel="icon" href="data:,"><title>Being read</title></head>
<body><p>What runs, and whether it is well, is being read; this page follows.</p></body></html>
"""


class Latest:
    """The page as it was made last; it is made in a thread of its own, by one at a time, and never twice in `refresh`.

    `make` may raise: the last page stays, and the traceback is printed.
    """

    def __init__(self, make: Callable[[], str], refresh: float) -> None:
        self._make, self._refresh = make, refresh
        self._lock, self._began = threading.Lock(), float("-inf")
        self._page: str | None = None
        self._busy = False

    def ask(self) -> tuple[str | None, bool]:
        """Return the page, None before the first, and whether another one is being made."""
        with self._lock:
            if not self._busy and time.monotonic() - self._began >= self._refresh:
                self._began, self._busy = time.monotonic(), True
                threading.Thread(target=self._renew, daemon=True).start()
            return self._page, self._busy

    def _renew(self) -> None:
        text = None
        try:
            text = self._make()
        except Exception:  # a bug: what could not be read is on the page
            traceback.print_exc(file=sys.stderr)
        finally:
            with self._lock:
                self._page, self._busy = text or self._page, False


class Server(ThreadingHTTPServer):
    """Listens on an address; with `local`, it answers those alone who call it by a name of this machine."""

    daemon_threads = True

    def __init__(self, host: str, port: int, latest: Latest, *, local: bool) -> None:
        self.address_family = socket.AF_INET6 if ":" in host else socket.AF_INET
        self.latest, self.local = latest, local
        super().__init__((host, port), _Handler)

    def is_known(self, hosts: list[str]) -> bool:
        """Tell whether a request that names these hosts is answered."""
        return len(hosts) == 1 and (not self.local or _LOCAL.fullmatch(hosts[0]) is not None)


class _Handler(BaseHTTPRequestHandler):
    server: Server
    timeout = 30  # seconds that a client may be silent

    def do_GET(self) -> None:
        if not self.server.is_known(self.headers.get_all("Host", [])):
            self.send_error(HTTPStatus.MISDIRECTED_REQUEST, "Not a name of this machine")
        elif urlsplit(self.path).path != "/":
            self.send_error(HTTPStatus.NOT_FOUND)
        else:
            self._answer(*self.server.latest.ask())

    def _answer(self, text: str | None, busy: bool) -> None:
        content = (text or _WAIT).encode()
        self.send_response(HTTPStatus.OK if text else HTTPStatus.SERVICE_UNAVAILABLE)
        self.send_header("Content-Type", "text/html; charset=utf-8")
        self.send_header("Content-Length", str(len(content)))
        self.send_header("Content-Security-Policy", f"{page.policy()}; {_NEITHER}")
        for name, value in _HEADERS.items():
            self.send_header(name, value)
        if busy or not text:
            self.send_header("Refresh", str(AGAIN))  # a browser follows with the new page
        self.end_headers()
        self.wfile.write(content)

    def version_string(self) -> str:
        """Say what serves, without the version of Python."""
        return "trunkline"

    def log_message(self, format: str, *arguments: Any) -> None:
        """Say nothing of requests."""


_NEITHER = "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
_HEADERS = {
    "Cache-Control": "no-store",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
}
