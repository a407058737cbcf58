"""Threads that the end of the process does not wait for: what hangs in one keeps no server from ending."""

import threading
from collections.abc import Callable
from concurrent.futures import Executor, Future
from functools import partial
from queue import SimpleQueue
from typing import Any


class Daemons(Executor):
    """At most so many daemon threads, each started when none is idle; ThreadPoolExecutor's are waited for at exit."""

    def __init__(self, most: int, name: str) -> None:
        """Begin with none."""
        self._most, self._name = most, name
        self._waiting: SimpleQueue[tuple[Future[Any], Callable[[], Any]]] = SimpleQueue()
        self._idle, self._lock, self._count = threading.Semaphore(0), threading.Lock(), 0

    def submit(self, work: Callable[..., Any], /, *arguments: Any, **named: Any) -> "Future[Any]":
        """Have a call done; return its result to come."""
        future: Future[Any] = Future()
        self._waiting.put((future, partial(work, *arguments, **named)))
        with self._lock:
            if not self._idle.acquire(blocking=False) and self._count < self._most:
                threading.Thread(target=self._follow, name=f"{self._name} {self._count}", daemon=True).start()
                self._count += 1
        return future

    def _follow(self) -> None:
        while True:
            future, work = self._waiting.get()
            if future.set_running_or_notify_cancel():
                try:
                    future.set_result(work())
                except BaseException as error:  # whatever it is belongs to who asked
                    future.set_exception(error)
            del future, work  # what was asked is not kept until the next comes
            self._idle.release()
