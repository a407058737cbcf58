"""What the page says of the days that were lived for real, from the files that they left in the state folder."""

from collections.abc import Iterator, Mapping, Sequence
from datetime import date
from typing import Any

Day = tuple[date, Mapping[str, Any]]


def text(days: Sequence[Day]) -> str:
    """Return what happened in Markdown: how much, which alerts and since when, and each retraining."""
    if not days:
        return ""
    asked, logged, refused = (sum(each["counts"][name] for _, each in days) for name in ("asked", "logged", "refused"))
    learnt = (
        "and `trunkline retrain --local --run`"
        if any(each["retraining"] for _, each in days)
        else "and not yet a retraining"
    )
    lines = [
        f"The days from {days[0][0]} to {days[-1][0]} were lived for real: commits, signed releases, merges,",
        "`trunkline serve` with online features and a log, outcomes a day later, the monitor at the end of each day,",
        f"{learnt}. {asked:,} flights were asked for, {logged:,} rows logged; {refused:,}",
        "events were refused by the contract. The server's clock is the machine's: each row of the log has been given",
        "the time of its prediction since. A pull request is a branch, merged by the verdict of the gates alone.",
        "",
        "| day | what |",
        "|---|---|",
        *(f"| {day} | {what} |" for day, what in _events(days)),
    ]
    return "\n".join(lines)


def _events(days: Sequence[Day]) -> Iterator[tuple[date, str]]:
    """Yield what is new on each day: alerts that were not going on the day before, or asked for less; retrainings."""
    before: set[tuple[str, ...]] = set()
    for day, content in days:
        alerts = {(each["rule"], each["subject"], each["then"]): each for each in content["alerts"]}
        for key, each in alerts.items():
            if key not in before:
                also = f", with {', '.join(each['with'])}" if each["with"] else ""
                upstream = "; upstream: nothing is learnt" if each["upstream"] else ""
                yield day, f"alert: {each['rule']} of {each['subject']}{also}: {each['then']}{upstream}"
        before = set(alerts)
        if content["retraining"]:
            yield day, _retraining(content["retraining"])


def _retraining(act: Mapping[str, Any]) -> str:
    became = act.get("became")
    if became == "released":
        return f"retrained: {act['title']}; the gates pass, released as {act['version']}, in production"
    if became == "refused":
        return f"retrained: {act['title']}; the gates refuse it: {'; '.join(act['gates'])}"
    return f"no retraining: {act.get('reason') or act.get('step')}"
