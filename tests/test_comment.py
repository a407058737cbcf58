"""The comment on a pull request: compared with golden text, kept short, and deaf to hostile texts."""

import json
import re
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from markdown_it import MarkdownIt

from trunkline import comment, review
from trunkline.attribution import Attribution, Share
from trunkline.changes import Difference
from trunkline.forecast import Plan, Step
from trunkline.pipeline import Stage
from trunkline.reports import Estimate, Past, Reports, Slice
from trunkline.review import Config, Merge, Moved, Pending, Review

GOLDEN = Path(__file__).parent / "golden/comment"
REPORTS = json.loads((Path(__file__).parent / "golden/report/reports.json").read_text(encoding="utf-8"))
HOSTILE = (
    "<script>alert(1)</script> ![x](https://evil.example/p.png) [y](javascript:1) @octocat #1 GH-7 `x` | a | "
    "**b** <!-- trunkline:report --> www.evil.example \n# big \u202e\x1b[31m & </details> $a$ ~~c~~ \\`d\\` _e_"
)


def moved(name, before, now, better, interval=None, *, where="", rows=900):
    estimates = [value and Estimate(value=value, interval=(value - 0.03, value + 0.03)) for value in (before, now)]
    return Moved(name, where, rows, *estimates, better, interval)


def step(name, action="unchanged", reasons=(), seconds=2.0):
    return Step(name, action, tuple(reasons), seconds, ())


def passing():
    content = json.loads(json.dumps(REPORTS))
    content["gates"]["gates"][1]["verdict"] = "pass"
    content["gates"]["verdict"] = "pass"
    return Reports.model_validate(content)


REVIEW = Review(
    name="flight-delay",
    target="main",
    base="a" * 40,
    head="b" * 40,
    dirty=False,
    behind=0,
    plan=Plan(
        "a" * 40,
        (
            step("compose", reasons=["conf/model/gbm.yaml changed"], seconds=3.0),
            step("features", seconds=None),
            step("train", reasons=["model.max_iter 200 → 150", "scikit-learn 1.9.1 → 1.9.2 in locks/pipeline.txt"]),
            step("evaluate", reasons=["upstream: train"]),
        ),
    ),
    config=(Config(Difference("model.max_iter", 200, 150), ("train", "rivals", "bundle")),),
    whole=(
        moved("roc_auc", 0.7649, 0.7712, 0.0063, (0.0021, 0.0102)),
        moved("log_loss", 0.5264, 0.5271, -0.0007, (-0.002, 0.0005)),
        moved("brier", 0.1754, 0.1754, 0.0, (0.0, 0.0)),
        moved("average_precision", None, 0.61, None),
    ),
    slices=(moved("roc_auc", 0.70, 0.66, -0.04, where="origin JFK"), moved("roc_auc", 0.7, 0.7, 0.0, where="hour 6")),
    reports=passing(),
    past=Past(),
    calibration=((0.1, 0.08), (0.3, 0.35), (0.7, 0.66)),
    roc=((0.0, 0.0), (0.2, 0.6), (1.0, 1.0)),
)
BLOCKED = replace(
    REVIEW,
    reports=Reports.model_validate(REPORTS),
    behind=3,
    dirty=True,
    config=(),
    slices=(),
    whole=tuple(replace(one, interval=None) for one in REVIEW.whole),
)
STALE = replace(
    REVIEW, plan=replace(REVIEW.plan, steps=(*REVIEW.plan.steps, step("gate", "runs", ["is new"]))), behind=1
)


TOLD_APART = Attribution(
    metric="roc_auc",
    better="larger",
    base="a" * 40,
    head="b" * 40,
    before=0.7649,
    after=0.7712,
    shares=(
        Share("config", ("model.max_iter 200 → 150",), 0.7700, 0.0051, ""),
        Share("code", ("src/trunkline/training.py",), None, None, "train: no such key"),
    ),
    move=0.0063,
    interaction=0.0012,
    notes=("the holdout has 9 rows and had 8",),
)
MOVED_ON = replace(
    REVIEW,
    behind=2,
    merge=Merge((), (Pending("train", ("model.depth 3 → 4",)), Pending("gate", ()))),
    latency=23.4e-6,
    attribution=TOLD_APART,
)
CASES = {"pass.md": REVIEW, "blocked.md": BLOCKED, "stale.md": STALE, "moved_on.md": MOVED_ON}


@pytest.mark.parametrize(("golden", "content"), CASES.items(), ids=CASES)
def test_a_comment_reads_as_it_did(golden, content):
    assert comment.render(content) == (GOLDEN / golden).read_text(encoding="utf-8")


def test_the_first_line_a_person_sees_is_the_answer():
    first = [comment.render(content).splitlines()[1] for content in (REVIEW, BLOCKED, STALE)]
    assert first[0] == "## ✅ May be merged: all gates pass, `roc_auc` 0.7649 → 0.7712 (better)"
    assert first[1] == "## ❌ Do not merge: blocked by `every_airport`"
    assert first[2] == "## ⚠️ Not reproduced: 1 stages have not run on this tree. Run `dvc repro` and commit."


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


def test_what_was_not_told_apart_names_the_command():
    text = comment.render(replace(REVIEW, unattributed="400 s at most is more than 300 s"))
    assert "Not told apart: 400 s at most is more than 300 s. On a laptop: `trunkline attribute --base main`" in text


def hostile(words):
    """A review in which everything that others write is these words."""
    content = json.loads(json.dumps(REPORTS))
    for verdict in content["gates"]["gates"]:
        verdict |= {"id": words, "slice": words, "reason": words}
    content["gates"]["champion"]["version"] = words
    content["bundle"] |= {"runtime": "sklearn", "reason": words}
    content["validation"] = {words: {"rows": 1, "quarantined": 1, "checks": {words: 1}}}
    return replace(
        REVIEW,
        name=words,
        target=words,
        behind=2,
        merge=Merge((), (Pending(words, (words,)),)) if len(words) % 2 else Merge((words,), ()),
        attribution=replace(TOLD_APART, shares=(Share(words, (words,), None, None, words),), notes=(words,)),
        plan=Plan("a" * 40, (step(words, reasons=[words]),)),
        config=(Config(Difference(words, words, [words]), (words,)),),
        whole=(replace(REVIEW.whole[0], metric=words), *REVIEW.whole[1:]),
        slices=(moved(words, 0.7, 0.6, -0.1, where=words),),
        reports=Reports.model_validate(content),
    )


def html(text):
    return MarkdownIt("commonmark", {"html": True, "linkify": False}).enable(["table", "strikethrough"]).render(text)


@given(
    st.just(HOSTILE) | st.text(max_size=60) | st.lists(st.sampled_from(HOSTILE.split(" ")), max_size=9).map(" ".join)
)
def test_texts_of_others_stay_text(words):
    text = comment.render(hostile(words))
    assert text.count(comment.MARKER) == 1
    assert text.startswith(comment.MARKER)
    page = html(text).replace(comment.MARKER, "")
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


def test_every_row_of_a_table_has_its_columns():
    tables = re.findall(r"(?:^\|.*\n)+", comment.render(hostile(HOSTILE)), re.MULTILINE)
    assert len(tables) >= 6
    for table in tables:
        columns = [len(re.findall(r"(?<!\\)\|", line)) for line in table.splitlines()]
        assert len(set(columns)) == 1, table


@pytest.mark.parametrize("size", [10, 300, 5000])
def test_it_fits_whatever_there_is_to_say(size):
    words = "@" * 400
    content = hostile(words)
    gates = content.reports.gates.model_copy(update={"gates": content.reports.gates.gates * size})
    many = replace(
        content,
        config=content.config * size,
        slices=content.slices * size,
        whole=content.whole * size,
        plan=Plan("a" * 40, content.plan.steps * size),
        reports=content.reports.model_copy(update={"gates": gates}),
    )
    text = comment.render(many)
    assert len(text) < comment.LIMIT
    assert "more." in text
    assert "make repro" in text


def test_changes_are_mapped_to_the_stages_that_read_them():
    def stage(name, *keys):
        return Stage(name, "", {}, {}, dict.fromkeys(keys), {}, "unchanged")

    stages = [stage("ingest", "data.sources"), stage("features", "data"), stage("train", "model")]
    before, now = {"data": {"window": 1, "sources": {"a": 1}}, "model": 1}, {"data": {"window": 2, "sources": {"a": 2}}}
    found = {item.change.key: item.stages for item in review.config(before, now, stages)}
    assert found == {
        "data.sources.a": ("ingest", "features"), "data.window": ("features",), "model": ("train",),
    }  # fmt: skip


def test_a_change_is_better_or_worse_by_the_metrics_own_direction():
    def measured(value):
        return {"all": {"all": Slice(n=9, metrics={"brier": Estimate(value=value, interval=None)})}}

    now = REVIEW.reports.model_copy(update={"slices": measured(0.2)})
    [found] = review.whole(["brier"], Past(slices=measured(0.25)), now, None)
    assert found.better == pytest.approx(0.05)
    assert found.clear is None
    [alone] = review.whole(["brier"], Past(), now, None)
    assert (alone.before, alone.better) == (None, None)


def test_an_older_commit_is_understood_as_far_as_it_can_be():
    slices = json.dumps(REPORTS["slices"])
    found = Past.understood({"slices": slices, "bundle": '{"digest": 7}', "metrics": None})
    assert found.slices is not None
    assert found.bundle is None
    assert Past.understood({"slices": "{", "bundle": "[" * 100_000}) == Past()
