"""Fetch the model that production runs, and let it score this commit's holdout."""

from trunkline.core.stage import run


def main() -> None:
    """Read the registry file, get the version's bundle, verify it, write its scores and what it is."""
    import shutil
    from pathlib import Path

    from rich.console import Console

    from trunkline.conf import registry
    from trunkline.core import paths
    from trunkline.core.params import Params
    from trunkline.pipeline.champion import left

    console = Console(stderr=True, highlight=False)
    params = Params.read()
    number = registry.production(paths.REGISTRY, params.name)
    shutil.rmtree(paths.CHAMPION, ignore_errors=True)
    if number is None:
        left.write_champion(None, None)
        console.print(f"{paths.CHAMPION}: production has no champion yet", soft_wrap=True)
        return

    from trunkline.adapters.dvc import fetch
    from trunkline.conf.contract import Contract
    from trunkline.conf.data import Data
    from trunkline.conf.features import Features
    from trunkline.conf.versions import Version
    from trunkline.core.dataset import Dataset
    from trunkline.core.progress import Bar
    from trunkline.pipeline.champion import score
    from trunkline.pipeline.features import compiler

    data = params.group(Data)
    plan = compiler.plan(params.group(Features), data, params.group(Contract))
    with Bar("scoring with the model in production"):
        identity = fetch.fetch(paths.home(Path.cwd()), Version(params.name, number), score.BUNDLE)
        scores = score.score(score.BUNDLE, plan, data, Dataset.read("holdout"))
    left.write_champion(identity, scores)
    console.print(f"{paths.CHAMPION}: {identity.version}, bundle {identity.digest[:12]}", soft_wrap=True)


if __name__ == "__main__":
    run(main)
