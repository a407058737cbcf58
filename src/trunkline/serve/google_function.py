"""What Google's functions framework calls: of(FOLDER), with a request of Flask."""

from collections.abc import Callable
from functools import cache
from pathlib import Path
from threading import Lock
from typing import Any

from trunkline.serve.function import Function

Handler = Callable[[Any], tuple[bytes, int, dict[str, str]]]


def of(root: Path) -> Handler:
    """Return what answers requests by the bundle of a folder, one at a time, whatever threads ask.

    The model is loaded by the first request: the framework imports it in a process, and answers in its children.
    """
    turn = Lock()
    loaded = cache(Function.of)

    def handler(request: Any) -> tuple[bytes, int, dict[str, str]]:
        query, body = request.query_string.decode("latin-1"), request.get_data()
        with turn:
            answer = loaded(root).answer(request.method, request.path, query, dict(request.headers), body)
        return answer.body, answer.status, dict(answer.headers)

    return handler
