"""`trunkline plan`: what `dvc repro` would do, and why."""

from pathlib import Path
from typing import TYPE_CHECKING

import click

from trunkline.cli import options, output

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rich.console import RenderableType

    from trunkline.adapters.dvc.survey import Stage
    from trunkline.core.params import Params
    from trunkline.deploy.cost import Cost
    from trunkline.pipeline.plan.reasons import ReproPlan

MOST = 8  # reasons of a stage


@click.command(short_help="Say which stages would run, and why.")
@options.base("Explain against the commit where this branch left REF, such as main.")
@click.option("--views", is_flag=True, help="Say instead how each view of conf/features is distributed, and why.")
@click.option(
    "--sql",
    metavar="ENGINE",
    type=click.Choice(["spark", "snowflake", "bigquery"]),
    help="Print instead the features as one query of spark, snowflake or bigquery.",
)
@options.as_json("Print the plan as JSON.")
def plan(base: str | None, views: bool, sql: str | None, as_json: bool) -> None:
    """Say for every stage whether `dvc repro` would run it, and why; nothing is run, fetched or written.

    Without --base the reasons are against dvc.lock, which is what DVC compares with; with it they are against the
    dvc.lock of the base, so that they explain the whole branch. A stage behind one that will run is told to follow: it
    runs if the result of the stage before it is another one.

    With --views: which rows each task of the features stage is given, where conf/engine names a cluster.
    With --sql: what computes the features where the tables are, without the files of the features stage.
    """
    if sql is not None:
        _print_sql(sql)
        return
    if views:
        _show_views(as_json)
        return
    from trunkline.adapters.git import repository
    from trunkline.adapters.git.snapshot import Since, Snapshot
    from trunkline.conf.data import Data
    from trunkline.core.params import Params
    from trunkline.pipeline.plan import reasons, sources, workspace
    from trunkline.show import terminal

    since = None if base is None else Since(Path(), Snapshot(Path(), repository.merge_base(Path(), base)))
    params = Params.read()
    planned, stages = workspace.plan(Path(), params, since)
    costs = _costs(params, planned, stages)
    unpinned = list(sources.unpinned(params.group(Data).sources))
    if as_json:
        output.echo_json(reasons.content(planned) | {"unpinned": unpinned, "costs": [*map(vars, costs)]})
        return
    terminal.show(_table(planned))
    for line in unpinned:
        click.echo(f"source: {line}")
    click.echo(_summary(planned))
    for cost in costs:
        click.echo(f"cost: {cost}")


def _costs(params: "Params", planned: "ReproPlan", stages: "Sequence[Stage]") -> "tuple[Cost, ...]":
    from trunkline.core.params import dig

    if not dig(params.content, "deploy", "prices"):
        return ()  # without what measures them, whose libraries take longer to import than the rest
    from trunkline.review import spending

    return spending.known(Path(), params, planned, stages)


def _show_views(as_json: bool) -> None:
    from dataclasses import asdict

    from trunkline.conf.contract import Contract
    from trunkline.conf.data import Data
    from trunkline.conf.engine import Engine
    from trunkline.conf.features import Features
    from trunkline.core.params import Params
    from trunkline.pipeline.features import compiler, distribution
    from trunkline.show import terminal

    params = Params.read()
    engine = params.group(Engine)
    compiled = compiler.plan(params.group(Features), params.group(Data), params.group(Contract))
    views = distribution.table(compiled)
    if as_json:
        output.echo_json({"executor": engine.executor, "buckets": engine.buckets, "views": list(map(asdict, views))})
        return
    table = terminal.table("view", "", "by a hash of", "why", left=(0, 1, 2, 3))
    for each in views:
        table.add_row(each.view, each.how, ", ".join(each.keys), each.why)
    terminal.show(table)
    buckets = f"{engine.buckets} buckets" if engine.buckets > 1 else "1 bucket"
    click.echo(f"executor: {engine.executor}; slices of {distribution.SLICE:,} requests in order of time, of {buckets}")


def _print_sql(engine: str) -> None:
    from trunkline.conf.contract import Contract
    from trunkline.conf.data import Data
    from trunkline.conf.features import Features
    from trunkline.core.params import Params
    from trunkline.pipeline.features import compiler
    from trunkline.pipeline.pushdown import query
    from trunkline.pipeline.pushdown.dialects import DIALECTS

    params = Params.read()
    data, contract = params.group(Data), params.group(Contract)
    compiled = compiler.plan(params.group(Features), data, contract)
    click.echo(query.compiled(compiled, data, contract, DIALECTS[engine]), nl=False)


def _table(plan: "ReproPlan") -> "RenderableType":
    from rich.text import Text

    from trunkline.show import terminal

    table = terminal.table("stage", "", "last took", "why", left=(0, 1, 3))
    for step in plan.steps:
        words, style = _ACTIONS[step.action]
        took = "" if step.seconds is None or step.action == "unchanged" else f"{step.seconds:.0f} s"
        shown = [*step.reasons[:MOST], *([f"and {len(step.reasons) - MOST} more"] if len(step.reasons) > MOST else [])]
        table.add_row(Text(step.name), Text(words, style=style), took, Text("\n".join(shown)))
    return table


_ACTIONS = {
    "unchanged": ("cached", "dim"),
    "restored": ("from the cache", "green"),
    "runs": ("will run", "bold yellow"),
    "changed": ("will run", "bold yellow"),
    "follows": ("may follow", "yellow"),
}


def _summary(plan: "ReproPlan") -> str:
    from trunkline.adapters.dvc.survey import OPEN

    moving = [step.name for step in plan.steps if step.action in OPEN]
    if not moving:
        return "nothing to run: every result is that of these inputs"
    time = "" if plan.seconds is None else f", {plan.seconds:.0f} s when they last ran"
    away = [absent for absent in plan.needs if not absent.cached]
    size = sum(absent.bytes for absent in away)
    pull = f"; to pull: {sum(absent.files for absent in away)} files, {size:,} bytes" if away else ""
    return f"{len(moving)} of {len(plan.steps)} stages may run{time}{pull}"
