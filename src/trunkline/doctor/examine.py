"""Runs the checks side by side, each for a limited time: one that waits for others holds up no other."""

import time
from collections.abc import Mapping
from threading import Thread

from trunkline.core import errors
from trunkline.doctor import dvc, forge, git, log, mlflow, programs, python, signing
from trunkline.doctor.findings import PIPELINE, Check, Finding, Setup, fails, refused, works

LIMIT = 10.0  # seconds for all of them; where everything answers they take two or three

CHECKS: Mapping[str, Check] = {
    "git": git.check,
    "Python": python.check,
    "DVC": dvc.check,
    "MLflow": mlflow.check,
    "forge": forge.check,
    "signing": signing.check,
    "log": log.check,
    "programs": programs.check,
}
OF_A_PROJECT = ("DVC", "MLflow", "log")


def examine(setup: Setup) -> tuple[Finding, ...]:
    """Return what every check finds; outside of a project, what those find that need none."""
    if setup.is_project:
        return (works("project", str(setup.root)), *side_by_side(setup, CHECKS))
    anywhere = {name: check for name, check in CHECKS.items() if name not in OF_A_PROJECT}
    advice = "change to the root of a project; until then, only what needs none is looked at"
    missing = fails("project", f"there is no {PIPELINE} in {setup.root}", advice)
    return (missing, *side_by_side(setup, anywhere))


def side_by_side(setup: Setup, checks: Mapping[str, Check], limit: float = LIMIT) -> tuple[Finding, ...]:
    """Return what checks find within a time in seconds, in their order; one that has not ended by then fails."""
    runs = {name: _Run(check, setup) for name, check in checks.items()}
    end = time.monotonic() + limit
    for run in runs.values():
        run.start()
    findings: list[Finding] = []
    for name, run in runs.items():
        run.join(max(0.0, end - time.monotonic()))
        findings += run.findings
        if run.is_alive():
            advice = "see that what it asks is reachable from here, then run it again"
            findings.append(fails(name, f"no answer within {limit:.0f} s", advice))
        elif run.error is not None:
            explained = errors.explain(run.error)
            if explained is None:
                raise run.error
            findings.append(refused(name, explained, "run it again"))
    return tuple(findings)


class _Run(Thread):
    """A check that runs; the program may end before it does."""

    def __init__(self, check: Check, setup: Setup) -> None:
        super().__init__(daemon=True)
        self.check, self.setup = check, setup
        self.findings: list[Finding] = []
        self.error: Exception | None = None

    def run(self) -> None:
        try:
            for finding in self.check(self.setup):
                self.findings.append(finding)
        except Exception as error:  # is raised again where the findings are gathered
            self.error = error
