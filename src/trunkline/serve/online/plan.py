"""The online plan: the views of a feature plan, each with what its rows are stored under.

A view is known by the digest of its own declaration, not by its name or its version: two versions that declare the
same view share its rows.
"""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import msgspec

from trunkline.core.expressions import Type
from trunkline.pipeline.features import plan_json
from trunkline.pipeline.features.plan import FeaturePlan, LatestAsOf, Primitive, RollingAggregate, StaticLookup
from trunkline.serve.online.latest import LatestView
from trunkline.serve.online.lookup import LookupView
from trunkline.serve.online.rolling import RollingView
from trunkline.serve.online.values import Identity, identity, stored

_FORMAT = 1  # of stored values; another one is another digest
_LONGEST = 64  # bytes of an entity that are its key as they are; of a longer one, its hash


@dataclass(frozen=True)
class OnlineView:
    """A view, how its values are kept, and `digest`, the first part of the keys of its entities."""

    primitive: Primitive
    kept: RollingView | LatestView | LookupView
    digest: bytes
    key_types: tuple[Type, ...]
    own: bool  # whether requests are rows of the stream's table

    @property
    def table(self) -> str:
        """The table whose rows the view is made of."""
        return self.primitive.table if isinstance(self.primitive, StaticLookup) else self.primitive.events.table

    def key(self, row: Mapping[str, Any]) -> bytes | None:
        """Return the key of a row's entity; None where a part of it is missing, which is no entity."""
        named = zip(self.primitive.keys, self.key_types, strict=True)
        parts = [stored(row[name], kind) for name, kind in named]
        if None in parts:
            return None
        entity = msgspec.msgpack.encode(parts)
        return self.digest + (entity if len(entity) <= _LONGEST else b"\0" + hashlib.sha256(entity).digest())


@dataclass(frozen=True)
class OnlinePlan:
    """A feature plan with its views, in order."""

    plan: FeaturePlan

    @cached_property
    def views(self) -> tuple[OnlineView, ...]:
        """The views that are joined.

        Raises ValueError for a stream of the observations' table whose unique key no request holds.
        """
        contents = plan_json.plan_content(self.plan)["primitives"]
        return tuple(self._view(view, content) for view, content in zip(self.plan.primitives, contents, strict=True))

    def view_of(self, key: bytes) -> OnlineView:
        """Return the view that a key of a stored value belongs to, such as that of a conflict."""
        return next(view for view in self.views if key.startswith(view.digest))

    def own(self, row: Mapping[str, Any]) -> Identity | None:
        """Return who a request is among the events of its own table; None where a part of the unique key is missing."""
        unique = self._own_unique
        return None if any(row.get(name) is None for name in unique) else identity(unique, row, self.plan.types)

    @cached_property
    def _own_unique(self) -> tuple[str, ...]:
        streams = [view.primitive.events for view in self.views if not isinstance(view.primitive, StaticLookup)]
        return next((events.unique for events in streams if events.table == self.plan.request.table), ())

    def _view(self, view: Primitive, content: Mapping[str, Any]) -> OnlineView:
        own = not isinstance(view, StaticLookup) and view.events.table == self.plan.request.table
        types = self.plan.types
        if own:
            self._check_unique(view)
        declared = {
            "view": {name: part for name, part in content.items() if name not in ("name", "events")},
            "events": {name: part for name, part in content.get("events", {}).items() if name != "name"},
            "types": [types[name] for name in (*view.keys, *feature_names(view))],
            "timezone": self.plan.timezone,
            "own": own,
            "format": _FORMAT,
        }
        digest = hashlib.sha256(msgspec.json.encode(declared, order="deterministic")).digest()[:16]
        return OnlineView(view, _kept(view, types, own), digest, tuple(types[name] for name in view.keys), own)

    def _check_unique(self, view: Primitive) -> None:
        unique = () if isinstance(view, StaticLookup) else view.events.unique
        for name in unique:
            if name not in self.plan.request.columns:
                raise ValueError(
                    f"view {view.name}: column '{name}' of the unique key of {self.plan.request.table} is not known at "
                    "request time, so a request cannot be told from its own event: declare another unique key"
                )


def feature_names(view: Primitive) -> list[str]:
    """Return the names of a view's features, in order."""
    return [each.name if not isinstance(each, tuple) else each[0] for each in view.features]


def _kept(view: Primitive, types: Mapping[str, Type], own: bool) -> RollingView | LatestView | LookupView:
    features = {name: types[name] for name in feature_names(view)}
    match view:
        case RollingAggregate():
            return RollingView(view)
        case LatestAsOf():
            return LatestView(view, features, own)
        case StaticLookup():
            return LookupView(view, features)
