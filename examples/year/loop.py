"""The managed strategy for real: commits, signed releases, merges, the server, its log, the monitor, day by day.

Each day that is over is a file in the state folder. A run that was killed puts the trunk, the tags and the log back to
what they were when the day began, and lives that day again; the store of online features takes an event twice as once.
"""

import json
import shutil
from collections.abc import Iterator, Mapping
from contextlib import chdir
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from functools import cached_property
from pathlib import Path
from typing import Any

from examples.year import production, setting
from examples.year.plan import EVERY, MATURES, START
from examples.year.production import Production, Source
from examples.year.setting import World
from trunkline.cli import watching
from trunkline.conf.data import Data
from trunkline.core import files
from trunkline.core.params import Params
from trunkline.core.values import midnight
from trunkline.monitor.report import Report
from trunkline.serve.online.store.open import open_store

ZONE = "America/New_York"
DAY = timedelta(days=1)
LEAD = timedelta(hours=2)
LABELLED = timedelta(days=1)  # conf/data: an outcome is known a day after its flight
REMEMBERED = timedelta(days=15)  # of events: no view of conf/features looks back farther
LOG = "days"  # of the project: the log at the times of its predictions


@dataclass(frozen=True)
class Life:
    """A year that is lived: its world, what has happened in `state`, and what is pushed and asked."""

    world: World
    state: Path

    @cached_property
    def source(self) -> Source:
        """The tables of this repository: those that the first pipeline has validated."""
        return Source(self.world.project / "data/valid")


def live(state: Path, first: date, last: date) -> Iterator[tuple[date, Mapping[str, Any]]]:
    """Live the days from `first` up to, not including, `last`; yield each with what happened, also those of before."""
    life = Life(World(state / "world"), state)
    if not (state / "ready.json").is_file():
        _begin(life)
    day = first
    while day < last and _done(life, day).is_file():
        yield day, files.parse_json(_done(life, day).read_text(encoding="utf-8"))
        day += DAY
    if day < last:
        _put_back(life, day)
        with production.running(life.world, life.source, day) as server:
            while day < last:
                yield day, _lived(life, server, day)
                day += DAY


def lived(state: Path) -> list[tuple[date, Mapping[str, Any]]]:
    """Return the days that are over, in order, with what happened on them."""
    paths = sorted((state / "days").glob("*.json"))
    return [(date.fromisoformat(path.stem), files.parse_json(path.read_text(encoding="utf-8"))) for path in paths]


def _begin(life: Life) -> None:
    """Make the world anew, run the pipeline, release the first version and have production run it."""
    shutil.rmtree(life.state, ignore_errors=True)
    day = START - DAY
    setting.create(life.world.root, day)
    life.world.run("dvc", "repro", day=day)
    life.world.run("trunkline", "gate", day=day)
    life.world.commit("The first model", day)
    life.world.run("git", "push", "--quiet", "--set-upstream", "origin", "main", day=day)
    _release(life, "v1", day)
    life.world.run("trunkline", "materialize", "--until", str(START), day=day)
    files.write_json(life.state / "ready.json", {"version": "v1"})


def _release(life: Life, version: str, day: date) -> None:
    """Sign what the trunk has as a version, have production run it by a merge, and deliver it to the server."""
    run = life.world.run
    run("trunkline", "release", day=day)
    run("trunkline", "promote", version, "--to", "production", "--local", day=day)
    life.world.merge(f"promote/production-{version}", f"Promote {version} to production", day)
    run("trunkline", "reconcile", day=day)


def _lived(life: Life, server: Production, day: date) -> dict[str, Any]:
    files.write_json(life.state / "before" / f"{day}.json", _trunk(life, day))
    counts = server.live(day)
    _forget(life, day)
    _import_outcomes(life, day)
    report = look(life, day)
    told = [_alert(each) for each in report.alerts if each.active]
    act = _retrain(life, day) if _asked(life, report, day) else None
    if act and act.get("version"):
        server.serves(act["version"])
    content = {"counts": counts, "alerts": told, "retraining": act}
    files.write_json(_done(life, day), content)
    return content


def look(life: Life, day: date) -> Report:
    """Return what the monitor says at the end of a day."""
    with chdir(life.world.project):
        params = Params.read()
        of = watching.running(params, "production", life.state / "aside")
        return watching.report(params, of, "production", LOG, _end(day))


def _import_outcomes(life: Life, day: date) -> None:
    """Import the outcomes that are known by the end of a day: those of the day before, each a day after its flight."""
    flights = life.source.on("flights", day - LABELLED)
    path = life.state / "outcomes.parquet"
    flights.write_parquet(path)
    if day > START:
        life.world.run("trunkline", "labels", "import", str(path.absolute()), "--log", LOG, day=day)


def _asked(life: Life, report: Report, day: date) -> bool:
    """Tell whether an alert asks for a retraining, or the schedule does; an upstream that is broken forbids it."""
    going_on = [each for each in report.alerts if each.active]
    if any(each.upstream for each in going_on):
        return False
    declared = Params.read(life.world.project).group(Data).window
    assert declared is not None  # noqa: S101  flights have a time
    later = day + DAY - MATURES - declared.holdout.end
    return any(each.then == "retrain" for each in going_on) or later >= EVERY


def _retrain(life: Life, day: date) -> dict[str, Any]:
    """Have `trunkline retrain` propose newer windows, run the pipeline on its branch, and merge what the gates pass."""
    run, branch = life.world.run, "retrain/flight-delay"
    asked = ("--local", "--run", "--json", "--log", LOG, "--as-of", f"{_end(day):%Y-%m-%dT%H:%M}")
    said: dict[str, Any] = json.loads(run("trunkline", "retrain", *asked, day=day))
    if said["what"] == "nothing" or said.get("step") == "left closed":
        return said
    gates = json.loads(run("git", "show", f"{branch}:reports/gates.json", day=day))
    outcome = said | {"verdict": gates["verdict"], "gates": _failed(gates)}
    if gates["verdict"] != "pass":
        return outcome | {"became": "refused"}
    life.world.merge(branch, f"Merge: {said['title']}", day)
    run("git", "branch", "--delete", "--force", branch, day=day)
    run("dvc", "checkout", "--quiet", day=day)
    version = f"v{int(_newest(life, day)) + 1}"
    _release(life, version, day)
    return outcome | {"became": "released", "version": version}


def _newest(life: Life, day: date) -> str:
    """Return the number of the newest version."""
    tags = life.world.run("git", "tag", "--list", "flight-delay@v*", day=day).split()
    return str(max(int(tag.partition("@v")[2]) for tag in tags if "." not in tag))


def _failed(gates: Mapping[str, Any]) -> list[str]:
    return [each["reason"] for each in gates["gates"] if each["blocking"] and each["verdict"] != "pass"]


def _alert(alert: Any) -> dict[str, Any]:
    cause = alert.cause
    about = {"rule": cause.name, "subject": cause.subject, "where": cause.where, "since": str(cause.since)}
    follows = {"then": alert.then, "upstream": alert.upstream, "value": cause.value}
    return about | follows | {"with": sorted({each.name for each in alert.consequences})}


def _forget(life: Life, day: date) -> None:
    """Drop events that no prediction can see any more, as serving.online.keep does where the clock is right."""
    store = open_store(str(setting.ONLINE["store"]), {}, life.world.project)
    oldest = midnight(day, ZONE) - REMEMBERED
    store.expire(int(oldest.replace(tzinfo=UTC).timestamp() * 1_000_000))
    store.close()


def _trunk(life: Life, day: date) -> dict[str, Any]:
    run = life.world.run
    return {"trunk": run("git", "rev-parse", "main", day=day).strip(), "tags": run("git", "tag", day=day).split()}


def _put_back(life: Life, day: date) -> None:
    """Put the trunk, the tags and the log back to what they were when a day began, if it had begun."""
    path, run = life.state / "before" / f"{day}.json", life.world.run
    if not path.is_file():
        return
    before = files.parse_json(path.read_text(encoding="utf-8"))
    run("git", "checkout", "--quiet", "--force", "main", day=day)
    run("git", "reset", "--quiet", "--hard", before["trunk"], day=day)
    for branch in set(run("git", "branch", "--format=%(refname:short)", day=day).split()) - {"main"}:
        run("git", "branch", "--quiet", "--delete", "--force", branch, day=day)
    run("git", "push", "--quiet", "--force", "origin", "main", day=day)
    for tag in set(run("git", "tag", day=day).split()) - set(before["tags"]):
        run("git", "tag", "--delete", tag, day=day)
        run("git", "push", "--quiet", "--delete", "origin", tag, day=day)
    run("trunkline", "reconcile", day=day, codes=(0, 1))
    shutil.rmtree(life.world.project / "log", ignore_errors=True)
    start, end = (midnight(each, ZONE) - LEAD for each in (day, day + DAY))
    for hour in (life.world.project / LOG).glob("*/*T*"):
        if start <= datetime.strptime(hour.name, "%Y-%m-%dT%H") < end:
            shutil.rmtree(hour)


def _end(day: date) -> datetime:
    return midnight(day + DAY, ZONE).replace(tzinfo=UTC)


def _done(life: Life, day: date) -> Path:
    return life.state / "days" / f"{day}.json"
