"""Which factors a change has, and how their shares add up."""

import json
from decimal import Decimal

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from trunkline.core.files import canonical_json
from trunkline.review.attribution import shares as attribution_shares
from trunkline.review.attribution.shares import ALL, BASE, BranchChange, MeasuredRun

FILE = "conf/data/flights.yaml"
LINE = "# The window.\nwindow: {train: 2013-05, holdout: 2013-07} # moved monthly\n\ntimezone: UTC\n"
BLOCK = "window:\n  train: 2013-06\n  holdout: 2013-07\ntimezone: UTC\n"
OTHER = "window: {train: 2013-04..2013-05, holdout: 2013-07}\ntimezone: UTC\n"


def change(paths=(), before="", after="", params=({}, {})):
    texts = [{FILE: text} if text else {} for text in (before, after)]
    return BranchChange(tuple(paths), *texts, *params)


def window(train, holdout="2013-07"):
    return {"data": {"window": {"train": train, "holdout": holdout}}}


def all_three():
    params = (window("2013-05") | {"model": {"depth": 3}}, window("2013-04..2013-05") | {"model": {"depth": 9}})
    after = LINE.replace("2013-05", "2013-04..2013-05")
    return change([FILE, "conf/model/gbm.yaml", "docs/tour.md", "src/a.py", "dvc.yaml"], LINE, after, params)


def by_name(found):
    return {factor.name: factor for factor in attribution_shares.factors(found)}


def judged(found, measured, better="larger"):
    return attribution_shares.attribute(found, measured, metric="roc_auc", better=better, base="b" * 40, head="h" * 40)


def test_each_factor_takes_its_own_paths_and_says_what_changed():
    found = by_name(all_three())
    assert list(found) == ["window", "config", "code"]
    assert found["window"].paths == ()
    assert found["window"].changes == ("data.window.train +1 month 2013-05 → 2013-04..2013-05",)
    assert (found["config"].paths, found["config"].texts) == (("conf/model/gbm.yaml",), {})
    assert found["config"].changes == ("model.depth 3 → 9",)
    assert found["code"].paths == ("src/a.py", "dvc.yaml")


def test_a_factor_that_did_not_change_is_left_out():
    assert attribution_shares.factors(change(["README.md", "tests/test_a.py", "source/a.py", "locks/dev.txt"])) == ()
    assert list(by_name(change(["stages/train.py"]))) == ["code"]
    assert list(by_name(change(["conf/README.md"]))) == ["config"]
    only = change([FILE], LINE, LINE.replace("2013-05", "2013-06"), (window("2013-05"), window("2013-06")))
    assert list(by_name(only)) == ["window"]


@pytest.mark.parametrize("after", [BLOCK, OTHER, LINE.replace("2013-05", "2013-02")])
@pytest.mark.parametrize("before", [BLOCK.replace("2013-06", "2013-01"), LINE])
def test_the_window_alone_has_the_heads_window_and_the_rest_of_the_base(before, after):
    after = after.replace("timezone: UTC", "timezone: Asia/Tokyo")
    found = by_name(change([FILE], before, after))
    alone, rest = found["window"].texts[FILE], found["config"].texts[FILE]
    old, new = yaml.safe_load(before), yaml.safe_load(after)
    assert yaml.safe_load(alone) == old | {"window": new["window"]}
    assert yaml.safe_load(rest) == new | {"window": old["window"]}
    assert alone.startswith(before.partition("window:")[0])  # comments stay
    assert found["config"].paths == (FILE,)


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("", OTHER),
        (OTHER, ""),
        (LINE, LINE.replace("UTC", "Asia/Tokyo")),
        (LINE, "window: {train: [\n"),
        (LINE, "a: 1\n"),
    ],
    ids=["new file", "deleted file", "the same window", "no YAML", "no window"],
)
def test_a_window_that_cannot_be_exchanged_is_config(before, after):
    assert list(by_name(change([FILE], before, after))) == ["config"]


def test_a_window_that_changed_elsewhere_is_config_and_said():
    found = change(["conf/config.yaml"], params=(window("2013-05"), window("2013-06")))
    assert by_name(found)["config"].changes == ("data.window.train moved by +1 month 2013-05 → 2013-06",)
    assert attribution_shares.notes(found) == (attribution_shares.HIDDEN_WINDOW,)


def test_another_environment_is_a_factor_and_everything_else_runs_in_the_old_one():
    texts = ("polars==2.1.0 \\\n    --hash=sha256:1\n", "polars==2.2.0 \\\n    --hash=sha256:2\n")
    found = attribution_shares.factors(BranchChange((*attribution_shares.LOCKS, "src/a.py"), {}, {}, {}, {}, texts))
    assert [factor.name for factor in found] == ["code", "environment"]
    assert found[1].paths == attribution_shares.LOCKS
    assert found[1].changes == ("polars 2.1.0 → 2.2.0",)
    old = [name for name in (BASE, ALL, "code", "environment") if attribution_shares.in_base_environment(name, found)]
    assert old == [BASE, "code"]
    assert not attribution_shares.in_base_environment(BASE, found[:1])


@pytest.mark.parametrize("stale", [True, False])
def test_a_holdout_of_other_rows_is_said(stale):
    params = ({}, {}) if stale else (window("2013-05"), window("2013-05", "2013-08"))
    (note,) = attribution_shares.notes(change([FILE], LINE, LINE.replace("2013-07", "2013-08"), params))
    assert note.startswith("the holdout window has changed")


def test_another_number_of_rows_is_said():
    measured = {BASE: MeasuredRun(0.5, 10), ALL: MeasuredRun(0.6, 11), "code": MeasuredRun(0.6, 11)}
    (note,) = judged(change(["src/a.py"]), measured).notes
    assert note.startswith("the holdout has 11 rows and had 10")


def shared(before, after, alone):
    runs = {name: MeasuredRun(value) for name, value in zip(("window", "config", "code"), alone, strict=True)}
    found = judged(all_three(), {BASE: MeasuredRun(before), ALL: MeasuredRun(after), **runs})
    assert [share.share is None for share in found.shares] == [value is None for value in alone]
    return found, [share.share for share in found.shares if share.share is not None]


ANY = st.floats(0, 40)
REPORTED = st.integers(0, 40_000_000).map(lambda value: value / 1e6)  # reports/metrics.json has six digits


@given(before=ANY, after=ANY, alone=st.lists(st.none() | ANY, min_size=3, max_size=3))
def test_shares_and_interaction_sum_to_the_move(before, after, alone):
    found, shares = shared(before, after, alone)
    assert found.move == pytest.approx(after - before, abs=1e-12)
    assert sum(shares) + found.interaction == pytest.approx(found.move, abs=1e-12)


@given(before=REPORTED, after=REPORTED, alone=st.lists(st.none() | REPORTED, min_size=3, max_size=3))
def test_what_is_shown_adds_up_to_the_last_digit(before, after, alone):
    found, shares = shared(before, after, alone)
    assert sum(Decimal(repr(value)) for value in (*shares, found.interaction)) == Decimal(repr(found.move))


def test_a_factor_that_cannot_run_alone_is_left_to_the_interaction():
    runs = {"window": MeasuredRun(0.6), "config": MeasuredRun(None, error="no such key"), "code": MeasuredRun(0.5)}
    found = judged(all_three(), {BASE: MeasuredRun(0.5), ALL: MeasuredRun(0.8), **runs})
    assert [(share.share, share.error) for share in found.shares] == [(0.1, ""), (None, "no such key"), (0.0, "")]
    assert (found.move, found.interaction) == (0.3, 0.2)


def test_without_a_factor_nothing_is_measured():
    found = judged(change(["README.md"]), {})
    assert (found.shares, found.move, found.interaction, found.notes) == ((), None, None, ())


def test_the_json_holds_everything():
    runs = {name: MeasuredRun(0.5) for name in (BASE, ALL, "window", "config", "code")}
    found = judged(all_three(), runs)
    content = json.loads(canonical_json(attribution_shares.content(found), digits=None))
    assert (content["metric"], content["before"], content["move"]) == ("roc_auc", 0.5, 0.0)
    assert content["shares"][1] == {
        "factor": "config",
        "changes": ["model.depth 3 → 9"],
        "value": 0.5,
        "share": 0.0,
        "error": "",
    }


STAGE_FAILED = """Running stage 'train':
> python stages/train.py
error: conf/model/gbm.yaml:3: model.depth: unknown key
ERROR: failed to reproduce 'train': failed to run: python stages/train.py, exited with 2
"""
CRASHED = """  File "train.py", line 1, in <module>
ModuleNotFoundError: No module named 'shapely'
ERROR: failed to reproduce 'train': failed to run: python stages/train.py, exited with 1
"""


@pytest.mark.parametrize(
    ("log", "line"),
    [
        (STAGE_FAILED, "conf/model/gbm.yaml:3: model.depth: unknown key"),
        (CRASHED, "ModuleNotFoundError: No module named 'shapely'"),
        (
            "ERROR: Stage 'evaluate' not found inside 'dvc.yaml' file\n\n",
            "Stage 'evaluate' not found inside 'dvc.yaml' file",
        ),
        ("one\nKilled\n", "Killed"),
        ("", "it said nothing"),
    ],
    ids=["stage", "crash", "dvc", "killed", "silence"],
)
def test_the_line_that_says_most(log, line):
    assert attribution_shares.last_error(log) == line


def test_a_stage_stands_on_those_that_make_what_it_reads(root):
    pipeline = yaml.safe_load((root / "dvc.yaml").read_text())
    found = attribution_shares.stages_before(pipeline, "evaluate")
    assert found == ("compose", "evaluate", "features", "ingest", "search", "train", "validate")
    assert attribution_shares.stages_before(pipeline, "ingest") == ("compose", "ingest")
    assert attribution_shares.stages_before(pipeline, "nothing") == ()


SHOWN = """\
factor        changed                                                 roc_auc with it alone              share
window        data.window.train +1 month 2013-05 → 2013-04..2013-05                   0.759          +0.000809
config        model.depth 3 → 9                                                               cannot run alone
code          src/a.py                                                             0.758191               same
              dvc.yaml
interaction   what they do together only                                                             -0.004005
whole move    0.758191 → 0.754995                                                  0.754995          -0.003196
roc_auc: larger is better; against bbbbbbbbbbbb
config cannot run alone, so its effect is in the interaction: no such key
"""


def test_what_a_person_reads(capsys):
    from trunkline.cli import attribute

    runs = {
        "window": MeasuredRun(0.759),
        "config": MeasuredRun(None, error="no such key"),
        "code": MeasuredRun(0.758191),
    }
    attribute._show(judged(all_three(), {BASE: MeasuredRun(0.758191), ALL: MeasuredRun(0.754995), **runs}))
    assert capsys.readouterr().out == SHOWN
