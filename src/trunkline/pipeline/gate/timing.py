"""How fast a bundle is beside the champion's, measured side by side in one process.

A time is no function of a commit, so it stands in no file of the pipeline: `trunkline gate` measures when it is asked.
Noise is kept out by the design: one thread each, rounds that alternate between both in changing order, a ratio per
round, and the order statistics of these ratios as the interval of their median (Conover, Practical Nonparametric
Statistics, 3.2). A limit is broken only where the whole interval lies beyond it.
"""

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import msgspec
import numpy as np

from trunkline.bundle.runtime import Bundle
from trunkline.conf.gates import Gates, Limits, Operational, is_timed
from trunkline.core import paths
from trunkline.core.errors import UserError
from trunkline.core.graphs import MISSING
from trunkline.pipeline.gate.rules import NO_CHAMPION, SAME_MODEL
from trunkline.pipeline.reports import GatesReport as Judged
from trunkline.pipeline.reports import Verdict

ROUNDS, LOWER, UPPER = 41, 13, 27  # the 14th and the 28th of 41 ratios hold the median in 97 % of the cases
CHAMPION = paths.CHAMPION / "bundle"
FEW = 5  # rounds for a time that is shown and not judged
REPEATS = 20  # of each request in a round
ROWS = 512  # in one call of what many rows are scored by


@dataclass(frozen=True)
class Ratio:
    """The median of the rounds' ratios, this bundle's over the champion's, and its interval."""

    value: float
    interval: tuple[float, float]


def judge(gates: Gates, judged: Judged, root: Path = Path()) -> list[Verdict]:
    """Measure what rules of times need and return their verdicts; a rule that cannot be judged has failed."""
    rules = {name: rule for name, rule in sorted(gates.rules.items()) if isinstance(rule, Operational)}
    return [_judged(name, rule, judged, root) for name, rule in rules.items() if is_timed(rule)]


def _judged(name: str, rule: Operational, judged: Judged, root: Path) -> Verdict:
    blank = Verdict(name, rule.kind, not rule.advisory, "not_applicable", NO_CHAMPION)
    champion = judged.champion
    if champion is None:
        return blank
    if champion.digest == judged.challenger:
        return replace(blank, reason=f"{SAME_MODEL}: the bundle is that of {champion.version} in production")
    try:
        bundles = _loaded(root / paths.BUNDLE, judged.challenger), _loaded(root / CHAMPION, champion.digest)
        return _limited(blank, rule.limits, MEASURES[rule.measure](*bundles), rule.measure)
    except UserError as error:
        return replace(blank, verdict="fail", reason=f"cannot be measured, so it fails: {error}")


def _loaded(folder: Path, digest: str) -> tuple[Bundle, list[Mapping[str, object]]]:
    """Load a bundle with its golden requests; raises UserError if it is not the one that was judged."""
    bundle = Bundle.load(folder)
    if bundle.digest != digest:
        raise UserError(f"{folder}: is not the bundle that was judged; run: dvc repro")
    return bundle, _golden(folder)


def _golden(folder: Path) -> list[Mapping[str, object]]:
    return [row["request"] for row in msgspec.json.decode((folder / "golden.json").read_bytes())]


def _limited(blank: Verdict, limits: Limits, ratio: Ratio, measure: str) -> Verdict:
    low, high = ratio.interval
    slow = limits.minimum is not None and high < limits.minimum
    fast = limits.maximum is not None and low > limits.maximum
    side = "wholly beyond its limits" if slow or fast else "not shown to be beyond its limits"
    return replace(
        blank,
        verdict="fail" if slow or fast else "pass",
        reason=f"the {measure} to the champion is {ratio.value:.3g} ({low:.3g} to {high:.3g}), {side}",
        observed=ratio.value,
        interval=ratio.interval,
        threshold=limits.maximum if limits.minimum is None or fast else limits.minimum,
    )


Loaded = tuple[Bundle, list[Mapping[str, object]]]


def latency(challenger: Loaded, champion: Loaded) -> Ratio:
    """Compare the time of one prediction, from a parsed request to a score."""
    return _ratio(*(_one_by_one(*side) for side in (challenger, champion)))


def prediction(folder: Path = paths.BUNDLE) -> float | None:
    """Return the seconds of one prediction, from a parsed request to a score: the median of some rounds, one thread.

    None for a bundle that needs scikit-learn, which does not serve.
    """
    try:
        bundle = Bundle.load(folder)
    except UserError:
        return None
    requests = _golden(folder)
    taken = sorted(_seconds(_one_by_one(bundle, requests)) for _ in range(FEW))
    return taken[FEW // 2] / (len(requests) * REPEATS)


def throughput(challenger: Loaded, champion: Loaded) -> Ratio:
    """Compare rows per second, many rows at a time."""
    slower = _ratio(*(_together(*side) for side in (challenger, champion)))
    return Ratio(1 / slower.value, (1 / slower.interval[1], 1 / slower.interval[0]))


MEASURES: dict[str, Callable[[Loaded, Loaded], Ratio]] = {"latency_ratio": latency, "throughput_ratio": throughput}


def _one_by_one(bundle: Bundle, requests: list[Mapping[str, object]]) -> Callable[[], object]:
    return lambda: [bundle.score(request) for request in requests for _ in range(REPEATS)]


def _together(bundle: Bundle, requests: list[Mapping[str, object]]) -> Callable[[], object]:
    rows = [requests[number % len(requests)] for number in range(ROWS)]
    numeric = np.array([[row[name] for name in bundle.numeric] for row in rows], np.float64)
    texts = [[MISSING if row[name] is None else row[name] for name in bundle.categorical] for row in rows]
    categorical = np.array(texts, object).reshape(ROWS, len(bundle.categorical))
    return lambda: bundle.scores(numeric, categorical)


def _ratio(challenger: Callable[[], object], champion: Callable[[], object]) -> Ratio:
    """Return the ratio of the seconds of two actions, each done once per round, after a round that does not count."""
    ratios = []
    for number in range(ROUNDS + 1):
        order = (challenger, champion) if number % 2 else (champion, challenger)
        taken = [_seconds(action) for action in order]
        ratios.append(taken[0] / taken[1] if number % 2 else taken[1] / taken[0])
    kept = sorted(ratios[1:])
    return Ratio(kept[ROUNDS // 2], (kept[LOWER], kept[UPPER]))


def _seconds(action: Callable[[], object]) -> float:
    start = time.perf_counter()
    action()
    return time.perf_counter() - start
