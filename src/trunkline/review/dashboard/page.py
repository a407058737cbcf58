"""A dashboard as one HTML file, for a browser without a network: as a review's page, without pictures.

Its policy allows the two styles that are in it, by their hashes, and nothing else.
"""

import base64
import hashlib
import re
from collections.abc import Iterator
from datetime import UTC, datetime
from functools import cache
from typing import Any

from trunkline.conf.registry import LATEST
from trunkline.core.addresses import is_secret
from trunkline.core.errors import UserError
from trunkline.deploy.reconcile.state import NOTHING, Outcome
from trunkline.deploy.reconcile.status import Standing
from trunkline.monitor.report import Report, sentence
from trunkline.review import page
from trunkline.review.dashboard.data import Change, Changes, Dashboard, Environment, Failed
from trunkline.review.dashboard.troubles import Trouble, judged, troubles, unjudged
from trunkline.show.text import address

TEMPLATE, STYLES = "dashboard/page.html.j2", ("style.html.j2", "dashboard/style.html.j2")
MOST, FIRST = 50, 8  # changes, and troubles of the first lines, that are listed

_USER = re.compile(r"(://)[^\s/?#@\"<>]*@")  # and the password of an address
_PARAMETER = re.compile(r"([?&;]([\w-]+)=)[^\s&#\"<>]+")  # of a query; an ampersand ends with a semicolon here

_STATES = {"in-sync": ("good", "yes"), "progressing": ("warn", "not yet"), "degraded": ("bad", "no, degraded")}
_SEVERITIES = {"critical": "bad", "warning": "warn", "info": "none"}
_ANSWERS = {"go back": "bad", "?": "warn"}


def render(dashboard: Dashboard) -> str:
    """Return the page, without what is secret of an address in a message; equal dashboards give equal text."""
    wrong, changes = troubles(dashboard), dashboard.changes
    failed, (words, state) = isinstance(dashboard.environments, Failed), answer(dashboard, wrong)
    text = page.filled(
        TEMPLATE,
        {
            "dashboard": dashboard,
            "policy": f"{policy()}; base-uri 'none'; form-action 'none'",
            "answer": words,
            "state": state,
            "troubles": wrong[:FIRST],
            "others": max(0, len(wrong) - FIRST),
            "runs": _runs(dashboard),
            "as_of": _minute(dashboard.as_of),
            "failed": dashboard.environments if failed else None,
            "environments": [] if failed else list(_blocks(dashboard)),
            "changes": [_row(each) for each in changes.events[:MOST]] if isinstance(changes, Changes) else [],
            "log": changes,
            "since": f"{changes.since:%Y-%m-%d}" if isinstance(changes, Changes) else "",
            "more": max(0, len(changes.events) - MOST) if isinstance(changes, Changes) else 0,
        },
    )
    return _PARAMETER.sub(_hidden, _USER.sub(r"\1", text))


def _hidden(parameter: re.Match[str]) -> str:
    return f"{parameter[1]}…" if is_secret(parameter[2]) else parameter[0]


@cache
def policy() -> str:
    """Return the directives of a Content-Security-Policy under which the page shows as it should."""
    styles = " ".join(f"'sha256-{_hash(page.filled(name, {}))}'" for name in STYLES)
    return f"default-src 'none'; style-src {styles}; img-src data:"


def _hash(style: str) -> str:
    content = style.partition("<style>")[2].rpartition("</style>")[0]
    return base64.b64encode(hashlib.sha256(content.encode()).digest()).decode()


def answer(dashboard: Dashboard, wrong: tuple[Trouble, ...]) -> tuple[str, str]:
    """Say whether everything is in order, and how that looks; what is not known is not in order, nor is nothing."""
    if wrong:
        words = "Not everything is known" if wrong[0].level == "unknown" else "Not everything is in order"
        return words, "blocked" if wrong[0].level == "bad" else "stale"
    environments = () if isinstance(dashboard.environments, Failed) else dashboard.environments
    runs = any(each.standing.outcome.version != NOTHING for each in environments)
    return ("Everything is in order", "free") if runs else ("Nothing runs", "stale")


def _runs(dashboard: Dashboard) -> str:
    """Say which version each environment runs."""
    if isinstance(dashboard.environments, Failed):
        return ""
    outcomes = (each.standing.outcome for each in dashboard.environments)
    return ", ".join(f"{each.environment} {_runs_now(each)}" for each in outcomes)


def _runs_now(outcome: Outcome) -> str:
    """Say what is delivered to an environment, and what it is to run where that is another version."""
    both = dict.fromkeys((_version(outcome.actual), _version(outcome.version)))
    return " → ".join(both)


def _blocks(dashboard: Dashboard) -> Iterator[dict[str, Any]]:
    events = () if isinstance(dashboard.changes, Failed) else dashboard.changes.events
    urls = {each.pull_request: url for each in events if each.pull_request and (url := _url(each.url))}
    for environment in dashboard.environments if not isinstance(dashboard.environments, Failed) else ():
        standing = environment.standing
        outcome, rollout = standing.outcome, environment.rollout
        yield {
            "name": outcome.environment,
            "version": _runs_now(outcome),
            "follows": outcome.declared == LATEST,
            "since": _minute(datetime.fromisoformat(standing.since)) if standing.since else "",
            "author": standing.author,
            "pull_request": standing.pull_request,
            "url": urls.get(standing.pull_request or ""),
            "sync": {"is": _STATES[outcome.state], "why": outcome.why},
            "places": _places(standing),
            "health": _health(environment),
            "rollout": standing.rollout and str(standing.rollout),
            "verdict": rollout and {"look": _ANSWERS.get(rollout.answer, "none"), "is": rollout},
            "held": standing.held,
        }


def _url(url: str | None) -> str | None:
    """Return an address that may stand in a link; None for another text."""
    try:
        return address(url) if url else None
    except UserError:
        return None


def _places(standing: Standing) -> str:
    """Say what MLflow, the servers' folder and the servers say that it runs."""
    said = [("MLflow", standing.alias), ("delivered", standing.delivered)]
    served = ", ".join(sorted({version for _, version in standing.endpoints}))
    return ", ".join(f"{where} {_version(what)}" for where, what in [*said, ("served", served)] if what)


def _version(said: str) -> str:
    """Return a version such as v3 as people read it, null as nothing."""
    return re.sub(rf"\b{NOTHING}\b", "nothing", said)


def _health(environment: Environment) -> dict[str, Any] | None:
    watched = environment.watched
    if watched is None:
        return None
    if isinstance(watched, Failed):
        return {"look": "warn", "word": "not known", "alerts": [], "text": watched.reason, "unmeasured": ()}
    why = unjudged(watched)
    look = _SEVERITIES[watched.active[0].severity] if watched.active else "warn" if why else "good"
    return {
        "look": look,
        "word": "not known" if why and not watched.active else watched.answer,
        "alerts": [{"look": _SEVERITIES[each.severity], "text": sentence(each)} for each in watched.active],
        "text": why or _read(watched),
        "unmeasured": watched.unmeasured if watched.windows else (),
    }


def _read(watched: Report) -> str:
    past = len(watched.alerts) - len(watched.active)
    ended = f"; {past} {'alert has' if past == 1 else 'alerts have'} ended" if past else ""
    count = f"{watched.windows} {'window' if watched.windows == 1 else 'windows'} with rows"
    rules = f"{judged(watched)} of {len(watched.standings)} rules can be judged"
    return f"{count} since {watched.watched.since:%Y-%m-%d}; {rules}{ended}"


def _row(change: Change) -> dict[str, Any]:
    return {
        "when": _minute(change.when),
        "kind": change.kind,
        "look": "bad" if change.broken else "none",
        "where": ", ".join(change.environments),
        "move": change.after if change.kind == "release" else f"{change.before} → {change.after}",
        "asked": change.asked,
        "approved": _approved(change),
        "pull_request": change.pull_request,
        "url": _url(change.url),
        "how": change.how,
    }


def _approved(change: Change) -> str:
    if change.pull_request is None:
        return ""
    return "not known here" if change.approved is None else ", ".join(change.approved) or "nobody"


def _minute(moment: datetime) -> str:
    return f"{moment.astimezone(UTC):%Y-%m-%d %H:%M}"
