"""The verbs of a review beside the DVC commands that they stand in for, as processes, in one run.

`trunkline plan` beside `dvc status`; `trunkline review --base HEAD~1` beside `dvc metrics diff` and `dvc params diff`,
one after the other. Rounds alternate, and each one's best round counts, so that a busy machine harms none alone. Needs
what `make repro` leaves, committed, with a commit before it. Run: python benchmarks/review_speed.py
"""

import subprocess
import sys
import time
from pathlib import Path

ROUNDS = 7
BIN = Path(sys.executable).parent
COMMANDS = {
    "trunkline plan": [["trunkline", "plan"]],
    "dvc status": [["dvc", "status"]],
    "trunkline review --base HEAD~1": [["trunkline", "review", "--base", "HEAD~1"]],
    "dvc metrics diff + dvc params diff": [["dvc", "metrics", "diff", "HEAD~1"], ["dvc", "params", "diff", "HEAD~1"]],
}


def seconds(commands: list[list[str]]) -> float:
    """Return how long the commands take, one after the other."""
    start = time.perf_counter()
    for name, *arguments in commands:
        subprocess.run([BIN / name, *arguments], check=True, capture_output=True)  # noqa: S603
    return time.perf_counter() - start


def main() -> None:
    """Time all of them in turn; print the best rounds and the ratios."""
    best = dict.fromkeys(COMMANDS, float("inf"))
    for _ in range(ROUNDS):
        for name, commands in COMMANDS.items():
            best[name] = min(best[name], seconds(commands))
    for name, taken in best.items():
        sys.stdout.write(f"{name:<36} {taken:.2f} s\n")
    plan, status, report, diffs = best.values()
    sys.stdout.write(f"plan / status {plan / status:.2f}, report / both diffs {report / diffs:.2f}\n")


if __name__ == "__main__":
    main()
