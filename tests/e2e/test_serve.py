"""The whole holdout through a running server, in each protocol, gives the scores of a batch, bit for bit."""

from collections.abc import Iterator
from typing import Any

import grpc
import numpy as np
import polars as pl
import pytest
from open_inference.grpc import protocol
from open_inference.grpc.service import GRPCInferenceServiceStub

from tests.e2e.conftest import Checkout
from tests.serving import Server, serving
from trunkline.bundle.columns import graph_scores
from trunkline.bundle.runtime import Bundle
from trunkline.core.graphs import MISSING

pytestmark = pytest.mark.e2e

AT_ONCE = 1999  # rows of a request
ALONE = 200  # requests of one row


@pytest.fixture(scope="module")
def bundle(small: Checkout) -> Bundle:
    return Bundle.load(small.root / "models/bundle")


@pytest.fixture(scope="module")
def holdout(small: Checkout, bundle: Bundle) -> pl.DataFrame:
    rows = pl.read_parquet(small.root / "data/features/holdout.parquet", columns=[*bundle.numeric, *bundle.categorical])
    return rows.head(len(rows) // 2 * 2)  # of an odd number of rows, onnxruntime gives the last one other bits


@pytest.fixture(scope="module")
def scores(bundle: Bundle, holdout: pl.DataFrame) -> list[float]:
    return graph_scores(bundle, holdout).tolist()


@pytest.fixture(scope="module")
def server(small: Checkout, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    home = tmp_path_factory.mktemp("served")
    params = small.read("params.yaml")
    assert "grpc: null" in params
    (home / "params.yaml").write_text(params.replace("grpc: null", "grpc: 127.0.0.1:0"), encoding="utf-8")
    with serving(str(small.root / "models/bundle"), cwd=home, grpc=True) as running:
        yield running


def test_rows_of_json_give_the_scores_of_the_batch(server: Server, holdout: pl.DataFrame, scores: list[float]) -> None:
    answers = [server.post("/v1/predict", part.to_dicts()) for part in holdout.iter_slices(AT_ONCE)]
    assert [score for answer in answers for score in answer.json["scores"]] == scores
    alone = [server.post("/v1/predict", row).json["score"] for row in holdout.head(ALONE).to_dicts()]
    assert alone == scores[:ALONE]


@pytest.mark.parametrize("form", ["dataframe_records", "dataframe_split", "inputs", "csv"])
def test_mlflows_protocol_gives_them(server: Server, holdout: pl.DataFrame, scores: list[float], form: str) -> None:
    def body(part: pl.DataFrame) -> Any:
        if form == "dataframe_split":
            return {form: {"columns": part.columns, "data": part.rows()}}
        return {form: part.to_dict(as_series=False) if form == "inputs" else part.to_dicts()}

    answers = [
        server.post("/invocations", part.write_csv().encode(), "text/csv")
        if form == "csv"
        else server.post("/invocations", body(part))
        for part in holdout.iter_slices(AT_ONCE)
    ]
    assert [score for answer in answers for score in answer.json["predictions"]] == scores


def test_the_open_inference_protocol_gives_them(server: Server, holdout: pl.DataFrame, scores: list[float]) -> None:
    def tensor(column: pl.Series) -> dict[str, Any]:
        datatype = "BYTES" if column.dtype == pl.String else "FP64"
        return {"name": column.name, "datatype": datatype, "shape": [len(column)], "data": column.to_list()}

    address = f"/v2/models/{server.get('/version').json['name']}/infer"
    bodies = ({"inputs": [tensor(column) for column in part]} for part in holdout.iter_slices(AT_ONCE))
    answers = [server.post(address, body).json["outputs"][0]["data"] for body in bodies]
    assert [score for answer in answers for score in answer] == scores


def test_it_gives_them_over_grpc(server: Server, holdout: pl.DataFrame, scores: list[float]) -> None:
    def tensor(column: pl.Series) -> dict[str, Any]:
        if column.dtype == pl.String:
            contents = {"bytes_contents": [text.encode() for text in column.fill_null(MISSING)]}
            return {"name": column.name, "datatype": "BYTES", "shape": [len(column)], "contents": contents}
        numbers = column.cast(pl.Float64).fill_null(np.nan).to_list()
        return {"name": column.name, "datatype": "FP64", "shape": [len(column)], "contents": {"fp64_contents": numbers}}

    name = server.get("/version").json["name"]
    with grpc.insecure_channel(server.grpc) as channel:
        stub = GRPCInferenceServiceStub(channel)
        answers = [
            stub.ModelInfer(protocol.ModelInferRequest(model_name=name, inputs=[tensor(column) for column in part]))
            for part in holdout.iter_slices(AT_ONCE)
        ]
    assert [score for answer in answers for score in answer.outputs[0].contents.fp64_contents] == scores
