"""What features.json of a bundle says besides the plan: the request's own columns, and which of them are derived."""

from typing import Any

from trunkline.conf.contract import Contract
from trunkline.conf.data import Data
from trunkline.conf.sources import Files, Package
from trunkline.core.expressions import columns
from trunkline.pipeline.features import plan_json
from trunkline.pipeline.features.plan import FeaturePlan


def features_content(plan: FeaturePlan, data: Data, contract: Contract) -> dict[str, Any]:
    """Return the plan as JSON content, with what raw rows are read by: the contract's columns that a request has.

    What conf/data derives from outcomes, but is known at request all the same, a request must have itself.
    """
    table = data.observations
    source, declared = data.sources[table], contract.tables[table].columns
    nulls = list(source.nulls) if isinstance(source, Package | Files) and source.format == "csv" else None
    kept = {"type", "nullable", "min", "max", "allowed", "pattern", "formats"}
    read = [name for name, column in declared.items() if column.known == "request"]
    written_out = data.derivations(table)
    derived = {
        name: written_out[name] for name in read if name in written_out and set(columns(written_out[name])) <= set(read)
    }
    return plan_json.plan_content(plan) | {
        "columns": {
            name: declared[name].model_dump(mode="json", include=kept) | {"nulls": None if name in derived else nulls}
            for name in read
        },
        "derived": {name: plan_json.expression_content(expression) for name, expression in derived.items()},
    }
