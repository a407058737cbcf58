"""Fit the models that the gates compare with: a simple one, and the declared one with other seeds."""

from trunkline.core.stage import run


def main() -> None:
    """Read both windows, fit each rival on the first, write its scores of the second; the baseline's of both."""
    import os
    from functools import partial

    from rich.console import Console

    from trunkline.conf.gates import Gates
    from trunkline.conf.model import Model
    from trunkline.core import paths
    from trunkline.core.dataset import Dataset
    from trunkline.core.params import Params
    from trunkline.core.progress import track
    from trunkline.core.tables.parquet import write_parquet
    from trunkline.pipeline.rivals import score
    from trunkline.pipeline.train import choice

    console, params = Console(stderr=True, highlight=False), Params.read()
    progress = partial(track, what="fitting rivals", unit="models")
    rivals = score.rivals(params.group(Gates), choice.trained(params.group(Model)), params.seed)
    train, holdout, threads = Dataset.read("train"), Dataset.read("holdout"), int(os.environ["OMP_NUM_THREADS"])
    fitted = score.fitted(rivals, train, threads, progress)
    write_parquet(score.scores(fitted, holdout), paths.RIVAL_SCORES)
    write_parquet(score.of_members(fitted, train), paths.RIVAL_MEMBERS)
    console.print(f"{paths.RIVALS}: {', '.join(rivals) or 'no rivals are declared'}", soft_wrap=True)


if __name__ == "__main__":
    run(main)
