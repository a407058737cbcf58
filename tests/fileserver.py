"""A web server for files that does to its clients what web servers do: breaks off, is busy, lies, changes a file."""

import hashlib
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


@dataclass(frozen=True)
class Answer:
    """What happens to a request that is not simply answered."""

    status: int = 0  # instead of the file
    retry_after: str = ""
    cut: int | None = None  # bytes after which the connection ends
    claimed: int | None = None  # the length that it says it sends
    becomes: bytes | None = None  # what the file is before it is sent
    location: str = ""  # where a redirect leads


@dataclass
class FileServer:
    """Its files, what happens to the next requests, and the requests so far: path and Range."""

    url: str = ""
    files: dict[str, bytes] = field(default_factory=dict)
    plan: list[Answer] = field(default_factory=list)
    asked: list[tuple[str, str]] = field(default_factory=list)
    ranges: bool = True  # whether it can go on in the middle
    validators: bool = True  # whether it says which content it sends
    believes: bool = True  # whether it looks at If-Range
    tag: str = ""  # the one ETag of everything, in place of one per content

    def reset(self, files: dict[str, bytes]) -> None:
        """Begin again with these files, as a server that does what it should."""
        self.__init__(url=self.url, files=files)  # type: ignore[misc]


class _Handler(BaseHTTPRequestHandler):
    state: FileServer
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        self.close_connection = True
        path = self.path.lstrip("/")
        self.state.asked.append((path, self.headers.get("Range", "")))
        answer = self.state.plan.pop(0) if self.state.plan else Answer()
        if answer.becomes is not None:
            self.state.files[path] = answer.becomes
        if answer.status or path not in self.state.files:
            self._refuse(answer)
        else:
            self._send(self.state.files[path], answer)

    def _refuse(self, answer: Answer) -> None:
        self.send_response(answer.status or 404)
        for name, value in (("Retry-After", answer.retry_after), ("Location", answer.location)):
            if value:
                self.send_header(name, value)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def _send(self, content: bytes, answer: Answer) -> None:
        tag = self.state.tag or f'"{hashlib.sha256(content).hexdigest()[:16]}"'
        start = self._start(tag)
        if start and start >= len(content):
            self.send_response(416)
            self.send_header("Content-Range", f"bytes */{len(content)}")
            self.send_header("Content-Length", "0")
            self.end_headers()
            return
        self.send_response(206 if start else 200)
        if self.state.validators:
            self.send_header("ETag", tag)
        if start:
            self.send_header("Content-Range", f"bytes {start}-{len(content) - 1}/{len(content)}")
        length = len(content) - start if answer.claimed is None else answer.claimed
        self.send_header("Content-Length", str(length))
        self.end_headers()
        self.wfile.write(content[start:][: answer.cut])

    def _start(self, tag: str) -> int:
        wanted = re.fullmatch(r"bytes=(\d+)-", self.headers.get("Range", ""))
        same = not self.state.believes or self.headers.get("If-Range", tag) == tag
        return int(wanted[1]) if wanted and same and self.state.ranges else 0

    def log_message(self, *_: object) -> None:
        """Say nothing."""


@contextmanager
def serving() -> Iterator[FileServer]:
    """Serve on loopback."""
    state = FileServer()
    server = ThreadingHTTPServer(("127.0.0.1", 0), type("Handler", (_Handler,), {"state": state}))
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    state.url = f"http://127.0.0.1:{server.server_address[1]}/"
    try:
        yield state
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
