"""An exported bundle gives the bits of the bundle in Node and in a browser, and refuses what the bundle refuses."""

import json
import re
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from functools import cache, partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

import numpy as np
import onnx
import polars as pl
import pytest
import yaml
from click.testing import CliRunner
from onnx import helper, numpy_helper

from tests import bundles
from tests.browser import browser
from tests.pipeline.bundle.onnx import test_export as exported
from tests.rig import npm
from tests.serve.conftest import GOOD, golden_bundle
from trunkline.bundle.contract import matrices
from trunkline.bundle.runtime import Bundle
from trunkline.cli import trunkline
from trunkline.core.dataset import Dataset
from trunkline.core.errors import UserError
from trunkline.deploy.targets import web
from trunkline.pipeline.bundle.onnx import export as onnx_export

ROWS = 10_000
EXACT = (
    "tree", "forest", "forest regressor", "histogram", "histogram, ordinal", "histogram regressor", "lightgbm",
    "lightgbm regressor",
)  # fmt: skip
NEAR = ("logistic", "ridge", "histogram, poisson")  # whose last bits depend on the processor
RUN = """
import { readFileSync, writeFileSync } from "node:fs";
const [folder, rows, out] = process.argv.slice(2);
const { load } = await import(`${folder}/score.mjs`);
const answers = [];
const model = load();
for (const group of JSON.parse(readFileSync(rows))) {
  answers.push(await model.then((loaded) => loaded.score(group)).catch((error) => error.message));
}
writeFileSync(out, JSON.stringify(answers));
"""


def requests(frame):
    return [{name: value for name, value in row.items() if value is not None} for row in frame.to_dicts()]


@cache
def trained(name, folder, count):
    """Return a bundle of a case, and rows of which none was trained on with the scores that it gives them here."""
    schema = exported.schema_of(exported.CASES[name])
    inputs = [bundles.field(each.name, "number" if each.role == "numeric" else "text") for each in schema.features]
    graph = onnx_export.export(exported.fitted(name), schema)
    made = bundles.make(folder / f"{name.replace(' ', '-')}-{count}", inputs, onnx=graph)
    rows = requests(exported.dataset(schema, count).features)
    bundle = Bundle.load(made)
    golden = [{"request": row, "score": bundle.score(row)} for row in rows[:20]]
    (made / "golden.json").write_text(json.dumps(golden))
    bundles.seal(made)
    return made, rows, bundle.scores(*matrices(bundle.contract, rows)).tolist()


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("web")


def written(bundle, out, *options):
    """Export a bundle with the runtime of npm's package, by the command line."""
    runtime = npm.package(npm.ONNXRUNTIME_WEB)
    command = ["export", str(bundle), "--to", "web", "-o", str(out), "--runtime", str(runtime), *options]
    done = CliRunner().invoke(trunkline, command)
    assert done.exit_code == 0, done.output
    return out


def project(folder, frame, schema, **limits):
    """Write a project that declares single precision within limits, with a holdout; return its folder."""
    targets = {"web": {"precision": "float32", **limits}}
    declared = {"deploy": {"environments": {"production": {}}, "targets": targets}}
    folder.mkdir()
    (folder / "params.yaml").write_text(yaml.safe_dump(declared))
    schema.write(folder / "data/features")
    frame.write_parquet(folder / "data/features/holdout.parquet")
    return folder


def next_to_a_threshold(bundle, count):
    """Return rows of which each has a number that single precision takes for the threshold below it."""
    (trees,) = (each for each in onnx.load(bundle / "model.onnx").graph.node if each.op_type == "TreeEnsemble")
    columns, splits = (
        list(helper.get_attribute_value(each)) if name == "nodes_featureids" else numpy_helper.to_array(each.t)
        for name in ("nodes_featureids", "nodes_splits")
        for each in trees.attribute
        if each.name == name
    )
    numeric = Bundle.load(bundle).numeric
    placed = [(numeric[c], s) for c, s in zip(columns, splits, strict=True) if c < len(numeric) and abs(s) < 1e30][
        :count
    ]
    rows = exported.dataset(exported.KNOWN, len(placed)).frame
    beside = [{name: float(np.nextafter(split, np.inf))} for name, split in placed]
    return pl.DataFrame([row | more for row, more in zip(rows.to_dicts(), beside, strict=True)], rows.schema)


@pytest.mark.parametrize("name", ["histogram"])
def test_single_precision_scores_in_node_as_far_from_the_bundle_as_was_measured_on_the_holdout(folder, tmp_path, name):
    bundle, _, _ = trained(name, folder, 1001)
    schema = exported.schema_of(exported.CASES[name])
    frame = pl.concat([exported.dataset(schema, 300).frame, next_to_a_threshold(bundle, 20)])
    root = project(tmp_path / "project", frame, schema, rows=0.1, difference=0.5)
    out = written(bundle, tmp_path / "out", "--project", str(root))
    about = json.loads((out / "export.json").read_text())
    rows = requests(Dataset(frame, schema).features)
    expected = Bundle.load(bundle).scores(*matrices(Bundle.load(bundle).contract, rows))
    (scores,) = in_node(out, rows)
    apart = np.abs(np.array(scores) - expected)
    measured = about["parity"]["measured"]
    assert (about["exact"], about["parity"]["limits"]) == (False, {"tolerance": 1e-6, "rows": 0.1, "difference": 0.5})
    assert measured == {"rows": len(rows), "share": np.mean(apart > 1e-6), "difference": pytest.approx(apart.max())}
    assert (out / "model.onnx").stat().st_size < (bundle / "model.onnx").stat().st_size
    assert measured["difference"] > 1e-3  # rows next to thresholds move far, no others do
    assert 0 < measured["share"] <= 20 / len(rows)


@pytest.mark.parametrize(
    ("name", "limits", "message"),
    [
        (
            "histogram",
            {"rows": 0.001, "difference": 0.5},
            r"targets\.web\.rows: .*% of the holdout's .* but 0\.100% may",
        ),
        ("histogram", {"rows": 1.0, "difference": 1e-4}, r"targets\.web\.difference: .* but 0\.0001 is the most"),
        ("no holdout", {"rows": 1.0, "difference": 1.0}, "has no holdout, on which .* is measured; run: dvc pull"),
        ("empty", {"rows": 1.0, "difference": 1.0}, "the holdout has no row"),
        ("another", {"rows": 1.0, "difference": 1.0}, "the holdout has no y, which the bundle takes"),
        ("ridge", {"rows": 1.0, "difference": 1.0}, "no trees and no tables in double precision"),
    ],
)
def test_single_precision_beyond_its_limits_writes_nothing(folder, tmp_path, name, limits, message):
    case = name if name in exported.CASES else "histogram"
    bundle, _, _ = trained(case, folder, 1001)
    schema = exported.schema_of(exported.CASES[case])
    frame = exported.dataset(schema, 50).frame if case == "ridge" else next_to_a_threshold(bundle, 20)
    if name == "another":
        schema = replace(schema, features=tuple(each for each in schema.features if each.name != "y"))
    root = project(tmp_path / "project", frame.clear() if name == "empty" else frame, schema, **limits)
    if name == "no holdout":
        (root / "data/features/holdout.parquet").unlink()
    command = ["export", str(bundle), "--to", "web", "-o", str(tmp_path / "out"), "--project", str(root)]
    done = CliRunner().invoke(trunkline, command)
    assert isinstance(done.exception, UserError | SystemExit)
    assert re.search(message, f"{done.exception}{done.output}")
    assert not (tmp_path / "out").exists()


def in_node(out, *groups):
    """Return for each group of rows the scores that Node gives, or the message of its refusal."""
    node = shutil.which("node") or npm.missing("node is not installed")
    given, answer, script = out / "rows.json", out / "scores.json", out / "run.mjs"
    given.write_text(json.dumps(groups))
    script.write_text(RUN)
    subprocess.run([node, script, out, given, answer], check=True, timeout=300)
    return json.loads(answer.read_text())


@pytest.mark.parametrize("name", [*EXACT, *NEAR])
def test_node_gives_the_same_bits_where_the_export_says_so(folder, tmp_path, name):
    bundle, rows, expected = trained(name, folder, 1001)
    out = written(bundle, tmp_path / "out")
    assert json.loads((out / "export.json").read_text())["exact"] is (name in EXACT)
    (scores,) = in_node(out, rows)
    if name in EXACT:
        assert scores == expected
    else:
        assert scores == pytest.approx(expected, rel=1e-9)


@contextmanager
def on_a_web_server(root: Path) -> Iterator[str]:
    class Handler(SimpleHTTPRequestHandler):
        extensions_map = SimpleHTTPRequestHandler.extensions_map | {".mjs": "text/javascript"}

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(Handler, directory=str(root)))
    Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()


def test_a_browser_gives_ten_thousand_rows_the_same_bits_and_scores_what_is_filled_in(folder, tmp_path):
    bundle, rows, expected = trained("histogram", folder, ROWS)
    out = written(bundle, tmp_path / "out")
    (out / "rows.json").write_text(json.dumps(rows))
    with on_a_web_server(out) as address, browser(tmp_path) as (driver, _):
        driver.set_script_timeout(120)
        driver.get(f"{address}/index.html")
        ask = "document.querySelector('button').click(); return document.querySelector('output').textContent"
        shown = driver.execute_async_script(
            "const done = arguments[0]; const about = document.querySelector('#about');"
            "(function look() {"
            "about.textContent.startsWith('Loading') ? setTimeout(look, 50) : done(about.textContent) })()"
        )
        assert shown.endswith("20 golden rows score as they should.")
        while not (score := driver.execute_script(ask)):
            pass
        assert float(score) == expected[0]
        scores = driver.execute_async_script(
            "const done = arguments[0]; import('./score.mjs').then(async ({ load }) => done(JSON.stringify("
            "await (await load()).score(await (await fetch('rows.json')).json()))))"
        )
        assert json.loads(scores) == expected
        assert [entry["message"] for entry in driver.get_log("browser") if "favicon" not in entry["message"]] == []


BAD = {
    "unknown": GOOD | {"gate": 3},
    "missing": {key: value for key, value in GOOD.items() if key != "origin"},
    "null": GOOD | {"hour": None},
    "above": GOOD | {"hour": 24},
    "not whole": GOOD | {"hour": 7.5},
    "a text": GOOD | {"delay": "7"},
    "a truth": GOOD | {"delay": True},
    "no truth": GOOD | {"holiday": 1},
    "not allowed": GOOD | {"engines": 3},
    "another form": GOOD | {"dest": "LAXX"},
    "no text": GOOD | {"dest": 7},
    "the mark": GOOD | {"origin": "\ue000"},
    "half a letter": GOOD | {"origin": "\ud800"},
}


def test_rows_that_the_bundle_refuses_are_refused_and_others_are_not(tmp_path):
    out = written(golden_bundle(tmp_path / "bundle"), tmp_path / "out")
    bundle = Bundle.load(tmp_path / "bundle")
    good = [GOOD, {"hour": 0, "origin": "Zürich ✈"}, GOOD | {"delay": 3000, "hour": 23}, GOOD | {"engines": 4.0}]
    scores, *answers = in_node(out, good, *([row] for row in BAD.values()))
    assert scores == [bundle.score(row) for row in good]
    for row in BAD.values():
        with pytest.raises(UserError, match="field"):
            bundle.score(row)
    assert [name for name, answer in zip(BAD, answers, strict=True) if not str(answer).startswith("field ")] == []


@pytest.mark.parametrize(
    ("file", "old", "new", "message"),
    [
        ("golden.json", '"score": ', '"score": 1', "a golden row scores"),
        ("export.json", '"model.onnx": "', '"model.onnx": "0', "model.onnx: is not the one that was exported"),
    ],
)
def test_what_was_changed_is_not_scored_with(tmp_path, file, old, new, message):
    out = written(golden_bundle(tmp_path / "bundle"), tmp_path / "out")
    (out / file).write_text((out / file).read_text().replace(old, new, 1))
    (answer,) = in_node(out, [GOOD])
    assert message in answer


def test_the_same_bundle_gives_the_same_files_and_a_wrong_golden_row_none(folder, tmp_path):
    bundle, _, _ = trained("tree", folder, 1001)
    assert web.export(bundle, None, 1e-9) == web.export(bundle, None, 1e-9)
    wrong = golden_bundle(tmp_path / "wrong")
    (wrong / "golden.json").write_text(json.dumps([{"request": GOOD, "score": -1.0}]))
    bundles.seal(wrong)
    with pytest.raises(UserError, match=r"golden\.json: a request scores"):
        web.export(wrong, None, 1e-9)
    with pytest.raises(UserError, match="name the unpacked npm package onnxruntime-web"):
        web.export(bundle, tmp_path, 1e-9)
