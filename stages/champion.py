"""Fetch the model that production runs, and let it score this commit's holdout."""

from trunkline.core.stage import run


def main() -> None:
    """Read the registry file, get the version's bundle, verify it, write its scores and what it is."""
    import shutil
    from pathlib import Path

    from rich.console import Console

    from trunkline import identity, registry
    from trunkline.core import paths
    from trunkline.core.paramsfile import read_params

    console = Console(stderr=True, highlight=False)
    name = str(read_params()["name"])
    number = registry.production(paths.REGISTRY, name)
    shutil.rmtree(paths.CHAMPION, ignore_errors=True)
    if number is None:
        identity.write_champion(None, None)
        console.print(f"{paths.CHAMPION}: production has no champion yet", soft_wrap=True)
        return

    from trunkline import champion, fetching, planning
    from trunkline.dataset import Dataset
    from trunkline.params.contract import Contract
    from trunkline.params.data import Data
    from trunkline.params.features import Features
    from trunkline.versions import Version

    data = Data.load()
    plan = planning.plan(Features.load(), data, Contract.load())
    with console.status("scoring with the model in production"):
        found = fetching.fetch(paths.home(Path.cwd()), Version(name, number), champion.BUNDLE)
        scores = champion.score(champion.BUNDLE, plan, data, Dataset.read("holdout"))
    identity.write_champion(found, scores)
    console.print(f"{paths.CHAMPION}: {found.version}, bundle {found.digest[:12]}", soft_wrap=True)


if __name__ == "__main__":
    run(main)
