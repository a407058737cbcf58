"""The subject in the store of online features: the values of their entities, and their events in those of others.

What the keys of a view name the subject by is dropped whole. The others' values lose the events of the rows that the
tables have of the subject; which ones an aggregate holds, nothing else can tell.
"""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from trunkline.core.errors import UserError
from trunkline.erasure import held
from trunkline.erasure.subject import Subject
from trunkline.serve.online.features import OnlineFeatures
from trunkline.serve.online.store.protocol import NO_WATERMARK
from trunkline.serve.online.values import Change, Gone

_AT_ONCE = 1000  # rows


def removals(online: OnlineFeatures, tables: Path, subject: Subject) -> dict[bytes, Change]:
    """Return what has to become of which values of a store, for the views of a bundle."""
    rows = {name: _rows(tables / f"{name}.parquet", subject) for name in online.tables}
    changes: dict[bytes, Change] = {}
    for name, of in rows.items():
        for start in range(0, len(of), _AT_ONCE):
            changes |= online.tables[name].events.removals(of[start : start + _AT_ONCE])
    return changes | dict.fromkeys(_own(online, rows, subject), Gone())


def affected(online: OnlineFeatures, changes: Mapping[bytes, Change]) -> dict[bytes, bytes]:
    """Return the values of the store that the changes would change, by key."""
    values = online.store.get(changes).values
    return {
        key: value
        for key, value in values.items()
        if changes[key] == Gone() or changes[key].merge(value, NO_WATERMARK).value != value
    }


def erase(online: OnlineFeatures, changes: Mapping[bytes, Change]) -> int:
    """Remove what is of the subject, all at once, and return how many values that changed."""
    count = len(affected(online, changes))
    if count:
        online.store.put(changes)
    return count


def _own(online: OnlineFeatures, rows: Mapping[str, list[dict[str, Any]]], subject: Subject) -> Iterator[bytes]:
    """Yield the keys of the subject's own entities."""
    for view in online.join.plan.views:
        keys = view.primitive.keys
        if subject.column not in keys:
            continue
        known = [{subject.column: subject.typed()}] if len(keys) == 1 else [row for of in rows.values() for row in of]
        for row in known:
            key = view.key(row) if all(name in row for name in keys) else None
            if key is not None:
                yield key


def _rows(path: Path, subject: Subject) -> list[dict[str, Any]]:
    if not path.is_file():
        raise UserError(f"{path}: there is no such file; what the store has of somebody is known by it: dvc repro")
    frame = held.rows(path, subject)
    return [] if frame is None else frame.to_dicts()
