"""Declarations whose plans are compiled: trips, with a derived column, and all kinds of views."""

from copy import deepcopy
from typing import Any

from tests.pipeline.features.test_duckdb import CONTRACT, DATA, FEATURES
from trunkline.conf.contract import Contract
from trunkline.conf.data import Data
from trunkline.conf.features import Features
from trunkline.pipeline.features import compiler
from trunkline.pipeline.pushdown import query
from trunkline.pipeline.pushdown.dialects import DIALECTS

Conf = dict[str, Any]


def declared() -> tuple[Conf, Conf, Conf]:
    """Features, data and contract of trips, whose line is derived."""
    features, data, contract = deepcopy(FEATURES), deepcopy(DATA), deepcopy(CONTRACT)
    data["derive"] = {"trips": {"line": "number % 3"}}
    contract["tables"]["trips"]["columns"]["line"] = {"type": "integer", "description": "Line of the trip"}
    features["views"]["row"]["features"]["line"] = "line"
    return features, data, contract


def sql(engine: str, features: Conf, data: Conf, contract: Conf) -> str:
    """The query of a declaration for an engine."""
    parsed, tables = Data.parse(data), Contract.parse(contract)
    plan = compiler.plan(Features.parse(features), parsed, tables)
    return query.compiled(plan, parsed, tables, DIALECTS[engine])
