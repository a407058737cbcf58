"""A bundle as an MLflow model: the scores are the bundle's own, bit for bit, wherever and however MLflow loads it."""

import json
import math
import os
import platform
import shutil
import subprocess
import sys

import numpy as np
import pandas as pd
import pytest
import requests
import yaml
from hypothesis import given
from hypothesis import strategies as st
from mlflow.exceptions import MlflowException

from tests import bundles
from tests.servers import mlflow_process
from trunkline.bundle import manifest
from trunkline.bundle.contract import matrices
from trunkline.bundle.manifest import BundleError
from trunkline.bundle.runtime import Bundle
from trunkline.conf.tracking import Tracking
from trunkline.conf.versions import Version
from trunkline.core.graphs import MISSING
from trunkline.deploy.mlflow import loader, vendor
from trunkline.deploy.mlflow import package as mlflow_package
from trunkline.deploy.mlflow.record import Record
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
# Loads the model without MLflow; what the modules of its own package import is printed with the scores.
IMPORT = """
import builtins, importlib, json, sys
import pandas as pd
code, loader, data = sys.argv[1:]
sys.path.insert(0, code)
package, imported, real = loader.partition(".")[0], set(), builtins.__import__
def spied(name, globals=None, locals=None, fromlist=(), level=0):
    if str((globals or {}).get("__name__")).startswith(package):
        imported.add(name.partition(".")[0])
    return real(name, globals, locals, fromlist, level)
builtins.__import__ = spied
model = importlib.import_module(loader)._load_pyfunc(data)
scores = model.predict(pd.DataFrame(json.load(sys.stdin), dtype=object)).tolist()
print(json.dumps([sorted(imported - sys.stdlib_module_names - {package}), scores]))
"""
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


def test_rows_of_any_type_of_column_score_as_requests(bundle, scores, tmp_path):
    model = loader._load_pyfunc(str(folder_of(bundle, tmp_path)))
    frame = pd.DataFrame(ROWS)
    assert scores == [Bundle.load(bundle).score(row) for row in ROWS]
    for shown in (frame, frame.astype(object), frame.convert_dtypes(), frame.set_index("origin", drop=False)):
        found = model.predict(shown)
        assert found.dtype == np.float64
        assert found.tolist() == scores
    assert model.predict(frame.iloc[:0]).tolist() == []


TEXTS = st.text(st.characters(exclude_characters=MISSING), max_size=3)


@given(st.lists(st.tuples(st.integers(0, 23), st.none() | st.floats(-120, 3000), TEXTS), max_size=5))
def test_matrices_hold_what_a_request_is_scored_by(rows):
    contract = _contract()
    requests = [{"hour": hour, "delay": delay, "origin": origin} for hour, delay, origin in rows]
    numeric, categorical = matrices(contract, requests)
    assert numeric.shape == (len(rows), 4)
    assert categorical.shape == (len(rows), 3)
    for place, (hour, delay, origin) in enumerate(rows):
        assert numeric[place, 1] == hour
        assert math.isnan(numeric[place, 0]) if delay is None else numeric[place, 0] == delay
        assert categorical[place].tolist() == [origin, MISSING, MISSING]


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
    with pytest.raises(MlflowException, match=message) as refused:
        model.predict(pd.DataFrame(rows, dtype=object))
    assert (refused.value.error_code, refused.value.get_http_status_code()) == ("INVALID_PARAMETER_VALUE", 400)


@pytest.mark.parametrize("rows", [ROWS, ROWS[:1], []])
def test_columns_and_rows_by_name_score_as_a_frame_does(bundle, tmp_path, rows):
    model = loader._load_pyfunc(str(folder_of(bundle, tmp_path)))
    scores = model.predict(pd.DataFrame(rows)).tolist()
    columns = {name: [row.get(name) for row in rows] for name in [item["name"] for item in bundles.INPUTS]}
    assert model.predict(rows).tolist() == scores
    for made in (list, np.array, lambda values: np.array([*map(np.array, values), None], object)[:-1]):
        assert model.predict({name: made(values) for name, values in columns.items()}).tolist() == scores
    scalars = [{name: np.array(value) for name, value in row.items()} for row in rows]
    assert model.predict(scalars).tolist() == scores
    assert [model.predict(row).tolist()[0] for row in scalars] == scores


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ([[0.1, 7]], "the rows do not name their fields; send dataframe_split"),
        ("EWR", "the rows do not name their fields"),
        ({"hour": [7, 8], "origin": ["EWR"]}, "columns have 1, 2 values"),
        ({"hour": [7, 8], "origin": np.array(["EWR", 5])}, "field origin: holds a text beside other values"),
        ({"hour": [7], "origin": np.array([["EWR"]])}, r"row 0: field origin: \['EWR'\] is not a text"),
        (pd.DataFrame([[7, 8, "EWR"]], columns=["hour", "hour", "origin"]), "field hour: is there twice"),
    ],
)
def test_what_is_no_rows_of_named_fields_is_refused(bundle, tmp_path, given, message):
    model = loader._load_pyfunc(str(folder_of(bundle, tmp_path)))
    with pytest.raises(MlflowException, match=message):
        model.predict(given)


def test_whole_numbers_that_pandas_made_floats_of_are_no_category_where_they_are_not_exact(tmp_path):
    inputs = [bundles.INPUTS[1], bundles.field("plane", "text", category_of="integer")]
    model = loader._load_pyfunc(str(folder_of(bundles.make(tmp_path / "made", inputs), tmp_path)))
    largest = 2**53 - 1
    assert len(model.predict(pd.DataFrame({"hour": [7, 7], "plane": [largest, None]}))) == 2
    assert len(model.predict(pd.DataFrame({"hour": [7, 7], "plane": [largest + 2, 5]}))) == 2
    with pytest.raises(MlflowException, match="field plane: floats of whole numbers this large are not exact"):
        model.predict(pd.DataFrame({"hour": [7, 7], "plane": [largest + 2, None]}))


def test_another_or_a_changed_bundle_is_not_loaded(bundle, tmp_path):
    folder = folder_of(bundle, tmp_path)
    (folder / "card.md").write_text("# Changed\n")
    with pytest.raises(BundleError, match=r"card\.md: was changed"):
        loader._load_pyfunc(str(folder))
    bundles.seal(folder)
    with pytest.raises(BundleError, match="; do not use it; register the version again"):
        loader._load_pyfunc(str(folder))


def imported_elsewhere(model, rows, alien):
    """What a copy of the code imports of others, and the scores that it gives, in a process without Trunkline."""
    flavor = yaml.safe_load((model / "MLmodel").read_text())["flavors"]["python_function"]
    command = [sys.executable, "-c", IMPORT, *(str(model / flavor["code"]), flavor["loader_module"])]
    command.append(str(model / flavor["data"]))
    environ = os.environ | {"PYTHONPATH": alien, "PYTHONDONTWRITEBYTECODE": "1"}
    done = subprocess.run(command, env=environ, input=json.dumps(rows), capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_the_copied_code_lacks_nothing_and_imports_what_is_required(bundle, scores, alien, tmp_path):
    mlflow_package.write(bundle, tmp_path / "graph")
    imported, found = imported_elsewhere(tmp_path / "graph", ROWS, alien)
    assert found == scores
    assert set(imported) == {"msgspec", "numpy", "onnxruntime", "pandas"}

    other, frame = pipeline_bundle(tmp_path / "bundle")
    mlflow_package.write(other, tmp_path / "pipeline")
    rows = frame.astype(object).where(frame.notna(), None).to_dict("records")
    imported, found = imported_elsewhere(tmp_path / "pipeline", rows, alien)
    assert found == modelfile.load(other / "model.skops").predict_proba(frame)[:, 1].tolist()
    required = {name.replace("scikit-learn", "sklearn") for name in vendor.REQUIREMENTS["sklearn"]}
    assert set(imported) == required - {"onnxruntime"}


def test_a_package_is_named_by_its_code(tmp_path):
    package = vendor.copy(vendor.PATHS["onnx"], tmp_path)
    assert {path.relative_to(package).as_posix() for path in package.rglob("*.py")} == set(vendor.PATHS["onnx"])
    assert f"from {package.name}.core.errors import" in (package / "bundle/contract.py").read_text()
    assert package == vendor.copy(vendor.PATHS["onnx"], tmp_path)
    assert package.name != vendor.copy(vendor.PATHS["sklearn"], tmp_path).name


def registered(address, bundle, tmp_path, name):
    registry = ModelRegistry.open(Tracking(uri=address, experiment="releases"), tmp_path, {})
    number = registry.register(Release(Version(name, 1), manifest.verify(bundle), "c" * 40, "pass"), bundle, Record())
    registry.alias(name, "production", number)
    return f"models:/{name}@production"


def loaded_elsewhere(model, rows, address, alien):
    """The scores that a program gives which has mlflow, but no trunkline."""
    command = [sys.executable, "-W", "ignore", "-c", LOAD, model]
    environ = os.environ | {"MLFLOW_TRACKING_URI": address, "PYTHONPATH": alien}
    done = subprocess.run(command, env=environ, input=json.dumps(rows), capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


def test_mlflow_loads_and_serves_it_where_there_is_no_trunkline(bundle, scores, mlflow_address, alien, tmp_path):
    model = registered(mlflow_address, bundle, tmp_path, "loaded")
    assert loaded_elsewhere(model, ROWS, mlflow_address, alien) == scores

    serve = ["models", "serve", "--model-uri", model, "--env-manager", "local"]
    environ = {"MLFLOW_TRACKING_URI": mlflow_address, "PYTHONPATH": alien}
    with mlflow_process(tmp_path / "serving", "/ping", *serve, environ=environ) as address:
        for form, body in FORMS.items():
            assert invoke(address, *body(ROWS[:2])) == (200, scores[:2]), form
        for form in JSON:
            assert invoke(address, *FORMS[form](ROWS)) == (200, scores), form
            assert [invoke(address, *FORMS[form]([row]))[1][0] for row in ROWS] == scores, form
        for form, body in FORMS.items():
            for changed in ({"hour": 5.7}, {"hour": None}, {"delay": 1e9}, {"dest": "abc"}):
                status, message = invoke(address, *body([ROWS[0], ROWS[0] | changed]))
                assert (status, f"row 1: field {next(iter(changed))}: " in message) == (400, True), (form, message)
        for form in JSON:
            for changed in ({"holiday": "no"}, {"hour": "x"}, {"origin": 5}):
                status, message = invoke(address, *FORMS[form]([ROWS[0], ROWS[0] | changed]))
                where = "" if form in ARRAYS else "row 1: "  # numpy has made texts of all of the column
                assert (status, f"{where}field {next(iter(changed))}: " in message) == (400, True), (form, message)
        status, message = invoke(address, "text/csv", b"hour,origin\n7,01234\n8,00501\n")
        assert (status, "row 0: field origin: 1234 is not a text" in message) == (400, True)
        assert (
            invoke(address, "text/csv", b"hour,origin\n7,01234\n8,EWR\n")[1]
            == invoke(
                address, *FORMS["dataframe_records"]([{"hour": 7, "origin": "01234"}, {"hour": 8, "origin": "EWR"}])
            )[1]
        )


NAMES = [item["name"] for item in bundles.INPUTS]


def cells(rows):
    return [[row.get(name) for name in NAMES] for row in rows]


def frame_of(rows):
    return pd.DataFrame(cells(rows), columns=NAMES).convert_dtypes()


def as_json(**content):
    return "application/json", json.dumps(content).encode()


# All that MLflow's server documents, by name: how each is made of rows.
FORMS = {
    "dataframe_split": lambda rows: as_json(dataframe_split={"columns": NAMES, "data": cells(rows)}),
    "dataframe_records": lambda rows: as_json(dataframe_records=rows),
    "instances": lambda rows: as_json(instances=[dict(zip(NAMES, row, strict=True)) for row in cells(rows)]),
    "instances by column": lambda rows: as_json(
        instances=dict(zip(NAMES, zip(*cells(rows), strict=True), strict=True))
    ),
    "inputs": lambda rows: as_json(inputs=dict(zip(NAMES, zip(*cells(rows), strict=True), strict=True))),
    "inputs by row": lambda rows: as_json(inputs=rows),
    "text/csv": lambda rows: ("text/csv", frame_of(rows).to_csv(index=False).encode()),
    "parquet": lambda rows: ("application/vnd.apache.parquet", frame_of(rows).to_parquet()),
}
ARRAYS = ("instances", "instances by column", "inputs")  # the columns of which are numpy's
JSON = [form for form in FORMS if form not in ("text/csv", "parquet")]


def invoke(address, kind, body):
    """The status that the server answers with, and the scores, or what it says is wrong."""
    answer = requests.post(f"{address}/invocations", body, headers={"Content-Type": kind}, timeout=30)
    content = answer.json()
    return answer.status_code, content["predictions"] if answer.ok else content["message"]


def test_mlflow_knows_its_inputs_example_and_requirements(bundle, tmp_path):
    import mlflow

    mlflow_package.write(bundle, tmp_path / "model")
    info = mlflow.models.get_model_info(str(tmp_path / "model"))
    assert (info.signature.inputs, info.signature.outputs.input_names()) == (None, ["score"])
    assert info.metadata == {"trunkline.digest": manifest.digest(bundle), "trunkline.request": {}}
    example = json.loads((tmp_path / "model/input_example.json").read_text())
    assert example["data"][0] == list(ROWS[0].values())
    needed = {line.partition("==")[0] for line in (tmp_path / "model/requirements.txt").read_text().splitlines()}
    assert needed == {"mlflow", "msgspec", "numpy", "onnxruntime", "pandas"}
    conda = yaml.safe_load((tmp_path / "model/conda.yaml").read_text())
    assert conda["dependencies"][:2] == [f"python={platform.python_version()}", "pip"], "whichever pip is here, or none"
    assert {line.partition("==")[0] for line in conda["dependencies"][2]["pip"]} == needed
    assert not list((tmp_path / "model").rglob("__pycache__"))


def test_a_bundle_without_a_graph_is_scored_by_its_pipeline(mlflow_address, alien, tmp_path):
    bundle, frame = pipeline_bundle(tmp_path / "bundle")
    pipeline = modelfile.load(bundle / "model.skops")
    expected = pipeline.predict_proba(frame)[:, 1].tolist()
    rows = frame.astype(object).where(frame.notna(), None).to_dict("records")
    model = registered(mlflow_address, bundle, tmp_path, "pipeline")
    assert loaded_elsewhere(model, rows, mlflow_address, alien) == expected
    with pytest.raises(MlflowException, match="row 0: field delay: 9999 is above 3000"):
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
