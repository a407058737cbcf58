"""Who may see what: the columns that every name of conf/ is made of, and the strictest class of these. Pure."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

from trunkline.conf.contract import Contract, Privacy
from trunkline.conf.data import Data
from trunkline.conf.features import Features, Latest, Lookup, Rolling, RowExpression
from trunkline.conf.privacy import CLASSES, PERSONAL
from trunkline.core import expressions
from trunkline.core.features import EVENT_TIME


class Origin(NamedTuple):
    """A column of a table of conf/contract."""

    table: str
    column: str


@dataclass(frozen=True)
class Origins:
    """Tells of which columns an expression or a feature is made, through derived columns and other features."""

    contract: Contract
    data: Data
    features: Features

    def privacy(self, origins: Iterable[Origin]) -> Privacy:
        """Return the strictest class of columns; public of none."""
        classes = [self.contract.tables[table].privacy_of(column) for table, column in origins]
        return max(classes, key=CLASSES.index, default="public")

    def of_request(self, source: str) -> frozenset[Origin]:
        """Return what an expression over a request is made of."""
        return self._of(self.data.observations, source, self.data.event_time)

    @cached_property
    def of_features(self) -> dict[str, frozenset[Origin]]:
        """What each feature is made of, hidden ones included; keys by which rows are joined are no part of it."""
        origins: dict[str, frozenset[Origin]] = {}
        rows: dict[str, str] = {}
        for view in self.features.views.values():
            if isinstance(view, RowExpression):
                rows |= view.features
            elif isinstance(view, Lookup):
                origins |= {name: self._of(view.table, source, None) for name, source in view.features.items()}
            else:
                origins |= self._of_events(view)
        return origins | {name: self._of_row(name, rows, origins, ()) for name in rows}

    @property
    def personal_features(self) -> frozenset[str]:
        """The features that are made of a personal column."""
        return frozenset(name for name, origins in self.of_features.items() if self.privacy(origins) in PERSONAL)

    def _of_events(self, view: Latest | Rolling) -> Iterator[tuple[str, frozenset[Origin]]]:
        stream = self.features.streams[view.stream]
        for name, feature in view.features.items():
            source = feature if isinstance(feature, str) else feature.of
            yield name, self._of(stream.table, source, stream.event_time) if source else frozenset()

    def _of_row(
        self, name: str, rows: Mapping[str, str], known: Mapping[str, frozenset[Origin]], within: tuple[str, ...]
    ) -> frozenset[Origin]:
        """Return what a feature of a row is made of: the request, and other features, which `within` lists."""
        origins = self.of_request(rows[name])
        for part in set(expressions.columns(expressions.parse(rows[name]))) - {*within, name}:
            origins |= (
                self._of_row(part, rows, known, (*within, name)) if part in rows else known.get(part, frozenset())
            )
        return origins

    def of_columns(self, table: str, names: Iterable[str]) -> frozenset[Origin]:
        """Return columns of a table, and those that they are derived from; a name that is no column is none."""
        columns, derived = self.contract.tables[table].columns, self.data.derive.get(table, {})
        reached: set[str] = set()
        pending = {*names}
        while pending:
            reached |= pending
            parts = (expressions.columns(expressions.parse(derived[name])) for name in pending if name in derived)
            pending = {part for each in parts for part in each} - reached
        return frozenset(Origin(table, name) for name in reached if name in columns)

    def _of(self, table: str, source: str, event_time: str | None) -> frozenset[Origin]:
        """Return what an expression over a table's columns is made of; it may use the name event_time."""
        names = {*expressions.columns(expressions.parse(source))}
        if EVENT_TIME in names and event_time is not None:
            names |= {*expressions.columns(expressions.parse(event_time))}
        return self.of_columns(table, names)
