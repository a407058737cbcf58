"""`trunkline status`: what each environment is to run, what it runs, since when and by which pull request."""

from dataclasses import asdict
from typing import TYPE_CHECKING

import click

from trunkline.cli import options, output
from trunkline.cli.reconcile import STORE

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from rich.table import Table

    from trunkline.cli.verdicts import Answer
    from trunkline.deploy.reconcile.status import Standing


@click.command(short_help="Show what each environment is to run, and what it runs.")
@options.trunk
@click.option("--store", envvar=STORE, default=".trunkline", show_default=True, help="The folder that servers watch.")
@options.as_json()
@click.pass_context
def status(context: click.Context, trunk: str, store: str, as_json: bool) -> None:
    """Show what the trunk declares, beside what MLflow, the servers' folder and the endpoints say; changes nothing.

    Needs no forge: who declared it when is read from the trunk's history. Of a rollout, it says what the log says of it
    now, as trunkline rollout does, and `?` where that cannot be read. Exits with 1 if something is not in sync,
    with 2 if the trunk's declaration is wrong, and with 3 if something cannot be asked.
    """
    from trunkline.cli import verdicts
    from trunkline.cli.reconcile import site
    from trunkline.deploy.reconcile import once
    from trunkline.deploy.reconcile import status as reconcile_status
    from trunkline.show import terminal
    from trunkline.show.text import clean

    here = site(trunk, store)
    comparison = once.reconcile(here, lambda _: None, write=False)
    standings = reconcile_status.standings(here.clone, comparison)
    answers = verdicts.running(comparison.declared, standings)
    if as_json:
        output.echo_json({each.outcome.environment: _content(each, answers) for each in standings})
    else:
        terminal.show(_table(standings))
        for standing in standings:
            judged = answers.get(standing.outcome.environment)
            verdict = judged and f"verdict {judged.answer}: {clean(judged.reason)}"
            held = f"{', '.join(standing.held)} held: taken back here" if standing.held else None
            for line in filter(None, (standing.rollout, verdict, held, *standing.outcome.why)):
                click.echo(f"{standing.outcome.environment}: {line}")
    context.exit(comparison.code)


def _table(standings: "Sequence[Standing]") -> "Table":
    from trunkline.show import terminal

    headings = ("environment", "declared", "MLflow", "delivered", "served", "since", "by", "state")
    table = terminal.table(*headings, left=tuple(range(len(headings))))
    for standing in standings:
        outcome, served = standing.outcome, ", ".join(sorted({version for _, version in standing.endpoints}))
        declared = (
            outcome.declared if outcome.declared == outcome.version else f"{outcome.declared} → {outcome.version}"
        )
        since = (standing.since or "").replace("T", " ")[:16]
        by = " ".join(filter(None, (standing.pull_request, standing.author)))
        table.add_row(
            outcome.environment, declared, standing.alias, standing.delivered, served or "-", since, by, outcome.state
        )
    return table


def _content(standing: "Standing", answers: "Mapping[str, Answer]") -> dict[str, object]:
    outcome = standing.outcome
    verdict = answers.get(outcome.environment)
    return {
        "alias": standing.alias,
        "author": standing.author,
        "declared": outcome.declared,
        "delivered": standing.delivered,
        "endpoints": dict(standing.endpoints),
        "held": list(standing.held),
        "pull_request": standing.pull_request,
        "rollout": standing.rollout and asdict(standing.rollout) | {"verdict": verdict and asdict(verdict)},
        "since": standing.since,
        "state": outcome.state,
        "version": outcome.version,
        "why": list(outcome.why),
    }
