"""A bundle is loaded, scored and served in a clean environment that holds nothing but locks/serve.txt."""

import json
import os
import resource
import shutil
import subprocess
import sys
from functools import partial
from pathlib import Path

import pytest

from tests import bundles
from tests.e2e.conftest import Checkout
from tests.releases import declare_trust, released
from tests.serve.conftest import golden_bundle
from tests.serving import serving as served
from trunkline.bundle.manifest import digest
from trunkline.deploy.reconcile.store import BundleStore

pytestmark = pytest.mark.e2e

LOAD_MS = 100.0
START_S = 2.0  # of a processor, from nothing to the first answer and back
FOREIGN = ["msgspec", "numpy", "onnxruntime", "typing_extensions"]  # the last of which msgspec takes where there is one
LOADED = {"flatbuffers", "msgspec", "numpy", "onnxruntime", "packaging", "protobuf"}
HTTP = {"click", "h11", "httptools", "prometheus_client", "uvicorn", "uvloop"}
GRPC = {"grpcio", "open-inference-grpc", "typing_extensions"}
KEYS = {"filelock"}
TOKENS = {"cffi", "cryptography", "pycparser", "pyjwt"}  # and TLS
SIGNATURES = {"securesystemslib"}
EXPLAIN = {"ml_dtypes", "onnx"}
DECLARED = {"annotated-types", "pydantic", "pydantic_core", "pyyaml", "typing-inspection", "tzdata"}
REQUESTS = [
    {"hour": 7, "origin": "JFK", "delay": -3.5, "engines": 2, "holiday": True, "dest": "LAX", "kind": "arrival"},
    {"hour": 0, "origin": "", "holiday": None},
    {"hour": 23, "origin": "Zürich ✈", "delay": 3000},
]

# Run by the clean environment's Python: loads argv[1], scores its golden rows, tells what it took and imported.
PROBE = """
import json, sys, time
from pathlib import Path

before = {*sys.modules}

def clock(action, times):
    taken = []
    for _ in range(times):
        start = time.perf_counter()
        result = action()
        taken.append(1000 * (time.perf_counter() - start))
    return result, min(taken)

start = time.perf_counter()
from trunkline.bundle.runtime import Bundle
import onnxruntime
imports_ms = 1000 * (time.perf_counter() - start)
folder = Path(sys.argv[1])
bundle, load_ms = clock(lambda: Bundle.load(folder), 20)
golden = json.loads((folder / "golden.json").read_text(encoding="utf-8"))
errors = [abs(bundle.score(row["request"]) - row["score"]) for row in golden]
try:
    bundle.score({"orign": "JFK"})
except Exception as error:
    refused = f"{type(error).__name__}: {error}"
foreign = {module.partition(".")[0] for module in {*sys.modules} - before} - {*sys.stdlib_module_names, "trunkline"}
told = {"imports_ms": imports_ms, "load_ms": load_ms, "error": max(errors), "refused": refused}
print(json.dumps(told | {"rows": len(golden), "foreign": sorted(foreign)}))
"""


@pytest.fixture(scope="module")
def serving(tmp_path_factory: pytest.TempPathFactory, root: Path) -> Path:
    """The Python of a new environment with what locks/serve.txt lists, from the registry, each file by its hash."""
    home = tmp_path_factory.mktemp("serving") / "env"
    python = home / "bin/python"
    uv = shutil.which("uv", path=os.pathsep.join([os.environ["PATH"], str(root / ".venv/uv/bin")]))
    lock = str(root / "locks/serve.txt")
    run(sys.executable, "-m", "venv", *(["--without-pip"] if uv else []), str(home))
    if uv:
        run(uv, "pip", "sync", "--python", str(python), "--require-hashes", lock, UV_LINK_MODE="copy")
    else:
        run(str(python), "-m", "pip", "install", "--quiet", "--require-hashes", "-r", lock)
    return python


def run(*command: str, **env: str) -> str:
    """Run a command and return what it printed."""
    done = subprocess.run(command, env=os.environ | env, capture_output=True, text=True, check=False, timeout=300)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def processor_seconds() -> float:
    """How long processes that this one has started and that have ended were on a processor."""
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime


def probed(serving: Path, root: Path, folder: Path) -> dict[str, object]:
    """Load and score a bundle in the environment; return what that took and imported."""
    source = str(root / "src")
    told: dict[str, object] = json.loads(run(str(serving), "-W", "error", "-c", PROBE, str(folder), PYTHONPATH=source))
    sys.stdout.write(f"{folder.name}: imports {told['imports_ms']:.0f} ms, load {told['load_ms']:.1f} ms\n")
    return told


def test_the_environment_holds_what_the_lock_lists_and_no_more(serving: Path) -> None:
    code = "import importlib.metadata as m; print(*(d.name.lower() for d in m.distributions()))"
    assert (
        set(run(str(serving), "-c", code).split()) - {"pip", "setuptools"}
        == LOADED | HTTP | GRPC | DECLARED | KEYS | TOKENS | SIGNATURES | EXPLAIN
    )


def test_a_bundle_loads_and_scores_with_numpy_onnxruntime_and_msgspec_alone(
    serving: Path, root: Path, tmp_path: Path
) -> None:
    folder = bundles.make(tmp_path / "bundle")
    golden = [{"request": request, "score": bundles.expected(bundles.INPUTS, request)} for request in REQUESTS]
    (folder / "golden.json").write_text(json.dumps(golden), encoding="utf-8")
    bundles.seal(folder)
    told = probed(serving, root, folder)
    assert (told["rows"], told["error"]) == (3, 0.0)
    assert told["foreign"] == FOREIGN
    assert told["refused"] == "FieldError: field 'orign': is not in the contract; did you mean 'origin'?"
    assert told["load_ms"] < LOAD_MS


def test_the_projects_own_bundle_does_too(serving: Path, root: Path, small: Checkout) -> None:
    told = probed(serving, root, small.root / "models/bundle")
    assert told["rows"] > 0
    assert told["error"] <= 1e-9
    assert told["foreign"] == FOREIGN
    assert told["load_ms"] < LOAD_MS


def test_what_is_delivered_is_verified_there_and_a_reconciler_beside_it_is_refused(
    serving: Path, root: Path, tmp_path: Path
) -> None:
    store = BundleStore(tmp_path / "store")
    made = golden_bundle(tmp_path / "sums")
    store.put(digest(made), partial(shutil.copytree, made))
    store.deliver("production", released(digest(made), name="sums"))
    declare_trust(tmp_path, "sums")
    program = [str(serving), "-W", "error", "-c", "from trunkline.cli import main; main()"]
    options, source = ("--env", "production", "--store", str(store.folder)), {"PYTHONPATH": str(root / "src")}
    with served(*options, cwd=tmp_path, command=program, **source) as server:
        assert server.get("/version").json["digest"] == digest(made)
        store.deliver("production", released(digest(made), 2, "sums", signer="other"))
        assert "which conf/deploy does not declare" in server.logged("does not serve what is delivered")
        assert server.get("/version").json["version"] == "v1"
    refused = subprocess.run(
        [*program, "serve", *options, "--reconcile", "30s"],
        cwd=tmp_path,
        env=os.environ | source,
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert (refused.returncode, "reconciling needs dvc" in refused.stderr) == (2, True), refused.stderr


def test_the_projects_own_bundle_is_served_there_in_no_time(serving: Path, root: Path, small: Checkout) -> None:
    program = (str(serving), "-W", "error", "-c", "from trunkline.cli import main; main()")
    golden = json.loads(small.read("models/bundle/golden.json"))
    seconds = []
    for _ in range(3):
        begun = processor_seconds()
        with served("models/bundle", cwd=small.root, command=program, PYTHONPATH=str(root / "src")) as server:
            answer = server.post("/v1/predict", golden[0]["request"])
            assert answer.status == 200
            assert abs(answer.json["score"] - golden[0]["score"]) <= 1e-9
        seconds.append(processor_seconds() - begun)
    sys.stdout.write(f"from nothing to the first answer: {min(seconds):.2f} s\n")
    assert min(seconds) < START_S
