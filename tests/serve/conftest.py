"""A small bundle with golden rows, and a server of it that each module's tests share."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests import bundles
from tests.bundles import INPUTS, expected
from tests.serving import Server, serving
from trunkline.bundle.runtime import Bundle

PARAMS = """\
bundle: {on_bad_row: stop, tolerance: 1.0e-9, golden_rows: 20, card: {intended_use: to add up numbers}}
serving:
  bind: 127.0.0.1:0
  limits: {body: 65536, rows: 100, time: 2s, queue: 8}
  protocols: {mlflow: true, open_inference: true, arrow: true, grpc: "127.0.0.1:0"}
"""
GOOD = {"hour": 7, "origin": "JFK", "delay": -3.5, "engines": 2, "holiday": True, "dest": "LAX", "kind": "arrival"}


def golden_bundle(folder: Path, requests: tuple[dict[str, object], ...] = (GOOD,), **changed: object) -> Path:
    """Write a bundle with golden rows; `changed` replaces items of the contract."""
    bundles.make(folder)
    golden = [{"request": request, "score": expected(INPUTS, request)} for request in requests]
    (folder / "golden.json").write_text(json.dumps(golden), encoding="utf-8")
    contract = json.loads((folder / "contract.json").read_text(encoding="utf-8"))
    (folder / "contract.json").write_text(json.dumps(contract | changed), encoding="utf-8")
    bundles.seal(folder)
    return folder


@pytest.fixture(scope="session")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return golden_bundle(tmp_path_factory.mktemp("bundles") / "sums")


@pytest.fixture(scope="session")
def bundle(folder: Path) -> Bundle:
    return Bundle.load(folder)


@pytest.fixture(scope="module")
def server(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    home = tmp_path_factory.mktemp("project")
    (home / "params.yaml").write_text(PARAMS, encoding="utf-8")
    with serving(str(folder), cwd=home, grpc=True) as running:
        yield running
