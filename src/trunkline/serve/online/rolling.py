"""A rolling aggregate online: the rows of the window, packed, so that a read is a few operations over arrays.

A stored value is a matrix of little-endian int64, a column for each event: the time from which it is seen, the last at
which it is, its number, and of each aggregate the operand in millionths and whether it is present. Columns are in
order of the second and the third, so that those that have not left are the last ones. An operand is a DECIMAL(18, 6),
and a sum of them is exact.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt

from trunkline.core.expressions import Type
from trunkline.pipeline.features.plan import Aggregation, RollingAggregate
from trunkline.serve.online.evaluate import UnfitError, compiled, rounded
from trunkline.serve.online.values import Event, Identity, Merged, Reading, micros

_ENTERS, _LEAVES, _NUMBER, _OPERANDS = range(4)
_SCALE = 10**6
_BOUND = 10**18  # of a DECIMAL(18, 6), in millionths
_LOW = 0xFFFFFFFF
_WORD = 8  # bytes before the matrix, of which the first says whether a sum of operands may be beyond 64 bits
_NARROW, _WIDE, _WIDEST = b"n", b"w", 2.0**62

Matrix = npt.NDArray[np.int64]
Entry = tuple[Identity, tuple[int, ...]]


def decimal(value: float | bool | None) -> tuple[int, int]:
    """Return an operand in millionths, rounded as DuckDB casts to DECIMAL(18, 6), and 1, or 0 and 0 if it is missing.

    Raises UnfitError for one of 10^12 or more.
    """
    if value is None:
        return 0, 0
    scaled = rounded(value * 1e6) if isinstance(value, float) else int(value) * _SCALE
    if abs(scaled) >= _BOUND:
        raise UnfitError(f"a value does not fit: {value} has more than 12 digits before the point")
    return scaled, 1


def total(millionths: int) -> float:
    """Return a sum as a number, by the steps of DuckDB's cast from DECIMAL to DOUBLE."""
    if abs(millionths) <= 2**53:
        return millionths / 1e6
    sign, (whole, part) = (1 if millionths > 0 else -1), divmod(abs(millionths), _SCALE)
    return sign * (float(whole) + part / 1e6)


@dataclass(frozen=True)
class RollingView:
    """How the events of a rolling aggregate are kept, and its features computed."""

    primitive: RollingAggregate

    @cached_property
    def _window(self) -> int:
        return micros(self.primitive.window)

    def recorder(self, types: Mapping[str, Type], zone: str) -> Callable[[Event], Entry]:
        """Return what makes of an event the column that is stored; `types` are those of its columns."""
        operands = [
            (feature.name, compiled(feature.operand, types, zone) if feature.operand is not None else None)
            for feature in self.primitive.features
        ]

        def record(event: Event) -> Entry:
            values, present = [], []
            for name, operand in operands:
                try:
                    value, is_present = (0, 1) if operand is None else decimal(operand(event.row))
                except UnfitError as error:
                    raise UnfitError(f"feature {name}: {error}") from None
                values.append(value)
                present.append(is_present)
            leaves = event.event_time + self._window
            return event.identity, (event.known, leaves, event.identity.number, *values, *present)

        return record

    def change(self, entries: Sequence[Entry]) -> "RollingChange":
        """Return what adds events to the value of their entity."""
        return RollingChange(tuple(entries), _OPERANDS + 2 * len(self.primitive.features))

    def forget(self, entries: Sequence[Entry]) -> "RollingForgotten":
        """Return what removes events from the value of their entity."""
        return RollingForgotten(frozenset(who.number for who, _ in entries), self.change(()))

    def read(self, value: bytes | None, at: int | None, own: Identity | None) -> Reading:
        """Return the aggregates over the events that are seen at a moment (µs), save the request's own."""
        width = len(self.primitive.features)
        if value is None or at is None:
            return self._reading([0] * width, [0] * width, None)
        matrix = _matrix(value, _OPERANDS + 2 * width)
        rows = matrix[:, matrix[_LEAVES].searchsorted(at) :]
        seen = rows[_ENTERS] < at
        if own is not None:
            seen &= rows[_NUMBER] != own.number
        if not seen.all():
            rows = rows[:, seen]
        if not rows.shape[1]:
            return self._reading([0] * width, [0] * width, None)
        sums = rows[_OPERANDS:].sum(axis=1).tolist()
        if value[:1] == _WIDE:
            sums[:width] = _exact(rows[_OPERANDS : _OPERANDS + width])
        return self._reading(sums[:width], sums[width:], int(rows[_LEAVES, -1]) - self._window)

    def _reading(self, sums: Sequence[int], counts: Sequence[int], last: int | None) -> Reading:
        features = zip(self.primitive.features, sums, counts, strict=True)
        return Reading({each.name: _aggregate(each, *of) for each, *of in features}, last is None, last)


def _matrix(value: bytes | None, height: int) -> Matrix:
    """Return the matrix of a stored value, which is behind the word that says how wide its sums are."""
    return np.frombuffer(value or b"", "<i8", offset=_WORD if value else 0).reshape(height, -1)


def _exact(operands: Matrix) -> list[int]:
    """Return the sum of each row, which may be beyond 64 bits: that of the higher halves and that of the lower ones."""
    high, low = (operands >> 32).sum(axis=1).tolist(), (operands & _LOW).sum(axis=1).tolist()
    return [(above << 32) + below for above, below in zip(high, low, strict=True)]


def _aggregate(aggregation: Aggregation, millionths: int, count: int) -> float | int | None:
    if aggregation.function == "count":
        return count
    if count == 0:
        return 0.0 if aggregation.default is None and aggregation.function == "sum" else aggregation.default
    return total(millionths) if aggregation.function == "sum" else total(millionths) / count


@dataclass(frozen=True)
class RollingChange:
    """Events to be added to the value of one entity; `height` is the number of a matrix's rows."""

    entries: tuple[Entry, ...]
    height: int

    def merge(self, value: bytes | None, watermark: int) -> Merged:
        """Return the value with the events, without those that have left every window from the watermark on."""
        before = _matrix(value, self.height)
        added = np.array([column for _, column in self.entries], dtype="<i8").reshape(-1, self.height).T
        matrix = np.concatenate([before, added], axis=1)
        _, first, place = np.unique(matrix[_NUMBER], return_index=True, return_inverse=True)
        kept = matrix[:, first]
        contrary = (kept[:, place] != matrix).any(axis=0)[before.shape[1] :]
        conflicts = tuple(self.entries[each][0].key for each in np.flatnonzero(contrary))
        kept = kept[:, kept[_LEAVES] >= watermark]
        if not kept.shape[1]:
            return Merged(None, None, conflicts)
        kept = np.ascontiguousarray(kept[:, np.argsort(kept[_LEAVES], kind="stable")])
        wide = np.abs(kept[_OPERANDS:].astype(np.float64)).sum(axis=1).max(initial=0) >= _WIDEST
        return Merged((_WIDE if wide else _NARROW).ljust(_WORD) + kept.tobytes(), int(kept[_LEAVES, -1]), conflicts)


@dataclass(frozen=True)
class RollingForgotten:
    """Events, by their numbers, that the value of one entity is to hold no more; `rest` keeps the others."""

    numbers: frozenset[int]
    rest: RollingChange

    def merge(self, value: bytes | None, watermark: int) -> Merged:
        """Return the value without the events."""
        matrix = _matrix(value, self.rest.height)
        kept = np.ascontiguousarray(matrix[:, ~np.isin(matrix[_NUMBER], list(self.numbers))])
        return self.rest.merge(_NARROW.ljust(_WORD) + kept.tobytes(), watermark)
