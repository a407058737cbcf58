"""The comment on a pull request: compared with golden text, kept short, and deaf to hostile texts."""

import json
import re
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from markdown_it import MarkdownIt

from tests.reviews import (
    BLOCKED,
    FORGED,
    HOSTILE,
    MOVED_ON,
    PROMOTES,
    REPORTS,
    REVIEW,
    ROLLS_BACK,
    STALE,
    UNDEFINED,
    hostile,
    many,
    passing,
    words_of_others,
)
from trunkline.adapters.dvc.survey import Stage
from trunkline.deploy.moves import Move
from trunkline.pipeline.evaluate.estimate import Estimate, Slice
from trunkline.pipeline.reports import BacktestReport, Past
from trunkline.review import backtest, comment, data, page, post, reasons
from trunkline.review.data import Merge
from trunkline.review.derived import KnownBecause
from trunkline.review.reasons import Reason
from trunkline.show.differences import Difference

GOLDEN = Path(__file__).parents[1] / "golden/comment"


CASES = {
    "pass.md": REVIEW,
    "blocked.md": BLOCKED,
    "stale.md": STALE,
    "moved_on.md": MOVED_ON,
    "rolls_back.md": ROLLS_BACK,
    "forged.md": FORGED,
}


@pytest.mark.parametrize(("golden", "content"), CASES.items(), ids=CASES)
def test_a_comment_reads_as_it_did(golden, content):
    assert comment.render(content) == (GOLDEN / golden).read_text(encoding="utf-8")


def test_the_first_line_a_person_sees_is_the_answer():
    first = [comment.render(content).splitlines()[0] for content in (REVIEW, BLOCKED, STALE)]
    assert first[0] == "## ✅ May be merged: all gates pass, `roc_auc` 0.7649 → 0.7712 (better)"
    assert first[1] == "## ❌ Do not merge: blocked by `every_airport`"
    assert first[2] == "## ⚠️ Not reproduced: 1 stage has not run on this tree. Run `dvc repro` and commit."


@pytest.mark.parametrize(
    ("merge", "told"),
    [
        (Merge((), ()), "Nothing would run on it: its results are there already."),
        (Merge(("conf/model/gbm.yaml", "b", "c", "d", "e"), ()), "in `conf/model/gbm.yaml`, `b`, `c`, `d` and 1 more."),
        (None, "run `dvc repro` to see its verdict."),
    ],
    ids=["nothing to run", "conflicts", "not looked at"],
)
def test_a_target_that_has_moved_on_is_said(merge, told):
    [line] = [line for line in comment.render(replace(REVIEW, behind=1, merge=merge)).splitlines() if line[:1] == ">"]
    assert line.startswith("> `main` has moved on by 1 commit since: the merged tree is another one.")
    assert line.endswith(told)


def test_the_reason_why_a_column_of_outcomes_is_known_stands_in_words():
    """In the table of changed keys a new column is no more than a count of its values."""
    new = KnownBecause("flights.sched", "dep_time - dep_delay", "the timetable has it; only | this file lacks it")
    text = comment.render(replace(REVIEW, derived=(new,))).partition("### What changed in conf/")[2]
    row = "| `flights.sched` | `dep_time - dep_delay` | the timetable has it; only \\| this file lacks it |"
    assert f"{comment.MADE_OF_OUTCOMES}\n\n| column | is | because |\n|---|---|---|\n{row}\n" in text
    assert comment.MADE_OF_OUTCOMES not in comment.render(REVIEW)


def test_a_new_reason_why_a_column_may_be_somewhere_stands_in_words():
    new = Reason("people.sex", "sensitive", "slice", "errors are compared | between the sexes")
    text = comment.render(replace(REVIEW, reasons=(new,))).partition("### What changed in conf/")[2]
    row = "| `people.sex` | sensitive | slice | errors are compared \\| between the sexes |"
    assert f"{reasons.NEW}\n\n| column | class | place | because |\n|---|---|---|---|\n{row}\n" in text
    assert reasons.NEW not in comment.render(REVIEW)
    html = page.render(replace(REVIEW, reasons=(new,)))
    assert f"<p>{reasons.NEW}</p>" in html
    assert '<td class="text">errors are compared | between the sexes</td>' in html
    assert reasons.NEW not in page.render(REVIEW)


def test_what_was_not_told_apart_names_the_command():
    text = comment.render(replace(REVIEW, unattributed="400 s at most is more than 300 s"))
    assert "Not told apart: 400 s at most is more than 300 s. On a laptop: `trunkline attribute --base main`" in text


def test_results_that_belong_to_no_commit_are_not_merged():
    found = replace(REVIEW, uncommitted=("dvc.lock", "params.yaml"))
    said = comment.render(found).splitlines()[0]
    told = "all gates pass, but `dvc.lock` and 1 more belong to no commit. Run `dvc repro` and commit."
    assert said == f"## ⚠️ Not committed: {told}"
    assert "## ❌" in comment.render(replace(BLOCKED, uncommitted=found.uncommitted))
    assert "## ⚠️ Not reproduced" in comment.render(replace(STALE, uncommitted=found.uncommitted))


def first(content):
    return comment.render(content).splitlines()[0]


def test_a_change_that_ships_no_other_model_says_what_it_moves():
    chain = "may be merged, `v4` passed its gates and is signed by `release`"
    assert first(PROMOTES) == f"## ✅ Promotes `v4` to `production`: {chain}"
    assert first(ROLLS_BACK) == (
        "## ✅ Rolls `production` back to `v3`: may be merged, `v3` passed its gates and is signed by `release`; "
        "`every_airport` blocks the trunk's own model, which this does not ship"
    )
    assert first(replace(PROMOTES, moves=())) == "## ✅ May be merged: ships no other model"
    assert first(replace(ROLLS_BACK, same_model=False)) == "## ❌ Do not merge: blocked by `every_airport`"
    nothing = replace(PROMOTES.moves[0], after="null", version=None)
    assert first(replace(PROMOTES, moves=(nothing,))) == "## ✅ Has `production` run nothing: may be merged"


def test_a_candidate_is_vouched_for_and_what_is_held_is_not():
    tries = Move("production", "v3", "…", "v4", back=False, signer="release", kind="canary", share=5)
    holds = Move("production", "v3", "…", "v2", back=False, kind="hold")
    content = replace(PROMOTES, moves=(tries, holds))
    assert first(content) == (
        "## ✅ Tries `v4` in `production` as a canary, which answers 5 %, Holds `v2` in `production`: may be merged, "
        "`v4` passed its gates and is signed by `release`"
    )
    ends = [line.rpartition("`…` | ")[2] for line in comment.render(content).splitlines() if "`…`" in line]
    canary = "Tries `v4` in `production` as a canary, which answers 5 %"
    assert ends == [f"{canary}; passed its gates and is signed by `release` |", "Holds `v2` in `production` |"]
    shown = page.render(content)
    assert "as a canary, which answers 5 %; passed its gates and is signed by release<" in shown
    assert "Holds v2 in production<" in shown


def test_a_version_that_may_not_run_is_not_merged():
    refused = replace(PROMOTES.moves[0], refused="flight-delay@v4: signed by key 1, which conf/deploy does not declare")
    for content in (PROMOTES, replace(PROMOTES, same_model=False), replace(PROMOTES, uncommitted=("dvc.lock",))):
        found = first(replace(content, moves=(*content.moves, refused)))
        assert found.startswith("## ❌ Do not merge: `v4` is refused: `flight-delay@v4: signed by key 1, which ")
    stale = first(replace(STALE, moves=(refused,)))
    assert stale.startswith("## ⚠️ Not reproduced")


def test_a_metric_without_a_value_says_why():
    text = comment.render(UNDEFINED)
    said = "undefined: none of 900 rows is of the class 'x \\| @\u200boctocat'"
    assert text.splitlines()[0].endswith("all gates pass, `roc_auc` is undefined")
    assert f"| roc_auc | 0.7649 | {said} |  |  |  |" in text
    assert f"### Slices where it is undefined\n\n| slice | roc_auc |\n|---|---|\n| `zone north` | {said} |\n" in text
    assert "undefined" not in comment.render(REVIEW)


def html(text):
    return MarkdownIt("commonmark", {"html": True, "linkify": False}).enable(["table", "strikethrough"]).render(text)


def of_kinds(made):
    """A review that is refused, one that is blocked, and one that ships no other model."""
    moves = tuple(replace(move, refused="") for move in made.moves)
    return {"refused": made, "blocked": replace(made, moves=()), "moves": replace(made, moves=moves, same_model=True)}


@given(words_of_others(), st.sampled_from(["refused", "blocked", "moves"]))
def test_texts_of_others_stay_text(words, kind):
    text = comment.render(of_kinds(hostile(words))[kind])
    assert post.MARKER not in text
    page = html(text)
    tags = set(re.findall(r"<([a-zA-Z][a-zA-Z0-9]*|!)", page))
    assert tags <= {
        "h2", "h3", "p", "code", "pre", "table", "thead", "tbody", "tr", "th", "td", "details", "summary", "blockquote",
        "strong",
    }  # fmt: skip
    assert page.count("<h2>") == 1
    assert page.count("<strong>") == 1  # a change that is better: ours
    assert page.count("<details>") == page.count("</details>") == 1
    outside = re.sub(r"<code.*?</code>", "", page, flags=re.DOTALL)
    assert not re.search(r"@\w|(?<!&)#\w|https?://|www\.\w|GH-\d", outside), outside
    assert len(set(re.findall(r"[\x00-\x08\x0b-\x1f\x7f\u202a-\u202e]", text))) == 0


def test_it_names_the_page_where_there_is_one():
    said = "Everything, with pictures, is in"
    assert said not in comment.render(REVIEW)
    assert f"{said} `report.html`." in comment.render(REVIEW, "report.html")
    assert html(comment.render(REVIEW, HOSTILE)).count("<script") == 0


def test_without_a_base_nothing_is_said_of_noise():
    alone = replace(REVIEW, whole=tuple(replace(one, before=None, better=None, interval=None) for one in REVIEW.whole))
    assert "The base has no metrics that could be compared with these: only the rules say" in comment.render(alone)


def test_another_problem_is_not_compared_with_the_base():
    alone = [replace(moved, before=None, better=None, interval=None) for moved in REVIEW.whole]
    other = replace(REVIEW, reports=passing(), whole=tuple(alone), another=("name", "data.target.task"))
    said = comment.render(other)
    assert said.startswith("## ✅ May be merged: all gates pass; another problem than the base's: not comparable\n")
    assert "Another problem: not comparable with the base, for name, data.target.task changed." in said
    rule = Difference("gates.rules.useful.minimum", 0.7, 0.1)
    loosened = replace(other, config=(replace(REVIEW.config[0], change=rule),))
    assert "; changes the rules that judge it, and the base's have no say" in comment.render(loosened).splitlines()[0]
    target = comment.render(replace(other, another=("data.target.expression",)))
    assert "for data.target.expression changed. The base's rules judge it all the same." in target


def test_every_row_of_a_table_has_its_columns():
    tables = re.findall(r"(?:^\|.*\n)+", comment.render(hostile(HOSTILE)), re.MULTILINE)
    assert len(tables) >= 6
    for table in tables:
        columns = [len(re.findall(r"(?<!\\)\|", line)) for line in table.splitlines()]
        assert len(set(columns)) == 1, table


@pytest.mark.parametrize("size", [10, 300, 5000])
def test_it_fits_whatever_there_is_to_say(size):
    text = comment.render(many("@" * 400, size))
    assert len(text) < comment.LIMIT
    assert "more." in text
    assert "make repro" in text


def test_changes_are_mapped_to_the_stages_that_read_them():
    def stage(name, *keys):
        return Stage(name, "", {}, {}, dict.fromkeys(keys), {}, "unchanged")

    stages = [stage("ingest", "data.sources"), stage("features", "data"), stage("train", "model")]
    before, now = {"data": {"window": 1, "sources": {"a": 1}}, "model": 1}, {"data": {"window": 2, "sources": {"a": 2}}}
    found = {item.change.key: item.stages for item in data.config(before, now, stages)}
    assert found == {
        "data.sources.a": ("ingest", "features"), "data.window": ("features",), "model": ("train",),
    }  # fmt: skip


def test_a_change_is_better_or_worse_by_the_metrics_own_direction():
    def measured(value):
        return {"all": {"all": Slice(n=9, metrics={"brier": Estimate(value=value, interval=None)})}}

    now = REVIEW.reports.model_copy(update={"slices": measured(0.2)})
    [found] = data.whole(["brier"], Past(slices=measured(0.25)), now, None)
    assert found.better == pytest.approx(0.05)
    assert found.clear is None
    [alone] = data.whole(["brier"], Past(), now, None)
    assert (alone.before, alone.better) == (None, None)


def test_an_older_commit_is_understood_as_far_as_it_can_be():
    slices = json.dumps(REPORTS["slices"])
    found = Past.understood({"slices": slices, "bundle": '{"digest": 7}', "metrics": None})
    assert found.slices is not None
    assert found.bundle is None
    assert Past.understood({"slices": "{", "bundle": "[" * 100_000}) == Past()


def test_a_backtest_is_a_table_and_a_picture_in_the_comment_and_on_the_page():
    stored = BacktestReport.model_validate(
        {
            "origins": [
                {"origin": "2013-05-10", "learnt_from": 9000, "n": 900, "metrics": {"brier": 0.2, "roc_auc": 0.7}},
                {"origin": "2013-05-17", "learnt_from": 9900, "n": 800, "metrics": {"brier": None, "roc_auc": 0.6}},
            ],
            "metrics": {
                "brier": {"value": None, "interval": None, "undefined": "no row"},
                "roc_auc": {"value": 0.65, "interval": [0.0147, 1.2853]},
            },
        }
    )
    tested = backtest.ordered(("roc_auc", "brier"), stored)
    review = replace(REVIEW, reports=REVIEW.reports.model_copy(update={"backtest": tested}))
    shown = comment.render(review)
    assert "| 2013-05-17 | 9,900 | 800 | 0.6000 | undefined |" in shown
    assert "| mean, interval over origins |  |  | 0.6500 0.0147 to 1.2853 | undefined: no row  |" in shown
    assert 'x-axis ["2013-05-10", "2013-05-17"]' in shown
    assert "line [0.7000, 0.6000]" in shown
    html = page.render(review)
    assert "roc_auc at each origin of the backtest" in html
    assert '<td class="number">0.6500<br>0.0147 to 1.2853</td>' in html
