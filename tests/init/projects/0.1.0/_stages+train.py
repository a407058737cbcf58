"""Fit the declared model on the training window."""

from trunkline.core.stage import run


def main() -> None:
    """Read the training rows, fit preprocessing and estimator, write the model."""
    import os

    from rich.console import Console

    from trunkline.conf.model import Model
    from trunkline.core import paths
    from trunkline.core.dataset import Dataset
    from trunkline.core.params import Params
    from trunkline.core.progress import Bar
    from trunkline.pipeline.train import choice, fit, modelfile

    console = Console(stderr=True, highlight=False)
    dataset, params = Dataset.read("train"), Params.read()
    model = choice.trained(params.group(Model))
    subject = (
        f"{model.target.rpartition('.')[2]} on {dataset.frame.height:,} rows x {len(dataset.schema.features)} features"
    )
    with Bar(f"fitting {subject}"):
        pipeline = fit.fit(dataset, model, params.seed, threads=int(os.environ["OMP_NUM_THREADS"]))
    modelfile.save(pipeline, paths.MODEL)
    console.print(f"{paths.MODEL}: {subject}", soft_wrap=True)


if __name__ == "__main__":
    run(main)
