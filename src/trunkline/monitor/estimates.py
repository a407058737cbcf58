"""What metrics can be expected to be before outcomes arrive: those of scores that are as calibrated as on the holdout.

A calibrated score is the chance of its outcome, so the expected loss of a row is a mean over its outcomes. That holds
while outcomes of equal scores stay as likely as they were: an estimate sees that rows have become harder, and not that
the world has changed (Garg et al., Leveraging unlabeled data to predict out-of-distribution performance, ICLR 2022).
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from trunkline.core.arrays import Floats, Integers
from trunkline.core.tasks import Task, score_columns

AREA = "roc_auc"
EXPECTED: Mapping[Task, tuple[str, ...]] = {
    "binary": (AREA, "log_loss", "brier", "accuracy"),
    "multiclass": ("log_loss", "brier", "accuracy"),
    "regression": (),
}

_SMALLEST = float(np.finfo(np.float64).eps)
_CODES = 0x3F81  # of scores up to 1: their first 16 bits as 32-bit floats


@dataclass(frozen=True)
class Calibration:
    """By how much the log-odds of a score are off at some scores, ascending; between them, on a straight line."""

    scores: Floats
    offsets: Floats

    @classmethod
    def of(cls, known: Mapping[str, Any]) -> "Calibration":
        """Take it from a calibration of reference.json; half an outcome of each kind is added to every bin."""
        rows, scores, outcomes = (np.array(known[name], np.float64) for name in ("rows", "score", "outcome"))
        return cls(scores, _log_odds((rows * outcomes + 0.5) / (rows + 1)) - _log_odds(scores))

    def chances(self, scores: Floats) -> Floats:
        """Return the chances that are meant by scores."""
        log_odds = _log_odds(scores) + np.interp(scores, self.scores, self.offsets)
        chances: Floats = 1 / (1 + np.exp(-log_odds))
        return chances


def calibrations(reference: Mapping[str, Any], task: Task, classes: tuple[str, ...]) -> list[Calibration]:
    """Return that of each score; none where the task has no estimates, or the bundle does not say it."""
    known = reference.get("calibration", {})
    names = score_columns(classes)
    return [Calibration.of(known[name]) for name in names] if EXPECTED[task] and known.keys() >= set(names) else []


@dataclass
class Expected:
    """A window's expected sums: rows, of each metric but the area, and by score of rows and of chances."""

    calibrations: list[Calibration]
    rows: int = 0
    sums: dict[str, float] = field(default_factory=dict)
    _rows: Integers = field(default_factory=lambda: np.zeros(_CODES, np.int64))
    _chances: Floats = field(default_factory=lambda: np.zeros(_CODES))

    def add(self, scores: Floats) -> None:
        """Add rows by their scores, shape (rows, scores)."""
        chances = np.stack([each.chances(of) for each, of in zip(self.calibrations, scores.T, strict=True)], axis=1)
        if scores.shape[1] == 1:
            self._add_area(scores[:, 0], chances[:, 0])
            scores, chances = (np.hstack([1 - each, each]) for each in (scores, chances))
        chances /= chances.sum(axis=1, keepdims=True)
        called = scores.argmax(axis=1)  # the first of equal ones, as in the metrics
        squares = np.square(scores).sum(axis=1) - 2 * (chances * scores).sum(axis=1) + 1
        values = {
            "log_loss": -(chances * np.log(np.clip(scores, _SMALLEST, 1 - _SMALLEST))).sum(),
            "brier": squares.sum() / (2 if len(self.calibrations) == 1 else 1),
            "accuracy": np.take_along_axis(chances, called[:, None], axis=1).sum(),
        }
        self.rows += len(scores)
        for name, value in values.items():
            self.sums[name] = self.sums.get(name, 0.0) + float(value)

    def measured(self) -> Iterator[tuple[str, float]]:
        """Yield each metric with its expected value."""
        yield from ((name, total / self.rows) for name, total in self.sums.items())
        positives, negatives = self._chances, self._rows - self._chances
        pairs = positives.sum() * negatives.sum()
        if pairs:
            below = np.cumsum(negatives) - negatives / 2  # equal ones count one half
            yield AREA, float((positives * below).sum() / pairs)

    def _add_area(self, scores: Floats, chances: Floats) -> None:
        codes = np.ascontiguousarray(np.clip(scores, 0, 1), np.float32).view(np.uint32) >> 16
        self._rows += np.bincount(codes, minlength=_CODES)
        self._chances += np.bincount(codes, chances, minlength=_CODES)


def _log_odds(chances: Floats) -> Floats:
    clipped = np.clip(chances, _SMALLEST, 1 - _SMALLEST)
    log_odds: Floats = np.log(clipped) - np.log1p(-clipped)
    return log_odds
