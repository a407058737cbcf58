"""One prediction over HTTP: `trunkline serve` beside other servers of the same model, and beside a constant answer.

All score the same row; ours with the contract's checks, a key and metrics. Each has one worker and one thread of
the model; ours stands there with two workers as well, and with the pipeline instead of the graph. In every round each
server is started anew, in turn, and asked by wrk over 1, 16 and 64 connections; the median of the rounds counts. A
server's CPU and memory are those of all its processes. Behind each figure stands how many times ours it is. The scores
are compared before a server is asked.
Peers have environments of their own, which uv makes in the user's cache folder; one that cannot be had is named.
Needs wrk, what `make repro` leaves, and the package registry.
Run: python -m benchmarks.serving [--seconds 10] [--rounds 5] [--peers "NAME; NAME"] [--json FILE]
"""

import argparse
import dataclasses
import json
import statistics
import sys
import tempfile
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from benchmarks.peers import load
from benchmarks.peers.catalog import OURS, PEERS, Model, Peer, make
from benchmarks.peers.environment import MissingError
from benchmarks.peers.process import free_port, once, running

from trunkline.core import paths

CONNECTIONS = (1, 16, 64)
WARM_UP = 1  # seconds
TOLERANCE = 1e-9


@dataclass(frozen=True)
class Cell:
    """What was measured of a server over so many connections: a second's requests, ms, µs, MB, seconds."""

    rate: float
    p50: float
    p99: float
    cpu: float
    resident: float
    cold_start: float
    failed: int = 0


HEADER = ("requests/s", "p50, ms", "p99, ms", "CPU per request, µs", "resident, MB", "cold start, s")
Cells = dict[tuple[str, int], Cell]


def main() -> None:
    """Measure the servers and print one table in Markdown."""
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--seconds", type=int, default=10, help="of each measurement")
    options.add_argument("--rounds", type=int, default=5)
    options.add_argument("--peers", type=_named, default=PEERS, help="names, with a semicolon between two; all if none")
    options.add_argument("--json", type=Path, help="where every figure of every round is written as well")
    given = options.parse_args()
    try:
        load.wrk()
    except MissingError as error:
        raise SystemExit(str(error)) from None
    with tempfile.TemporaryDirectory() as folder:
        model = make(Path(folder), paths.BUNDLE, paths.MODEL)
        rounds, missing = measured(model, given.peers, given.seconds, given.rounds, CONNECTIONS)
    if given.json:
        given.json.write_text(json.dumps(rows(rounds), indent=2) + "\n", encoding="utf-8")
    sys.stdout.write(table({place: _median(cells) for place, cells in rounds.items()}))
    sys.stdout.writelines(f"\nleft out: {name}: {reason}\n" for name, reason in missing.items())


def measured(
    model: Model, peers: Sequence[Peer], seconds: int, rounds: int, connections: Sequence[int]
) -> tuple[dict[tuple[str, int], list[Cell]], dict[str, str]]:
    """Return the cells of every round by server and connections, and why servers were left out."""
    cells: dict[tuple[str, int], list[Cell]] = defaultdict(list)
    missing: dict[str, str] = {}
    for _ in range(rounds):
        for peer in (each for each in peers if each.name not in missing):
            try:
                for count, cell in ask(peer, model, seconds, connections).items():
                    cells[peer.name, count].append(cell)
            except MissingError as error:
                missing[peer.name] = str(error)
    return cells, missing


def ask(peer: Peer, model: Model, seconds: int, connections: Sequence[int]) -> dict[int, Cell]:
    """Start a server, compare its score, and measure it over so many connections, one after the other."""
    port, question = free_port(), peer.question(model)
    with tempfile.TemporaryDirectory() as home:
        folder = Path(home)
        command = peer.command(peer.python(), model, folder, port)
        with running(command, port, question, folder, peer.environ(model)) as server:
            if peer.score and abs(peer.score(server.answer) - model.score) > TOLERANCE:
                raise SystemExit(f"{peer.name} answers {server.answer}, but the score is {model.score}")
            load.ask(port, question, 1, WARM_UP, folder)
            cells = {}
            for count in connections:
                once(port, question)  # what the last measurement left in a slow server's queue is answered before
                before = server.cpu_seconds()
                done = load.ask(port, question, count, seconds, folder)
                cpu = 1e6 * (server.cpu_seconds() - before) / max(1, done.requests)
                size = server.resident() / 1e6
                rate = done.requests / done.seconds
                cells[count] = Cell(rate, done.p50, done.p99, cpu, size, server.cold_start, done.failed + done.late)
            return cells


def table(cells: Mapping[tuple[str, int], Cell]) -> str:
    """Return a table in Markdown; behind each figure stands how many times ours it is."""
    lines = [("server", "connections", *HEADER), ("---", *["--:"] * (1 + len(HEADER)))]
    for (name, count), cell in sorted(cells.items(), key=lambda item: item[0][1]):
        ours = cells.get((OURS.name, count))
        failed = f", {cell.failed:,} failed" if cell.failed else ""
        lines.append((name, f"{count}{failed}", *_figures(cell, ours)))
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


def rows(rounds: Mapping[tuple[str, int], Sequence[Cell]]) -> list[dict[str, object]]:
    """Return every round's cells as plain values."""
    return [
        {"server": name, "connections": count, "round": number} | dataclasses.asdict(cell)
        for (name, count), cells in rounds.items()
        for number, cell in enumerate(cells, 1)
    ]


def _figures(cell: Cell, ours: Cell | None) -> list[str]:
    figures = []
    for value, own in zip(_values(cell), _values(ours or cell), strict=True):
        digits = 0 if value >= 100 else 2
        figures.append(f"{value:,.{digits}f}" + (f" ({value / own:,.2f})" if ours else ""))
    return figures


def _values(cell: Cell) -> tuple[float, ...]:
    return cell.rate, cell.p50, cell.p99, cell.cpu, cell.resident, cell.cold_start


def _median(cells: Sequence[Cell]) -> Cell:
    medians = map(statistics.median, zip(*map(_values, cells), strict=True))
    return Cell(*medians, failed=sum(cell.failed for cell in cells))


def _named(names: str) -> list[Peer]:
    known = {peer.name: peer for peer in PEERS}
    chosen = [name.strip() for name in names.split(";")]
    unknown = [name for name in chosen if name not in known]
    if unknown:
        raise argparse.ArgumentTypeError(f"{unknown[0]!r} is none of {'; '.join(known)}")
    return [known[name] for name in chosen]


if __name__ == "__main__":
    main()
