"""The model card: as a golden file, and as a page that no text in it can break."""

import json
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trunkline.pipeline.bundle import card
from trunkline.pipeline.bundle.explain.explain import Explanations, Shap
from trunkline.pipeline.bundle.explain.permutation import Drop, Permutation
from trunkline.pipeline.evaluate.estimate import Chosen, Confusion, Decided, Estimate
from trunkline.pipeline.evaluate.metrics import registry
from trunkline.pipeline.reports import DecisionReport, Evaluated, Parity

GOLDEN = Path(__file__).parents[2] / "golden/card"
HOSTILE = "a|b\n\n# c `d` <script>alert(1)</script> [e](http://f) ![g](h) *i* _j_ ~~k~~ www.l.m @n \\| &amp; \u202eo"


def estimate(value, spread=0.02):
    return {"value": value, "interval": None if value is None else [value - spread, value + spread]}


def part(rows, auc, brier):
    return {"n": rows, "metrics": {"roc_auc": estimate(auc), "brier": estimate(brier, 0.01)}}


REPORTS = Evaluated.model_validate(
    {
        "slices": {
            "all": {"all": part(28293, 0.764944, 0.175361)},
            "origin": {
                "EWR": part(10126, 0.759, 0.17),
                "JFK": part(9757, 0.7642, 0.18),
                "XXX": {"n": 3, "metrics": {}},
            },
            "carrier": {"": part(500, 0.8, 0.1), "9E": part(900, None, 0.2), "UA": part(4971, 0.7318, 0.1772)},
        },
        "dataset": {
            "source_rows": 336776,
            "unlabelled": 9430,
            "features": {"categorical": 1, "numeric": 1},
            "windows": {
                "train": {"rows": 159851, "unlabelled": 5480, "label_not_yet_known": 827, "base_rate": 0.247662},
                "holdout": {"rows": 28293, "unlabelled": 1132, "label_not_yet_known": 0, "base_rate": None},
            },
        },
        "validation": {
            "flights": {"rows": 336776, "quarantined": 0, "checks": {}},
            "weather": {"rows": 26115, "quarantined": 1, "checks": {"columns.wind_speed.max": 1}},
        },
    }
)
EXPLANATIONS = Explanations(
    Permutation("roc_auc", 0.76, 5000, 5, {"dest": Drop(0.01, 0.008, 0.02), "plane_age": Drop(0.03, 0.02, 0.04)}),
    Shap(
        "TreeSHAP, tree path dependent, by trunkline.treeshap",
        True,
        "log-odds",
        2000,
        -1.3,
        {"dest": 0.1, "plane_age": 0.3},
    ),
)
ONNX = card.CardInputs(
    name="flight-delay",
    intended_use="Warn dispatchers two hours before departure that a flight will probably arrive late.",
    limits=("Airports other than EWR, JFK and LGA.", "Cancelled flights: they have no label."),
    estimator="sklearn.ensemble.HistGradientBoostingClassifier",
    parameters={"max_depth": None, "learning_rate": 0.05, "preprocess": {"numeric": {"impute": "none"}}},
    observations="flights",
    label="late",
    label_definition="arr_delay > 15",
    task="binary",
    classes=(),
    label_known_after="1d",
    prediction_lead="2h",
    windows={"train": "2013-01..2013-06", "holdout": "2013-07"},
    metrics=(registry.named("roc_auc", "binary"), registry.named("brier", "binary")),
    confidence=0.95,
    cluster="date(event_time)",
    reports=REPORTS,
    features=(
        card.FeatureText("dest", "categorical", "Airport of destination"),
        card.FeatureText("plane_age", "numeric", "year - plane_built"),
    ),
    runtime="onnx",
    reason=None,
    parity=Parity(rows=31234, adversarial=2941, difference_below=1e-12, flips=0),
    explanations=EXPLANATIONS,
)
SKLEARN = replace(
    ONNX,
    limits=(),
    metrics=(registry.named("base_rate", "binary"),),
    runtime="sklearn",
    reason="GaussianNB is not covered by the exporter",
    parity=None,
    reports=REPORTS.model_copy(update={"slices": {"all": REPORTS.slices["all"]}}),
)


def test_a_decision_by_costs_is_shown_with_what_it_costs():
    costs = {"false_positive": 1.0, "false_negative": 5.0, "gain": 0.0}
    decided = Decided(
        Chosen(0.1667, 5, 90_000, 0.41),
        costs,
        Confusion(4000, 9000, 1000, 17_234),
        Estimate(0.448, (0.44, 0.46)),
        0.84,
        0.8,
    )
    page = card.render(replace(ONNX, reports=REPORTS.model_copy(update={"decision": DecisionReport(decided=decided)})))
    assert "from a score of 0.1667 on: where a false positive costs 1, a false\nnegative 5, and a true positive" in page
    assert "| taken for positive | 4,000 | 9,000 |\n| taken for negative | 1,000 | 17,234 |" in page
    assert "Expected cost per row: 0.4480 (0.4400 to 0.4600); of taking every row for positive 0.8400" in page


@pytest.mark.parametrize(("golden", "inputs"), [("onnx.txt", ONNX), ("sklearn.txt", SKLEARN)])
def test_the_card_is_as_agreed(golden, inputs):
    assert card.render(inputs) == (GOLDEN / golden).read_text(encoding="utf-8")


def test_what_is_selected_is_said_by_the_features_it_comes_from():
    many = {f"f{place:02d}": (1, 1) for place in range(card.LEAST)}
    page = card.render(replace(ONNX, selected={"dest": (3, 90), "plane_age": (0, 1), "a * b": (1, 1)} | many))
    assert "Of 122 columns, the estimator sees the 34 that were selected: `dest` (3 of 90), `a * b`, `f00`, " in page
    assert ", `f27`, and 2 more." in page


def poisoned(text):
    reports = json.loads(REPORTS.model_dump_json())
    reports["slices"] = {"all": reports["slices"]["all"], text: {text: part(100, 0.5, 0.5)}}
    reports["validation"] = {text: reports["validation"]["flights"]}
    return replace(
        ONNX,
        name=text,
        intended_use=text,
        limits=(text,),
        estimator=text,
        parameters={text: text, "nested": {"a": text}},
        observations=text,
        label=text,
        label_definition=text,
        cluster=text,
        reports=Evaluated.model_validate(reports),
        features=(card.FeatureText(text, text, text),),
        runtime="sklearn",
        reason=text,
        selected={text: (1, 2)},
        explanations=Explanations(
            replace(EXPLANATIONS.permutation, drops={text: Drop(0.1, 0.1, 0.1)}),
            replace(EXPLANATIONS.shap, method=text, mean_absolute={text: 0.1}),
        ),
    )


def shape(page):
    """What a line is: a heading, an item, or a row of a table with its number of cells."""
    kinds = []
    for line in page.splitlines():
        cells = line.replace("\\\\", "").replace("\\|", "").count("|") if line.startswith("|") else 0
        kinds.append((line.split(" ")[0] if line[:1] in ("#", ">", "-", "!") else bool(line), cells))
    return kinds


@given(
    st.text(st.characters(exclude_categories=["Cs"]), max_size=30)
    | st.text("|`\\\n\r\u2028#-+=.1<>*_[]()&~ a", max_size=12)
)
def test_no_text_changes_the_shape_of_the_page(text):
    assert shape(card.render(poisoned(text))) == shape(card.render(poisoned("word")))


def test_hostile_text_is_shown_and_does_nothing():
    page = card.render(poisoned(HOSTILE))
    assert shape(page) == shape(card.render(poisoned("word")))
    for active in ("<script", "](h", "`d`", "http://", "www.", "@n", "\u202e", " *i*", " _j_", "~~k"):
        assert active not in page.replace("\\" + active.strip(), "")
    assert r"a\|b &#35; c \`d\` &lt;script&gt;alert(1)&lt;/script&gt; \[e\]" in page
    assert r"\\\| &amp;amp; " in page
    assert card.plain("snake_case_name 0.1234 (-0.5)") == "snake_case_name 0.1234 (-0.5)"


def test_only_the_weakest_of_many_slices_are_shown():
    many = {f"v{place:03d}": part(300, 0.5 + place / 1000, 0.2) for place in range(100)}
    slices = {
        "all": REPORTS.slices["all"],
        "many": Evaluated.model_validate(
            REPORTS.model_dump() | {"slices": {"all": REPORTS.model_dump()["slices"]["all"], "many": many}}
        ).slices["many"],
    }
    page = card.render(replace(ONNX, reports=REPORTS.model_copy(update={"slices": slices})))
    shown = [line.split(" | ")[1] for line in page.splitlines() if line.startswith("| many |")]
    assert shown == [f"v{place:03d}" for place in range(card.LEAST)]
    assert "Stronger slices that are left out here: 70." in page


@pytest.mark.parametrize(("metric", "order"), [("roc_auc", ["UA", "EWR", "JFK", "(empty)", "9E"]), ("brier", None)])
def test_the_weakest_slice_is_first_whichever_end_is_the_better_one(metric, order):
    page = card.render(replace(ONNX, metrics=(registry.named(metric, "binary"),)))
    shown = [line.split(" | ")[1] for line in page.splitlines() if line.startswith(("| carrier |", "| origin |"))]
    assert shown == (order or ["9E", "JFK", "UA", "EWR", "(empty)"])
