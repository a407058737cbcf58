"""A bundle as an MLflow model: the scores are the bundle's own, bit for bit, wherever and however MLflow loads it."""

import json
import math
import os
import platform
import shutil
import subprocess
import sys
import urllib.error
import urllib.request

import numpy as np
import pandas as pd
import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from tests import bundles
from tests.servers import mlflow_process, mlflow_server
from trunkline.bundle import manifest
from trunkline.bundle.contract import matrices
from trunkline.bundle.manifest import BundleError
from trunkline.bundle.runtime import Bundle
from trunkline.conf.tracking import Tracking
from trunkline.conf.versions import Version
from trunkline.core.errors import UserError
from trunkline.deploy.mlflow import loader, vendor
from trunkline.deploy.mlflow import package as mlflow_package
from trunkline.deploy.mlflow.registry import ModelRegistry
from trunkline.deploy.mlflow.state import Release
from trunkline.pipeline.train import modelfile

# MLflow 3.17 with SQLAlchemy 2.1, when its store is first used.
pytestmark = pytest.mark.filterwarnings(
    "ignore:The ``noload`` loader strategy is deprecated:sqlalchemy.exc.SADeprecationWarning"
)

ROWS = [
    {"delay": 0.1, "hour": 7, "holiday": True, "engines": 2, "origin": "EWR", "dest": "ABC", "kind": "arrival"},
    {"delay": None, "hour": 0, "holiday": None, "engines": None, "origin": "Zürich ✈", "dest": None, "kind": None},
    {"delay": 1 / 3, "hour": 23, "holiday": False, "engines": 1, "origin": "", "dest": "XYZ", "kind": "departure"},
    {"delay": 7, "hour": 1, "origin": "None"},
    {"delay": -119.99999999999999, "hour": 2, "origin": "nan", "engines": 4.0},
]
# What loads the model fails if it imports a trunkline that is not its own.
LOAD = """
import json, sys
import mlflow, pandas as pd
model = mlflow.pyfunc.load_model(sys.argv[1])
print(json.dumps(model.predict(pd.DataFrame(json.load(sys.stdin))).tolist()))
"""


def folder_of(bundle, target):
    """The bundle in a folder that is named as the loader wants it."""
    return shutil.copytree(bundle, target / manifest.digest(bundle))


@pytest.fixture(scope="module")
def bundle(tmp_path_factory):
    made = bundles.make(tmp_path_factory.mktemp("onnx") / "bundle")
    golden = [{"request": row, "score": bundles.expected(bundles.INPUTS, row)} for row in ROWS]
    (made / "golden.json").write_text(json.dumps(golden))
    bundles.seal(made)
    return made


@pytest.fixture(scope="module")
def scores(bundle):
    """What the bundle itself gives."""
    loaded = Bundle.load(bundle)
    return loaded.scores(*matrices(loaded.contract, ROWS)).tolist()


@pytest.fixture(scope="module")
def alien(tmp_path_factory):
    """Where another trunkline is installed, which nothing may import: also as if none was."""
    package = tmp_path_factory.mktemp("alien") / "trunkline"
    package.mkdir()
    (package / "__init__.py").write_text("raise AssertionError('another trunkline')\n")
    return str(package.parent)


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    with mlflow_server(tmp_path_factory.mktemp("server")) as address:
        yield address


def test_rows_of_any_type_of_column_score_as_requests(bundle, scores, tmp_path):
    model = loader._load_pyfunc(str(folder_of(bundle, tmp_path)))
    frame = pd.DataFrame(ROWS)
    assert scores == [Bundle.load(bundle).score(row) for row in ROWS]
    for shown in (frame, frame.astype(object), frame.convert_dtypes(), frame.set_index("origin", drop=False)):
        found = model.predict(shown)
        assert found.dtype == np.float64
        assert found.tolist() == scores
    assert model.predict(frame.iloc[:0]).tolist() == []


@given(st.lists(st.tuples(st.integers(0, 23), st.none() | st.floats(-120, 3000), st.text(max_size=3)), max_size=5))
def test_matrices_hold_what_a_request_is_scored_by(rows):
    contract = _contract()
    requests = [{"hour": hour, "delay": delay, "origin": origin} for hour, delay, origin in rows]
    numeric, categorical = matrices(contract, requests)
    assert numeric.shape == (len(rows), 4)
    assert categorical.shape == (len(rows), 3)
    for place, (hour, delay, origin) in enumerate(rows):
        assert numeric[place, 1] == hour
        assert math.isnan(numeric[place, 0]) if delay is None else numeric[place, 0] == delay
        assert categorical[place].tolist() == [origin, "\ue000", "\ue000"]


def _contract():
    from trunkline.bundle.contract import Contract, Input

    inputs = [Input(**item) for item in bundles.INPUTS]
    return Contract(label="late", on_bad_row="stop", inputs=inputs, request={})


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"hour": 24}, "row 1: field hour: 24 is above 23"),
        ({"hour": 5.7}, r"row 1: field hour: 5\.7 is not a whole number"),
        ({"hour": True}, "row 1: field hour: True is not a whole number"),
        ({"hour": None}, "row 1: field hour: is missing"),
        ({"holiday": 1}, "row 1: field holiday: 1 is not true or false"),
        ({"origin": 5}, "row 1: field origin: 5 is not a text"),
        ({"dest": "abc"}, "row 1: field dest: 'abc' is not of the form"),
        ({"hours": 1}, "row 0: field 'hours': is not in the contract; did you mean 'hour'"),
    ],
)
def test_a_row_against_the_contract_is_named(bundle, tmp_path, changed, message):
    model = loader._load_pyfunc(str(folder_of(bundle, tmp_path)))
    rows = [ROWS[0], ROWS[0] | changed]
    with pytest.raises(UserError, match=message):
        model.predict(pd.DataFrame(rows, dtype=object))


def test_another_or_a_changed_bundle_is_not_loaded(bundle, tmp_path):
    folder = folder_of(bundle, tmp_path)
    (folder / "card.md").write_text("# Changed\n")
    with pytest.raises(BundleError, match=r"card\.md: was changed"):
        loader._load_pyfunc(str(folder))
    bundles.seal(folder)
    with pytest.raises(BundleError, match="; do not use it; register the version again"):
        loader._load_pyfunc(str(folder))


def test_a_package_holds_what_the_loader_imports_and_nothing_else():
    package = vendor.collect(mlflow_package.LOADER, frozenset({"trunkline.serve.pipeline_scorer"}))
    assert set(package.files) == {
        "bundle/__init__.py", "bundle/contract.py", "bundle/manifest.py", "bundle/runtime.py", "core/__init__.py",
        "core/errors.py", "core/tasks.py", "deploy/mlflow/__init__.py", "deploy/mlflow/loader.py", "serve/__init__.py",
    }  # fmt: skip
    assert package.imports == {"msgspec", "numpy", "onnxruntime"}
    assert f"from {package.name}.core.errors import" in package.files["bundle/contract.py"]
    assert package.name != vendor.collect(mlflow_package.LOADER).name


def registered(address, bundle, tmp_path, name):
    registry = ModelRegistry.open(Tracking(uri=address, experiment="releases"), tmp_path, {})
    number = registry.register(Release(Version(name, 1), manifest.verify(bundle), "c" * 40, "pass"), bundle, {})
    registry.alias(name, "production", number)
    return f"models:/{name}@production"


def loaded_elsewhere(model, rows, address, alien):
    """The scores that a program gives which has mlflow, but no trunkline."""
    command = [sys.executable, "-W", "ignore", "-c", LOAD, model]
    environ = os.environ | {"MLFLOW_TRACKING_URI": address, "PYTHONPATH": alien}
    done = subprocess.run(command, env=environ, input=json.dumps(rows), capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


def test_mlflow_loads_and_serves_it_where_there_is_no_trunkline(bundle, scores, server, alien, tmp_path):
    model = registered(server, bundle, tmp_path, "sums")
    assert loaded_elsewhere(model, ROWS, server, alien) == scores

    serve = ["models", "serve", "--model-uri", model, "--env-manager", "local"]
    environ = {"MLFLOW_TRACKING_URI": server, "PYTHONPATH": alien}
    with mlflow_process(tmp_path / "serving", "/ping", *serve, environ=environ) as address:
        names = [item["name"] for item in bundles.INPUTS]
        split = {"columns": names, "data": [[row.get(name) for name in names] for row in ROWS]}
        assert invoke(address, {"dataframe_split": split}) == scores
        assert invoke(address, {"dataframe_records": ROWS}) == scores
        assert [invoke(address, {"dataframe_records": [row]})[0] for row in ROWS] == scores
        for changed in ({"hour": 5.7}, {"hour": None}, {"hour": True}, {"holiday": "no"}, {"delay": 1e9}):
            with pytest.raises(urllib.error.HTTPError, match="400") as refused:
                invoke(address, {"dataframe_records": [ROWS[0] | changed]})
            assert f"row 0: field {next(iter(changed))}: " in refused.value.read().decode()


def invoke(address, body):
    headers = {"Content-Type": "application/json"}
    request = urllib.request.Request(f"{address}/invocations", json.dumps(body).encode(), headers)
    with urllib.request.urlopen(request, timeout=30) as answer:
        return json.load(answer)["predictions"]


def test_mlflow_knows_its_inputs_example_and_requirements(bundle, tmp_path):
    import mlflow

    mlflow_package.write(bundle, tmp_path / "model")
    info = mlflow.models.get_model_info(str(tmp_path / "model"))
    declared = {item["name"]: (item["type"], item["required"]) for item in info.signature.inputs.to_dict()}
    assert declared == {
        "delay": ("double", False),
        "hour": ("any", True),
        "holiday": ("any", False),
        "engines": ("any", False),
        "origin": ("string", True),
        "dest": ("string", False),
        "kind": ("string", False),
    }
    assert info.metadata == {"trunkline.digest": manifest.digest(bundle)}
    example = json.loads((tmp_path / "model/input_example.json").read_text())
    assert example["data"][0] == list(ROWS[0].values())
    needed = {line.partition("==")[0] for line in (tmp_path / "model/requirements.txt").read_text().splitlines()}
    assert needed == {"mlflow", "msgspec", "numpy", "onnxruntime", "pandas"}
    conda = yaml.safe_load((tmp_path / "model/conda.yaml").read_text())
    assert conda["dependencies"][:2] == [f"python={platform.python_version()}", "pip"], "whichever pip is here, or none"
    assert {line.partition("==")[0] for line in conda["dependencies"][2]["pip"]} == needed
    assert not list((tmp_path / "model").rglob("__pycache__"))


def test_a_bundle_without_a_graph_is_scored_by_its_pipeline(server, alien, tmp_path):
    bundle, frame = pipeline_bundle(tmp_path / "bundle")
    pipeline = modelfile.load(bundle / "model.skops")
    expected = pipeline.predict_proba(frame)[:, 1].tolist()
    rows = frame.astype(object).where(frame.notna(), None).to_dict("records")
    model = registered(server, bundle, tmp_path, "pipeline")
    assert loaded_elsewhere(model, rows, server, alien) == expected
    with pytest.raises(UserError, match="row 0: field delay: 9999 is above 3000"):
        loader._load_pyfunc(str(folder_of(bundle, tmp_path))).predict(pd.DataFrame([rows[0] | {"delay": 9999}]))


def pipeline_bundle(folder):
    """A bundle of runtime sklearn, and rows for it, some with missing values."""
    from sklearn.compose import ColumnTransformer
    from sklearn.impute import SimpleImputer
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import Pipeline
    from sklearn.preprocessing import OneHotEncoder

    frame = pd.DataFrame({"delay": [1.5, None, 30.0, 7.25], "origin": ["EWR", "JFK", None, "EWR"]})
    steps = [
        ("n", SimpleImputer(), ["delay"]),
        ("c", OneHotEncoder(handle_unknown="ignore"), ["origin"]),
    ]
    pipeline = Pipeline([("preprocess", ColumnTransformer(steps)), ("estimator", LogisticRegression())])
    pipeline.fit(frame, [0, 1, 1, 0])
    inputs = [bundles.INPUTS[0], bundles.field("origin", "text")]
    made = bundles.make(folder, inputs)
    (made / "model.onnx").unlink()
    modelfile.save(pipeline, made / "model.skops")
    bundles.seal(made, runtime="sklearn", task="binary")
    return made, frame
