"""`dvc repro` from nothing beside one plain Python script that does the same work in one process.

Both start in a fresh clone of the last commit, with an empty cache and no dvc.lock, so that every stage runs. The
script imports each stage's function and calls it, in the order of dvc.yaml: it imports a library once, starts one
interpreter, and hashes nothing. What they write must be the same bytes. Rounds alternate, and each one's best round
counts, so that a busy machine harms none alone. Asked: at most 1.3 times.
Run: python benchmarks/pipeline_speed.py [--rounds 3]
"""

import argparse
import hashlib
import os
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
ASKED = 1.3
COMMANDS = {
    "dvc repro": [str(Path(sys.executable).with_name("dvc")), "repro"],
    "one process": [sys.executable, __file__, "--plain"],
}
STAGES = {"dvc repro": ".dvc/tmp/trunkline", "one process": "seconds"}  # folders with each stage's seconds


@dataclass(frozen=True)
class Taken:
    """Seconds of the clock, of the processor, and of each stage's own work, and a digest of all that was written."""

    wall: float
    processor: float
    stages: dict[str, float]
    written: str


def main() -> None:
    """Run both in turn, compare what they wrote, print the best rounds and where the time went."""
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--rounds", type=int, default=3)
    options.add_argument("--plain", action="store_true", help=argparse.SUPPRESS)
    given = options.parse_args()
    if given.plain:
        plain()
        return
    taken: dict[str, list[Taken]] = {name: [] for name in COMMANDS}
    for _ in range(given.rounds):
        for name in COMMANDS:
            with tempfile.TemporaryDirectory() as folder:
                taken[name].append(run(name, Path(folder, "project")))
    if len({each.written for of in taken.values() for each in of}) > 1:
        raise SystemExit("they wrote other bytes")
    sys.stdout.write(report(*(min(of, key=lambda each: each.wall) for of in taken.values())))


def run(name: str, project: Path) -> Taken:
    """Clone, run, and read what it took."""
    subprocess.run(["git", "clone", "--quiet", ROOT, project], check=True)  # noqa: S603, S607
    (project / "dvc.lock").unlink()
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    began = time.perf_counter()
    with subprocess.Popen(COMMANDS[name], cwd=project, env=os.environ | {"PATH": path}, stdout=sys.stderr) as process:  # noqa: S603
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
    wall = time.perf_counter() - began
    if process.returncode:
        raise SystemExit(f"{name} exited with {process.returncode}")
    stages = {path.name: float(path.read_text()) for path in (project / STAGES[name]).iterdir()}
    return Taken(wall, usage.ru_utime + usage.ru_stime, stages, digest(project))


def plain() -> None:
    """Call the stages one after the other."""
    from trunkline.core import machine

    machine.pin()
    import importlib

    import yaml

    sys.path.insert(0, "stages")
    Path(STAGES["one process"]).mkdir()
    for name in yaml.safe_load(Path("dvc.yaml").read_text())["stages"]:
        began = time.perf_counter()
        importlib.import_module(name).main()
        (Path(STAGES["one process"]) / name).write_text(f"{time.perf_counter() - began:.2f}")


def digest(project: Path) -> str:
    """Return a hash of every output's name and bytes."""
    files = [path for folder in ("data", "models", "reports") for path in (project / folder).rglob("*")]
    found = {path.relative_to(project).as_posix(): path.read_bytes() for path in files if path.is_file()}
    outputs = sorted((name, content) for name, content in found.items() if not name.endswith(".gitignore"))
    return hashlib.sha256(b"".join(name.encode() + hashlib.sha256(of).digest() for name, of in outputs)).hexdigest()


def report(dvc: Taken, script: Taken) -> str:
    """Return the table: each stage's own seconds in both, imports included, and the whole."""
    lines = [f"{'seconds':<28} {'dvc repro':>10} {'one process':>12}"]
    for name, seconds in script.stages.items():
        lines.append(f"{name + ', its main()':<28} {dvc.stages[name]:>10.2f} {seconds:>12.2f}")
    rest = [each.wall - sum(each.stages.values()) for each in (dvc, script)]
    lines.append(f"{'starting, DVC, hashing':<28} {rest[0]:>10.2f} {rest[1]:>12.2f}")
    lines.append(f"{'all':<28} {dvc.wall:>10.2f} {script.wall:>12.2f}")
    lines.append(f"{'CPU':<28} {dvc.processor:>10.2f} {script.processor:>12.2f}")
    ratio, processor = dvc.wall / script.wall, dvc.processor / script.processor
    lines.append(f"{ratio:.2f} times, asked: at most {ASKED} (CPU: {processor:.2f}); the same bytes")
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    main()
