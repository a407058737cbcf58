"""trunkline adopt-stages: from MLflow's deprecated stages to aliases, once, for a project that still uses them."""

import json
from pathlib import Path

import click


@click.command(short_help="Give MLflow's stages the aliases of their environments, once.")
@click.option("--model", help="Name of the registered model; the project's own if not given.")
@click.option("--dry-run", is_flag=True, help="Print what would be done; change nothing.")
@click.option("--json", "as_json", is_flag=True, help="Print what is done as JSON.")
def adopt_stages(model: str | None, dry_run: bool, as_json: bool) -> None:
    """Point the aliases production, champion and staging to the versions that MLflow's stages name.

    Stages are deprecated in MLflow and stay as they are; those who load a model change its address as is printed.
    Running it again does nothing. An alias that points elsewhere is refused, and nothing is changed.
    """
    from trunkline.core import paths
    from trunkline.core.paramsfile import read_params
    from trunkline.modelregistry import ModelRegistry, adopted
    from trunkline.params.tracking import Tracking

    name = model or str(read_params()["name"])
    registry = ModelRegistry.open(Tracking.load(), paths.home(Path()))
    found = registry.look(name)
    moves = adopted(found)
    for alias, number in moves.items():
        if not dry_run:
            registry.alias(name, alias, number)
    if as_json:
        click.echo(json.dumps({"aliases": moves, "model": name, "versions": len(found.entries)}, sort_keys=True))
        return
    for alias, number in moves.items():
        click.echo(f"{name}: {alias} {'would point' if dry_run else 'points'} to version {number}")
    stages = sorted({entry.stage for entry in found.entries} & {"Production", "Staging"})
    for stage in stages:
        click.echo(f"change models:/{name}/{stage} to models:/{name}@{stage.lower()}")
    if not stages:
        click.echo(f"{name}: no version is in the stage Production or Staging; there is nothing to do")
