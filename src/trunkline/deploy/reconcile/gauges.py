"""What `trunkline reconcile` tells Prometheus: served, or as a text file for the node exporter."""

from collections.abc import Iterable
from pathlib import Path
from typing import get_args

from prometheus_client import CollectorRegistry, Counter, Gauge, generate_latest, start_http_server

from trunkline.core import files
from trunkline.core.errors import OutsideError
from trunkline.deploy.reconcile.state import Outcome, State


class Gauges:
    """The gauges of one process; an environment without news keeps its last values."""

    def __init__(self) -> None:
        self._registry = CollectorRegistry()
        self._state = self._gauge("trunkline_environment_state", "1 for the state it is in", "environment", "state")
        self._info = self._gauge(
            "trunkline_environment_info", "What an environment is to run", "environment", "declared", "actual"
        )
        self._arm = self._gauge(
            "trunkline_environment_arm_share",
            "Percentage that a delivered version answers, or as a shadow, scores",
            "environment",
            "arm",
            "version",
        )
        self._success = self._gauge(
            "trunkline_reconcile_last_success_timestamp_seconds", "When all that could be applied last was"
        )
        self._code = self._gauge("trunkline_reconcile_exit_code", "Of the last round, as the command line's")
        self._duration = self._gauge("trunkline_reconcile_duration_seconds", "Of the last round")
        self._actions = Counter("trunkline_reconcile_actions", "What was done", ["action"], registry=self._registry)

    def serve(self, port: int) -> None:
        """Answer scrapers on a port from now on; raises OutsideError for one that is taken."""
        try:
            start_http_server(port, registry=self._registry)
        except OSError as error:
            raise OutsideError(f"--metrics {port}: {error.strerror or error}") from None

    def write(self, path: Path) -> None:
        """Replace a text file that the node exporter reads."""
        files.write_text(path, generate_latest(self._registry).decode())

    def tell(self, outcomes: Iterable[Outcome], actions: Iterable[str], code: int, seconds: float, now: float) -> None:
        """Tell how a round ended; one that could not find out what is declared has no outcomes."""
        outcomes = tuple(outcomes)
        if outcomes:
            self._state.clear()
            self._info.clear()
            self._arm.clear()
        for outcome in outcomes:
            for state in get_args(State):
                self._state.labels(outcome.environment, state).set(state == outcome.state)
            self._info.labels(outcome.environment, outcome.declared, outcome.actual).set(1)
            for arm in outcome.arms:
                self._arm.labels(outcome.environment, arm.name, arm.version).set(arm.share)
        for action in actions:
            self._actions.labels(action).inc()
        self._code.set(code)
        self._duration.set(seconds)
        if code <= 1:
            self._success.set(now)

    def _gauge(self, name: str, text: str, *labels: str) -> Gauge:
        return Gauge(name, text, labels, registry=self._registry)
