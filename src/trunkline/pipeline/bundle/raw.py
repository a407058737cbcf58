"""What features.json of a bundle says besides the plan: columns of requests, and of tables that features come from."""

from collections.abc import Collection, Iterable
from typing import Any

from trunkline.conf.contract import Contract
from trunkline.conf.data import Data
from trunkline.conf.data.sources import Files, Package
from trunkline.core.expressions import columns, parse
from trunkline.pipeline.features import plan_json
from trunkline.pipeline.features.plan import FeaturePlan, StaticLookup


def features_content(plan: FeaturePlan, data: Data, contract: Contract) -> dict[str, Any]:
    """Return the plan as JSON content, with what raw rows are read by: the contract's columns that a request has.

    What conf/data derives from outcomes, but is known at request all the same, a request must have itself. `tables` is
    what rows of the tables that features are joined from are read by, when they are kept for requests to come.
    """
    table = data.observations
    declared = contract.tables[table].columns
    read = [name for name, column in declared.items() if column.known == "request"]
    written_out = data.derivations(table)
    derived = {
        name: written_out[name] for name in read if name in written_out and set(columns(written_out[name])) <= set(read)
    }
    joined = dict.fromkeys(
        view.table if isinstance(view, StaticLookup) else view.events.table for view in plan.primitives
    )
    return plan_json.plan_content(plan) | {
        "columns": _columns(table, read, derived, data, contract),
        "derived": {name: plan_json.expression_content(expression) for name, expression in derived.items()},
        "tables": {name: _table(name, data, contract) for name in joined},
    }


def _table(name: str, data: Data, contract: Contract) -> dict[str, Any]:
    declared, derived = contract.tables[name], data.derivations(name)
    checks = {check: parse(rule.expression) for check, rule in declared.checks.items()}
    return {
        "columns": _columns(name, declared.columns, derived, data, contract),
        "derived": {column: plan_json.expression_content(expression) for column, expression in derived.items()},
        "checks": {check: plan_json.expression_content(expression) for check, expression in checks.items()},
    }


def _columns(
    table: str, names: Iterable[str], derived: Collection[str], data: Data, contract: Contract
) -> dict[str, Any]:
    source, declared = data.sources[table], contract.tables[table].columns
    nulls = list(source.nulls) if isinstance(source, Package | Files) and source.format == "csv" else None
    kept = {"type", "nullable", "min", "max", "allowed", "pattern", "formats"}
    return {
        name: declared[name].model_dump(mode="json", include=kept) | {"nulls": None if name in derived else nulls}
        for name in names
    }
