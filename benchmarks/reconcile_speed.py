"""How long a reconcile with nothing to do takes, and a rollback, on a small project with real parts.

Parts: git remotes in folders, an MLflow server on SQLite, and a process that serves the delivered bundle. The rollback
is timed from the push of the one-line commit, with a poll of 0 s, to the first answer of the old bundle, which the
store has. Each figure is the median of some rounds. Run: python -m benchmarks.reconcile_speed
"""

import logging
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from tests import endpoint
from tests.releases import Project
from tests.rig.repository import environment
from tests.servers import mlflow_server

from trunkline.deploy.reconcile import once as reconcile_once
from trunkline.deploy.reconcile.store import BundleStore

ROUNDS = 9
REQUEST = {"hour": 3, "origin": "EWR"}


def main() -> None:
    """Set the parts up, time both, print."""
    logging.disable(logging.WARNING)
    with tempfile.TemporaryDirectory() as name, mlflow_server(Path(name, "mlflow")) as address:
        folder = Path(name)
        project = Project(folder / "project", "sums", folder / "remote", folder / "origin.git").create()
        project.params(tracking={"uri": address, "experiment": "releases"})
        for trees in (100, 200):
            project.params(model__max_iter=trees).build().push()
            project.release()
        store = BundleStore(Path(name, "store"))
        store.folder.mkdir()
        clone = project.clone(folder / "bare.git", "--bare").root
        place = reconcile_once.Site(clone, "main", store, environment())
        with endpoint.endpoint(store.folder, "production", "sums") as served:
            targets = {"staging": {}, "production": {"endpoints": [served]}}
            project.params(deploy__environments=targets)
            for version in ("v1", "v2", "v1"):
                project.declare(staging="latest", production=version).push()
                reconcile_once.reconcile(place, str)
            nothing = statistics.median(timed(lambda: reconcile_once.reconcile(place, str)) for _ in range(ROUNDS))
            rollbacks = [rollback(project, place, served, number % 2 + 1) for number in range(1, ROUNDS + 1)]
        once = statistics.median(timed(lambda: process(clone, store)) for _ in range(3))
    sys.stdout.write(f"nothing to do, in a process that watches       {nothing:.2f} s\n")
    sys.stdout.write(f"the same as a process of its own, --once       {once:.2f} s\n")
    sys.stdout.write(f"rollback: push to the old bundle's answer      {statistics.median(rollbacks):.2f} s")
    sys.stdout.write(f" (at most {max(rollbacks):.2f} s)\n")


def timed(call) -> float:  # type: ignore[no-untyped-def]
    """Return the seconds that a call takes."""
    began = time.perf_counter()
    call()
    return time.perf_counter() - began


def rollback(project: Project, place: reconcile_once.Site, served: str, number: int) -> float:
    """Return the seconds from the push of a declaration to the first answer of the bundle that it names."""
    began = time.perf_counter()
    project.declare(staging="latest", production=f"v{number}").push()
    reconcile_once.reconcile(place, str)
    while endpoint.predict(served, REQUEST)["digest"] != project.digest(number):
        time.sleep(0.005)
    return time.perf_counter() - began


def process(clone: Path, store: BundleStore) -> None:
    """Reconcile in a process of its own."""
    command = [Path(sys.executable).with_name("trunkline"), "reconcile", "--store", str(store.folder)]
    subprocess.run(command, cwd=clone, env=environment(), capture_output=True, check=False)  # noqa: S603


if __name__ == "__main__":
    main()
