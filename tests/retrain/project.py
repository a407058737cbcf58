"""The reference project's declarations in a small repository, with an origin; no pipeline has run in it."""

import shutil
from datetime import UTC, datetime
from pathlib import Path

import polars as pl

from tests.monitor.tables import day, of
from tests.rig.repository import git
from trunkline.conf.monitoring import Monitoring
from trunkline.monitor.measure import Measured
from trunkline.monitor.report import Report, Watched

DATA = "conf/data/flights.yaml"
BRANCH = "retrain/flight-delay"
DECLARED = ("2013-01..2013-06", "2013-07")
SEPTEMBER = datetime(2013, 9, 5, tzinfo=UTC)  # August is known by then
OCTOBER = datetime(2013, 10, 5, tzinfo=UTC)


def create(folder: Path, root: Path) -> Path:
    """Make the repository from the declarations in `root`."""
    shutil.copytree(root / "conf", folder / "conf")
    for name in ("models/registry.yaml", "params.yaml"):
        (folder / name).parent.mkdir(exist_ok=True)
        shutil.copy(root / name, folder / name)
    (folder / "dvc.lock").write_text("schema: '2.0'\nstages: {}\n", encoding="utf-8")
    git(folder, "init", "--quiet", "--initial-branch=main")
    commit(folder, "The project")
    return folder


def commit(folder: Path, title: str) -> str:
    git(folder, "add", "--all")
    git(folder, "commit", "--quiet", f"--message={title}")
    return git(folder, "rev-parse", "HEAD")


def declared(folder: Path, ref: str) -> tuple[str, str]:
    """The windows that a commit declares, as they are written."""
    line = next(line for line in git(folder, "show", f"{ref}:{DATA}").splitlines() if line.startswith("window:"))
    train, holdout = line.removeprefix("window: {train: ").removesuffix("}").split(", holdout: ")
    return train, holdout


def report(*rows, until=8, **monitoring) -> Report:
    """What production does, of rows of a table of measured windows."""
    empty = pl.DataFrame()
    watched = Watched("production", "v4", "a" * 64, day(0), day(until))
    return Report(watched, Monitoring.parse(monitoring), Measured(of(*rows), empty, empty, ()), "roc_auc")
