"""Messages a second of `trunkline stream` beside a plain consumer: joblib's scikit-learn pipeline, a message at a time.

The model is that of models/bundle, the rows its golden rows without missing values; broker, topics' partitions and
clients' libraries are the same, and each is one process. The plain consumer reads a message, decodes its JSON, makes a
frame of one row, scores, writes the answer, and commits once a second; it promises nothing about what is doubled. A
process is timed from its first answer to its last, which leaves out imports and loading. The lag is how long the last
answer comes after the last request, where requests come at a tenth of the rate that was measured.
Needs what `make repro` leaves, and the brokers of the tests.
Run: python -m benchmarks.stream [--broker kafka] [--messages 20000] [--plain 500] [--rounds 3] [--json FILE]
"""

import argparse
import contextlib
import json
import os
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import yaml
from tests.brokers import Broker, running

ROWS = 20  # golden rows
SECONDS = 300


def bodies(bundle: Path, many: int) -> list[bytes]:
    """Return rows of the bundle's golden ones in turn, as JSON."""
    golden = json.loads((bundle / "golden.json").read_text(encoding="utf-8"))
    whole = [each["request"] for each in golden if None not in each["request"].values()][:ROWS]
    return [json.dumps(whole[number % len(whole)]).encode() for number in range(many)]


@contextlib.contextmanager
def consumer(command: list[str], folder: Path) -> Iterator[None]:
    """Run a consumer, which is told to end after that."""
    with (folder / "consumer.log").open("ab") as log:
        process = subprocess.Popen(  # noqa: S603
            command, cwd=folder, stdout=log, stderr=log, env={**os.environ, "OMP_NUM_THREADS": "1"}
        )
        try:
            yield
        finally:
            process.send_signal(signal.SIGTERM)
            process.wait(60)


def timed(broker: Broker, topics: Mapping[str, str], many: int) -> float:
    """Return answers a second, from the first to the last."""
    end = time.monotonic() + SECONDS
    first = None
    while (answered := broker.count(topics["answers"])) < many:
        if first is None and answered:
            first = time.monotonic(), answered
        if time.monotonic() > end:
            raise SystemExit(f"{answered} of {many} messages were answered in {SECONDS} seconds")
        time.sleep(0.02)
    began, before = first or (time.monotonic(), many)
    return (many - before) / max(time.monotonic() - began, 1e-9)


def lag(broker: Broker, topics: Mapping[str, str], content: list[bytes], rate: float) -> float:
    """Return how many seconds the last answer comes after the last request, at a tenth of a rate."""
    before = broker.count(topics["answers"])
    portion = max(1, int(rate / 100))  # every 0.1 s
    sent = content[: 10 * portion]
    for start in range(0, len(sent), portion):
        broker.send(topics["requests"], sent[start : start + portion])
        time.sleep(0.1)
    last = time.monotonic()
    while broker.count(topics["answers"]) < before + len(sent):
        time.sleep(0.002)
        if time.monotonic() > last + SECONDS:
            raise SystemExit("the last requests were not answered")
    return time.monotonic() - last


def measured(  # noqa: PLR0913, PLR0917  what is compared, and how much of it
    kind: str, folder: Path, bundle: Path, model: Path, messages: int, plain: int
) -> dict[str, float]:
    """Return the rates of both, and the lag of ours, on a broker that is started for it."""
    import joblib

    from trunkline.pipeline.train import modelfile

    joblib.dump(modelfile.load(model), folder / "model.joblib")
    result: dict[str, float] = {}
    with running(kind, folder) as broker:
        ours, theirs = ({key: f"{name}.{key}" for key in ("requests", "answers", "dead_letters")} for name in "ab")
        broker.make(*ours.values(), *theirs.values())
        broker.send(ours["requests"], bodies(bundle, messages))
        stream = {"broker": broker.address, **ours, "batch": 1000}
        packaging = {"on_bad_row": "stop", "tolerance": 1e-9, "golden_rows": 20}
        params = {
            "bundle": packaging | {"card": {"intended_use": "to be measured"}},
            "serving": {"stream": stream},
        }
        (folder / "params.yaml").write_text(yaml.safe_dump(params), encoding="utf-8")
        with consumer([str(Path(sys.executable).with_name("trunkline")), "stream", str(bundle.absolute())], folder):
            result["ours"] = timed(broker, ours, messages)
            result["lag"] = lag(broker, ours, bodies(bundle, messages), result["ours"])
        broker.send(theirs["requests"], bodies(bundle, plain))
        peer = str(Path(__file__).parent / "peers/stream_joblib.py")
        arguments = [broker.address, theirs["requests"], theirs["answers"], str(folder / "model.joblib")]
        with consumer([sys.executable, peer, *arguments], folder):
            result["plain"] = timed(broker, theirs, plain)
    result["times"] = result["ours"] / result["plain"]
    return result


def main() -> None:
    """Measure, and print a table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--broker", choices=["kafka", "nats"], action="append")
    parser.add_argument("--bundle", type=Path, default=Path("models/bundle"))
    parser.add_argument("--model", type=Path, default=Path("models/model.skops"))
    parser.add_argument("--messages", type=int, default=20_000)
    parser.add_argument("--plain", type=int, default=500)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--json", type=Path)
    given = parser.parse_args()
    medians: dict[str, Any] = {}
    for kind in given.broker or ["kafka", "nats"]:
        rounds = []
        for _ in range(given.rounds):
            with tempfile.TemporaryDirectory(prefix="trunkline-") as name:
                rounds.append(measured(kind, Path(name), given.bundle, given.model, given.messages, given.plain))
        medians[kind] = {key: statistics.median(each[key] for each in rounds) for key in rounds[0]}
    sys.stdout.write("| broker | messages/s | plain consumer | times | lag, s |\n|---|--:|--:|--:|--:|\n")
    for kind, each in medians.items():
        line = f"| {kind} | {each['ours']:,.0f} | {each['plain']:,.0f} | {each['times']:.1f} | {each['lag']:.3f} |"
        sys.stdout.write(f"{line}\n")
    if given.json:
        given.json.write_text(json.dumps(medians), encoding="utf-8")


if __name__ == "__main__":
    main()
