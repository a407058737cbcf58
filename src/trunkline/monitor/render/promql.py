"""Pieces of PromQL that rules and the dashboard share, and the names that the server gives what it counts."""

import json
from datetime import timedelta

SERVER = ("environment", "job", "instance")  # the labels that tell servers apart; Prometheus gives them
TOPIC = (*SERVER, "topic")  # and those that tell the topics of `trunkline stream` apart
SCORING = "/v1/predict|/v1/events|/invocations|/v2/infer|grpc/ModelInfer"  # the routes that clients wait for
_REFUSED = "400|413|415|422"


def duration(value: timedelta) -> str:
    """Write a duration as Prometheus and Alertmanager read it, in its largest whole unit."""
    seconds = int(value.total_seconds())
    unit, size = next((u, s) for u, s in (("d", 86400), ("h", 3600), ("m", 60), ("s", 1)) if seconds % s == 0)
    return f"{seconds // size}{unit}"


def quoted(text: str) -> str:
    """Write a text as PromQL and matchers of Alertmanager read it."""
    return json.dumps(text, ensure_ascii=False)


def selector(metric: str, *matchers: str) -> str:
    """Select the series of a metric that meet all matchers."""
    matchers = tuple(filter(None, matchers))
    return f"{metric}{{{','.join(matchers)}}}" if matchers else metric


def rate(metric: str, over: str, by: tuple[str, ...], *matchers: str) -> str:
    """Return how much a counter grows a second, summed by labels."""
    return f"sum by ({', '.join(by)}) (rate({selector(metric, *matchers)}[{over}]))"


def increase(metric: str, over: str, by: tuple[str, ...], *matchers: str) -> str:
    """Return how much a counter has grown within a time, summed by labels."""
    return f"sum by ({', '.join(by)}) (increase({selector(metric, *matchers)}[{over}]))"


def requests(over: str, by: tuple[str, ...], *matchers: str) -> str:
    """Return the requests a second that are to be scored, or to be kept."""
    return rate("trunkline_requests_total", over, by, f'route=~"{SCORING}"', *matchers)


def waiting(over: str, by: tuple[str, ...], *matchers: str) -> str:
    """Return the seconds that a message waits in its topic: how many wait, by how many are done a second.

    That is Little's law; infinite where messages wait and none is done.
    """
    done = rate("trunkline_stream_messages_total", over, by, *matchers)
    return f"sum by ({', '.join(by)}) ({selector('trunkline_stream_lag', *matchers)}) / {done}"


def quantile(share: str, over: str, by: tuple[str, ...], *matchers: str) -> str:
    """Return a quantile of the requests' times, in seconds."""
    buckets = rate("trunkline_request_seconds_bucket", over, (*by, "le"), f'route=~"{SCORING}"', *matchers)
    return f"histogram_quantile({share}, {buckets})"


FAILED = 'status=~"5..",status!="501"'  # 501 is a client that asks for what there is not
REFUSED = f'status=~"{_REFUSED}"'
DEAD = 'outcome="dead"'
