"""A static lookup online: the features of the one row that the table has for a key, as msgpack."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import msgspec

from trunkline.core.expressions import Type
from trunkline.pipeline.features.plan import StaticLookup
from trunkline.serve.online.evaluate import UnfitError, compiled
from trunkline.serve.online.values import Gone, Identity, Merged, Reading, restored, stored

Entry = tuple[Any, ...]


@dataclass(frozen=True)
class LookupView:
    """How the rows of a table are kept, and a view's features read; `types` are those of the features."""

    primitive: StaticLookup
    types: Mapping[str, Type]

    def recorder(self, types: Mapping[str, Type], zone: str) -> Callable[[Mapping[str, Any]], Entry]:
        """Return what makes of a row the entry that is stored; `types` are those of its columns."""
        features = [(name, compiled(each, types, zone), self.types[name]) for name, each in self.primitive.features]

        def record(row: Mapping[str, Any]) -> Entry:
            values = []
            for name, evaluate, kind in features:
                try:
                    values.append(stored(evaluate(row), kind))
                except UnfitError as error:
                    raise UnfitError(f"feature {name}: {error}") from None
            return tuple(values)

        return record

    def change(self, entries: Sequence[Entry]) -> "LookupChange":
        """Return what replaces the value of a key by the last of some rows."""
        return LookupChange(entries[-1])

    def forget(self, entries: Sequence[Entry]) -> Gone:
        """Return what removes the value of a key, which is that of one row."""
        return Gone()

    def read(self, value: bytes | None, at: int | None, own: Identity | None) -> Reading:
        """Return the features of the row, at whatever moment."""
        if value is None:
            return Reading(dict.fromkeys(self.types), missing=True)
        row = msgspec.msgpack.decode(value)
        features = zip(self.types.items(), row, strict=True)
        return Reading({name: restored(each, kind) for (name, kind), each in features}, missing=False)


@dataclass(frozen=True)
class LookupChange:
    """A row that takes the place of the one before it: a static table has no history."""

    entry: Entry

    def merge(self, value: bytes | None, watermark: int) -> Merged:
        """Return the new row."""
        return Merged(msgspec.msgpack.encode(self.entry), None)
