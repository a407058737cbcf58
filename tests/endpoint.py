"""Serves what is delivered to an environment: `GET /version`, and `POST /predict` of one request; a small server.

Run as: python -m tests.endpoint STORE ENVIRONMENT; its first line is the port.
"""

import json
import subprocess
import sys
import time
import urllib.error
import urllib.request
import uuid
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

from trunkline.bundle.runtime import Bundle

POLL = 0.05
ROOT = Path(__file__).parent.parent


class Serving:
    """The bundle that is served now, and what was said of it."""

    def __init__(self, store, environment):
        self.store, self.pointer = store, store / f"{environment}.json"
        self.said, self.bundle = None, None
        Thread(target=self.follow, daemon=True).start()

    def follow(self):
        while True:
            self.refresh()
            time.sleep(POLL)

    def refresh(self):
        if not self.pointer.exists():
            self.said = None
            return
        said = json.loads(self.pointer.read_bytes())
        if said != self.said:
            bundle = Bundle.load(self.store / said["bundle"])
            assert bundle.digest == said["digest"]
            self.said, self.bundle = said, bundle


class Handler(BaseHTTPRequestHandler):
    serving: Serving

    def do_GET(self):
        said = self.serving.said
        known = self.path == "/version" and said
        self.answer({key: said[key] for key in ("name", "version", "digest")} if known else None)

    def do_POST(self):
        request = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        said = self.serving.said
        known = self.path == "/predict" and said
        answer = {"request": str(uuid.uuid4()), "digest": said["digest"]} if known else None
        self.answer(answer and answer | {"score": self.serving.bundle.score(request)})

    def answer(self, content):
        body = json.dumps(content).encode()
        self.send_response(200 if content else 404)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *arguments):
        pass


@contextmanager
def endpoint(store, environment):
    """Yield the address where a process of its own serves an environment."""
    command = [sys.executable, "-m", "tests.endpoint", str(store), environment]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) as process:
        try:
            yield f"http://127.0.0.1:{int(process.stdout.readline())}"
        finally:
            process.kill()


def get(address):
    """What `GET /version` answers; None for nobody, {} for nothing that is served."""
    try:
        with urllib.request.urlopen(f"{address}/version", timeout=5) as answer:
            return json.load(answer)
    except urllib.error.HTTPError:
        return {}
    except OSError:
        return None


def predict(address, request):
    call = urllib.request.Request(f"{address}/predict", json.dumps(request).encode())
    with urllib.request.urlopen(call, timeout=5) as answer:
        return json.load(answer)


def until(is_so, seconds=30):
    end = time.monotonic() + seconds
    while not is_so():
        assert time.monotonic() < end, "it never came"
        time.sleep(0.02)


if __name__ == "__main__":
    Handler.serving = Serving(Path(sys.argv[1]), sys.argv[2])
    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    sys.stdout.write(f"{server.server_port}\n")
    sys.stdout.flush()
    server.serve_forever()
