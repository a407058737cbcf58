"""The report of a run, as a person sees it: compared with golden text."""

import json
from pathlib import Path

import pytest

from trunkline.core.errors import UserError
from trunkline.pipeline.evaluate.metrics import registry
from trunkline.pipeline.reports import Reports
from trunkline.review.summary import Subject, summary
from trunkline.show.terminal import plain

GOLDEN = Path(__file__).parents[1] / "golden/report"


REPORTS = json.loads((GOLDEN / "reports.json").read_text(encoding="utf-8"))
# Of what is not defined, and of so few slices that none is left out.
UNDEFINED = {
    **REPORTS,
    "slices": {
        "all": {
            "all": {
                "n": 12,
                "metrics": {
                    "brier": {"value": 0.2, "interval": None},
                    "roc_auc": {"value": None, "interval": None, "undefined": "none of 12 rows has the label 1"},
                },
            }
        },
        "origin": {
            "EWR": {"n": 7, "metrics": {"brier": {"value": 0.1, "interval": None}}},
            "JFK": {"n": 5, "metrics": {"brier": {"value": 0.34, "interval": [0.2, 0.4]}}},
            "LGA": {"n": 5, "metrics": {"brier": {"value": None, "interval": None}}},
        },
    },
    "dataset": REPORTS["dataset"]
    | {
        "windows": {
            "holdout": {"rows": 0, "unlabelled": 1132, "label_not_yet_known": 0, "base_rate": None},
            "train": REPORTS["dataset"]["windows"]["train"],
        }
    },
    "bundle": {
        "digest": "0" * 64,
        "runtime": "sklearn",
        "reason": "GaussianNB is not covered by the exporter",
        "parity": None,
        "bytes": 912345,
    },
    "gates": {"verdict": "pass", "challenger": "0" * 64, "champion": None, "gates": REPORTS["gates"]["gates"][-1:]},
}


def subject(*names):
    return Subject(
        name="flight-delay",
        estimator="sklearn.ensemble.HistGradientBoostingClassifier",
        target="late",
        observations="flights",
        windows={"train": "2013-01..2013-06", "holdout": "2013-07"},
        task="binary",
        metrics=tuple(registry.named(name, "binary") for name in names),
        confidence=0.95,
        look="mlflow ui --backend-store-uri sqlite:///mlflow.db",
    )


@pytest.mark.parametrize(
    ("golden", "content", "names"),
    [
        ("whole.txt", REPORTS, ["roc_auc", "log_loss", "brier"]),
        ("undefined.txt", UNDEFINED, ["base_rate", "brier", "roc_auc"]),
    ],
)
def test_a_report_reads_as_it_did(golden, content, names):
    text = plain(summary(subject(*names), Reports.model_validate(content)), width=100)
    assert text == (GOLDEN / golden).read_text(encoding="utf-8")


def test_a_verdict_on_another_bundle_is_refused():
    with pytest.raises(UserError, match="judges another bundle than"):
        Reports.parse({**REPORTS, "gates": REPORTS["gates"] | {"challenger": "0" * 64}})


def test_the_weakest_slice_comes_first_whichever_way_is_better():
    values = {"EWR": 0.5, "JFK": 0.3, "LGA": 0.7}
    found = {
        label: {"n": 9, "metrics": {name: {"value": value, "interval": None} for name in ("log_loss", "roc_auc")}}
        for label, value in values.items()
    }
    reports = Reports.model_validate(
        {**REPORTS, "slices": {**REPORTS["slices"], "carrier": {}, "hour": {}, "origin": found}}
    )
    for metric, order in (("log_loss", ["LGA", "EWR", "JFK"]), ("roc_auc", ["JFK", "EWR", "LGA"])):
        text = plain(summary(subject(metric), reports), width=100)
        assert sorted(values, key=lambda label: text.index(f"origin {label}")) == order


def test_a_command_is_never_broken_over_lines():
    text = plain(summary(subject("roc_auc"), Reports.model_validate(REPORTS)), width=80)
    assert "mlflow ui --backend-store-uri sqlite:///mlflow.db " in text
