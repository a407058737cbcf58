"""The text of a retraining's pull request: golden text, and deaf to hostile texts."""

import re
from dataclasses import replace
from datetime import date
from pathlib import Path

import pytest
from hypothesis import given
from markdown_it import MarkdownIt

from tests.monitor.tables import days, performance
from tests.retrain.project import report
from tests.reviews import REPORTS, passing, words_of_others
from trunkline.conf.data import Windows
from trunkline.pipeline.evaluate.estimate import Estimate, Slice
from trunkline.pipeline.ingest.pins import PinMove
from trunkline.pipeline.reports import Reports
from trunkline.retrain import causes, text
from trunkline.retrain.change import Change
from trunkline.retrain.result import Result
from trunkline.retrain.text import Words

GOLDEN = Path(__file__).parents[1] / "golden/retraining"
PATH = Path("conf/data/flights.yaml")
CHANGE = Change(
    {PATH: "a\n"},
    {PATH: "b\n"},
    Windows.model_validate({"train": "2013-01..2013-06", "holdout": "2013-07"}),
    Windows.model_validate({"train": "2013-02..2013-07", "holdout": "2013-08"}),
    "month",
    (PinMove(("flights", "files", "2013_08.zip"), None, "5d1f" * 16),),
)
WORSE = report(
    performance([0.7] * 3 + [0.61] * 5),
    performance([0.7] * 3 + [0.5] * 5, slice="origin", label="JFK"),
    days([0.05] * 3 + [0.4] * 5),
)


def whole(roc_auc, rows):
    metrics = {"roc_auc": Estimate(value=roc_auc, interval=(roc_auc - 0.01, roc_auc + 0.01))}
    return Slice(n=rows, metrics=metrics | {"brier": Estimate(value=0.1754, interval=None)})


HELPS = Result(
    passing().gates, whole(0.7712, 28301), whole(0.7649, 28293), 164000, 161000, ("compose", "train", "gate"), 95.2
)
PROPOSED = Words(
    "flight-delay",
    causes.listed(causes.of_alerts(causes.asking(WORSE)) + causes.of_person("New routes *since* May")),
    CHANGE,
    WORSE,
    None,
)
CASES = {
    "proposed.md": PROPOSED,
    "helps.md": replace(PROPOSED, result=HELPS, report=None),
    "does_not_help.md": replace(PROPOSED, result=replace(HELPS, gates=Reports.model_validate(REPORTS).gates)),
    "a_persons.md": replace(PROPOSED, changed=True),
}


@pytest.mark.parametrize(("golden", "content"), CASES.items(), ids=CASES)
def test_a_pull_request_reads_as_it_did(golden, content):
    shown = f"{text.title(content.name, content.change)}\n\n{text.body(content)}"
    assert shown == (GOLDEN / golden).read_text(encoding="utf-8")


def test_no_value_of_a_row_is_in_it():
    assert "JFK" not in text.body(PROPOSED)


@given(words_of_others())
def test_texts_of_others_stay_text(words):
    gates = passing().gates
    verdicts = tuple(replace(each, id=words, reason=words, slice=words) for each in gates.gates)
    result = replace(HELPS, gates=gates.model_copy(update={"gates": verdicts}), stages=(words,))
    content = Words(
        words,
        causes.listed(causes.of_person(words)),
        replace(CHANGE, new={Path("x" + words.replace("/", "")): ""}, moves=(PinMove((words,), words, words),)),
        replace(WORSE, watched=replace(WORSE.watched, environment=words, version=words)),
        result,
    )
    page = MarkdownIt("commonmark", {"html": True}).enable(["table", "strikethrough"]).render(text.body(content))
    page = re.sub(r"<!-- trunkline:cause \w{12} -->", "", page)
    tags = set(re.findall(r"<([a-zA-Z][a-zA-Z0-9]*|!)", page))
    assert tags <= {"h3", "p", "code", "table", "thead", "tbody", "tr", "th", "td", "strong", "ul", "li"}
    outside = re.sub(r"<code.*?</code>", "", page, flags=re.DOTALL)
    assert not re.search(r"@\w|(?<!&)#\w|https?://|www\.\w|GH-\d", outside), outside
    (cause,) = causes.of_person(words)
    assert len(cause.plain.splitlines()) == 1, "so that nothing in it is a trailer of the commit"
    assert causes.listed((), causes.listed((cause,))) == causes.listed((cause,)), "an earlier cause stays as it is"


def test_a_schedule_comes_when_the_newest_rows_are_that_much_later():
    later = CHANGE.after.holdout.end - CHANGE.before.holdout.end
    assert later.days == 31
    assert causes.of_schedule(later, CHANGE.before, CHANGE.after)
    assert not causes.of_schedule(later + (date(2013, 1, 2) - date(2013, 1, 1)), CHANGE.before, CHANGE.after)
    assert not causes.of_schedule(None, CHANGE.before, CHANGE.after)
    assert not causes.of_schedule(later, CHANGE.before, None)
