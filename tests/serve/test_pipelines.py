"""A bundle without a graph is served by its pipeline: many requests at once, each with the bits of its row alone."""

import asyncio
import json
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import polars as pl
import pytest

from tests import bundles
from tests.pipeline.bundle.onnx import test_export as exported
from tests.serve.conftest import PARAMS
from tests.serving import serving
from trunkline.bundle.contract import matrices, read_contract
from trunkline.conf.serving import Limits, Serving
from trunkline.core.errors import UserError
from trunkline.pipeline.train import fit, modelfile
from trunkline.serve import model, pipeline_scorer
from trunkline.serve.app import App
from trunkline.serve.auth.authenticate import Authenticator
from trunkline.serve.bundles import load
from trunkline.serve.engine import pipeline as engine
from trunkline.serve.engine.batching import Batches
from trunkline.serve.limits import Queue
from trunkline.serve.metrics import Metrics
from trunkline.serve.swap import Slot

ENSEMBLE, LINEAR = "sklearn.ensemble.", "sklearn.linear_model."
STEPS = exported.steps("mean", "standard", "onehot")
ORDINAL = exported.steps("mean", "none", "ordinal")
CASES = {
    "boosting": exported.model(ENSEMBLE + "GradientBoostingClassifier", ORDINAL, n_estimators=5),
    "boosting regressor": exported.model(ENSEMBLE + "GradientBoostingRegressor", STEPS, n_estimators=5),
    "ada boost": exported.model(ENSEMBLE + "AdaBoostClassifier", ORDINAL, n_estimators=5),
    "bayes": exported.model("sklearn.naive_bayes.GaussianNB", ORDINAL),
    "neighbours": exported.model("sklearn.neighbors.KNeighborsClassifier", ORDINAL, algorithm="brute"),
    "support vectors": exported.model("sklearn.svm.SVR", ORDINAL),
    "network": exported.model("sklearn.neural_network.MLPClassifier", STEPS, max_iter=3, hidden_layer_sizes=[17]),
    "logistic": exported.CASES["logistic"],
    "histogram": exported.CASES["histogram"],
}
"""Without a graph, or with one: these have in common that scikit-learn scores them."""


def made(folder, declared, golden=20):
    """A bundle of a pipeline that is served as such, with golden rows."""
    schema = exported.schema_of(declared)
    rows = exported.dataset(schema)
    fields = [bundles.field(f.name, "number" if f.role == "numeric" else "text") for f in schema.features]
    bundles.make(folder, fields)
    (folder / "model.onnx").unlink()
    modelfile.save(fit.fit(rows, declared, seed=3), folder / "model.skops")
    requests = rows.features.head(golden).to_dicts()
    contract = read_contract(folder, (folder / "contract.json").read_bytes())
    scores = pipeline_scorer.scorer(folder / "model.skops", contract)(*matrices(contract, requests))
    content = [{"request": row, "score": score} for row, score in zip(requests, scores.tolist(), strict=True)]
    (folder / "golden.json").write_text(json.dumps(content), encoding="utf-8")
    bundles.seal(folder, runtime="sklearn", task="binary")
    return folder, contract


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning", "ignore::FutureWarning")
@pytest.mark.parametrize("name", CASES)
def test_a_row_has_the_same_bits_in_any_batch_as_alone(tmp_path, name):
    folder, contract = made(tmp_path / "bundle", CASES[name])
    rows = exported.dataset(exported.schema_of(CASES[name])).features
    golden, others = (matrices(contract, part.to_dicts()) for part in (rows.head(20), rows[300:348]))
    scores = engine.scorer(folder / "model.skops", contract, *golden)
    alone = engine.one_by_one(pipeline_scorer.scorer(folder / "model.skops", contract))(*others)
    for size in (3, 11, 48):
        for start in range(0, 48, size):
            block = slice(start, start + size)
            assert scores(others[0][block], others[1][block]).tobytes() == alone[block].tobytes()
    if name in ("boosting", "histogram"):
        assert scores.__name__ == "score", "is fit for being scored together"
    if name.startswith("network"):
        assert scores.__name__ == "scores", "its preprocessing is fit for that"


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return made(tmp_path_factory.mktemp("pipelines") / "bundle", CASES["boosting"])[0]


@pytest.fixture(scope="module")
def server(folder, tmp_path_factory):
    home = tmp_path_factory.mktemp("project")
    (home / "params.yaml").write_text(PARAMS.replace("queue: 8", "queue: 64"), encoding="utf-8")
    with serving(str(folder), cwd=home) as running:
        yield running


def test_many_at_once_have_the_scores_that_each_has_alone(server, folder):
    rows = exported.dataset(exported.KNOWN).features[600:648].to_dicts()
    bad = rows[5] | {"x": "much"}
    with ThreadPoolExecutor(24) as clients:
        answers = list(clients.map(lambda row: server.post("/v1/predict", row), [*rows, bad, *rows]))
    contract = read_contract(folder, (folder / "contract.json").read_bytes())
    score = pipeline_scorer.scorer(folder / "model.skops", contract)
    alone = [float(score(*matrices(contract, [row]))[0]) for row in rows]
    refused = answers.pop(len(rows))
    assert (refused.status, refused.json["field"]) == (422, "x")
    assert [answer.json["score"] for answer in answers] == [*alone, *alone]


def test_requests_that_come_while_the_pipeline_scores_share_its_next_call(folder):
    calls, row = [], exported.dataset(exported.KNOWN).features.row(600, named=True)
    loaded = model.load(folder, Limits(rows=100), 1e-9)

    def scores(numeric, texts):
        end = time.monotonic() + 10
        while not calls and len(texts) + len(batches._waiting) < 4 and time.monotonic() < end:
            time.sleep(0.001)
        calls.append(len(texts))
        return loaded.bundle.scores(numeric, texts)

    batches = Batches(scores, 100)
    served = replace(loaded, bundle=replace(loaded.bundle, _batches=batches))
    app = App(Serving(), Slot(served), Metrics(), Queue(8), Authenticator(None))
    scope = {"method": "POST", "path": "/v1/predict", "query_string": b"", "headers": []}

    async def ask():
        sent = []

        async def receive():
            return {"type": "http.request", "body": json.dumps(row).encode()}

        async def send(message):
            sent.append(message)

        await app(scope, receive, send)
        return sent[0]["status"], json.loads(sent[1]["body"])["score"]

    async def main():
        return await asyncio.gather(*(ask() for _ in range(4)))

    assert asyncio.run(main()) == [(200, loaded.bundle.score(row))] * 4
    assert sum(calls) == 4
    assert len(calls) <= 2, "the first call waited until all others had come"


def test_it_is_scored_by_every_protocol_and_not_explained(server):
    golden = exported.dataset(exported.KNOWN).features.head(3)
    scores = server.post("/v1/predict", golden.to_dicts()).json["scores"]
    assert server.post("/invocations", {"dataframe_records": golden.to_dicts()}).json["predictions"] == scores
    answer = server.post("/v1/predict?explain=true", golden.to_dicts())
    assert (answer.status, "its runtime is sklearn" in answer.json["detail"]) == (501, True)


def test_a_time_that_is_over_is_told_while_the_batch_is_scored(server):
    row = exported.dataset(exported.KNOWN).features.row(1, named=True)
    answer = server.post("/v1/predict", row, Request_Timeout="0.0005")
    assert answer.status in (408, 504)
    assert server.post("/v1/predict", row).status == 200


def test_without_scikit_learn_it_says_what_to_install(folder):
    code = f"""
import sys
sys.modules["sklearn"] = None
from pathlib import Path
from trunkline.serve.bundles import load
try:
    load(Path({str(folder)!r}), 10)
except Exception as error:
    print(type(error).__name__, error)
"""
    said = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert said.startswith("UserError ")
    assert "its runtime is sklearn, which needs sklearn: pip install 'trunkline[serve-sklearn]'" in said


def test_a_type_that_is_not_trusted_is_refused(tmp_path):
    import skops.io
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import FunctionTransformer

    folder, _ = made(tmp_path / "bundle", CASES["bayes"])
    (folder / "model.skops").write_bytes(skops.io.dumps(make_pipeline(FunctionTransformer(pl.DataFrame))))
    bundles.seal(folder, runtime="sklearn", task="binary")
    with pytest.raises(UserError, match="polars"):
        load(folder, 10)
