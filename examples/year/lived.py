"""What the page says of the days that were lived for real, from the files that they left in the state folder."""

from collections.abc import Iterator, Mapping, Sequence
from datetime import date
from pathlib import Path
from typing import Any

from examples.year.plan import Story

Day = tuple[date, Mapping[str, Any]]
Pull = tuple[str, str]  # a file and its title
CALLED = {"rollout": "trunkline rollout --act", "retraining": "trunkline retrain --local --run"}
SMALL = " with all that is planted, but by a small model, `experiment: small`"


def text(days: Sequence[Day], story: Story, pulls: Sequence[Pull] = ()) -> str:
    """Return what happened in Markdown: how much, which alerts and since when, and what changed the trunk."""
    if not days:
        return ""
    asked, logged, refused = (sum(each["counts"][name] for _, each in days) for name in ("asked", "logged", "refused"))
    called = [f"`{verb}`" for what, verb in CALLED.items() if any(each[what] for _, each in days)]
    share = f", one of {story.share}" if story.share > 1 else ""
    lines = [
        f"The days from {days[0][0]} to {days[-1][0]} were lived for real{SMALL if story.small else ''}:",
        "commits, signed releases, merges,",
        "`trunkline serve` with online features and a log, outcomes a day later, the monitor at the end of each day,",
        f"{', '.join(called) or 'and nothing to learn anew'}. {asked:,} flights were asked for{share}, {logged:,} rows",
        f"logged, those of a shadow included; {refused:,} events were refused by the contract.",
        "",
        "| day | what |",
        "|---|---|",
        *(f"| {day} | {what} |" for day, what in _events(days)),
    ]
    if pulls:
        lines += ["", "The texts of the pull requests, in the folder `pulls` of the state:", ""]
        lines += [f"- `{name}`: {title}" for name, title in pulls]
    return "\n".join(lines)


def pulls(state: Path) -> list[Pull]:
    """Return the name and the title of each pull request whose text a state folder keeps, in order."""
    paths = sorted((state / "pulls").glob("*.md"))
    return [(path.name, path.read_text(encoding="utf-8").partition("\n")[0].removeprefix("# ")) for path in paths]


def _events(days: Sequence[Day]) -> Iterator[tuple[date, str]]:
    """Yield what is new on each day: alerts that were not going on the day before, or asked for less; then changes.

    An alert of which no more comes than an issue is left out, unless what the model is given is broken.
    """
    before: set[tuple[str, ...]] = set()
    said = ""
    for day, content in days:
        alerts = {(each["rule"], each["subject"], each["then"]): each for each in content["alerts"]}
        new = [each for key, each in alerts.items() if key not in before]
        yield from ((day, _alert(each)) for each in new if each["upstream"] or each["then"] == "retrain")
        before = set(alerts)
        if content["rollout"]:
            yield day, _rollout(content["rollout"])
        if content["retraining"] and _retraining(content["retraining"]) != said:
            said = _retraining(content["retraining"])
            yield day, said
        if content["challenger"]:
            yield day, _challenger(content["challenger"])


def _alert(each: Mapping[str, Any]) -> str:
    also = f", with {', '.join(each['with'])}" if each["with"] else ""
    upstream = "; upstream: nothing is learnt" if each["upstream"] else ""
    return f"alert: {each['rule']} of {each['subject']}{also}: {each['then']}{upstream}"


def _rollout(act: Mapping[str, Any]) -> str:
    share = "" if act["kind"] == "shadow" else f" of {act['share']:g} %"
    step = f"{act['candidate']} as {act['kind']}{share} beside {act['current']}, {act['rows']:,} rows"
    return f"rollout: {step}: {act['answer']} ({'; '.join(act['reasons'])}); production: `{act['declared']}`"


def _retraining(act: Mapping[str, Any]) -> str:
    became = act.get("became")
    if became == "released":
        return f"retrained: {act['title']}; the gates pass, merged, released as {act['version']}, its rollout begins"
    if became == "refused":
        return f"retrained: {act['title']}; the gates refuse it: {'; '.join(act['gates'])}"
    if act["what"] == "refused":
        return f"`trunkline retrain` refuses, exit code 1: {act['reason']}"
    return f"no retraining: {act.get('reason') or act.get('step')}"


def _challenger(act: Mapping[str, Any]) -> str:
    verdict = "is not merged" if act["verdict"] != "pass" else "passes them, though it should not"
    return f"a person proposes {act['title']}; by the gates it {verdict}: {'; '.join(act['gates'])}"
