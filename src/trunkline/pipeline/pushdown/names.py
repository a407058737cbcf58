"""Names of conf/ that an engine could not keep apart."""

from collections.abc import Iterator

from trunkline.conf.contract import Contract
from trunkline.conf.data import Data
from trunkline.core.errors import UserError
from trunkline.pipeline.features.plan import FeaturePlan
from trunkline.pipeline.pushdown.dialects import Dialect


def refuse_names(plan: FeaturePlan, data: Data, contract: Contract, dialect: Dialect) -> None:
    """Raise UserError for a name that could be the query's own, cannot be quoted, or differs from another by case."""
    for table, key, names in _scopes(plan, data, contract):
        spelled: dict[str, str] = {}
        for name in names:
            if name.startswith("_") or dialect.quote in name or "\\" in name:
                raise UserError(
                    f"{key}.{name}: a name in a query neither begins with an underscore nor holds {dialect.quote} or a "
                    "backslash; rename it"
                )
            if spelled.setdefault(name.lower(), name) != name:
                raise UserError(
                    f"{key}.{name}: differs from {spelled[name.lower()]} of {table} by case alone, which "
                    f"{dialect.title} ignores; rename one of them"
                )


def _scopes(plan: FeaturePlan, data: Data, contract: Contract) -> Iterator[tuple[str, str, list[str]]]:
    """Yield the columns of each table, and the names of what is computed beside those of the observations."""
    yield "the contract", "contract.tables", list(contract.tables)
    for table, declared in contract.tables.items():
        yield table, f"contract.tables.{table}.columns", list(declared.columns)
    observed = contract.tables[data.observations].columns
    features = [name for name in plan.types if name not in observed]
    yield data.observations, "features.views", [*observed, data.target.name, *features]
