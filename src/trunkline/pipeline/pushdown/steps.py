"""Tables and streams of events as steps of a query, which fail where rows that must be unique are not."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from trunkline.conf.contract import Contract
from trunkline.conf.data import Data
from trunkline.core.errors import UserError
from trunkline.core.expressions import Expression, Type
from trunkline.core.features import EVENT_TIME
from trunkline.pipeline.features.compiler import column_types
from trunkline.pipeline.features.plan import Events, FeaturePlan, StaticLookup
from trunkline.pipeline.pushdown.dialects import Dialect
from trunkline.pipeline.pushdown.translate import Translator


@dataclass
class Steps:
    """Common table expressions so far, by name, in order."""

    plan: FeaturePlan
    data: Data
    contract: Contract
    dialect: Dialect
    steps: dict[str, str] = field(default_factory=dict)

    def _table(self, name: str) -> str:
        """Add a table with the columns of its contract, derived ones too, once."""
        types, derived = column_types(self.contract, name, "contract"), self.data.derivations(name)
        columns = [
            f"{self._sql(derived[column], types, f'data.derive.{name}.{column}')} AS {self._name(column)}"
            if column in derived
            else self._name(column)
            for column in types
        ]
        return self._add(f"table_{name}", f"SELECT {', '.join(columns)} FROM {self._name(name)}")

    def _stream(self, events: Events) -> str:
        """Add the events of a stream with the time each happened and the one it became known, once."""
        types = column_types(self.contract, events.table, "contract")
        time = self._sql(events.event_time, types, f"features.streams.{events.name}.event_time")
        timed: dict[str, Type] = {**types, EVENT_TIME: "time"}
        known = self._sql(events.available_at, timed, f"features.streams.{events.name}.available_at")
        at, available = self._name(EVENT_TIME), self._name("_available_at")
        happened = f"(SELECT *, {time} AS {at} FROM {self._table(events.table)}) AS happened"
        views = ", ".join(
            each.name for each in self.plan.primitives if not isinstance(each, StaticLookup) and each.events == events
        )
        became = (
            f"(SELECT *, {known} AS {available} FROM {happened}) AS became\n"
            f"    WHERE {at} IS NOT NULL AND {available} IS NOT NULL"
        )
        columns = f"*, CASE WHEN {available} > {at} THEN {available} ELSE {at} END AS {self._name('_known')}"
        what = f"events of {events.table} have no total order: several rows"
        return self._add(
            f"stream_{events.name}",
            self._unique(became, columns, events.unique, events.table, f"features.views.{views}", what),
        )

    def _unique(  # noqa: PLR0913, PLR0917  what is read, by what, and what is said where that fails
        self, source: str, columns: str, unique: Iterable[str], table: str, where: str, what: str
    ) -> str:
        """Return the rows of a source, which fails where several have the same values of its unique columns."""
        names = list(unique)
        self._refuse_numbers(names, table, where)
        same = self._name("_same")
        message = f"{where}: {what} have the same {', '.join(names)}; remove all but one of "
        error = self.dialect.error.format(self.dialect.text(message), same)
        return (
            f"SELECT * FROM (SELECT {columns}, count(*) OVER (PARTITION BY {self._names(names)}) AS {same}\n"
            f"    FROM {source}) AS counted\n"
            f"  WHERE CASE WHEN {same} > 1 THEN {error} ELSE TRUE END"
        )

    def _same(self, left: str, right: str, names: Iterable[str], table: str | None = None) -> str:
        """Return that two rows have the same values; missing ones are the same among a table's unique columns."""
        return " AND ".join(
            f"{left}.{self._name(name)} {self._equal(name, table)} {right}.{self._name(name)}" for name in names
        )

    def _equal(self, name: str, table: str | None) -> str:
        nullable = table is not None and self.contract.tables[table].columns[name].nullable
        return "IS NOT DISTINCT FROM" if nullable else "="

    def _refuse_numbers(self, names: Iterable[str], table: str, where: str) -> None:
        """Refuse keys of BigQuery that are floating, by which it has no partition."""
        for name in names:
            if self.dialect.name == "bigquery" and self.contract.tables[table].columns[name].type == "number":
                raise UserError(
                    f"{where}: {name} of {table} is a number, by which BigQuery has no "
                    "partition; declare an integer or a text"
                )

    def _sql(self, expression: Expression, types: Mapping[str, Type], key: str) -> str:
        return Translator(self.dialect, self.plan.timezone).sql(expression, types, key)

    def _name(self, name: str) -> str:
        return self.dialect.identifier(name)

    def _names(self, names: Iterable[str]) -> str:
        return ", ".join(map(self._name, names))

    def _add(self, name: str, body: str) -> str:
        step = self._name(f"_{name}")
        self.steps.setdefault(step, body)
        return step
