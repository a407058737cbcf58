"""From push to comment, in the rig that the tests run the workflows in: one key of a gate beside a run of everything.

Both are the same pull request, which changes one key of conf/gates. The first time the trunk has been run before, so
that its results are in the forge's cache; the second time there is nothing, and every stage runs. The forge is a
stand-in on this machine and takes no time; a real one adds a queue and a slower install to both.
Run: python -m benchmarks.pull_request_speed
"""

import re
import sys
import tempfile
import time
from pathlib import Path

from tests.rig.repository import Repository, git
from tests.rig.rig import Rig, rigged
from tests.rig.runner import Step

ROOT = Path(__file__).parent.parent
KEY, OTHER = "confidence: 0.95", "confidence: 0.94"


def change(folder: Path) -> None:
    """Change one key of a gate."""
    file = folder / "conf/gates/flights.yaml"
    file.write_text(file.read_text(encoding="utf-8").replace(KEY, OTHER), encoding="utf-8")


def seconds(rig: Rig) -> tuple[float, str]:
    """Open the pull request of a fork, which has one run and one comment; return what that took, and its steps."""
    fork: Repository = rig.fork()
    rig.push("gate", change, repository=fork)
    start = time.perf_counter()
    pull = rig.open_pull_request("gate", fork=True)
    taken = time.perf_counter() - start
    body = str(rig.comments(pull.number)[0].content["body"])
    if "## ⚠️ Not committed: all gates pass" not in body:
        raise SystemExit(f"this is no pull request whose gates pass:\n{body[:300]}")
    steps = [*rig.job("pull-request", "trunkline").steps, *rig.job("comment", "comment").steps]
    return taken, "".join(
        f"    {step.seconds:6.1f} s  {step.name[:60]}\n{_parts(step)}" for step in steps if step.seconds >= 0.5
    )


def _parts(step: Step) -> str:
    """Return the table at the end of `trunkline ci review`, without its colours."""
    _, heading, table = re.sub(r"\x1b\[[\d;]*m", "", step.log).partition("      trunkline ")
    return "".join(f"{'':14}{line.rstrip()}\n" for line in (heading + table).splitlines() if line.strip())


def main() -> None:
    """Time both and print the ratio."""
    found = {}
    for name, warm in (("one key, after a run of the trunk", True), ("everything", False)):
        with tempfile.TemporaryDirectory() as folder, rigged(Path(folder)) as rig:
            if warm:
                rig.import_(ROOT)
            else:
                git(rig.upstream.path, "fetch", "--quiet", str(ROOT), "HEAD")
                rig.upstream.point("refs/heads/main", git(ROOT, "rev-parse", "HEAD"))
            found[name], steps = seconds(rig)
        sys.stdout.write(f"{name}: {found[name]:.1f} s from push to comment\n{steps}")
    one, everything = found.values()
    sys.stdout.write(f"everything / one key: {everything / one:.1f}\n")


if __name__ == "__main__":
    main()
