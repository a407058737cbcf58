"""A request is taken or refused as pandera takes or refuses the row in training, whatever conf/contract declares."""

import json
from typing import Any

import polars as pl
from hypothesis import given, settings
from hypothesis import strategies as st

from trunkline.bundle.contract import Contract as BundleContract
from trunkline.conf.contract import Contract
from trunkline.conf.data import Data
from trunkline.conf.features import Features
from trunkline.core.errors import UserError
from trunkline.core.tables.convert import DTYPES
from trunkline.pipeline.bundle import inputs
from trunkline.pipeline.features import compiler
from trunkline.pipeline.validate import check
from trunkline.serve.decode import Decoder

ID, LABEL = "the id", "the label"
DATA = {
    "sources": {"trips": {"package": "trips", "version": "1", "path": "trips.csv"}},
    "observations": "trips",
    "unique_key": [ID],
    "target": {"name": "long", "expression": f"column('{LABEL}')"},
    "split": {"by": [ID], "holdout": 0.2},
    "timezone": "UTC",
}
LIMITS = st.sampled_from([-(2**53), -1.5, -1.0, 0.0, 0.25, 3.0, 7.5, 2.0**53 - 1])
TEXTS = st.sampled_from(["", " ", "A", "AB", "a", "7", "7.0", "Ä", "Ö", "A\nB", "true", "\N{GRINNING FACE}"])
WHOLE = st.one_of(st.integers(-3, 9), st.integers(-(2**53) + 1, 2**53 - 1))
VALUES = {
    "integer": WHOLE,
    "number": st.one_of(st.floats(allow_nan=False, allow_infinity=False), LIMITS, st.integers(-3, 9).map(float)),
    "text": TEXTS,
    "boolean": st.booleans(),
}  # fmt: skip


@st.composite
def declared(draw: st.DrawFn) -> dict[str, Any]:
    """A column's contract."""
    kind = draw(st.sampled_from(sorted(VALUES)))
    column: dict[str, Any] = {"type": kind, "description": "Some column", "on_failure": "quarantine"}
    column["nullable"] = draw(st.booleans())
    if kind in ("integer", "number") and draw(st.booleans()):
        low, high = sorted((draw(LIMITS), draw(LIMITS)))
        column |= draw(st.sampled_from([{"min": low}, {"max": high}, {"min": low, "max": high}]))
    if kind == "integer" and draw(st.booleans()):
        column["allowed"] = draw(st.lists(WHOLE, min_size=1, max_size=3, unique=True))
    if kind == "text":
        options: list[dict[str, Any]] = [
            {},
            {"pattern": "[A-Z]+"},
            {"pattern": "A|AB"},
            {"pattern": "."},
            {"pattern": ""},
        ]
        options.append({"allowed": draw(st.lists(TEXTS, min_size=1, max_size=3, unique=True))})
        column |= draw(st.sampled_from(options))
    return column


@st.composite
def tables(draw: st.DrawFn) -> tuple[dict[str, dict[str, Any]], list[dict[str, Any]]]:
    """The contracts of some columns, and rows of values of their types, of which some are missing."""
    columns = {f"column {place}": draw(declared()) for place in range(draw(st.integers(1, 4)))}
    row = st.fixed_dictionaries(
        {name: st.one_of(st.none(), VALUES[column["type"]]) for name, column in columns.items()}
    )
    return columns, draw(st.lists(row, min_size=1, max_size=6))


def trained_on(columns: dict[str, Any], rows: list[dict[str, Any]]) -> tuple[Contract, set[int]]:
    """The contract of a table, and the places of the rows that it keeps."""
    own = {"type": "integer", "description": "Some column"}
    table = {
        "privacy": "public",
        "unique": [ID],
        "quarantine_limit": 0.99,
        "columns": {**columns, ID: own, LABEL: {"type": "boolean", "description": "Some column", "known": "outcome"}},
    }
    contract = Contract.parse({"tables": {"trips": table}})
    types = {name: DTYPES[column["type"]] for name, column in columns.items()} | {ID: pl.Int64, LABEL: pl.Boolean}
    whole = [row | {ID: place, LABEL: True} for place, row in enumerate(rows)]
    try:
        checked = check.check("trips", pl.DataFrame(whole, schema=types).lazy(), contract.tables["trips"], "UTC", [])
    except UserError as error:  # a table of which no row is left
        if "quarantine_limit" not in str(error):
            raise
        return contract, set()
    return contract, set(checked.valid.collect()[ID].to_list())


def decoder(contract: Contract, columns: dict[str, Any]) -> Decoder:
    """What reads requests to a model whose features are the columns, unchanged."""
    data = Data.parse(DATA)
    views = {"own": {"kind": "expression", "features": {name: f"column('{name}')" for name in columns}}}
    features = Features.parse({"views": views})
    fields = inputs.inputs(features, compiler.plan(features, data, contract), contract, data.sources)
    return Decoder(BundleContract(label="long", on_bad_row="quarantine", inputs=fields, request={}), 10, 8)


@settings(max_examples=100, deadline=None)
@given(tables())
def test_a_request_is_taken_where_training_keeps_the_row(table):
    columns, rows = table
    contract, kept = trained_on(columns, rows)
    read = decoder(contract, columns)
    refused = read.decode(json.dumps(rows).encode()).refused or {}
    assert set(range(len(rows))) - set(refused) == kept
    for place, row in enumerate(rows):
        present = {name: value for name, value in row.items() if value is not None}
        assert (not read.decode(json.dumps(present).encode()).refused) == (place in kept)
