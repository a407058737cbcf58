"""Three airlines as sites: the joint model against each one's own and one of the pooled rows, on each one's holdout.

Each airline has its own flights and no other's: its features are computed of them alone, its model is fitted to them
and exported as its bundle would hold it. The joint models are the graphs that `trunkline federate` and `dvc repro`
make of these. The pooled model, which federation is there to do without, learns from the rows of all three. By paired
resamples of whole days: log loss and ROC AUC, and how much better each is than the airline's own model. Needs the
validated tables that `make repro` leaves in data/valid.
Run: python -m benchmarks.federation [--sites UA B6 EV] [--train 2013-01..2013-06] [--holdout 2013-07]
"""

import argparse
import os
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from trunkline.core.machine import pin

if TYPE_CHECKING:
    from trunkline.conf.project import Project
    from trunkline.core.dataset import Dataset

METRICS = ("log_loss", "roc_auc")
MASKED = "masked"  # the sum of masked shares, where no site's model is seen
MODELS = {
    "boosting": ("gbm", "scores"),
    "boosting, margins": ("gbm", "margins"),
    "logistic": ("logistic", "margins"),
    "logistic, masked": ("logistic", MASKED),
}
OWN = "own"


@dataclass(frozen=True)
class Rows:
    """An airline's rows to learn from and to measure on."""

    train: "Dataset"
    holdout: "Dataset"


def main() -> None:
    """Print a row for each model, airline, way of learning and metric."""
    from rich.console import Console
    from rich.table import Table

    options = _options()
    table = Table("model", "site", "rows", "learnt", *(f"{name} (better by, 95 %)" for name in METRICS))
    window = f"data.window={{train: {options.train}, holdout: {options.holdout}}}"
    rows = {name: rows_of(name, project("gbm", window)) for name in options.sites}
    for words, (model, mean) in MODELS.items():
        for name, ways in compared(project(model, window), rows, mean).items():
            for way, cells in ways.items():
                table.add_row(words, name, f"{rows[name].train.frame.height:,}", way, *cells)
    Console(width=150).print(table)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=str(__doc__).splitlines()[0])
    parser.add_argument("--sites", nargs="+", default=["UA", "B6", "EV"])
    parser.add_argument("--train", default="2013-01..2013-06")
    parser.add_argument("--holdout", default="2013-07")
    return parser.parse_args()


def project(model: str, window: str) -> "Project":
    """Return the project with a model and windows."""
    from trunkline.core.paths import CONF
    from trunkline.pipeline.compose.compose import compose
    from trunkline.pipeline.compose.judge import check

    return check(compose(CONF, [f"model={model}", window]), CONF)


def rows_of(carrier: str, of: "Project") -> Rows:
    """Compute the features of an airline's flights, of which no other's are a part."""
    import polars as pl

    from trunkline.core.dataset import Dataset
    from trunkline.core.paths import VALID
    from trunkline.pipeline.features import compiler, split
    from trunkline.pipeline.features.duckdb import DuckDBEngine

    plan = compiler.plan(of.features, of.data, of.contract)
    with tempfile.TemporaryDirectory() as folder:
        valid, made = Path(folder, "valid"), Path(folder, "features")
        for path in (valid, made):
            path.mkdir()
        for name in of.data.sources:
            table = pl.scan_parquet(VALID / f"{name}.parquet")
            own = table.filter(pl.col("carrier") == carrier) if name == of.data.observations else table
            own.sink_parquet(valid / f"{name}.parquet")
        with DuckDBEngine(plan, valid) as engine:
            split.materialize(engine, plan, of.data, made)
        return Rows(Dataset.read("train", made), Dataset.read("holdout", made))


def compared(of: "Project", rows: Mapping[str, Rows], mean: Any) -> dict[str, dict[str, list[str]]]:
    """Return, by site and way of learning, a cell for each metric."""
    import polars as pl

    from trunkline.core.dataset import Dataset
    from trunkline.pipeline.bundle.onnx import export
    from trunkline.pipeline.train import fit, joint

    threads = int(os.environ["OMP_NUM_THREADS"])
    fits = {name: fit.fit(each.train, of.model, of.seed, threads) for name, each in rows.items()}
    schema = next(iter(rows.values())).train.schema
    pool = Dataset(pl.concat([each.train.frame for each in rows.values()]), schema)
    if mean == MASKED:
        joined = summed(fits, rows, pool)
    else:
        graphs = [export.export(pipeline, schema) for pipeline in fits.values()]
        joined = joint.join(graphs, [each.train.frame.height for each in rows.values()], mean)
    pooled = fit.fit(pool, of.model, of.seed, threads)
    return {
        name: cells(
            of,
            each.holdout,
            {
                OWN: fit.scores(fits[name], each.holdout.features),
                "joint": scores(joined, each.holdout),
                "pooled": fit.scores(pooled, each.holdout.features),
            },
        )
        for name, each in rows.items()
    }


def summed(fits: Mapping[str, Any], rows: Mapping[str, Rows], pool: "Dataset") -> bytes:
    """Return the graph of the sum of what each airline shares, masked by keys of this moment."""
    import secrets

    from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey
    from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

    from trunkline.federation import linear, masks, sums

    form, identity = linear.Form.of(pool), secrets.token_bytes(32)
    keys = {name: X25519PrivateKey.generate() for name in fits}
    pems = {
        name: key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode()
        for name, key in keys.items()
    }
    agreed = sums.Round(
        round="airlines",
        nonce="",
        bits=32,
        members=pems,
        until=None,
        task="binary",
        label=pool.schema.label,
        classes=(),
        inputs=(),
        plan={},
        form=form,
    )
    shares = []
    for name, key in keys.items():
        own = linear.coefficients(fits[name], rows[name].train, form)
        plain = sums.fixed(own, rows[name].train.frame.height, agreed)
        shares.append(plain + masks.total(key, name, agreed.keys, identity, len(plain)))
    _, mean = sums.mean(shares, agreed)
    return linear.graph(mean, form, pool.schema)


def scores(graph: bytes, rows: "Dataset") -> Any:
    """Return a graph's scores of rows, as a bundle gives them."""
    import numpy as np
    import polars as pl

    from trunkline.core.graphs import CATEGORICAL, MISSING, NUMERIC, even, session
    from trunkline.core.tasks import SCORE

    texts = rows.features.select(pl.col(rows.schema.of_role("categorical")).fill_null(MISSING))
    numbers = rows.features.select(rows.schema.of_role("numeric")).to_numpy().astype(np.float64)
    feed = {NUMERIC: even(np.ascontiguousarray(numbers)), CATEGORICAL: even(texts.to_numpy().astype(object))}
    return session(graph).run([SCORE], feed)[0][: rows.frame.height]


def cells(of: "Project", holdout: "Dataset", by_way: Mapping[str, Any]) -> dict[str, list[str]]:
    """Return a cell for each metric of each way: its value, and how much better it is than the own model's."""
    from trunkline.pipeline.evaluate import slices
    from trunkline.pipeline.evaluate.bootstrap import Resamples
    from trunkline.pipeline.evaluate.metrics.kinds import point
    from trunkline.pipeline.evaluate.metrics.registry import named
    from trunkline.pipeline.gate import comparison

    samples = {way: slices.clustered(holdout, each, of.evaluation.interval.cluster)[0] for way, each in by_way.items()}
    _, clusters = slices.clustered(holdout, by_way[OWN], of.evaluation.interval.cluster)
    resamples = Resamples(clusters, of.gates.resamples, of.seed)

    def cell(way: str, name: str) -> str:
        metric = named(name, holdout.schema.task)
        value = f"{float(point([metric], samples[way])[0]):.4f}"
        if way == OWN:
            return value
        difference = comparison.difference(metric, samples[OWN], samples[way], resamples)
        low, high = difference.interval(0.95)
        return f"{value} ({difference.observed:+.4f}, {low:+.4f} to {high:+.4f})"

    return {way: [cell(way, name) for name in METRICS] for way in by_way}


if __name__ == "__main__":
    pin()
    main()
