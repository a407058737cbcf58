"""`POST /v1/predict?explain=true`: the answer, its limits, the scope, and what is refused instead of being wrong."""

import json

import numpy as np
import pytest
from jsonschema import Draft202012Validator

from tests import bundles
from tests.pipeline.bundle.onnx import test_export as exported
from tests.serve.auth.test_authenticate import AUTHENTICATION, add_key
from tests.serve.conftest import GOOD, PARAMS
from tests.serve.explain.test_explain import made
from tests.serving import serving
from trunkline.bundle import manifest
from trunkline.pipeline.train import fit
from trunkline.serve.explain.explainer import ROWS as MOST

ASKED = "/v1/predict?explain=true"
ROWS = exported.shaped("multiclass", 2, 1)
ROW, *OTHERS = ROWS.features[700:703].to_dicts()


def explained_project(home):
    """A project with a bundle of several classes that sets bad rows aside, and with keys."""
    (home / "params.yaml").write_text(PARAMS.replace("rows: 100", "rows: 500") + AUTHENTICATION, encoding="utf-8")
    folder = home / "bundle"
    bundle, _ = made(folder, fit.fit(ROWS, exported.CASES["histogram"], seed=3), ROWS)
    golden = json.loads((folder / "golden.json").read_text(encoding="utf-8"))
    contract = json.loads((folder / "contract.json").read_text(encoding="utf-8"))
    contract["on_bad_row"] = "quarantine"
    golden = [{"request": row["request"], "score": bundle.score(row["request"])} for row in golden]
    (folder / "golden.json").write_text(json.dumps(golden), encoding="utf-8")
    (folder / "contract.json").write_text(json.dumps(contract), encoding="utf-8")
    bundles.seal(folder, task="multiclass")
    return home


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    return explained_project(tmp_path_factory.mktemp("explained"))


@pytest.fixture(scope="module")
def key(home):
    return {"Authorization": f"Bearer {add_key(home, 'analyst', 'predict', 'explain')}"}


@pytest.fixture(scope="module")
def explaining(home, key):
    with serving("bundle", cwd=home) as server:
        yield server


def test_a_row_comes_with_what_each_feature_adds_to_the_margin_of_each_class(explaining, key, home):
    answer = explaining.post(ASKED, ROW, **key).json
    explanation = answer["explanation"]
    assert (explanation["of"], explanation["link"], explanation["background_rows"]) == ("margin", "softmax", 4)
    assert explanation["contributions"].keys() == ROW.keys()
    margins = {
        name: base + sum(values[name] for values in explanation["contributions"].values())
        for name, base in explanation["base"].items()
    }
    chances = np.exp(list(margins.values())) / np.exp(list(margins.values())).sum()
    assert chances == pytest.approx(list(answer["score"].values()), rel=1e-9)
    assert answer["digest"] == manifest.digest(home / "bundle")
    assert "explanation" not in explaining.post("/v1/predict?explain=false", ROW, **key).json


def test_rows_keep_their_places_and_those_refused_have_no_explanation(explaining, key):
    bad = ROW | {"kind": 7}
    answer = explaining.post(ASKED, [ROW, bad, OTHERS[0]], **key).json
    alone = [explaining.post(ASKED, row, **key).json["explanation"] for row in (ROW, OTHERS[0])]
    assert answer["explanations"] == [alone[0], None, alone[1]]
    assert [each["row"] for each in answer["refused"]] == [1]


@pytest.mark.parametrize(
    ("path", "rows", "refusal"),
    [
        (ASKED, [ROW] * (MOST + 1), (413, "101 rows, of which 100 are explained")),
        (ASKED, ROW | {"x": "1"}, (422, "field x: '1' is not a number")),
        ("/v1/predict?explain=yes", ROW, (400, "parameter explain: 'yes' is not true or false")),
        ("/v1/predict?explian=true", ROW, (400, "parameter 'explian': is not known; did you mean 'explain'?")),
        ("/v1/predict?explain=true&explain=true", ROW, (400, "parameter explain: is there more than once")),
    ],
)
def test_what_is_refused(explaining, key, path, rows, refusal):
    answer = explaining.post(path, rows, **key)
    assert answer.status == refusal[0]
    assert refusal[1] in answer.json["detail"]


def test_it_needs_a_scope_of_its_own(explaining, home):
    predict = {"Authorization": f"Bearer {add_key(home, 'dashboard', 'predict')}"}
    assert explaining.post("/v1/predict", ROW, **predict).status == 200
    answer = explaining.post(ASKED, ROW, **predict)
    assert (answer.status, answer.json["detail"]) == (403, "the credential lacks the scope explain")


def test_answers_are_as_the_description_says(explaining, key):
    document = explaining.get("/openapi.json", **key).json
    for name, rows in {"Scored": ROW, "ScoredRows": [ROW, ROW | {"kind": 7}]}.items():
        schema = {"$ref": f"#/components/schemas/{name}", "components": document["components"]}
        Draft202012Validator(schema).validate(explaining.post(ASKED, rows, **key).json)
    [parameter] = [p for p in document["paths"]["/v1/predict"]["post"]["parameters"] if p["in"] == "query"]
    assert (parameter["name"], parameter["schema"]["type"]) == ("explain", "boolean")


def test_a_model_that_cannot_be_explained_is_still_scored(server):
    answer = server.post(ASKED, GOOD)
    assert answer.status == 501
    assert "cannot be explained exactly: its graph adds what the operator Sum makes" in answer.json["detail"]
    assert server.post("/v1/predict", GOOD).status == 200
