"""Measures the model on the holdout: metrics, slices with intervals, curves, scores, and a declared backtest."""

from trunkline.core.stage import run


def main() -> None:
    """Read the model and the holdout, score, measure, write the reports and the predictions."""
    import os
    from functools import partial

    from rich.console import Console

    from trunkline.conf.evaluation import Evaluation
    from trunkline.core import files, paths
    from trunkline.core.dataset import Dataset
    from trunkline.core.params import Params
    from trunkline.core.progress import track
    from trunkline.core.tables.parquet import write_parquet
    from trunkline.pipeline.evaluate import backtest, decision, slices, threshold
    from trunkline.pipeline.train import fit, modelfile

    console = Console(stderr=True, highlight=False)
    params, holdout = Params.read(), Dataset.read("holdout")
    evaluation = params.group(Evaluation)
    scores = fit.scores(modelfile.load(paths.MODEL), holdout.features)
    rows = partial(track, what="measuring", unit="rows of slices", size=lambda part: len(part[2]))
    report = slices.evaluate(holdout, scores, evaluation, params.seed, rows)
    slices.write(report)
    write_parquet(slices.predictions(holdout, scores), paths.PREDICTIONS / "holdout.parquet")
    parts = sum(map(len, report.slices.values())) - 1
    threads = int(os.environ["OMP_NUM_THREADS"])
    outcomes = backtest.outcomes(params, evaluation, threads)
    files.write_json(paths.BACKTEST, backtest.content(outcomes, evaluation))
    sample, _ = slices.clustered(holdout, scores, evaluation.interval.cluster)
    decided = decision.measured(sample, threshold.chosen(params, evaluation, threads), evaluation, params.seed)
    files.write_json(paths.DECISION, decision.content(decided))
    console.print(f"{paths.METRICS}: {report.whole.n:,} rows, {parts} slices", soft_wrap=True)
    for line in report.undefined:
        console.print(line, style="yellow", soft_wrap=True)


if __name__ == "__main__":
    run(main)
