"""The server of an environment, which follows what is delivered to it, and what its clients ask."""

import json
import time
import urllib.error
import urllib.request
from contextlib import contextmanager

from tests.releases import NAME, declare_trust
from tests.serving import serving


@contextmanager
def endpoint(store, environment, name=NAME, **served):
    """Yield the address where a process of its own serves an environment of a model, as declared."""
    project = declare_trust(store.with_name(f"{store.name}-{environment}"), name, **served)
    with serving("--env", environment, "--store", str(store), cwd=project) as server:
        yield server.address


def get(address):
    """What `GET /version` answers; None for nobody, {} for nothing that is served."""
    try:
        with urllib.request.urlopen(f"{address}/version", timeout=5) as answer:
            return json.load(answer)
    except urllib.error.HTTPError:
        return {}
    except OSError:
        return None


def predict(address, request):
    headers = {"Content-Type": "application/json"}
    call = urllib.request.Request(f"{address}/v1/predict", json.dumps(request).encode(), headers)
    with urllib.request.urlopen(call, timeout=5) as answer:
        return json.load(answer)


def until(is_so, seconds=30):
    end = time.monotonic() + seconds
    while not is_so():
        assert time.monotonic() < end, "it never came"
        time.sleep(0.02)
