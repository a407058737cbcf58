"""A real S3 endpoint on loopback, as a remote of DVC in tests."""

import secrets
import socket
import subprocess
import time
import urllib.error
import urllib.request
from pathlib import Path

from tests.rig.runner import tool


class Remote:
    """rclone's S3 server over a folder, with a bucket and credentials of its own."""

    bucket = "models"

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        (folder / self.bucket).mkdir(parents=True)
        self.key, self.secret = secrets.token_hex(8), secrets.token_hex(16)
        self._port = free_port()
        self.start()

    @property
    def endpoint(self) -> str:
        """The address that clients are configured with."""
        return f"http://127.0.0.1:{self._port}"

    @property
    def url(self) -> str:
        """The remote's address in DVC's words."""
        return f"s3://{self.bucket}/dvc"

    @property
    def environment(self) -> dict[str, str]:
        """The credentials, by the names that clients read."""
        return {"AWS_ACCESS_KEY_ID": self.key, "AWS_SECRET_ACCESS_KEY": self.secret, "AWS_DEFAULT_REGION": "us-east-1"}

    def objects(self) -> set[str]:
        """Return the names of all objects."""
        root = self.folder / self.bucket
        return {path.relative_to(root).as_posix() for path in root.rglob("*") if path.is_file()}

    def start(self) -> None:
        """Serve, also again after a stop: the address and what is stored stay."""
        options = [
            "--addr",
            f"127.0.0.1:{self._port}",
            "--auth-key",
            f"{self.key},{self.secret}",
            "--config",
            "/dev/null",
        ]
        command = [tool("rclone"), "serve", "s3", str(self.folder), *options]
        self._process = subprocess.Popen(command, stderr=subprocess.DEVNULL)
        until = time.monotonic() + 20
        while not self._answers():
            assert self._process.poll() is None, "rclone ended"
            assert time.monotonic() < until, "rclone does not answer"
            time.sleep(0.02)

    def close(self) -> None:
        """Stop serving, as a remote that is down."""
        self._process.terminate()
        self._process.wait()

    def _answers(self) -> bool:
        try:
            urllib.request.urlopen(self.endpoint, timeout=1).close()
        except urllib.error.HTTPError:
            return True
        except OSError:
            return False
        return True


def free_port() -> int:
    """Return a port that nothing listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
