"""Canary and shadow in a real server: each row has its arm's bits, nobody pays for the candidate, and all is logged."""

import json
import time
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from itertools import count
from threading import Event
from typing import Any

import grpc
import polars as pl
import pyarrow as pa
import pytest
from jsonschema import Draft202012Validator
from open_inference.grpc.service import GRPCInferenceServiceStub

from tests.serve.conftest import GOOD
from tests.serve.prediction_log.conftest import metric, until
from tests.serve.protocols import test_grpc
from tests.serve.protocols.test_open_inference import tensor
from tests.serve.rollout.conftest import KEY, LATE, Rolled, rolling, shows
from trunkline.lineage import predictions, replay
from trunkline.serve.http import ARROW
from trunkline.serve.labels import join, store
from trunkline.serve.prediction_log.place import Place

ROWS = [GOOD | {"hour": hour, "delay": hour / 7, "dest": dest} for hour in range(24) for dest in ("LAX", "ORD")]
FEW = [row for row in ROWS if row["hour"] < LATE]
NUMBERS = count()


def new() -> str:
    """Return an id of a request that no other has."""
    return f"request-{next(NUMBERS)}"


@pytest.fixture
def canary(server, rolled):
    rolled.declare("canary")
    shows(server, "canary")
    yield server
    rolled.mood("")


@pytest.fixture
def shadow(server, rolled):
    rolled.declare("shadow", 100)
    shows(server, "shadow", 100)
    yield server
    rolled.mood("")


def scores(rolled: Rolled, rows: list[dict[str, Any]]) -> list[float]:
    return [rolled.answers(row).score(row) for row in rows]


def versions(rolled: Rolled, rows: list[dict[str, Any]]) -> list[str]:
    return ["v2" if rolled.answers(row) is rolled.candidate else "v1" for row in rows]


def of_arrow(body: bytes) -> Any:
    return pa.ipc.open_stream(body).read_all()


def test_one_row_has_the_bits_and_the_version_of_its_arm(canary, rolled):
    for row in ROWS:
        answer, bundle = canary.post("/v1/predict", row).json, rolled.answers(row)
        assert answer["score"] == bundle.score(row)
        assert answer["digest"] == bundle.digest
        assert answer["version"] == versions(rolled, [row])[0]
    assert {*versions(rolled, ROWS)} == {"v1", "v2"}


def test_many_rows_have_theirs_in_order_over_every_protocol(canary, rolled):
    expected, by = scores(rolled, ROWS), versions(rolled, ROWS)
    answer = canary.post("/v1/predict", ROWS).json
    assert (answer["scores"], answer["versions"], answer["version"], answer["digest"]) == (expected, by, None, None)
    assert set(answer["digests"]) == {rolled.current.digest, rolled.candidate.digest}
    assert canary.post("/invocations", {"dataframe_records": ROWS}).json["predictions"] == expected
    lines = [",".join(GOOD), *(",".join(map(str, row.values())) for row in ROWS)]
    assert canary.post("/invocations", "\n".join(lines).encode(), "text/csv").json["predictions"] == expected
    inputs = [tensor(name, [row[name] for row in ROWS]) for name in GOOD]
    answer = canary.post("/v2/models/sums/infer", {"inputs": inputs}).json
    (output,) = answer["outputs"]
    assert (output["data"], answer["model_version"]) == (expected, "")
    assert output["parameters"]["versions"].split(",") == by
    table = of_arrow(canary.post("/v1/predict", stream(ROWS), ARROW).body)
    assert (table["score"].to_pylist(), table["version"].to_pylist()) == (expected, by)
    assert b"version" not in table.schema.metadata


def stream(rows: list[dict[str, Any]]) -> bytes:
    table, sink = pa.Table.from_pylist(rows), pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, table.schema) as writer:
        writer.write_table(table)
    return sink.getvalue().to_pybytes()


def test_the_same_over_grpc(canary, rolled):
    with grpc.insecure_channel(canary.grpc) as channel:
        infer = GRPCInferenceServiceStub(channel).ModelInfer
        for row in FEW[:8]:
            rows = [row | {"dest": dest} for dest in ("LAX", "ORD", "JFK")]
            given = [{name: each.get(name) for name in (*test_grpc.NUMBERS, *test_grpc.TEXTS)} for each in rows]
            answer = infer(request(given))
            assert list(answer.outputs[0].contents.fp64_contents) == scores(rolled, given)
            by = versions(rolled, given)
            parameters = answer.outputs[0].parameters
            told = parameters["versions"].string_param.split(",") if "versions" in parameters else None
            assert (answer.model_version, told) == ((by[0], None) if len({*by}) == 1 else ("", by))


def request(rows: list[dict[str, Any]]) -> Any:
    def one(name: str, datatype: str, **contents: Any) -> dict[str, Any]:
        return {"name": name, "datatype": datatype, "shape": [len(rows)], "contents": contents}

    inputs = [
        one(name, "FP64", fp64_contents=[test_grpc.number(row, name) for row in rows]) for name in test_grpc.NUMBERS
    ]
    inputs += [
        one(name, "BYTES", bytes_contents=[test_grpc.text(row, name) for row in rows]) for name in test_grpc.TEXTS
    ]
    return test_grpc.request(inputs=inputs)


def test_who_asks_for_the_version_has_that(canary, rolled):
    inputs = [tensor(name, [row[name] for row in FEW]) for name in GOOD]
    answer = canary.post("/v2/models/sums/versions/v1/infer", {"inputs": inputs}).json
    assert answer["model_version"] == "v1"
    assert answer["outputs"][0]["data"] == [rolled.current.score(row) for row in FEW]
    without = {name: value for name, value in FEW[0].items() if name not in KEY} | {"hour": 1}
    assert canary.post("/v1/predict", without).json["version"] == "v1"


def test_what_is_answered_is_as_it_is_described(canary, rolled):
    document = canary.get("/openapi.json").json

    def described(name: str, answer: Any) -> Any:
        schema = {"$ref": f"#/components/schemas/{name}", "components": document["components"]}
        Draft202012Validator(schema).validate(answer)
        return document["components"]["schemas"][name]["properties"]

    answer = canary.post("/v1/predict", ROWS).json
    assert answer.keys() <= described("ScoredRows", answer).keys()
    described("Scored", canary.post("/v1/predict", ROWS[0]).json)
    served = canary.get("/version").json
    assert served["rollout"]["candidate"]["version"] == "v2"
    properties = described("Served", served)
    assert served.keys() == properties.keys()
    rollout, nothing = properties["rollout"]["anyOf"]
    assert (served["rollout"].keys(), nothing) == (rollout["properties"].keys(), {"type": "null"})
    answers = document["paths"]["/version"]["get"]["responses"]["200"]["content"]["application/json"]
    assert answers["schema"] == {"$ref": "#/components/schemas/Served"}


def test_each_row_is_logged_with_its_arm_and_why_a_candidate_did_not_answer(canary, rolled):
    name = new()
    assert canary.post("/v1/predict", ROWS, X_Request_ID=name).status == 200
    fallen = [row for row in ROWS if row["hour"] >= LATE and rolled.share().has(row)]
    rows = {(row["arm"], row["row"]): row for row in rolled.rows(name, len(ROWS) + len(fallen))}
    for number, row in enumerate(ROWS):
        takes = rolled.share().has(row)
        arms = {arm for arm in ("current", "canary") if (arm, number) in rows}
        assert arms == ({"current"} if not takes else {"canary"} if row["hour"] < LATE else {"canary", "current"})
        for arm in arms:
            of, bundle = rows[arm, number], rolled.candidate if arm == "canary" else rolled.current
            refused = arm == "canary" and row["hour"] >= LATE
            assert (of["digest"], of["version"]) == (bundle.digest, "v2" if arm == "canary" else "v1")
            assert of["score"] == (None if refused else bundle.score(row))
            assert (json.loads(of["request_columns"]) if refused else of["inputs"]) == row
            assert of["problem"] == ("refused: field hour" if refused else None)
            assert (of["scoring"] is None) == refused or of["scoring"] > 0
    assert fallen


def test_what_the_version_refuses_is_refused_with_the_number_of_the_row(canary, rolled):
    name, rows = new(), [*FEW, GOOD | {"hour": 99}, *FEW]
    answer = canary.post("/v1/predict", rows, X_Request_ID=name)
    assert (answer.status, answer.json["row"], answer.json["field"]) == (422, len(FEW), "hour")
    assert answer.json["detail"].startswith(f"row {len(FEW)}: field hour: ")
    logged = rolled.rows(name, 2)
    assert {(row["row"], row["problem"], row["score"]) for row in logged} == {(len(FEW), "refused: field hour", None)}
    assert sorted(row["arm"] for row in logged) == ["canary", "current"]


def test_a_candidate_that_fails_fails_no_request(canary, rolled):
    rolled.mood("fails")
    name, before = new(), counted(canary, 'trunkline_arm_rows_failed_total{arm="canary"}')
    for row in FEW:
        answer = canary.post("/v1/predict", row).json
        assert (answer["score"], answer["version"]) == (rolled.current.score(row), "v1")
    answer = canary.post("/v1/predict", FEW, X_Request_ID=name).json
    assert answer["scores"] == [rolled.current.score(row) for row in FEW]
    taken = [number for number, row in enumerate(FEW) if rolled.share().has(row)]
    rows = rolled.rows(name, len(FEW) + len(taken))
    failed = {row["row"]: row for row in rows if row["arm"] == "canary"}
    assert sorted(failed) == taken
    assert {(row["problem"], row["score"]) for row in failed.values()} == {("failed: RuntimeError", None)}
    assert counted(canary, 'trunkline_arm_rows_failed_total{arm="canary"}') == before + 2 * len(taken)


def counted(server: Any, name: str) -> float:
    lines = server.get("/metrics").body.decode().splitlines()
    return float(next((line.split()[1] for line in lines if line.startswith(f"{name} ")), 0))


def test_a_canary_that_is_slow_makes_its_own_keys_wait_alone_and_not_too_long(canary, rolled):
    rolled.mood("3")  # of 4 seconds, half of which it may take
    taken, other = (next(row for row in FEW if rolled.share().has(row) == has) for has in (True, False))
    with ThreadPoolExecutor() as pool:
        start = time.monotonic()
        slow = [pool.submit(canary.post, "/v1/predict", taken) for _ in range(4)]
        for _ in range(20):
            assert canary.post("/v1/predict", other).status == 200
        assert time.monotonic() - start < 1
        assert {each.result().json["version"] for each in slow} == {"v1"}
        assert time.monotonic() - start < 3


def test_a_shadow_scores_beside_and_both_are_logged(shadow, rolled):
    name, refused = new(), new()
    answer = shadow.post("/v1/predict", ROWS, X_Request_ID=name).json
    assert answer["scores"] == [rolled.current.score(row) for row in ROWS]
    assert (answer["version"], "versions" in answer) == ("v1", False)
    assert shadow.post("/v1/predict", GOOD | {"hour": 99}, X_Request_ID=refused).status == 422
    rows = {(row["arm"], row["row"]): row for row in rolled.rows(name, 2 * len(ROWS))}
    for number, row in enumerate(ROWS):
        ours, theirs = rows["current", number], rows["shadow", number]
        assert (ours["version"], ours["score"], ours["problem"]) == ("v1", rolled.current.score(row), None)
        assert (ours["environment"], theirs["environment"]) == ("production", "production")
        late = row["hour"] >= LATE
        assert theirs["score"] == (None if late else rolled.candidate.score(row))
        assert theirs["problem"] == ("refused: field hour" if late else None)
        assert (theirs["version"], theirs["digest"], theirs["latency"]) == ("v2", rolled.candidate.digest, None)
        assert late or theirs["scoring"] > 0 < ours["scoring"]
    both = [(arm, "refused: field hour") for arm in ("current", "shadow")]
    assert sorted((row["arm"], row["problem"]) for row in rolled.rows(refused, 2)) == both


def test_the_readers_of_the_log_take_no_problem_for_a_score_and_no_shadow_for_an_answer(shadow, rolled):
    name, refused, log = new(), new(), str(rolled.home / "log")
    for row, request in ((FEW[0], name), (GOOD | {"hour": 99}, refused)):
        shadow.post("/v1/predict", row, X_Request_ID=request)
        rolled.rows(request, 2)
    compared = replay.replay([log], rolled.store.bundle, None, 0.0)
    assert compared.holds
    assert compared.left.keys() == {"the row has no score, but a problem: it was refused, or its model failed"}
    answered = predictions.find([log], name)
    assert (answered.digest, answered.score) == (rolled.current.digest, rolled.current.score(FEW[0]))
    assert answered.beside == (f"shadow v2: score {rolled.candidate.score(FEW[0]):g}",)
    problem = predictions.find([log], refused)
    assert (problem.digest, problem.score, problem.problem) == (rolled.current.digest, None, "refused: field hour")
    joined = join.table(Place(log), store.read(Place(log)), datetime.now(UTC))
    joined = joined.filter(pl.col("request_id").is_in([name, refused]))
    assert sorted(joined.select("request_id", "arm", "score").rows()) == [
        (name, "current", rolled.current.score(FEW[0])), (name, "shadow", rolled.candidate.score(FEW[0])),
    ]  # fmt: skip


def test_a_slow_shadow_makes_nobody_wait_and_what_it_drops_is_counted(shadow, rolled):
    rolled.mood("0.5")
    before, start = metric(shadow, "trunkline_shadow_rows_dropped_total"), time.monotonic()
    for _ in range(20):
        assert shadow.post("/v1/predict", ROWS).status == 200
    assert time.monotonic() - start < 5  # and not 10
    dropped = metric(shadow, "trunkline_shadow_rows_dropped_total") - before
    assert dropped % len(ROWS) == 0
    assert dropped >= 8 * len(ROWS)  # of the 300 rows that may wait, and what was scored meanwhile


def test_rollouts_come_and_go_under_load_and_no_request_is_lost(server, rolled):
    stop = Event()

    def ask() -> set[tuple[int, float, str | None]]:
        answered = set()
        while not stop.is_set():
            for row in FEW[:4]:
                answer = server.post("/v1/predict", row)
                answered.add((answer.status, answer.json["score"] - rolled.current.score(row), answer.json["version"]))
        return answered

    with ThreadPoolExecutor() as pool:
        asking = [pool.submit(ask) for _ in range(3)]
        for kind, share, number in (
            ("shadow", 100, 1), ("canary", 5, 1), ("canary", 60, 1), (None, 0, 1), ("canary", 99, 1), (None, 0, 2),
            (None, 0, 1),
        ):  # fmt: skip
            rolled.declare(kind, share, number=number)
            shows(server, kind, share)
            until(lambda: server.get("/version").json["version"] == f"v{number}", "another version")  # noqa: B023
        stop.set()
        answers = set[Any]().union(*(each.result() for each in asking))
    assert {(status, more) for status, more, _ in answers} == {(200, 0.0), (200, 0.25)}
    assert {(more, version) for _, more, version in answers} == {(0.0, "v1"), (0.25, "v2")}


def test_a_killed_server_begins_again_with_the_same_arms_and_ends_though_the_candidate_hangs(tmp_path):
    rolled = Rolled.make(tmp_path)
    rolled.declare("canary")
    with rolling(rolled, log=None) as server:
        before = [server.post("/v1/predict", row).json["version"] for row in ROWS]
        server.process.kill()
    with rolling(rolled, log=None) as server:
        assert server.get("/version").json["rollout"]["candidate"]["version"] == "v2"
        assert [server.post("/v1/predict", row).json["version"] for row in ROWS] == before == versions(rolled, ROWS)
        rolled.mood("60")
        taken = next(row for row in FEW if rolled.share().has(row))
        assert server.post("/v1/predict", taken, Request_Timeout="0.4").json["version"] == "v1"
        server.process.terminate()
        assert server.process.wait(15) == 0
