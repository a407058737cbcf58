"""How long the verbs that read a history take as it grows: a small one beside one of 5,000 commits and 500 releases.

The project is a small one, but its params.yaml and dvc.lock are as large as this repository's, and differ in each
release. Each figure is the best of some rounds, of a process of its own. Run: python -m benchmarks.growth
"""

import subprocess
import sys
import tempfile
import time
from pathlib import Path

import yaml
from tests.releases import Project
from tests.rig.repository import environment

ROUNDS = 3
SIZES = ((50, 5), (5000, 500))
VERBS = {
    "log": ["log", "-n", "20"],
    "verify": ["verify", "v1", "--chain-only"],
    "audit": ["audit", "--since", "2020-01-01", "--offline", "--json"],
}
SHIPPED = Path(__file__).parent.parent
OWN = ("name", "seed", "model", "data", "bundle", "evaluation", "gates", "deploy")


def history(folder: Path, commits: int, releases: int) -> Project:
    """Return a project with so many commits, of which so many are released, each with other parameters."""
    params = yaml.safe_load((SHIPPED / "params.yaml").read_text(encoding="utf-8"))
    stages = yaml.safe_load((SHIPPED / "dvc.lock").read_text(encoding="utf-8"))["stages"]
    project = Project(folder, origin=folder.parent / f"{folder.name}.git").create()
    for group in params.keys() - {*OWN}:
        project.params(**{group: params[group]})
    for number in range(1, releases + 1):
        for _ in range(commits // releases - 1):
            project.commit()
        project.params(seed=number).build(0.75 + number / 10_000)
        lock = yaml.safe_load(project.read("dvc.lock"))
        lock["stages"] = stages | lock["stages"] | {"seed": {"cmd": f"echo {number}"}}
        project.write("dvc.lock", lock).commit(f"Seed {number} (#{number})")
        project.release()
    return project


def seconds(project: Project, *arguments: str) -> float:
    """Return how long a verb takes, at best."""
    command = [Path(sys.executable).with_name("trunkline"), *arguments]
    return min(_once(command, project.root) for _ in range(ROUNDS))


def _once(command: list[object], folder: Path) -> float:
    start = time.perf_counter()
    subprocess.run(command, cwd=folder, env=environment(), capture_output=True, check=False)  # type: ignore[call-overload]  # noqa: S603
    return time.perf_counter() - start


def main() -> None:
    """Make both histories, time each verb in both, print."""
    with tempfile.TemporaryDirectory() as name:
        projects = [history(Path(name, f"of-{commits}"), commits, releases) for commits, releases in SIZES]
        for verb, arguments in VERBS.items():
            small, large = (seconds(project, *arguments) for project in projects)
            sys.stdout.write(f"{verb:<8} {small:.2f} s, and {large:.2f} s: {large / small:.1f} times\n")


if __name__ == "__main__":
    main()
