"""Whatever /openapi.json allows and forbids, the server answers as it says there: asked by schemathesis."""

import re
import subprocess
import sys
from pathlib import Path

import msgspec
import pytest

from tests.bundles import INPUTS
from tests.serve.conftest import PARAMS, golden_bundle
from tests.serving import serving
from trunkline.bundle.contract import Input
from trunkline.bundle.schema import request_schema

CASES = 60  # of each operation, at most

# A request may be as short of time or as large as its own headers and rows say, and this model cannot be explained
# (501); elsewhere a 5xx is a fault.
CHECKS = """\
[checks]
not_a_server_error.expected-statuses = ["2xx", "3xx", "4xx", "501", "504"]
positive_data_acceptance.expected-statuses = ["2xx", "408", "413", "501", "504"]
negative_data_rejection.expected-statuses = ["400", "404", "405", "408", "413", "415", "422", "504"]

# No schema says how many values a row or a tensor has, so that these may refuse what is as described.
[[operations]]
include-path-regex = "/invocations|/infer"
checks.positive_data_acceptance.expected-statuses = ["2xx", "400", "408", "413", "415", "504"]
"""


@pytest.fixture(scope="module")
def described(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A bundle whose contract describes a row as those that are built do."""
    schema = request_schema(msgspec.convert(INPUTS, list[Input]))
    return golden_bundle(tmp_path_factory.mktemp("described") / "sums", request=schema)


def test_every_operation_answers_as_it_is_described(described, tmp_path):
    (tmp_path / "params.yaml").write_text(PARAMS, encoding="utf-8")
    (tmp_path / "schemathesis.toml").write_text(CHECKS, encoding="utf-8")
    options = ["--phases", "coverage,fuzzing", "--max-examples", str(CASES), "--generation-deterministic", "--no-color"]
    with serving(str(described), cwd=tmp_path, grpc=True) as server:
        command = [Path(sys.executable).with_name("st"), "run", f"{server.address}/openapi.json", *options]
        done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False, timeout=120)
        assert done.returncode == 0, done.stdout + done.stderr
        server.process.terminate()
        assert "Traceback" not in server.logged_until("Finished server process")
    generated = re.search(r"(\d+) generated", done.stdout)
    assert generated, done.stdout
    assert int(generated[1]) > CASES
