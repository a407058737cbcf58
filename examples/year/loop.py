"""The managed strategy for real: commits, signed releases, merges, the server, its log, the monitor, day by day.

Each day that is over is a file in the state folder. A run that was killed puts the trunk, its branches and tags, and
the log back to what they were when the day began, and lives that day again; the store of online features takes an event
twice as once.
"""

import shutil
from collections.abc import Iterator, Mapping
from contextlib import chdir
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from functools import cached_property
from pathlib import Path
from typing import Any

from examples.year import production, setting
from examples.year.changes import Trunk
from examples.year.plan import HOLDOUT, MATURES, Story
from examples.year.production import Production, Source
from examples.year.setting import DAY, LOG, ZONE, World
from trunkline.cli import watching
from trunkline.conf.data import Data
from trunkline.core import files
from trunkline.core.params import Params
from trunkline.core.tables import parquet
from trunkline.core.values import midnight
from trunkline.monitor.report import Report
from trunkline.serve.online.store.open import open_store
from trunkline.serve.prediction_log.place import Place

LEAD = timedelta(hours=2)
LABELLED = timedelta(days=1)  # conf/data: an outcome is known a day after its flight
LOGGED = timedelta(days=17)  # of the log: the monitor reads setting.READ of it, outcomes are of the day before
REMEMBERED = timedelta(days=15)  # of events: no view of conf/features looks back farther


@dataclass(frozen=True)
class Life:
    """A story that is lived: its world, what has happened in `state`, and what is pushed and asked."""

    story: Story
    world: World
    state: Path

    @cached_property
    def source(self) -> Source:
        """The tables of this repository: those that the first pipeline has validated."""
        return Source(self.world.project / "data/valid", self.story)

    @cached_property
    def trunk(self) -> Trunk:
        """What changes what runs."""
        return Trunk(self.world, self.state / "pulls")


def live(state: Path, story: Story) -> Iterator[tuple[date, Mapping[str, Any]]]:
    """Live the days of a story; yield each with what happened, also those of before."""
    life = Life(story, World(state / "world"), state)
    begin(life)
    day = story.start
    while day < story.end and _done(life, day).is_file():
        yield day, files.parse_json(_done(life, day).read_text(encoding="utf-8"))
        day += DAY
    if day < story.end:
        _put_back(life, day)
        with production.running(life.world, life.source, day) as server:
            server.shows(life.trunk.declared)
            while day < story.end:
                yield day, _lived(life, server, day)
                day += DAY


def lived(state: Path) -> list[tuple[date, Mapping[str, Any]]]:
    """Return the days that are over, in order, with what happened on them."""
    paths = sorted((state / "days").glob("*.json"))
    return [(date.fromisoformat(path.stem), files.parse_json(path.read_text(encoding="utf-8"))) for path in paths]


def begin(life: Life) -> None:
    """Make the world, run the pipeline, release the first version and have production run it, unless that is done."""
    if (life.state / "ready.json").is_file():
        return
    shutil.rmtree(life.state, ignore_errors=True)
    day = life.story.start - DAY
    setting.create(life.world.root, life.story)
    life.world.run("dvc", "repro", day=day)
    life.world.verb("gate", day=day)
    life.world.commit("The first model", day)
    life.world.run("git", "push", "--quiet", "--set-upstream", "origin", "main", day=day)
    life.trunk.release("v1", day)
    _materialize(life, day)
    files.write_json(life.state / "ready.json", {"version": "v1"})


def _materialize(life: Life, day: date) -> None:
    """Store the events before production that a prediction can see: those of some days, and all planes."""
    tables = life.state / "tables"
    life.source.write(tables, life.story.start - REMEMBERED, life.story.start)
    life.world.verb("materialize", "--tables", str(tables), day=day)


def _lived(life: Life, server: Production, day: date) -> dict[str, Any]:
    files.write_json(life.state / "before" / f"{day}.json", _trunk(life, day))
    counts, answers = server.live(day)
    parquet.write_parquet(answers, life.state / "answers" / f"{day}.parquet")
    content: dict[str, Any] = {"counts": counts}
    _forget(life, day)
    _import_outcomes(life, day)
    report = look(life, day)
    content["alerts"] = [_alert(each) for each in report.alerts if each.active]
    content |= _changed(life, report, day)
    server.shows(life.trunk.declared)
    files.write_json(_done(life, day), content)
    return content


def _changed(life: Life, report: Report, day: date) -> dict[str, Any]:
    """Have what is to be changed at the end of a day be changed; nothing is learnt anew while a rollout runs."""
    rollout = life.trunk.roll(day)
    asked = rollout is None and _asked(life, report, day)
    return {
        "rollout": rollout,
        "retraining": life.trunk.retrain(day) if asked else None,
        "challenger": life.trunk.challenge(day) if day == life.story.challenged else None,
    }


def look(life: Life, day: date) -> Report:
    """Return what the monitor says at the end of a day."""
    with chdir(life.world.project):
        params = Params.read()
        of = watching.running(params, "production", life.state / "aside")
        return watching.report(params, of, "production", LOG, setting.end(day))


def _import_outcomes(life: Life, day: date) -> None:
    """Import the outcomes that are known by the end of a day: those of the day before, each a day after its flight.

    Raises OutsideError where the verb refuses a row.
    """
    if day == life.story.start:
        return
    path = life.state / "outcomes.parquet"
    life.source.on("flights", day - LABELLED).write_parquet(path)
    life.world.verb("labels", "import", str(path.absolute()), "--log", LOG, day=day)


def _asked(life: Life, report: Report, day: date) -> bool:
    """Tell whether an alert asks for a retraining, or the schedule does; rows that were refused are not tried again."""
    if any(_refused(content) and day - tried < HOLDOUT for tried, content in lived(life.state)):
        return False
    declared = Params.read(life.world.project).group(Data).window
    assert declared is not None  # noqa: S101  flights have a time
    later = day + DAY - MATURES - declared.holdout.end
    return later >= life.story.every or any(each.active and each.then == "retrain" for each in report.alerts)


def _refused(content: Mapping[str, Any]) -> bool:
    return bool(content["retraining"]) and content["retraining"].get("became") == "refused"


def _alert(alert: Any) -> dict[str, Any]:
    cause = alert.cause
    about = {"rule": cause.name, "subject": cause.subject, "where": cause.where, "since": str(cause.since)}
    follows = {"then": alert.then, "upstream": alert.upstream, "value": cause.value}
    return about | follows | {"with": sorted({each.name for each in alert.consequences})}


def _forget(life: Life, day: date) -> None:
    """Drop events and rows of the log that nothing looks back to, as `keep` of conf/serving does by a right clock."""
    Place(str(life.world.project / LOG)).remove_before(setting.end(day) - LOGGED)
    store = open_store(str(setting.ONLINE["store"]), {}, life.world.project)
    oldest = midnight(day, ZONE) - REMEMBERED
    store.expire(int(oldest.replace(tzinfo=UTC).timestamp() * 1_000_000))
    store.close()


def _trunk(life: Life, day: date) -> dict[str, Any]:
    """Return the branches, by their commits, and the tags."""
    listed = life.world.run("git", "branch", "--format=%(refname:short) %(objectname)", day=day)
    branches = dict(line.split() for line in listed.splitlines())
    return {"branches": branches, "tags": life.world.run("git", "tag", day=day).split()}


def _put_back(life: Life, day: date) -> None:
    """Put the trunk, the branches, the tags and the log back to what they were when a day began, if it had begun."""
    path, run = life.state / "before" / f"{day}.json", life.world.run
    if not path.is_file():
        return
    life.world.unlock()
    before, now = files.parse_json(path.read_text(encoding="utf-8")), _trunk(life, day)
    shutil.rmtree(life.world.root / "fewer-trees", ignore_errors=True)
    run("git", "worktree", "prune", day=day)
    run("git", "checkout", "--quiet", "--force", "main", day=day)
    run("git", "reset", "--quiet", "--hard", before["branches"].pop("main"), day=day)
    run("git", "push", "--quiet", "--force", "origin", "main", day=day)
    for branch in now["branches"].keys() - before["branches"] - {"main"}:
        run("git", "branch", "--quiet", "--delete", "--force", branch, day=day)
    for branch, commit in before["branches"].items():
        run("git", "branch", "--quiet", "--force", branch, commit, day=day)
    for tag in set(now["tags"]) - set(before["tags"]):
        run("git", "tag", "--delete", tag, day=day)
        run("git", "push", "--quiet", "--delete", "origin", f"refs/tags/{tag}", day=day, codes=(0, 1))
    run("dvc", "checkout", "--quiet", day=day)
    life.world.verb("reconcile", day=day, codes=(0, 1))
    _forget_log(life, day)


def _forget_log(life: Life, day: date) -> None:
    shutil.rmtree(life.world.project / "log", ignore_errors=True)
    start, end = (midnight(each, ZONE) - LEAD for each in (day, day + DAY))
    for hour in (life.world.project / LOG).glob("*/*T*"):
        if start <= datetime.strptime(hour.name, "%Y-%m-%dT%H") < end:
            shutil.rmtree(hour)


def _done(life: Life, day: date) -> Path:
    return life.state / "days" / f"{day}.json"
