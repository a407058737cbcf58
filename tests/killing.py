"""Reconciles in processes that are killed, as by kill -9, before one of their effects; a stand-in for a bad day.

Run as: python -m tests.killing CLONE STORE, then one number per line on the input: the effect before which to die, 0
for none. Answers each with the exit code, or `killed`.
"""

import os
import signal
import sys
from pathlib import Path

WRITES = (b"POST", b"PUT", b"PATCH", b"DELETE")
READS = (b"/api/2.0/mlflow/runs/search",)  # a POST that changes nothing
ON_FILES = {"os.rename", "os.remove", "os.mkdir", "os.rmdir", "os.utime"}


def die_before(effect, store):
    """Kill this process before its so-many-th change of the store or of MLflow."""
    left = effect

    def hook(event, arguments):
        nonlocal left
        if changes(event, arguments, store):
            left -= 1
            if left == 0:
                os.kill(os.getpid(), signal.SIGKILL)

    if effect:
        sys.addaudithook(hook)


def changes(event, arguments, store):
    if event == "http.client.send":
        data = bytes(arguments[1]) if isinstance(arguments[1], bytes | bytearray) else b""
        return data.startswith(WRITES) and not any(path in data for path in READS)
    if event == "open":
        path, _, flags = arguments
        return isinstance(path, str) and path.startswith(store) and bool(flags & (os.O_WRONLY | os.O_RDWR))
    return event in ON_FILES and str(arguments[0]).startswith(store)


def reconcile(clone, store):
    from trunkline.deploy.reconcile import once
    from trunkline.deploy.reconcile.store import BundleStore

    place = once.Site(Path(clone), "main", BundleStore(Path(store)), os.environ)
    return once.reconcile(place, lambda _: None).code


def main(clone, store):
    import mlflow  # so that no child has to import it
    from dvc import api

    assert mlflow
    assert api
    for line in sys.stdin:
        child = os.fork()
        if child == 0:
            die_before(int(line), store)
            os._exit(reconcile(clone, store))
        _, status = os.waitpid(child, 0)
        sys.stdout.write(f"{'killed' if os.WIFSIGNALED(status) else os.WEXITSTATUS(status)}\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main(*sys.argv[1:])
