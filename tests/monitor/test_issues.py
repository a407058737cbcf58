"""An alert has one issue: opened once whatever fails, told again by the cooldown, closed when it is quiet."""

from dataclasses import replace
from datetime import datetime, timedelta

import polars as pl
import pytest

from tests.monitor.tables import day, days, of, row
from trunkline.adapters.forge import api
from trunkline.adapters.forge.api import Comment, ForgeError, Issue
from trunkline.conf.monitoring import Monitoring
from trunkline.monitor import alerts, issues, notice, table
from trunkline.monitor.issues import Tracker
from trunkline.monitor.measure import Measured
from trunkline.monitor.report import Report, Rival, Watched

ME = "bot"
RULES = {
    "missing": {"of": "feature", "measure": "missing", "above_reference": 0.1, "severity": "critical", "then": "issue"},
    "drift": {"of": "feature", "measure": "psi", "above": 0.25, "then": "issue"},
    "worse": {"of": "performance", "measure": "roc_auc", "worse_by": 0.05, "slices": True, "then": "retrain"},
}
MONITORING = Monitoring.parse({"rules": RULES, "cooldown": "7d", "read": "60d"})


class Forge:
    """Issues in memory; `faults` are the writes that fail, before or after they are done."""

    def __init__(self):
        self.all, self.said, self.writes = {}, [], []
        self.faults = []

    def me(self):
        return ME

    def issues(self, since):
        return tuple(self.all[number] for number in sorted(self.all))

    def _write(self, name, effect):
        fault = self.faults.pop(0) if self.faults else None
        if fault != "before":
            self.writes.append(name)
            effect()
        if fault:
            raise ForgeError("down", passing=True)

    def create_issue(self, title, body, author=ME):
        issue = Issue(len(self.all) + 1, "https://forge.example/1", title, body.strip(), author, True)
        self._write("create", lambda: self.all.update({issue.number: issue}))
        return issue

    def update_issue(self, number, title, body, *, is_open):
        changed = replace(self.all[number], title=title, body=body.strip(), open=is_open)
        self._write("update" if is_open else "close", lambda: self.all.update({number: changed}))

    def issue_comments(self, number):
        return tuple(comment for at, comment in self.said if at == number)

    def create_issue_comment(self, number, body):
        self._write("comment", lambda: self.said.append((number, Comment(len(self.said), ME, body))))


def report(*rows, until, begin=0):
    content = of(*rows)
    content = content.filter(pl.col(table.WINDOW) >= day(begin))
    empty = pl.DataFrame()
    watched = Watched("production", "v4", "a" * 64, day(begin), day(until))
    return Report(watched, MONITORING, Measured(content, empty, empty, ()), "roc_auc")


def gone(broken, quiet=0, start=0, **more):
    """A report after days of a feature that is missing, and days in which it is there again."""
    values = [0.0] * 2 + [0.9] * broken + [0.0] * quiet
    return report(days(values, measure="missing"), until=len(values), **more)


def act(forge, looked_at, page="https://forge.example/run/1"):
    tracker = Tracker(forge, looked_at, page)

    def patiently(call):
        return api.retried(call, lambda text: None, lambda seconds: None)

    done = [patiently(lambda alert=alert: tracker.follow(alert)) for alert in issues.wanted(looked_at)]
    return [each.what for each in (*done, *patiently(tracker.end))]


def test_it_is_opened_once_kept_up_to_date_and_closed_when_it_is_quiet():
    forge = Forge()
    assert act(forge, gone(1)) == ["opened"]
    assert act(forge, gone(1)) == ["unchanged"]
    assert act(forge, gone(4)) == ["updated"]
    [issue] = forge.all.values()
    assert issue.title == "production: missing of dew_point"
    assert "2026-03-03 00:00 UTC, 4 windows, 5,000 rows in the last one" in issue.body
    assert "`missing` is 0.9, limit 0.1" in issue.body
    assert (forge.said, forge.writes) == ([], ["create", "update"])
    assert act(forge, gone(4, quiet=1)) == ["closed"]
    assert act(forge, gone(4, quiet=2)) == []
    [(_, comment)] = forge.said
    assert "Quiet since 2026-03-07 00:00 UTC." in comment.body
    assert [issue.open for issue in forge.all.values()] == [False]


def test_it_is_told_again_after_the_cooldown():
    forge = Forge()
    act(forge, gone(1))
    assert [act(forge, gone(length))[0] for length in range(2, 10)] == ["updated"] * 6 + ["told again", "updated"]
    [(_, comment)] = forge.said
    assert "It goes on: `missing` of `dew_point`: `missing` is 0.9, limit 0.1; since 2026-03-03" in comment.body


def test_it_is_told_again_when_it_becomes_worse():
    forge = Forge()
    act(forge, gone(6))
    worse = row(8, 0.5, kind="performance", subject="roc_auc", measure="value", reference=0.7)
    assert act(forge, report(days([0.0] * 2 + [0.9] * 7, measure="missing"), [worse], until=9)) == ["told again"]
    assert "`worse` of `roc_auc`" in forge.all[1].body


def test_a_persons_closing_is_respected_until_it_is_told_again():
    forge = Forge()
    act(forge, gone(1))
    forge.all[1] = replace(forge.all[1], open=False)
    assert act(forge, gone(3)) == ["left closed"]
    assert not forge.all[1].open
    assert act(forge, gone(8)) == ["told again"]
    assert forge.all[1].open
    act(forge, gone(8, quiet=1))
    forge.all[1] = replace(forge.all[1], open=True)  # by a person, to write something
    assert act(forge, gone(8, quiet=2)) == []
    assert forge.all[1].open


@pytest.mark.parametrize("fault", ["before", "after"])
def test_whatever_fails_once_it_is_there_once(fault):
    forge = Forge()
    for looked_at in (gone(1), gone(8), gone(8, quiet=1)):
        forge.faults = [fault]
        act(forge, looked_at)
    assert list(forge.all) == [1]
    assert [body.body.partition(" ")[2].partition(" ")[0] for _, body in forge.said] == [
        "trunkline:told",
        "trunkline:quiet",
    ]
    assert not forge.all[1].open


def test_two_runs_at_once_end_with_one_issue():
    forge, looked_at = Forge(), gone(1)
    [alert] = looked_at.active
    marked = notice.marker(looked_at, alert)
    first = Tracker(forge, looked_at)
    first._open(alert, marked)  # both have seen that there is none
    assert first._open(alert, marked).number == 1
    assert [issue.open for issue in forge.all.values()] == [True, False]
    assert act(forge, gone(2)) == ["updated"]


def test_what_goes_on_for_longer_than_is_read_keeps_its_issue():
    forge = Forge()
    act(forge, gone(5))
    assert act(forge, gone(6, begin=4)) == ["updated"]
    assert list(forge.all) == [1]
    forge.all[1] = replace(forge.all[1], open=False)
    assert act(forge, gone(7, begin=5)) == ["left closed"]


def test_what_somebody_else_wrote_is_not_ours_and_nothing_is_closed_where_nothing_is_read():
    forge, looked_at = Forge(), gone(1)
    act(forge, looked_at)
    forge.all[1] = replace(forge.all[1], author="mallory")
    assert act(forge, looked_at) == ["opened"]
    silent = report([], until=9)
    assert act(forge, silent) == ["opened"]
    assert [issue.open for issue in forge.all.values()] == [True, True, True]


def test_a_rollback_is_proposed_once_for_a_cause_and_only_where_the_previous_version_is_better():
    rules = {"worse": {"of": "performance", "measure": "roc_auc", "worse_by": 0.05, "then": "rollback"}}
    rows = days([0.5], kind="performance", subject="roc_auc", measure="value", reference=0.7)
    plain = replace(report(rows, until=1), monitoring=Monitoring.parse({"rules": rules}))
    [alert] = plain.active
    assert (alert.then, alert.blocked) == ("issue", alerts.NOT_BETTER)
    kept = replace(plain, rivals={alert.id: Rival(better=False, words="v3 is as bad", version="v3")})
    assert kept.active[0].blocked == f"{alerts.NOT_BETTER}: v3 is as bad"
    better = replace(plain, rivals={alert.id: Rival(better=True, words="v3 is better by 0.1", version="v3")})
    [alert] = better.active
    assert (alert.then, alert.blocked, alert.previous) == ("rollback", None, "v3")
    forge, opened = Forge(), []
    tracker = Tracker(forge, better)
    number = tracker.follow(alert).number
    assert "a rollback is proposed: v3 is better by 0.1" in forge.all[1].body

    def open_():
        opened.append(1)
        return "rollback proposed", "A rollback is proposed:", "https://forge.example/2"

    forge.faults = ["before"]
    with pytest.raises(ForgeError):  # it is opened, and not yet noted
        tracker.propose(alert, number, open_)
    assert tracker.propose(alert, number, open_).what == "rollback proposed"  # finds the one that is open
    assert tracker.propose(alert, number, open_) is None
    assert len(opened) == 2
    assert replace(tracker, write=False).propose(alert, None, open_).what == "rollback proposed"
    assert len(opened) == 2


def test_no_value_of_a_row_and_no_markup_of_others_is_in_it():
    where = {"slice": "origin", "label": "Jane *Doe* @all", "kind": "performance", "subject": "roc_auc"}
    rows = days([0.5], measure="value", reference=0.7, **where)
    hostile = days([0.9], subject="<!-- x --> | @all **b**")
    forge = Forge()
    act(forge, report(rows, hostile, until=1))
    texts = "".join(f"{issue.title}{issue.body.partition('-->')[2]}" for issue in forge.all.values())
    assert "Jane" not in texts
    assert "where `origin` has one of its values" in texts or "by origin" in texts
    assert "<!--" not in texts.replace("production: drift of <!-- x", "")


def test_a_marker_is_read_as_it_is_written():
    looked_at = gone(1)
    marked = notice.marker(looked_at, looked_at.active[0])
    assert notice.read(f"{marked}\nmore") == marked
    assert notice.read(str(replace(marked, notice=None))).notice is None
    assert notice.read(f"x{marked}") is None
    assert isinstance(marked.notice, datetime)
    assert marked.notice - day(3) == timedelta(0)
