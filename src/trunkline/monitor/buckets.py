"""Quantiles of numbers that are only counted: 128 buckets for each power of two, so that counts of parts can be added.

A bucket is all numbers with the same first 16 bits as a 32-bit float, so its ends are within 0.8 % of each other.
"""

from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from trunkline.core.arrays import Floats, Integers

_CODES = 1 << 16
_SIGN = 1 << 15


def _none() -> Integers:
    return np.empty(0, np.int64)


@dataclass
class Buckets:
    """How many numbers each bucket has; `codes` are those first bits, of buckets that have any."""

    codes: Integers = field(default_factory=_none)
    counts: Integers = field(default_factory=_none)

    def add(self, numbers: Floats) -> None:
        """Count finite numbers."""
        with np.errstate(over="ignore"):  # what is too large for 32 bits is in the last bucket
            first = np.ascontiguousarray(numbers, np.float32).view(np.uint32) >> 16
        counts = np.bincount(first, minlength=_CODES)
        counts[self.codes] += self.counts
        self.codes = np.flatnonzero(counts > 0)  # of truths: seven times as fast as of numbers
        self.counts = counts[self.codes]

    def merge(self, other: "Buckets") -> None:
        """Add what another has counted."""
        counts = np.zeros(_CODES, np.int64)
        counts[self.codes] += self.counts
        counts[other.codes] += other.counts
        self.codes = np.flatnonzero(counts > 0)
        self.counts = counts[self.codes]

    def quantiles(self, shares: npt.ArrayLike) -> Floats:
        """Return the number below which each share of the numbers is, within a bucket; NaN for none."""
        shares = np.asarray(shares, np.float64)
        if not len(self.codes):
            return np.full(shares.shape, np.nan)
        low, high = _ends(self.codes)
        order = np.argsort(low, kind="stable")
        ends = np.cumsum(self.counts[order])
        ranks = shares * ends[-1]
        place = np.minimum(np.searchsorted(ends, ranks, side="left"), len(ends) - 1)
        inside = (ranks - (ends - self.counts[order])[place]) / self.counts[order][place]
        quantiles: Floats = low[order][place] + np.clip(inside, 0, 1) * (high - low)[order][place]
        return quantiles


def _ends(codes: Integers) -> tuple[Floats, Floats]:
    """Return the lower and the upper end of buckets."""
    sizes = codes % _SIGN
    near, far = (_number(np.minimum(of, _INFINITE - 1)) for of in (sizes, sizes + 1))
    negative = codes >= _SIGN
    return np.where(negative, -far, near), np.where(negative, -near, far)


_INFINITE = 0x7F80  # the first code that is no finite number


def _number(codes: Integers) -> Floats:
    numbers: Floats = (codes.astype(np.uint32) << 16).view(np.float32).astype(np.float64)
    return numbers
