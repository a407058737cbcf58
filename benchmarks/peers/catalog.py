"""The servers that are compared: how each is started on the same model, asked for the same row, and read."""

import hashlib
import json
import os
import shutil
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import msgspec
from benchmarks.peers import environment
from benchmarks.peers.process import Question

_SERVERS = Path(__file__).parent / "servers"
_SKLEARN = ("scikit-learn==1.9.1", "pandas==3.1.1", "numpy==2.4.6", "joblib==1.6.0")
_FASTAPI = ("fastapi==0.165.0", "uvicorn[standard]==0.54.0")
_KEY = "benchmark"
HEADERS = {"Authorization": f"Bearer {_KEY}.{_KEY}"}  # of requests to our own server
_BIN = f"{Path(sys.executable).parent}{os.pathsep}"


@dataclass(frozen=True)
class Model:
    """The same model in each form that a peer takes, and a row without missing values with its score.

    `pipeline` is a bundle without a graph, whose runtime is sklearn.
    """

    bundle: Path
    pipeline: Path
    joblib: Path
    mlflow: Path
    row: Mapping[str, Any]
    score: float


@dataclass(frozen=True)
class Peer:
    """A server: `command` gives its command line for its Python, the model, its folder and its port.

    `asked` gives the question for a row, and `score` reads the score of an answer; None: it has none.
    """

    name: str
    command: Callable[[Path, Model, Path, int], list[str]]
    asked: Callable[[Model], tuple[str, Any]]
    score: Callable[[Any], float] | None
    requirements: tuple[str, ...] = ()
    environ: Callable[[Model], Mapping[str, str]] = lambda model: {}
    headers: Mapping[str, str] = field(default_factory=dict)

    def python(self) -> Path:
        """Return the Python that it runs with; raises MissingError where its environment cannot be made."""
        return environment.python(self.requirements) if self.requirements else Path(sys.executable)

    def question(self, model: Model) -> Question:
        """Return the request for the model's row."""
        path, content = self.asked(model)
        return Question(path, msgspec.json.encode(content), self.headers)


def make(folder: Path, bundle: Path, pipeline: Path) -> Model:
    """Write the forms of a model, and the keys that our own server asks for; `pipeline` is a skops file."""
    import joblib

    from trunkline.deploy.mlflow import package
    from trunkline.pipeline.train import modelfile

    joblib.dump(modelfile.load(pipeline), folder / "model.joblib")
    package.write(bundle, folder / "mlflow")
    golden = json.loads((bundle / "golden.json").read_text(encoding="utf-8"))
    whole = next(each for each in golden if None not in each["request"].values())
    without_graph = _without_graph(bundle, pipeline, folder / "pipeline")
    return Model(
        bundle.absolute(),
        without_graph,
        folder / "model.joblib",
        folder / "mlflow",
        whole["request"],
        whole["score"],
    )


def _without_graph(bundle: Path, pipeline: Path, folder: Path) -> Path:
    """Write a bundle that is served by its pipeline; return its folder."""
    shutil.copytree(bundle, folder)
    (folder / "model.onnx").unlink()
    shutil.copyfile(pipeline, folder / "model.skops")
    content = json.loads((folder / "manifest.json").read_text(encoding="utf-8"))
    names = sorted(path.name for path in folder.iterdir() if path.name != "manifest.json")
    hashes = {name: hashlib.sha256((folder / name).read_bytes()).hexdigest() for name in names}
    content |= {"runtime": "sklearn", "files": hashes}
    (folder / "manifest.json").write_text(json.dumps(content), encoding="utf-8")
    return folder


def _script(name: str, form: str) -> Callable[[Path, Model, Path, int], list[str]]:
    return lambda python, model, folder, port: [
        str(python), str(_SERVERS / f"{name}.py"), str(port), str(getattr(model, form))
    ]  # fmt: skip


def _trunkline(name: str = "trunkline", form: str = "bundle", workers: int = 1, log: bool = False) -> Peer:
    declared = {"log": {"to": "log"}} if log else {}
    return Peer(
        name,
        lambda python, model, folder, port: own(
            python, getattr(model, form), folder, workers, {"bind": f"127.0.0.1:{port}", **declared}
        ),
        lambda model: ("/v1/predict", model.row),
        lambda answer: answer["score"],
        headers=HEADERS,
    )


def own(python: Path, bundle: Path, folder: Path, workers: int, serving: Mapping[str, Any]) -> list[str]:
    """Write a declaration with a key and return our own command; checks of the row and metrics are always on."""
    from trunkline.serve.auth import keys

    key = msgspec.structs.replace(
        keys.new_key(_KEY, ["predict"])[0], id=_KEY, sha256=hashlib.sha256(_KEY.encode()).hexdigest()
    )
    (folder / "keys.json").write_text(keys.format_keys([key]), encoding="utf-8")
    declared = {
        "bundle": {
            "on_bad_row": "stop",
            "tolerance": 1e-9,
            "golden_rows": 20,
            "card": {"intended_use": "to be measured"},
        },
        "serving": {"authentication": {"keys": "keys.json"}} | serving,
    }
    (folder / "params.yaml").write_text(json.dumps(declared), encoding="utf-8")
    return [str(python.with_name("trunkline")), "serve", str(bundle), "--workers", str(workers)]


def _mlflow(python: Path, model: Model, folder: Path, port: int) -> list[str]:
    given = ["--model-uri", str(model.mlflow), "--env-manager", "local", "--port", str(port), "--workers", "1"]
    return [str(python.with_name("mlflow")), "models", "serve", *given]


def _bentoml(python: Path, model: Model, folder: Path, port: int) -> list[str]:
    given = ["--working-dir", str(_SERVERS), "--host", "127.0.0.1", "--port", str(port)]
    return [str(python.with_name("bentoml")), "serve", "bentoml_joblib:Scores", *given]


def _mlserver(python: Path, model: Model, folder: Path, port: int) -> list[str]:
    """Return its command, for a folder with its settings: no pool of processes beside the server."""
    from benchmarks.peers.process import free_port

    ports = {"http_port": port, "grpc_port": free_port(), "metrics_port": free_port()}
    settings = {"host": "127.0.0.1", "parallel_workers": 0, "debug": False} | ports
    declared = {
        "name": "model",
        "implementation": "mlserver_sklearn.SKLearnModel",
        "parameters": {"uri": str(model.joblib)},
    }
    (folder / "settings.json").write_text(json.dumps(settings), encoding="utf-8")
    (folder / "model-settings.json").write_text(json.dumps(declared), encoding="utf-8")
    return [str(python.with_name("mlserver")), "start", str(folder)]


def _tensors(model: Model) -> tuple[str, Any]:
    inputs = [
        {"name": name, "shape": [1], "data": [value]}
        | ({"datatype": "BYTES", "parameters": {"content_type": "str"}} if type(value) is str else {"datatype": "FP64"})
        for name, value in model.row.items()
    ]
    content = {"parameters": {"content_type": "pd"}, "inputs": inputs, "outputs": [{"name": "predict_proba"}]}
    return "/v2/models/model/infer", content


OURS = _trunkline()
PEERS = (
    Peer("floor", _script("floor", "bundle"), lambda model: ("/", model.row), None),
    OURS,
    _trunkline("trunkline, 2 workers", workers=2),
    _trunkline("trunkline, with a log", log=True),
    _trunkline("trunkline, runtime sklearn", "pipeline"),
    Peer(
        "mlflow models serve",
        _mlflow,
        lambda model: ("/invocations", {"dataframe_records": [model.row]}),
        lambda answer: answer["predictions"][0],
        environ=lambda model: {"MLFLOW_DISABLE_TELEMETRY": "true", "PATH": _BIN + os.environ["PATH"]},
    ),
    Peer(
        "BentoML",
        _bentoml,
        lambda model: ("/predict", {"row": model.row}),
        float,
        ("bentoml==1.4.40", *_SKLEARN),
        lambda model: {"MODEL": str(model.joblib), "BENTOML_DO_NOT_TRACK": "True"},
    ),
    Peer(
        "MLServer",
        _mlserver,
        _tensors,
        lambda answer: answer["outputs"][0]["data"][1],
        ("mlserver==1.7.1", "mlserver-sklearn==1.7.1", *_SKLEARN),
    ),
    Peer(
        "FastAPI, joblib",
        _script("fastapi_joblib", "joblib"),
        lambda model: ("/predict", model.row),
        lambda answer: answer["score"],
        (*_FASTAPI, *_SKLEARN),
    ),
    Peer(
        "FastAPI, onnxruntime",
        _script("fastapi_onnx", "bundle"),
        lambda model: ("/predict", model.row),
        lambda answer: answer["score"],
        (*_FASTAPI, "onnxruntime==1.31.1", "numpy==2.4.6"),
    ),
)
