"""`trunkline rollout`: what becomes of a version that is tried beside another one, by the log of predictions."""

from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from trunkline.cli import options, output

if TYPE_CHECKING:
    from trunkline.conf.rollout import Rollout
    from trunkline.core.errors import TrunklineError
    from trunkline.core.params import Params
    from trunkline.deploy.propose import Opened, Proposal
    from trunkline.deploy.rollout.finding import Finding
    from trunkline.deploy.rollout.judge import Verdict


@click.command(short_help="Say whether a version that is tried goes on, waits or goes back.")
@click.option("--env", "environment", metavar="NAME", default="production", show_default=True, help="The environment.")
@click.option("--all", "every", is_flag=True, help="Every environment of which conf/deploy declares a rollout.")
@click.option("--log", metavar="FOLDER|URL", help="The prediction log, instead of serving.log.to of conf/serving.")
@options.moment("--since", "When the step began (UTC), instead of its commit.")
@options.moment("--as-of", "Judge as of then (UTC).")
@click.option(
    "--html", metavar="FILE", type=click.Path(dir_okay=False, path_type=Path), help="Write a page with pictures."
)
@click.option("--act", is_flag=True, help="Do it: a commit on the trunk of origin, or a pull request, as declared.")
@options.trunk
@options.dry_run("With --act: print the change; commit, push and open nothing.")
@options.as_json("Print the verdict as JSON.")
@click.pass_context
def rollout(  # noqa: PLR0913, PLR0917  an argument per option
    context: click.Context,
    environment: str,
    every: bool,
    log: str | None,
    since: datetime | None,
    as_of: datetime | None,
    html: Path | None,
    act: bool,
    trunk: str,
    dry_run: bool,
    as_json: bool,
) -> None:
    """Judge the step of a rollout that models/registry.yaml declares, by the rules of conf/deploy: docs/rollout.md.

    The answer is hold, step up, finish or go back, with what each rule found. It changes nothing, and may be asked as
    often as one likes. With --act it is done: going back is always a commit on the trunk, and the version is held; the
    rest is a commit or a pull request, as the step declares. Exits 1 where the answer is to go back, unless it is done.
    """
    from trunkline.core.params import Params

    if every and html is not None:
        raise click.UsageError("--html is of one environment; name it with --env")
    params = Params.read()
    contents = {}
    names = _with_rollout(params) if every else [environment]
    if not names and not as_json:
        click.echo("conf/deploy declares no rollout")
    verdicts, failures = _verdicts(params, names, log, since, as_of or datetime.now(UTC))
    for name, judged in sorted(verdicts, key=lambda each: _opens(each[1])):  # last: it starts from the commits
        if judged is not None and html is not None:
            _write(judged, html)
        if not as_json:
            _tell(judged) if judged else click.echo(f"{name}: no rollout runs there")
        contents[name] = _content(judged) if judged else {"answer": None, "environment": name}
        if judged is not None and act:
            contents[name] |= _act(judged, params.name, trunk, dry_run)
            for line in () if as_json else filter(None, map(contents[name].get, ("diff", "did"))):
                click.echo(line)
    if failures:
        raise failures[0]
    if as_json:
        output.echo_json(contents if every else contents[environment])
    goes_back = any(content["answer"] == "go back" for content in contents.values())
    context.exit(1 if goes_back and not act else 0)


def _verdicts(
    params: "Params", names: Sequence[str], log: str | None, since: datetime | None, as_of: datetime
) -> tuple[list[tuple[str, "Verdict | None"]], list["TrunklineError"]]:
    """Return the verdict of each environment; one that cannot be judged keeps no other from going back."""
    from trunkline.core.errors import TrunklineError

    verdicts, failures = [], []
    for name in names:
        try:
            verdicts.append((name, _judged(params, name, log, since, as_of)))
        except TrunklineError as error:
            failures.append(error)
            if len(names) > 1:
                click.echo(f"{name}: cannot be judged: {error}", err=True)
    return verdicts, failures


def _opens(judged: "Verdict | None") -> bool:
    """Tell whether what is to be done of a verdict is a pull request."""
    from trunkline.deploy.rollout import act

    return judged is not None and not act.is_commit(judged)


def _write(judged: "Verdict", html: Path) -> None:
    from trunkline.core import files
    from trunkline.review.rollout import page

    files.write_text(html, page.render(judged))
    click.echo(f"{html}: written", err=True)


def _act(judged: "Verdict", name: str, trunk: str, dry_run: bool) -> dict[str, Any]:
    """Do what the answer is; return what was done, as JSON has it."""
    import os

    from trunkline.deploy.propose import NoChange
    from trunkline.deploy.rollout import act, change
    from trunkline.deploy.rollout.change import Committed
    from trunkline.review.rollout import markdown

    wanted = act.intent(Path(), name, judged, markdown.evidence(judged))
    if wanted is None:
        return {"did": None}
    if dry_run:
        proposal = change.prepare(Path(), trunk, wanted, os.environ)
        if not isinstance(proposal, NoChange):
            return {"did": None, "diff": proposal.diff}
        done: Any = proposal
    else:
        done = act.act(Path(), trunk, wanted, os.environ, None if act.is_commit(judged) else _open)
    if isinstance(done, NoChange):
        return {"did": f"nothing: the trunk declares {done.environment}: {done.declared} by now"}
    if isinstance(done, Committed):
        return {"did": f"{done.commit[:10]} {done.proposal.title}", "commit": done.commit}
    return {"did": f"#{done.number} {done.url}", "pull_request": done.number}


def _open(proposal: "Proposal") -> "Opened":
    import os

    from trunkline.adapters.forge import connect
    from trunkline.deploy import propose

    return propose.publish(
        Path(), proposal, os.environ, connect.connect(os.environ), lambda line: click.echo(line, err=True)
    )


def _declared(params: "Params", environment: str) -> "Rollout":
    from trunkline.conf.deploy import Deploy
    from trunkline.core.errors import UserError, nearest

    environments = params.group(Deploy).environments
    if environment not in environments:
        raise UserError(f"--env {environment}: no such environment in conf/deploy{nearest(environment, environments)}")
    steps = environments[environment].rollout
    if steps is None:
        raise UserError(
            f"deploy.environments.{environment}.rollout: is not declared; write, into conf/deploy: "
            "rollout: {key: [a column of a request]}"
        )
    return steps


def _with_rollout(params: "Params") -> list[str]:
    from trunkline.conf.deploy import Deploy

    environments = params.group(Deploy).environments
    return [name for name, target in environments.items() if target.rollout is not None]


def _judged(
    params: "Params", environment: str, log: str | None, since: datetime | None, until: datetime
) -> "Verdict | None":
    """Return the verdict on an environment's rollout; None where none runs."""
    from trunkline.cli import verdicts
    from trunkline.deploy.rollout import declared

    step = declared.find(Path(), params.name, environment, _declared(params, environment), since)
    return None if step is None else verdicts.verdict(params, step, until, log)


def _tell(judged: "Verdict") -> None:
    from rich.text import Text

    from trunkline.deploy.rollout.evidence import WHOLE
    from trunkline.show import terminal
    from trunkline.show.text import clean

    step = judged.step
    click.echo(
        f"{step.environment}: {step.candidate} as {step.kind} of {step.declared.share:g} % beside {step.current}, step "
        f"{step.number + 1} of {len(step.rollout.steps)}, since {step.since:%Y-%m-%d %H:%M} UTC; {judged.rows:,} rows"
    )
    shown = [each for each in judged.findings if each.part == WHOLE or each.verdict == "breaks"]
    headings = ("rule", "rows of", "verdict", "value", "bound", "interval", "rows", "why")
    table = terminal.table(*headings, left=(0, 1, 2, 7))
    for each in shown:
        table.add_row(*(Text(clean(cell)) for cell in _cells(each)))  # a value of a slice is a text of others
    terminal.show(table)
    others = len(judged.findings) - len(shown)
    if others:
        click.echo(f"of the values of slices, {others:,} rules do not break; --json and --html have them")
    for reason in judged.reasons:
        click.echo(f"{judged.answer}: {clean(reason)}")


def _cells(finding: "Finding") -> tuple[str, ...]:
    low, high = finding.interval or (None, None)
    interval = "" if low is None else f"{_number(low)} … {_number(high)}"
    return (
        finding.rule, finding.where, finding.verdict, _number(finding.value), _number(finding.bound), interval,
        f"{finding.rows:,}", finding.reason,
    )  # fmt: skip


def _number(value: float | None) -> str:
    return "" if value is None else f"{value:.3g}"


def _content(judged: "Verdict") -> dict[str, Any]:
    from dataclasses import asdict

    step = judged.step
    findings = [
        {key: value for key, value in asdict(each).items() if key != "part"}
        | {"slice": each.part.slice or None, "label": each.part.label or None}
        for each in judged.findings
    ]
    return {
        "answer": judged.answer,
        "as_of": judged.until.isoformat(),
        "candidate": step.candidate,
        "change": step.declared.change,
        "current": step.current,
        "environment": step.environment,
        "error_rate": step.error_rate,
        "findings": findings,
        "kind": step.kind,
        "reasons": list(judged.reasons),
        "rows": judged.rows,
        "share": step.declared.share,
        "since": step.since.isoformat(),
        "step": step.number,
    }
