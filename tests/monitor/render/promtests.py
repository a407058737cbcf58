"""Rule tests of promtool, made of what programs showed Prometheus before and after something happened to them."""

import json
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from prometheus_client.parser import text_string_to_metric_families

MINUTES = 30  # of a test; what happened between two scrapes happens every minute
SERVER = {"environment": "production", "job": "trunkline", "instance": "flights:8080"}
Samples = dict[tuple[str, tuple[tuple[str, str], ...]], tuple[str, float]]


@dataclass(frozen=True)
class Happened:
    """What was scraped before and after something, and the alerts that there have to be of it, without their prefix."""

    before: str
    after: str
    alerts: frozenset[str]
    target: Mapping[str, str]
    up: int | None = 1
    at: float = field(default_factory=time.time)  # when it was scraped


def samples(text: str) -> Samples:
    """Return the samples of a text by name and labels, each with its kind."""
    return {
        (sample.name, tuple(sorted(sample.labels.items()))): (family.type, sample.value)
        for family in text_string_to_metric_families(text)
        for sample in family.samples
        if not sample.name.endswith("_created")
    }


def case(happened: Happened) -> dict[str, Any]:
    """Return a test of promtool: exactly these alerts fire at its end."""
    expected = [
        {"labels": f'{{alertname="Trunkline{name}"}}', "value": 1} for name in sorted(happened.alerts)
    ]  # fmt: skip
    query = 'group by (alertname) (ALERTS{alertstate="firing"})'
    return {
        "interval": "1m",
        "input_series": list(_series(happened)),
        "promql_expr_test": [{"expr": query, "eval_time": f"{MINUTES}m", "exp_samples": expected}],
    }


def _series(happened: Happened) -> Iterator[dict[str, str]]:
    before = samples(happened.before)
    for (name, labels), (kind, value) in samples(happened.after).items():
        if kind in ("counter", "histogram"):
            first = before.get((name, labels), (kind, 0.0))[1]
            values = f"{first!r}+{value - first!r}x{MINUTES}"
        else:  # promtool's clock begins in 1970: a moment is as far from its end as it was from when it was scraped
            moment = value - happened.at + 60 * MINUTES if name.endswith("_timestamp_seconds") else value
            values = f"{moment!r}+0x{MINUTES}"
        yield {"series": _written(name, dict(happened.target) | dict(labels)), "values": values}
    if happened.up is not None:
        yield {"series": _written("up", SERVER), "values": f"{happened.up}+0x{MINUTES}"}


def _written(name: str, labels: Mapping[str, str]) -> str:
    return f"{name}{{{','.join(f'{label}={json.dumps(value)}' for label, value in labels.items())}}}"
