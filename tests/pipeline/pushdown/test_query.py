"""The compiled texts, as golden files and as their dialects parse them, and what is refused by its name."""

from pathlib import Path

import pytest
import sqlglot
from click.testing import CliRunner

from tests.pipeline.pushdown.declared import declared, sql
from trunkline.cli import trunkline
from trunkline.core import expressions
from trunkline.core.errors import UserError
from trunkline.core.expressions import Operation
from trunkline.pipeline.pushdown.dialects import DIALECTS

GOLDEN = Path(__file__).parents[2] / "golden/pushdown"
# Written by other means than a template of its name.
OTHERWISE = {"days", "hours", "minutes", "local_time"}


@pytest.mark.parametrize("engine", DIALECTS)
def test_a_query_reads_as_it_did(engine: str) -> None:
    assert sql(engine, *declared()) == (GOLDEN / f"{engine}.sql").read_text(encoding="utf-8")


@pytest.mark.parametrize("engine", ["snowflake", "bigquery"])
def test_what_is_not_run_is_parsed_by_its_dialect(engine: str, monkeypatch: pytest.MonkeyPatch, root: Path) -> None:
    """The project's own plan too: one query, all of whose names of functions the dialect knows or leaves alone."""
    monkeypatch.chdir(root)
    printed = CliRunner().invoke(trunkline, ["plan", "--sql", engine], catch_exceptions=False)
    for text in (sql(engine, *declared()), printed.output):
        (parsed,) = sqlglot.parse(text, read=engine, error_level=sqlglot.ErrorLevel.RAISE)
        assert parsed is not None
        assert not list(parsed.find_all(sqlglot.exp.Command))
        assert "Untried" in text


@pytest.mark.parametrize("engine", DIALECTS)
def test_every_operation_is_translated_and_no_other(engine: str, monkeypatch: pytest.MonkeyPatch) -> None:
    translated = set(DIALECTS[engine].operations) - {"shift", "span", "span_whole"}
    assert translated | OTHERWISE == set(expressions.OPERATIONS)
    features, data, contract = declared()
    new = Operation(expressions.FUNCTIONS["abs"].result, "cbrt({0})", 1)
    monkeypatch.setitem(expressions.FUNCTIONS, "root", new)
    monkeypatch.setitem(expressions.OPERATIONS, "root", new)
    features["views"]["recent"]["features"]["late_share_6h"]["of"] = "root(delay)"
    with pytest.raises(UserError, match=r"^features\.views\.recent\.features\.late_share_6h: root is not trans"):
        sql(engine, features, data, contract)


@pytest.mark.parametrize("engine", DIALECTS)
def test_a_name_that_an_engine_cannot_keep_apart_is_refused(engine: str) -> None:
    quote = DIALECTS[engine].quote
    for name, told in (("_now", "underscore"), (f"a{quote}b", "underscore"), ("a\\b", "underscore"), ("LINE", "case")):
        features, data, contract = declared()
        contract["tables"]["trips"]["columns"][name] = {"type": "text", "description": "Another column"}
        with pytest.raises(UserError, match=told) as refused:
            sql(engine, features, data, contract)
        assert str(refused.value).startswith(f"contract.tables.trips.columns.{name}: ")


def test_what_has_no_counterpart_is_refused() -> None:
    features, data, contract = declared()
    contract["tables"]["trips"]["columns"]["number"]["type"] = "number"
    data["derive"] = {"trips": {"line": "3"}}
    with pytest.raises(UserError, match=r"^data\.observations: number of trips is a number, by which BigQu"):
        sql("bigquery", features, data, contract)
    sql("snowflake", features, data, contract)
    features["streams"], features["views"] = {}, {"row": {"kind": "expression", "features": {"line": "line"}}}
    features["hidden"] = []
    del data["window"], data["event_time"], data["prediction_lead"], data["target"]["known_after"]
    data["split"] = {"holdout": 0.5}
    with pytest.raises(UserError, match=r"^data\.split: a part by a hash is not translated"):
        sql("spark", features, data, contract)
