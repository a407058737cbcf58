"""Try models on folds of the training rows, if conf/search says so, and choose the one that is trained."""

from trunkline.core.stage import run


def main() -> None:
    """Read the training rows, search, write what was chosen, all trials and their pictures."""
    import os

    from rich.console import Console

    from trunkline.conf.search import Search
    from trunkline.core import files, paths
    from trunkline.core.params import Params
    from trunkline.pipeline.search.summary import outcome
    from trunkline.pipeline.train.choice import Choice

    console, params = Console(stderr=True, highlight=False), Params.read()
    if not params.group(Search).trials:
        files.write_json(paths.CHOICE, Choice().model_dump(exclude_defaults=True))
        return
    from trunkline.pipeline.search import study  # imports scikit-learn and Optuna

    result = study.run(params, int(os.environ["OMP_NUM_THREADS"]))
    console.print(f"{paths.CHOICE}: {outcome(result)}", soft_wrap=True)


if __name__ == "__main__":
    run(main)
