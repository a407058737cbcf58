"""Fit the models that the gates compare with: a simple one, and the declared one with other seeds."""

from trunkline.core.stage import run


def main() -> None:
    """Read both windows, fit each rival on the training rows, write its scores of the holdout."""
    import os

    import polars as pl
    from rich.console import Console
    from rich.progress import track

    from trunkline.conf.gates import Gates
    from trunkline.core import paths
    from trunkline.core.dataset import Dataset
    from trunkline.core.parquet import write_parquet
    from trunkline.core.values import load_seed
    from trunkline.pipeline.train import choice, fit

    console = Console(stderr=True, highlight=False)
    train, holdout = Dataset.read("train"), Dataset.read("holdout")
    rivals = Gates.load().rivals(choice.trained(), load_seed())
    shown = track(rivals.items(), "fitting rivals", console=console, transient=True, disable=not console.is_terminal)
    threads = int(os.environ["OMP_NUM_THREADS"])
    scores = {name: fit.scores(fit.fit(train, *rival, threads), holdout.features) for name, rival in shown}
    write_parquet(pl.DataFrame([pl.Series(name, of) for name, of in scores.items()]), paths.RIVAL_SCORES)
    console.print(f"{paths.RIVALS}: {', '.join(scores) or 'no rivals are declared'}", soft_wrap=True)


if __name__ == "__main__":
    run(main)
