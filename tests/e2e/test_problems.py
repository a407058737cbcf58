"""Problems that are not flights, end to end and without a line of Python of their own: a number, classes, a mess."""

import json
import random
import shutil
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

from tests.e2e.conftest import Checkout, checkout
from tests.installed import install
from trunkline.bundle.runtime import Bundle
from trunkline.core.dataset import Dataset
from trunkline.core.tables import rows
from trunkline.pipeline.evaluate.metrics import registry
from trunkline.pipeline.evaluate.metrics.kinds import Sample, point
from trunkline.pipeline.evaluate.slices import scores_of

pytestmark = [pytest.mark.e2e, pytest.mark.long]

MESSY = Path(__file__).parent / "messy"
QUIET = {"PYTHONWARNINGS": "ignore"}  # as users have it


@dataclass(frozen=True)
class Problem:
    """A reproduced checkout of one problem."""

    project: Checkout
    env: Mapping[str, str]

    def json(self, file: str) -> Any:
        """Return the content of a report."""
        return json.loads(self.project.read(file))

    @property
    def holdout(self) -> Dataset:
        """The rows that were measured."""
        return Dataset.read("holdout", self.project.root / "data/features")

    def predicted(self, *arguments: str, source: str = "data/features/holdout.parquet") -> pl.DataFrame:
        """Score the holdout by `trunkline predict`."""
        output = self.project.root / "scores.parquet"
        output.unlink(missing_ok=True)
        command = ("trunkline", "predict", source, "-o", str(output), *arguments)
        self.project.run(*command, env=self.env)
        return pl.read_parquet(output)


def reproduced(root: Path, folder: Path, name: str, env: Mapping[str, str], more: Callable[[Path], None]) -> Problem:
    """Pick an experiment and its registry, run the pipeline, and commit."""
    made = checkout(root, folder)
    more(folder)
    made.edit("conf/config.yaml", "experiment: null", f"experiment: {name}")
    made.edit("models/registry.yaml", "flight-delay:", f"{name}:")
    (folder / "dvc.lock").unlink()
    made.repro(env=env)
    made.commit(name)
    return Problem(made, env)


def experiment(name: str) -> Any:
    """Return a fixture: the problem of an experiment that ships."""

    @pytest.fixture(scope="module")
    def problem(root: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Problem]:
        folder = tmp_path_factory.mktemp(name) / "project"
        yield reproduced(root, folder, name, {}, lambda _: None)
        shutil.rmtree(folder)

    return problem


diabetes = experiment("diabetes")  # a regression
seats = experiment("seats")  # a count
intervals = experiment("intervals")  # quantiles
severity = experiment("severity")  # classes in an order
triage = experiment("triage")  # a ranking
mishaps = experiment("mishaps")  # several labels of a row
wine = experiment("wine")  # three classes


@pytest.fixture(scope="module")
def messy(root: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Problem]:
    """A table as tables are, in groups."""
    base = tmp_path_factory.mktemp("messy")
    install(base / "site", {"tables/messy.csv": mess().encode()})
    env = {"PYTHONPATH": str(base / "site")}
    yield reproduced(root, base / "project", "messy", env, _add_messy)
    shutil.rmtree(base)


def _add_messy(folder: Path) -> None:
    shutil.copytree(MESSY, folder / "conf", dirs_exist_ok=True)


def mess() -> str:
    """Return a CSV of mixed types, dates in odd notations, 40 % missing; one city is in the holdout only."""
    chance = random.Random(20130701)
    customers = [f"K{number}" for number in range(150)]
    shares = rows.shares(pl.DataFrame({"kunde": customers}), ["kunde"], 0)
    held = {customer for customer, share in zip(customers, shares, strict=True) if share < 0.4}
    lines = ["nr;kunde;Größe;città;日付;betrag €;Gekauft;gekauft"]
    for number in range(1, 1501):
        customer = chance.choice(customers)
        height, amount, month = chance.gauss(170, 12), chance.lognormvariate(3, 1), chance.randint(1, 12)
        city = chance.choice(["Zürich", "Forlì", "東京", "Łódź"])
        bought = chance.random() < 1 / (1 + 2.718281828 ** -((amount - 25) / 15 + (city == "Forlì") - 0.5))
        if customer in held and chance.random() < 0.1:
            city = "Nur-hier"
        day = chance.choice([f"2021-{month:02}-03", f"03.{month:02}.2021", f"{MONTHS[month - 1]} 03, 2021"])
        size = chance.choice([f"{height:.1f}", f"{height:.0f}", f"{height:.3e}", f"{height:.1f}"])
        size = "groß" if chance.random() < 0.01 else size
        cells = [size, city, day, f"{amount:.2f}"]
        cells = [chance.choice(["", "?", "N/A"]) if chance.random() < 0.4 else cell for cell in cells]
        label = "" if chance.random() < 0.02 else "ja" if bought else "nein"
        lines.append(";".join([str(number), customer, *cells, "x", label]))
    return "\n".join(lines) + "\n"


MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")


def holds(problem: Problem, names: list[str], task: Any, atol: float = 1e-9) -> None:
    """Check what holds of every problem: metrics, verdicts, parity, and that the bundle scores what was evaluated."""
    holdout, gates, bundle = problem.holdout, problem.json("reports/gates.json"), problem.json("reports/bundle.json")
    assert gates["verdict"] == "pass"
    assert (bundle["runtime"], bundle["parity"]["flips"]) == ("onnx", 0)
    assert bundle["parity"]["rows"] > 4000
    predictions = pl.read_parquet(problem.project.root / "data/predictions/holdout.parquet")
    scores = scores_of(predictions, names)
    sample = Sample(holdout.label.to_numpy(), scores, holdout.groups.to_numpy(), task, holdout.schema.levels)
    for name, value in problem.json("reports/metrics.json")["holdout"].items():
        if name != "n":
            assert point([registry.named(name, task)], sample)[0] == pytest.approx(value, abs=1e-5, rel=1e-5)
    for runtime in ("onnx", "sklearn"):
        found = scores_of(problem.predicted("--runtime", runtime), names)
        np.testing.assert_allclose(found, scores, rtol=1e-12, atol=atol if runtime == "onnx" else 0)
    loaded = Bundle.load(problem.project.root / "models/bundle")
    assert loaded.manifest.task == task
    for row in json.loads(problem.project.read("models/bundle/golden.json")):
        given = loaded.score(row["request"])
        assert given == pytest.approx(row["score"], abs=atol, rel=1e-12)
    assert problem.project.repro(env=problem.env) == []
    problem.project.run("trunkline", "compose", "--check", env=problem.env)


def plots(problem: Problem) -> str:
    """Return the page of `dvc plots show`, which like `dvc plots diff` says nothing but where its page is."""
    page = problem.project.root / "plots/index.html"
    for command in (("diff", "HEAD"), ("show",)):
        page.unlink(missing_ok=True)
        told = problem.project.run("dvc", "plots", *command, "--out", "plots", env={**problem.env, **QUIET})
        assert told.split() == [page.as_uri()], told
    return page.read_text(encoding="utf-8")


def wrong(problem: Problem) -> list[str]:
    """Return what the self-test of the gates finds wrong."""
    told = problem.project.run("trunkline", "gate", "--self-test", "--json", env=problem.env, check=False)
    cases = json.loads(told[told.index("{") :])["cases"]
    return [f"{case['name']}: {case['outcome']}" for case in cases if not case["right"]]


def test_a_regression_on_a_table_without_time(diabetes: Problem) -> None:
    holds(diabetes, ["score"], "regression", atol=1e-7)
    assert {"rmse", "mae", "r2", "bias", "n"} == set(diabetes.json("reports/metrics.json")["holdout"])
    drawn = [path.name for path in (diabetes.project.root / "reports/curves").iterdir() if json.loads(path.read_text())]
    assert drawn == ["observed.json"]
    assert wrong(diabetes) == []
    card = diabetes.project.read("models/bundle/card.md")
    assert "| Score | a number |" in card
    assert "event" not in card
    report = diabetes.project.run("trunkline", "report")
    assert "smaller is better" in report
    assert "auc" not in report.lower()
    assert '"observed"' in plots(diabetes)


def test_the_comment_on_a_regression(diabetes: Problem, tmp_path: Path) -> None:
    project = diabetes.project.copy(tmp_path / "project")
    project.run("git", "checkout", "-qb", "branch")
    project.edit("conf/model/ridge.yaml", "alpha: 10.0", "alpha: 500.0")
    project.repro()
    project.commit("worse")
    told = project.run("trunkline", "review", "--base", "main", "--html", "report.html")
    assert "**worse**" in told
    assert "Mean label by score" in told
    assert "ROC" not in told
    assert "Mean label by score" in project.read("report.html")


def test_a_count(seats: Problem) -> None:
    holds(seats, ["score"], "count")
    assert seats.predicted()["score"].min() > 0
    assert wrong(seats) == ["rows of the holdout among the training rows: let through"]  # planes of a fleet are alike
    assert "| Score | an expected count, at least 0 |" in seats.project.read("models/bundle/card.md")
    assert '"observed"' in plots(seats)


def test_quantiles(intervals: Problem) -> None:
    names = ["score_q10", "score_q50", "score_q90"]
    holds(intervals, names, "quantile", atol=1e-7)
    assert intervals.predicted().columns[-3:] == names
    assert wrong(intervals) == []
    card = intervals.project.read("models/bundle/card.md")
    assert "the quantiles `q10`, `q50`, `q90` of the label: from the first to the last" in card
    assert "is to hold 80 % of labels" in card
    assert '"observed_rate"' in plots(intervals)


def test_classes_in_an_order(severity: Problem) -> None:
    names = ["score_mild", "score_moderate", "score_severe", "score_grave"]
    holds(severity, names, "ordinal")
    assert wrong(severity) == []
    assert "`mild`, `moderate`, `severe`, `grave`, from the lowest to the highest" in severity.project.read(
        "models/bundle/card.md"
    )


def test_a_ranking(triage: Problem) -> None:
    holds(triage, ["score"], "ranking")
    assert wrong(triage) == []
    card = triage.project.read("models/bundle/card.md")
    assert "| Group | rows with the same `origin, time_hour` |" in card
    assert "by `plane_last_arrival_delay` from the highest" in card


def test_several_labels(mishaps: Problem) -> None:
    names = ["score_cancelled", "score_comes_late", "score_leaves_late"]
    holds(mishaps, names, "multilabel")
    assert wrong(mishaps) == []
    assert mishaps.predicted().columns[-3:] == names
    by_label = mishaps.json("reports/slices.json")["label"]
    assert list(by_label) == ["cancelled", "comes_late", "leaves_late"]
    card = mishaps.project.read("models/bundle/card.md")
    assert "for each of the labels `cancelled`, `comes_late`, `leaves_late` a probability" in card
    assert "| label | cancelled |" in card


def test_several_classes(wine: Problem) -> None:
    names = ["score_0", "score_1", "score_2"]
    holds(wine, names, "multiclass")
    assert wine.predicted().select(names).sum_horizontal().is_between(1 - 1e-9, 1 + 1e-9).all()
    cells = wine.json("reports/curves/confusion.json")
    holdout = wine.holdout
    assert sum(cell["n"] for cell in cells) == holdout.frame.height
    assert {(cell["actual"], cell["predicted"]) for cell in cells} == {(a, b) for a in "012" for b in "012"}
    assert wrong(wine) == []
    assert "for each of `0`, `1`, `2`" in wine.project.read("models/bundle/card.md")
    assert '"predicted"' in plots(wine)


def test_a_mess_in_groups(messy: Problem) -> None:
    holds(messy, ["score"], "binary")
    train = Dataset.read("train", messy.project.root / "data/features")
    holdout = messy.holdout
    assert not set(train.frame["kunde"]) & set(holdout.frame["kunde"])
    assert "Nur-hier" in set(holdout.frame["city"])
    assert "Nur-hier" not in set(train.frame["city"])
    for name in ("height", "city", "betrag €", "month"):
        assert 0.3 < train.frame[name].null_count() / train.frame.height < 0.5
    # What the source says is missing is so in a CSV to score, whichever of its texts says it.
    scores = pl.read_parquet(messy.project.root / "data/predictions/holdout.parquet")["score"]
    for text in ("?", "N/A", ""):
        asked = holdout.frame.with_columns(pl.col("betrag €", "city", "height").cast(pl.String).fill_null(text))
        asked.write_csv(messy.project.root / "asked.csv")
        np.testing.assert_allclose(messy.predicted(source="asked.csv")["score"], scores, atol=1e-9)
    checked = messy.json("reports/validation.json")["purchases"]
    assert checked["checks"] == {"columns.Größe.type": checked["quarantined"]}
    assert checked["quarantined"] > 0
    assert messy.json("reports/slices.json")["city"]["(missing)"]["n"] > 100
    assert '"true_positive_rate"' in plots(messy)
    # All of the table is personal: no bundle shows a value of a row, or what few rows share.
    bundle = messy.project.root / "models/bundle"
    for row in json.loads((bundle / "golden.json").read_text(encoding="utf-8")):
        assert {value for name, value in row["request"].items() if name in ("height", "city", "betrag €", "month")} == {
            None
        }
    reference = json.loads((bundle / "reference.json").read_text(encoding="utf-8"))
    assert "city" not in reference["slices"]
    cells = [of["counts"] for of in reference["features"].values()]
    assert min(count for of in cells for count in (of.values() if isinstance(of, dict) else of)) >= 10
    assert "Forlì" not in (bundle / "card.md").read_text(encoding="utf-8") + (bundle / "contract.json").read_text(
        "utf-8"
    )


def test_raw_rows_score_as_the_features_that_were_evaluated(messy: Problem) -> None:
    """Of a CSV as it comes: with words for numbers, dates in three notations, and a derived column."""
    raw, measured = messy.project.root / "raw.csv", messy.holdout.frame.select("nr").with_row_index("place")
    table = pl.read_parquet(messy.project.root / "data/raw/purchases.parquet")
    kept = measured.join(table.with_columns(pl.col("nr").cast(pl.Int64)), on="nr", how="left").sort("place")
    kept.drop("place", "gekauft").fill_null("").write_csv(raw)
    scores = messy.predicted(source=str(raw))["score"]
    evaluated = pl.read_parquet(messy.project.root / "data/predictions/holdout.parquet")["score"]
    features = messy.predicted(source="data/features/holdout.parquet")["score"]
    assert scores.to_list() == features.to_list()
    np.testing.assert_allclose(scores, evaluated, rtol=1e-12)


def test_a_row_stays_where_it_is_when_rows_are_added(messy: Problem, tmp_path: Path) -> None:
    project = messy.project.copy(tmp_path / "project")
    site = tmp_path / "site"
    lines = mess().splitlines()
    install(site, {"tables/messy.csv": "\n".join([lines[0], *lines[300:], *lines[1:200]]).encode() + b"\n"})
    project.run("dvc", "repro", "-f", "features", env={"PYTHONPATH": str(site)})
    for split in ("train", "holdout"):
        before = set(pl.read_parquet(messy.project.root / f"data/features/{split}.parquet")["nr"])
        after = set(pl.read_parquet(project.root / f"data/features/{split}.parquet")["nr"])
        assert after < before
