"""A soak of `trunkline serve`: load, and another version every second, for half an hour, and whether memory grows.

Two versions of a bundle are delivered in turn, each swap while wrk asks over 16 connections. Every five seconds the
resident memory is taken; reported are its slope after the first fifth of the time, in MB an hour by least squares, the
swaps, the requests that failed, and the answers that took 2 s and more. Needs wrk and a bundle.
Run: python -m benchmarks.soak [--minutes 30] [BUNDLE]
"""

import argparse
import contextlib
import json
import shutil
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from benchmarks.peers import load
from benchmarks.peers.environment import MissingError
from benchmarks.peers.process import Question, free_port, running
from tests.releases import declare_trust, released

from trunkline.bundle import manifest
from trunkline.core import files, paths
from trunkline.deploy.reconcile.store import BundleStore

CONNECTIONS = 16


@dataclass(frozen=True)
class Soak:
    """What was seen: MB of resident memory by seconds; requests, those that failed and late answers; and swaps."""

    samples: Sequence[tuple[float, float]]
    requests: int
    failed: int
    late: int
    swaps: int

    def slope(self) -> float:
        """Return how fast memory grew after the first fifth of the time, MB an hour."""
        import numpy as np

        end = self.samples[-1][0]
        seconds, size = np.array([each for each in self.samples if each[0] >= end / 5]).T
        return float(np.polyfit(seconds, size, 1)[0]) * 3600


def main() -> None:
    """Soak a server and print what was seen."""
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("bundle", type=Path, nargs="?", default=paths.BUNDLE)
    options.add_argument("--minutes", type=float, default=30.0)
    given = options.parse_args()
    try:
        load.wrk()
    except MissingError as error:
        raise SystemExit(str(error)) from None
    seen = soak(given.bundle, round(60 * given.minutes), every=1.0, sample=5.0)
    sys.stdout.write(
        f"{seen.requests:,} requests, {seen.failed:,} failed, {seen.late:,} late, {seen.swaps:,} swaps; "
        f"resident memory from {seen.samples[0][1]:,.1f} to {seen.samples[-1][1]:,.1f} MB, "
        f"{seen.slope():+,.1f} MB an hour\n"
    )


def soak(bundle: Path, seconds: int, every: float, sample: float) -> Soak:
    """Serve two versions of a bundle in turn, another one after so many seconds, under load; return what was seen."""
    with tempfile.TemporaryDirectory() as home:
        folder = Path(home)
        store = BundleStore(folder / "store")
        digests = _versions(bundle, folder, store)

        def deliver(number: int) -> None:
            store.deliver("production", released(digests[number % 2], number + 1, "soaked"))

        deliver(0)
        declare_trust(folder, "soaked")
        port, question = free_port(), _question(bundle)
        samples: list[tuple[float, float]] = []
        with running(_command(store.folder, port), port, question, folder, {}) as server:
            start = time.monotonic()

            def look(_: int) -> None:
                samples.append((time.monotonic() - start, server.resident() / 1e6))

            with _repeated(every, deliver) as swaps, _repeated(sample, look):
                done = load.ask(port, question, CONNECTIONS, seconds, folder)
            look(0)
        return Soak(samples, done.requests, done.failed, done.late, len(swaps))


def _versions(bundle: Path, folder: Path, store: BundleStore) -> list[str]:
    """Put two bundles of the same scores into a store; return their digests."""
    digests = []
    for number in (1, 2):
        made = folder / f"version-{number}"
        shutil.copytree(bundle, made)
        files.write_text(made / "card.md", f"# Version {number}\n")
        content = json.loads((made / manifest.MANIFEST).read_bytes())
        content["files"]["card.md"] = files.sha256(made / "card.md")
        files.write_text(made / manifest.MANIFEST, json.dumps(content))
        digests.append(manifest.digest(made))
        store.put(digests[-1], partial(shutil.copytree, made))
    return digests


def _command(store: Path, port: int) -> list[str]:
    trunkline = str(Path(sys.executable).with_name("trunkline"))
    place = ["--env", "production", "--store", str(store), "--project", str(store.parent)]
    return [trunkline, "serve", *place, "--bind", f"127.0.0.1:{port}"]


def _question(bundle: Path) -> Question:
    golden = json.loads((bundle / "golden.json").read_text(encoding="utf-8"))
    return Question("/v1/predict", json.dumps(golden[0]["request"]).encode(), {})


@contextlib.contextmanager
def _repeated(seconds: float, action: Callable[[int], None]) -> Iterator[list[int]]:
    """Call an action with 1, 2, … every so many seconds in a thread; yield the numbers it was called with."""
    stop = threading.Event()
    called: list[int] = []

    def repeat() -> None:
        while not stop.wait(seconds):
            action(len(called) + 1)
            called.append(len(called) + 1)

    thread = threading.Thread(target=repeat)
    thread.start()
    try:
        yield called
    finally:
        stop.set()
        thread.join()


if __name__ == "__main__":
    main()
