"""Fit the declared model on the training window."""

from trunkline.core.stage import run


def main() -> None:
    """Read the training rows, fit preprocessing and estimator, write the model."""
    import os

    from rich.console import Console

    from trunkline.core import paths
    from trunkline.core.dataset import Dataset
    from trunkline.core.values import load_seed
    from trunkline.pipeline.train import choice, fit, modelfile

    console = Console(stderr=True, highlight=False)
    dataset, model = Dataset.read("train"), choice.trained()
    subject = (
        f"{model.target.rpartition('.')[2]} on {dataset.frame.height:,} rows x {len(dataset.schema.features)} features"
    )
    with console.status(f"fitting {subject}"):
        pipeline = fit.fit(dataset, model, load_seed(), threads=int(os.environ["OMP_NUM_THREADS"]))
    modelfile.save(pipeline, paths.MODEL)
    console.print(f"{paths.MODEL}: {subject}", soft_wrap=True)


if __name__ == "__main__":
    run(main)
