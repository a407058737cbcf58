"""Logs of a rollout as servers write them: simulated flights, a good candidate, and what is wrong with others."""

import hashlib
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import numpy as np
import polars as pl
import pyarrow as pa

from trunkline.conf.rollout import Rollout
from trunkline.deploy.rollout import evidence, judge
from trunkline.deploy.rollout.rows import Reader
from trunkline.deploy.rollout.step import Step
from trunkline.serve.labels import store
from trunkline.serve.log import DIGEST, REQUEST, TIME
from trunkline.serve.prediction_log import place, segments
from trunkline.serve.prediction_log.messages import Scorer
from trunkline.serve.prediction_log.place import Place
from trunkline.serve.prediction_log.privacy import Privacy
from trunkline.serve.prediction_log.segments import ScoredRows

SINCE = datetime(2026, 11, 2, 8, tzinfo=UTC)
CURRENT, CANDIDATE = "v4", "v5"
ORIGINS = ("EWR", "JFK", "LGA")
OPEN = Privacy({}, "keep", frozenset(), None)
KEY = ["carrier", "flight"]

_SCORING = "scoring"
_AROUND = 0.02  # seconds that a server does more for a canary
_INPUTS = [("flight", "integer"), ("carrier", "text"), ("origin", "text")]


@dataclass(frozen=True)
class Fault:
    """What is wrong with a candidate: by how much its log-odds are off at an airport, or everywhere in turns."""

    bias: float = 0.0
    only: str | None = None
    swapped: str | None = None  # an airport whose scores are turned around their middle: the mean stays
    slow: float = 1.0
    failing: float = 0.0
    refusing: float = 0.0


@dataclass(frozen=True)
class Traffic:
    """Requests of an hour, each of one row, by so many flights; a share of the flights, or requests, is in the arm."""

    kind: str
    share: float
    hours: int = 6
    requests: int = 600
    flights: int = 400
    seed: int = 0
    noise: float = 0.1


def write(folder, traffic, fault, *, labels=False, start=SINCE, environment="production"):
    """Write the segments of both arms of an environment, and the outcomes of all rows."""
    random, log = np.random.default_rng(traffic.seed), Place(str(folder))
    of_flight = random.normal(0, 1, traffic.flights)
    origins = random.integers(0, len(ORIGINS), traffic.flights)
    chosen = random.random(traffic.flights) < traffic.share / 100
    for hour in range(traffic.hours):
        begin, count, name = start + timedelta(hours=hour), traffic.requests, f"{environment}-{hour}"
        flights = random.integers(0, traffic.flights, count)
        truth = of_flight[flights] + random.normal(0, 0.5, count)
        seconds = np.sort(random.uniform(0, 3599, count))
        times = [int((begin.timestamp() + each) * 1e6) for each in seconds]
        ids = [f"{traffic.seed}-{hour}-{number}" for number in range(count)]
        outcomes = random.random(count) < _chance(truth)
        in_arm = chosen[flights] if traffic.kind == "canary" else random.random(count) < traffic.share / 100
        took = random.lognormal(np.log(0.004), 0.4, (2, count))
        where = np.array(ORIGINS)[origins[flights]]
        logits = truth + random.normal(0, traffic.noise, (2, count))
        arms = [(CURRENT, "current", ~in_arm if traffic.kind == "canary" else np.ones(count, bool))]
        for version, arm, mask in (*arms, (CANDIDATE, traffic.kind, in_arm)):
            own = version == CANDIDATE
            scores = _chance(_wrong(logits[1], where, fault) if own else logits[0])
            problems = _problems(random, count, fault if own else Fault())
            scoring = took[int(own)] * (fault.slow if own else 1)
            latency = scoring + _AROUND * (arm == "canary")  # whatever the candidate is
            columns = {
                REQUEST: ids, TIME: times, "arm": [arm] * count, "latency": latency, _SCORING: scoring,
                segments.ENVIRONMENT: [environment] * count,
            }  # fmt: skip
            _segment(log, version, (name, begin), (columns, flights, where, scores, problems), mask)
            if traffic.kind == "canary" and own:  # what it cannot answer, the current version does
                fallen = mask & np.array([each is not None for each in problems])
                columns |= {"arm": ["current"] * count}
                _segment(log, CURRENT, (f"{name}b", begin), (columns, flights, where, scores, [None] * count), fallen)
        if labels:
            rows = pl.DataFrame(
                {
                    REQUEST: ids,
                    "row": [0] * count,
                    "key": pl.Series([None] * count, dtype=pl.String),
                    "outcome": outcomes,
                }
            ).with_columns(pl.lit(begin + timedelta(hours=1), store.INSTANT).alias(store.ARRIVED))
            store.write(log, store.About("late", "binary"), rows, begin)


def _chance(logits):
    return 1 / (1 + np.exp(-logits))


def _wrong(logits, where, fault):
    biased = logits + fault.bias * (np.ones(len(where), bool) if fault.only is None else where == fault.only)
    return np.where(where == fault.swapped, -biased, biased) if fault.swapped else biased


def _problems(random, count, fault):
    drawn = random.random(count)
    words = ((fault.failing, "failed: ValueError"), (fault.failing + fault.refusing, "refused: flight: is too large"))
    return [next((word for limit, word in words if each < limit), None) for each in drawn]


def _segment(log, version, when, content, mask):
    name, begin = when
    columns, flights, where, scores, problems = content
    keep = np.flatnonzero(mask)
    if not len(keep):
        return
    digest = hashlib.sha256(version.encode()).hexdigest()
    given = {key: [values[each] for each in keep] for key, values in columns.items()}
    scoring = given.pop(_SCORING)
    given |= {"row": [0] * len(keep), "version": [version] * len(keep), DIGEST: [digest] * len(keep)}
    given |= {"route": ["/v1/predict"] * len(keep)}
    texts = np.array(
        [(f"C{flight % 7}", where[each]) for each, flight in zip(keep, flights[keep], strict=True)], object
    )
    rows = ScoredRows(flights[keep, None].astype(float), texts, scores[keep, None])
    table = segments.table(Scorer(digest, version, _INPUTS, ["score"]), OPEN, given, rows)
    table = _rollout_columns(table, scoring, [problems[each] for each in keep])
    log.write(place.folder(version, digest, begin.timestamp()), f"part-{name}.parquet", table)


def _rollout_columns(table, scoring, problems):
    """Return a segment with the columns that a rollout adds, and without scores and inputs of rows with a problem."""
    unscored = np.array([each is not None for each in problems])
    score = pa.array(table["score"].to_numpy(), mask=unscored)
    struct = table["inputs"].combine_chunks()
    parts = [struct.field(place) for place in range(struct.type.num_fields)]
    inputs = pa.StructArray.from_arrays(parts, fields=list(struct.type), mask=pa.array(unscored))
    for name, column in {
        _SCORING: pa.array(scoring),
        "problem": pa.array(problems, pa.string()),
        "score": score,
        "inputs": inputs,
    }.items():
        known = table.schema.get_field_index(name)
        table = table.append_column(name, column) if known < 0 else table.set_column(known, name, column)
    return table


def step(kind="shadow", share=100, *, requests=1000, hours=6, last=False, wrongly=0.05, **rules):
    """Return a step of a rollout of three, or the last one."""
    own = {kind: share, "for": f"{hours}h", "requests": requests}
    others = [{"shadow": 100}, {"canary": 2}] if kind == "canary" else [{"canary": 5}, {"canary": 25}]
    steps = [*others, own] if kind == "canary" else [own, *others]
    if kind == "canary" and not last:
        steps = [others[0], own, {"canary": 99}]
    rollout = Rollout.model_validate({"key": KEY, "steps": steps, "rules": rules, "wrongly": wrongly})
    number = next(number for number, each in enumerate(rollout.steps) if (each.kind, each.share) == (kind, share))
    return Step("production", CANDIDATE, CURRENT, SINCE, rollout, number)


def verdict(folder, step, hours, *, labels=False):
    """Return the verdict on a log so many hours after the step began."""
    log, until = Place(str(folder)), SINCE + timedelta(hours=hours)
    reader = Reader(log, step, until, store.read(log) if labels else None)
    return judge.verdict(step, evidence.gather(reader), until, "binary")
