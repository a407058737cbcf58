"""Deploys archives to an emulator of AWS, in a network of its own, and prints as JSON what their functions answer.

    unshare --map-root-user --net python read_lambda.py FOLDER <FUNCTIONS

FUNCTIONS is a list of [runtime, archive, handler, requests], and a request [method, path, body]. What is printed has a
list for each function, of [status, body, seconds] for each request; the first one starts the function. FOLDER is for
what the emulator unpacks.
"""

import fcntl
import json
import os
import socket
import struct
import subprocess
import sys
import time
from contextlib import contextmanager
from http.client import HTTPConnection
from pathlib import Path
from urllib.parse import urlsplit

import botocore.session

PORT = 4566
BUCKET = "archives"
LIMIT = 120  # seconds until something is given up


def loopback() -> None:
    """Bring up the loopback interface, which a new network has, but down."""
    request, up = struct.pack("16sH14x", b"lo", 1), 0x8914  # SIOCSIFFLAGS, IFF_UP
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as any_socket:
        fcntl.ioctl(any_socket, up, request)


@contextmanager
def emulator(folder: Path):
    """Run the emulator until it is left, without containers."""
    variables = os.environ | {
        "TMPDIR": str(folder),
        "LAMBDA_EXECUTOR": "local",
        "LOG_LEVEL": "WARNING",
        "GATEWAY_PORT": str(PORT),
    }
    with (folder / "log").open("w") as log:
        process = subprocess.Popen([sys.executable, "-m", "ministack"], env=variables, stdout=log, stderr=log)
    try:
        until = time.monotonic() + LIMIT
        while not answers(PORT):
            if process.poll() is not None or time.monotonic() > until:
                raise TimeoutError((folder / "log").read_text())
            time.sleep(0.05)
        yield
    finally:
        process.terminate()
        process.wait()


def answers(port: int) -> bool:
    with socket.socket() as client:
        return client.connect_ex(("127.0.0.1", port)) == 0


def client(service: str):
    """Return AWS' own client of a service."""
    session = botocore.session.get_session()
    address = f"http://127.0.0.1:{PORT}"
    secrets = {"aws_access_key_id": "test", "aws_secret_access_key": "test"}
    return session.create_client(service, region_name="us-east-1", endpoint_url=address, **secrets)


def uploaded(archives: set[str]) -> None:
    """Put archives into a bucket, from which those of this size have to come."""
    objects = client("s3")
    objects.create_bucket(Bucket=BUCKET)
    for archive in archives:
        objects.put_object(Bucket=BUCKET, Key=archive, Body=Path(archive).read_bytes())


def deployed(name: str, runtime: str, archive: str, handler: str) -> str:
    """Return the host of a function's URL."""
    functions = client("lambda")
    functions.create_function(
        FunctionName=name, Runtime=runtime, Handler=handler, Timeout=LIMIT, MemorySize=512,
        Role="arn:aws:iam::000000000000:role/flights", Code={"S3Bucket": BUCKET, "S3Key": archive},
    )  # fmt: skip
    functions.get_waiter("function_active_v2").wait(FunctionName=name)
    address = functions.create_function_url_config(FunctionName=name, AuthType="NONE")["FunctionUrl"]
    return urlsplit(address).hostname or ""


def asked(host: str, method: str, path: str, body: object) -> tuple[int, object, float]:
    """Return what a function answers, and after how many seconds."""
    connection = HTTPConnection("127.0.0.1", PORT, timeout=2 * LIMIT)
    start = time.perf_counter()
    connection.request(method, path, json.dumps(body), {"host": host, "content-type": "application/json"})
    answer = connection.getresponse()
    text = answer.read().decode()
    return answer.status, text, time.perf_counter() - start


def main(folder: Path, functions: list[tuple[str, str, str, list[tuple[str, str, object]]]]) -> None:
    loopback()
    with emulator(folder):
        uploaded({archive for _, archive, *_ in functions})
        answered = []
        for number, (*function, requests) in enumerate(functions):
            host = deployed(f"flights-{number}", *function)
            answered.append([asked(host, *request) for request in requests])
    json.dump(answered, sys.stdout)


if __name__ == "__main__":
    main(Path(sys.argv[1]), json.load(sys.stdin))
