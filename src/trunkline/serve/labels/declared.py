"""What a project declares of its outcomes: what they are, whose they are by key, and when one is known.

It is what training has: data.target over the observations' table, data.unique_key, and target.known_after the event.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import Self

from trunkline.conf.contract import ColumnContract, ColumnType, Contract
from trunkline.conf.data import Data, Target
from trunkline.conf.data.sources import Files, Package
from trunkline.core import expressions
from trunkline.core.errors import UserError
from trunkline.core.expressions import Expression
from trunkline.core.params import Params
from trunkline.core.tasks import CLASSES, NUMERIC, Task
from trunkline.serve.labels.identity import Key
from trunkline.serve.labels.store import About
from trunkline.serve.online.reader import DeclaredColumn
from trunkline.serve.prediction_log.privacy import Privacy

_KEPT = {"type", "nullable", "min", "max", "allowed", "pattern", "formats"}
_KINDS: dict[Task, ColumnType] = {
    "binary": "boolean",
    **dict.fromkeys(CLASSES, "text"),
    **dict.fromkeys(NUMERIC, "number"),
    "multilabel": "integer",
}


@dataclass(frozen=True)
class Declared:
    """The label, the columns of the table it is made of, its key, and when it is known: so long after the event.

    `known_later` are columns that are known only after the prediction, as the label is.
    """

    label: Target
    columns: Mapping[str, DeclaredColumn]
    known_later: frozenset[str]
    derived: Mapping[str, Expression]
    unique_key: tuple[str, ...]
    event_time: Expression | None
    zone: str
    privacy: Privacy

    @classmethod
    def of(cls, params: Params, privacy: Privacy) -> Self:
        """Read it from the groups data and contract; raises UserError for what is not declared."""
        data, contract = params.group(Data), params.group(Contract)
        if data.observations not in contract.tables:
            raise UserError(f"{params.where}: contract.tables.{data.observations}: is missing; run: trunkline compose")
        source = data.sources[data.observations]
        columns = contract.tables[data.observations].columns
        nulls = list(source.nulls) if isinstance(source, Package | Files) and source.format == "csv" else None
        return cls(
            data.target,
            {name: _declared(each, nulls) for name, each in columns.items()},
            frozenset(name for name, each in columns.items() if each.known == "outcome"),
            data.derivations(data.observations),
            data.unique_key,
            expressions.parse(data.event_time) if data.event_time is not None else None,
            data.timezone,
            privacy,
        )

    @property
    def expression(self) -> Expression:
        """The outcome, over the columns."""
        return expressions.parse(self.label.expression)

    @property
    def known_after(self) -> timedelta:
        """How long after the event an outcome is known."""
        return self.label.known_after or timedelta()

    @property
    def own(self) -> DeclaredColumn:
        """The label as a column of its own."""
        classes: list[str | int] = [*self.label.class_names] if self.label.task in CLASSES else []
        return column(_KINDS[self.label.task], nullable=True, allowed=classes or None)

    @property
    def key(self) -> Key:
        """The key; raises UserError where the log leaves a column of it out, so that it names no prediction."""
        treated = {name: self.privacy.treatment(name) for name in self.unique_key}
        for name, treatment in treated.items():
            if treatment == "leave_out":
                raise UserError(
                    f"serving.log.columns.{name}: is left out of the log, so no outcome can be found by it; declare "
                    "hash, or name the column of request ids: --id COLUMN"
                )
        hashed = tuple(sorted(name for name, treatment in treated.items() if treatment == "hash"))
        return Key(tuple((name, self.columns[name].type) for name in sorted(self.unique_key)), hashed)

    def about(self, *, by_key: bool) -> About:
        """Return what is kept beside outcomes."""
        return About(self.label.name, self.label.task, self.key if by_key else None)


def column(
    kind: ColumnType, *, nullable: bool = False, least: int | None = None, allowed: list[str | int] | None = None
) -> DeclaredColumn:
    """Return a column that conf/contract does not declare; an empty text of a CSV is missing."""
    return DeclaredColumn(kind, nullable, least, None, allowed, None, [], nulls=[""])


def _declared(of: ColumnContract, nulls: list[str] | None) -> DeclaredColumn:
    return DeclaredColumn(**of.model_dump(mode="json", include=_KEPT), nulls=nulls)
