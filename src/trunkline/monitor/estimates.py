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
    "ordinal": ("log_loss", "brier", "accuracy"),
    "regression": (),
    "count": (),
    "quantile": (),
    "ranking": (),
    "multilabel": (),
}

_SMALLEST = float(np.finfo(np.float64).eps)
_CODES = 2 * (0x3F00 + 1)  # the first 16 bits as 32-bit floats, of scores up to one half and of those above


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
    """What is expected of a window's rows, by their scores: of one score by the buckets that equal ones are in."""

    calibrations: list[Calibration]
    rows: int = 0
    sums: dict[str, float] = field(default_factory=dict)
    _counts: Integers = field(default_factory=lambda: np.zeros(_CODES, np.int64))
    _scores: Floats = field(default_factory=lambda: np.zeros(_CODES))

    def add(self, scores: Floats) -> None:
        """Add rows by their scores, shape (rows, scores)."""
        self.rows += len(scores)
        if scores.shape[1] == 1:
            codes = _codes(scores[:, 0])
            self._counts += np.bincount(codes, minlength=_CODES)
            self._scores += np.bincount(codes, scores[:, 0], minlength=_CODES)
        else:
            chances = [each.chances(of) for each, of in zip(self.calibrations, scores.T, strict=True)]
            whole = np.stack(chances, axis=1)
            for name, values in _losses(scores, whole / whole.sum(axis=1, keepdims=True)).items():
                self.sums[name] = self.sums.get(name, 0.0) + float(values.sum())

    def merge(self, other: "Expected") -> None:
        """Add what another has of rows of the window."""
        self.rows += other.rows
        self._counts += other._counts
        self._scores += other._scores
        for name, total in other.sums.items():
            self.sums[name] = self.sums.get(name, 0.0) + total

    def measured(self) -> Iterator[tuple[str, float]]:
        """Yield each metric with its expected value."""
        yield from ((name, total / self.rows) for name, total in self.sums.items())
        if len(self.calibrations) == 1:
            yield from self._of_one()

    def _of_one(self) -> Iterator[tuple[str, float]]:
        there = self._counts > 0
        counts = self._counts[there]
        scores = self._scores[there] / counts
        chances = self.calibrations[0].chances(scores)
        losses = _losses(*(np.stack([1 - each, each], axis=1) for each in (scores, chances)))
        losses["brier"] = losses["brier"] / 2  # that of one score is of its own outcome alone
        yield from ((name, float((counts * values).sum() / self.rows)) for name, values in losses.items())
        positives = counts * chances
        negatives = counts - positives
        pairs = positives.sum() * negatives.sum()
        if pairs:
            below = np.cumsum(negatives) - negatives / 2  # equal ones count one half
            yield AREA, float((positives * below).sum() / pairs)


def _losses(scores: Floats, chances: Floats) -> dict[str, Floats]:
    """Return the expected loss of each row by metric; both of shape (rows, classes)."""
    called = scores.argmax(axis=1)[:, None]  # the first of equal ones, as in the metrics
    return {
        "log_loss": -(chances * np.log(np.clip(scores, _SMALLEST, 1 - _SMALLEST))).sum(axis=1),
        "brier": np.square(scores).sum(axis=1) - 2 * (chances * scores).sum(axis=1) + 1,
        "accuracy": np.take_along_axis(chances, called, axis=1)[:, 0],
    }


def _codes(scores: Floats) -> Integers:
    """Return the bucket of each score, in order of the scores and as fine near 1 as near 0."""
    near = np.minimum(scores, 1 - scores).clip(0)
    first = (near.astype(np.float32).view(np.uint32) >> 16).astype(np.int64)
    codes: Integers = np.where(scores <= 0.5, first, _CODES - 1 - first)
    return codes


def _log_odds(chances: Floats) -> Floats:
    clipped = np.clip(chances, _SMALLEST, 1 - _SMALLEST)
    log_odds: Floats = np.log(clipped) - np.log1p(-clipped)
    return log_odds
