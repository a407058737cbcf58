"""Dashboards as `trunkline dashboard` reads them: in order, with all that can be wrong, and with nothing known."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

from tests.monitor import tables
from trunkline.conf.monitoring import Monitoring
from trunkline.deploy.reconcile.state import Outcome
from trunkline.deploy.reconcile.status import RolloutStanding, Standing
from trunkline.monitor import table
from trunkline.monitor.measure import Measured
from trunkline.monitor.report import Report, Watched
from trunkline.review.dashboard.data import Change, Changes, Dashboard, Environment, Failed, RolloutAnswer

AS_OF = datetime(2026, 3, 31, 9, 30, tzinfo=UTC)
URL = "https://forge.example/org/flights/pull/{}"


def report(values, unmeasured=(), **given):
    """What the monitor says of days with these values of a feature's PSI, None for a day without any."""
    rows = tables.of(tables.days(values, **given))
    counts = (table.of([]) for _ in range(2))
    watched = Watched("production", "v4", "1f" * 32, tables.BEGIN, AS_OF)
    return Report(watched, Monitoring.parse({}), Measured(rows, *counts, unmeasured), "roc_auc")


def standing(environment, version="v4", state="in-sync", why=(), actual=None, **given):
    """Where an environment stands that is to run a version, and has another one where `actual` says so."""
    actual = actual or version
    outcome = Outcome(environment, given.pop("declared", version), version, actual, state, why, 0)
    said = {"author": "ada", "pull_request": "#8", "since": "2026-03-20T09:15:00+01:00"} | given
    return Standing(outcome, actual, actual, (("http://127.0.0.1:8080", actual),), **said)


def change(number, kind="promotion", before="v3", after="v4", **given):
    when = AS_OF - timedelta(days=number)
    how = "merged by grace, signed by release, gates: pass"
    said = {
        "approved": ("grace",),
        "pull_request": f"#{number}",
        "url": URL.format(number),
        "how": how,
        "broken": False,
    }
    return Change(when, kind, ("production",), before, after, "ada", **said | given)


QUIET = report([0.02] * 20)
PASSED = (
    change(8),
    replace(change(11, "release", "nothing", "v4"), environments=("staging",), approved=("grace", "bob")),
    change(20, "rollback", "v2", "v3", approved=()),
    change(21, "promotion", "nothing", "v2", approved=None, url=None),
)
IN_ORDER = Dashboard(
    "flight-delay",
    "main",
    AS_OF,
    (
        Environment(standing("production"), watched=QUIET),
        Environment(standing("staging", declared="latest", pull_request="#11"), watched=QUIET),
        Environment(standing("trial", "null", author=None, pull_request=None, since=None)),
    ),
    Changes(datetime(2026, 1, 1, tzinfo=UTC), PASSED),
)
CANARY = RolloutStanding("canary", "v5", 5.0, 2, 3, True, "2026-03-30T08:00:00+00:00", "ada", "#9")
TRIED = standing("production", rollout=CANARY, held=("v3",))
WRONG = replace(
    IN_ORDER,
    environments=(
        Environment(
            TRIED,
            RolloutAnswer("go back", "the log loss of v5 is worse by 0.02 (0.01 to 0.03)"),
            report([0.02] * 15 + [0.6] * 5, ("distance: is hidden in the log",)),
        ),
        Environment(
            standing("staging", "v5", "degraded", ("https://staging.example: does not answer: timed out",)),
            watched=report([]),
        ),
        Environment(
            standing("trial", "v5", "progressing", ("would deliver flight-delay@v5 to trial",), "v4"),
            watched=Failed("s3://logs: cannot be read: access denied"),
        ),
    ),
    changes=replace(
        IN_ORDER.changes,
        events=(
            change(1, "rollout", "v4", "{version: v4, canary: {version: v5, share: 5}}", url=None),
            replace(change(3), broken=True, pull_request=None, url=None, approved=None, how="no pull request"),
            *PASSED,
        ),
        violations=("production: v3 → v4: reached the trunk without a pull request: a direct push",),
        unknown=("the forge could not be asked: timed out",),
    ),
)
UNKNOWN = replace(
    IN_ORDER,
    environments=Failed("git fetch origin failed: could not resolve host"),
    changes=Failed("this clone does not hold the trunk"),
)


def hostile(words):
    """A dashboard all of whose texts of others are these words."""
    odd = standing("production", why=(words,), state="degraded", author=words, pull_request=words, held=(words,))
    watched = report([0.6] * 20, (words,), subject=words)
    said = Change(AS_OF, words, (words,), words, words, words, (words,), words, words, words, True)
    return Dashboard(
        words,
        words,
        AS_OF,
        (
            Environment(odd, RolloutAnswer("go back", words), watched),
            Environment(standing("staging", words), watched=Failed(words)),
        ),
        Changes(tables.BEGIN, (said,), (words,), (words,)),
    )
