"""Clients of others get the golden rows' scores from a running server, bit for bit: MLflow, Triton, KServe, curl."""

import json
import shutil
import subprocess
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from benchmarks.peers import environment

from tests.serve.conftest import GOOD, PARAMS, golden_bundle
from tests.serving import Server, serving
from trunkline.bundle.runtime import Bundle

pytestmark = pytest.mark.long

CLIENTS = ("tritonclient[all]==2.73.0", "kserve==0.21.0", "protobuf==6.33.6", "pandas==2.3.3", "numpy==2.4.6")
PROGRAM = Path(__file__).with_name("open_inference_clients.py")
ROWS: list[dict[str, Any]] = [
    GOOD | {"holiday": None},  # of Triton's types, none is a boolean that may be missing
    {"hour": 0, "origin": "Zürich ✈", "delay": None, "engines": None, "holiday": None, "dest": None, "kind": None},
    {"hour": 23, "origin": "", "delay": 0.1, "engines": 4, "holiday": None, "dest": "EWR", "kind": "departure"},
]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return golden_bundle(tmp_path_factory.mktemp("clients") / "sums", tuple(ROWS))


@pytest.fixture(scope="module")
def scores(folder: Path) -> list[float]:
    return [Bundle.load(folder).score(row) for row in ROWS]


@pytest.fixture(scope="module")
def server(folder: Path) -> Iterator[Server]:
    (folder.parent / "params.yaml").write_text(PARAMS, encoding="utf-8")
    with serving(str(folder), cwd=folder.parent, grpc=True) as running:
        yield running


def test_mlflows_own_client(server, scores):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # MLflow warns of its own types when it is imported
        from mlflow.pyfunc.scoring_server.client import ScoringServerClient
    host, port = server.address.removeprefix("http://").split(":")
    client = ScoringServerClient(host, int(port))
    client.wait_server_ready(timeout=10)
    assert json.loads(client.get_version())["name"] == "sums"
    frame = pd.DataFrame(ROWS, dtype=object)
    for rows in (frame, ROWS, json.dumps({"dataframe_records": ROWS})):  # of a dict, it makes no request: its own fault
        assert json.loads(client.invoke(rows).to_json())["predictions"] == scores
    with pytest.raises(Exception, match="row 1: field hour: 24 is above 23"):
        client.invoke([ROWS[0], ROWS[0] | {"hour": 24}])


@pytest.mark.parametrize(("library", "ways"), [("triton", 3), ("kserve", 2)])
def test_clients_of_triton_and_kserve(server, scores, library, ways):
    try:
        python = environment.python(CLIENTS)
    except environment.MissingError as error:
        pytest.fail(f"no environment for the clients: {error}")
    columns = {name: [row[name] for row in ROWS] for name in GOOD if name != "holiday"}
    command = [python, PROGRAM, library, server.address.removeprefix("http://"), server.grpc, "sums"]
    done = subprocess.run(command, input=json.dumps(columns), capture_output=True, text=True, check=False, timeout=120)
    assert done.returncode == 0, done.stderr
    answers = json.loads(done.stdout.splitlines()[-1])
    assert len(answers) == ways
    assert answers == {way: scores[:1] if "first row" in way else scores for way in answers}


def test_curl(server, scores, tmp_path):
    curl = shutil.which("curl") or pytest.skip("curl is not installed")
    (tmp_path / "rows.json").write_text(json.dumps(ROWS), encoding="utf-8")
    sent = ["-H", "Content-Type: application/json", "--data-binary", f"@{tmp_path}/rows.json"]
    for more in ([], ["-H", "Transfer-Encoding: chunked"], ["-H", "Expect: 100-continue"]):
        command = [curl, "--silent", "--show-error", "--fail", *more, *sent, f"{server.address}/v1/predict"]
        assert json.loads(subprocess.check_output(command, timeout=30))["scores"] == scores
