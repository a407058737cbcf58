"""How often a rollout goes back: versions that are the same, looked at every hour, and planted faults.

    python -m benchmarks.rollout_errors [ROLLOUTS]

Requests are of flights, whose rows resemble each other; every rule of the default is judged, on all rows and on each of
three airports. A line is so many rollouts of one step; the declared share is that of the step. docs/rollout.md has the
numbers.
"""

import sys
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
import polars as pl

from trunkline.conf.rollout import Rollout
from trunkline.deploy.rollout import evidence, judge
from trunkline.deploy.rollout.rows import Hour
from trunkline.deploy.rollout.step import Step

SINCE = datetime(2026, 11, 2, tzinfo=UTC)
ORIGINS = np.array(["EWR", "JFK", "LGA"])


@dataclass(frozen=True)
class Fault:
    """What is wrong with a candidate: `bias` in log-odds, at the airport `only` or everywhere; `turned`: its scores."""

    bias: float = 0.0
    only: str | None = None
    turned: str | None = None
    slow: float = 1.0
    failing: float = 0.0


@dataclass(frozen=True)
class Simulated:
    """The rows of a step, as `rows.Reader` gives those of a log; the same each time that they are asked for."""

    step: Step
    fault: Fault
    seed: int
    hours_long: int = 24
    requests: int = 300
    flights: int = 1000
    scores: tuple[str, ...] = ("score",)

    def hours(self) -> Iterator[Hour]:
        """Yield the rows of each hour."""
        random = np.random.default_rng(self.seed)
        of_flight, origin = random.normal(0, 1, self.flights), random.integers(0, len(ORIGINS), self.flights)
        # Flights have weights of their own, failures and latencies too, so that rows of one are not independent.
        weight, patience = random.dirichlet(np.ones(self.flights)), random.normal(0, 0.3, self.flights)
        chosen = random.random(self.flights) < self.step.declared.share / 100
        for hour in range(self.hours_long):
            flights = random.choice(self.flights, self.requests, p=weight)
            where, truth = ORIGINS[origin[flights]], of_flight[flights] + random.normal(0, 0.5, self.requests)
            happened = random.random(self.requests) < _chance(truth)
            arms = [
                self._arm(random, SINCE + timedelta(hours=hour), (flights, where, truth, happened, patience), fault)
                for fault in (Fault(), self.fault)
            ]
            if self.step.kind == "canary":
                arms = [arm.filter(mask) for arm, mask in zip(arms, (~chosen[flights], chosen[flights]), strict=True)]
            yield Hour(SINCE + timedelta(hours=hour + 1), *arms)

    def _arm(self, random: Any, time: datetime, rows: Any, fault: Fault) -> pl.DataFrame:
        flights, where, truth, happened, patience = rows
        count = len(flights)
        logits = truth + random.normal(0, 0.1, count) + fault.bias * ((where == fault.only) | (fault.only is None))
        scores = _chance(np.where(where == fault.turned, -logits, logits))
        failed = random.random(count) < 0.002 + fault.failing
        return pl.DataFrame(
            {
                "time": [time] * count,
                "cluster": flights.astype(str),
                "slice:origin": where,
                "error": failed,
                "refusal": random.random(count) < 0.001,
                "seconds": np.exp(random.normal(-5, 0.4, count) + patience[flights]) * fault.slow,
                "score": pl.Series(scores).set(pl.Series(failed), None),
                "outcome": happened,
            }
        ).with_columns(pl.col("time").cast(pl.Datetime("us", "UTC")))


def _chance(logits: Any) -> Any:
    return 1 / (1 + np.exp(-logits))


def step(kind: str, share: float, *, strict: bool, wrongly: float = 0.05) -> Step:
    """Return a rollout of one step; where it is `strict`, no rule allows any difference that it can be without."""
    rules: dict[str, Any] = {"slices": ["origin"]}
    rules["performance"] = {"metric": "log_loss", "margin": 1e-9 if strict else 0.02, "labels": 500}
    if strict:
        rules |= {"errors": 0.0, "refusals": 0.0, "latency_p50": 1.0, "latency_p99": 1.0, "mean": 1e-9, "distance": 0.0}
    content = {"key": ["flight"], "steps": [{kind: share}], "rules": rules, "wrongly": wrongly}
    return Step("production", "v5", "v4", SINCE, Rollout.model_validate(content), 0)


def back(source: Simulated) -> tuple[int, set[str]] | None:
    """Return the candidate's rows when a look, one every hour, first took it back, and by what; None if none did."""
    for known in evidence.gather(source):
        broken = {f"{each.rule}, {each.where}" for each in judge.findings(known, "binary") if each.verdict == "breaks"}
        if broken:
            return known.rows, broken
    return None


FAULTS = {
    "slow: three times": Fault(slow=3),
    "erroring: one row in ten": Fault(failing=0.1),
    "biased everywhere": Fault(bias=1),
    "biased on one airport": Fault(bias=1, only="JFK"),
    "equal on average, turned around on one airport": Fault(turned="JFK"),
}


def main(rollouts: int) -> None:
    """Print a line for each kind of step and fault."""
    for kind, share in (("shadow", 100), ("canary", 5), ("canary", 25)):
        for strict in (True, False):
            judged = step(kind, share, strict=strict)
            went = sum(back(Simulated(judged, Fault(), seed)) is not None for seed in range(rollouts))
            allowed = "nothing" if strict else "the default"
            _say(f"{kind} {share}, {allowed} allowed: the same: {went} of {rollouts}")
        for name, fault in FAULTS.items():
            judged = step(kind, share, strict=False)
            seen = [back(Simulated(judged, fault, seed)) for seed in range(max(1, rollouts // 10))]
            rows = sorted(each[0] for each in seen if each)
            by = Counter(why for each in seen if each for why in each[1]).most_common(2)
            after = f" after {rows[len(rows) // 2]} rows" if rows else ""
            _say(f"{kind} {share}: {name}: {len(rows)} of {len(seen)}{after}: {by}")


def _say(line: str) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 400)
