"""`trunkline monitor`: whether a model in production is still what it was, by the log of its predictions."""

import os
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from trunkline.cli import acting, comparing, options, output, skew, watching

if TYPE_CHECKING:
    from collections.abc import Sequence

    from trunkline.cli.watching import Running
    from trunkline.core.params import Params
    from trunkline.monitor.report import Report, Standing
    from trunkline.monitor.selftest import Case

# No matrices are multiplied, so numpy starts no threads; and what a batch held is held by the next one.
_SPARING = {"OPENBLAS_NUM_THREADS": "1", "ARROW_DEFAULT_MEMORY_POOL": "system"}


def _file(name: str, text: str) -> Callable[[Any], Any]:
    return click.option(name, metavar="FILE", type=click.Path(dir_okay=False, path_type=Path), help=text)


@click.command(short_help="Say whether a model in production has moved, and what of it.")
@click.option("--env", "environment", metavar="NAME", default="production", show_default=True, help="The environment.")
@click.option("--log", metavar="FOLDER|URL", help="The prediction log, instead of serving.log.to of conf/serving.")
@click.option(
    "--bundle",
    "folder",
    metavar="FOLDER",
    type=click.Path(path_type=Path),
    help="The bundle whose rows are watched, instead of that of the version that the environment runs.",
)
@options.moment("--as-of", "What was known then (UTC); else now.")
@click.option(
    "--replay", "replaying", is_flag=True, help="Recompute the log too, as trunkline replay: for rules of skew."
)
@click.option(
    "--tables",
    metavar="FOLDER",
    type=click.Path(path_type=Path),
    help="With --replay: the tables that joined features are recomputed from, such as data/valid.",
)
@_file("--html", "Write a page with pictures.")
@click.option(
    "-o",
    "--output",
    "target",
    metavar="FILE",
    type=click.Path(dir_okay=False, path_type=Path),
    help="Write the report as JSON, with all that was measured.",
)
@_file("--markdown", "Write the answer and the alerts as Markdown, for the page of a run.")
@_file("--metrics", "Write gauges for the node exporter of Prometheus, as a text file.")
@click.option(
    "--self-test", "testing", is_flag=True, help="Plant known faults into rows of the holdout; show who sees."
)
@click.option("--act", is_flag=True, help="Open, keep up to date and close the issues of alerts on the forge.")
@options.trunk
@options.dry_run("With --act: say what would be done; write nothing on the forge.")
@options.as_json("Print the report as JSON.")
@click.pass_context
def monitor(  # noqa: PLR0913, PLR0917  an argument per option
    context: click.Context,
    environment: str,
    log: str | None,
    folder: Path | None,
    as_of: datetime | None,
    replaying: bool,
    tables: Path | None,
    html: Path | None,
    target: Path | None,
    markdown: Path | None,
    metrics: Path | None,
    testing: bool,
    act: bool,
    trunk: str,
    dry_run: bool,
    as_json: bool,
) -> None:
    """Measure the windows of a prediction log beside the bundle's reference, by the rules of conf/monitoring.

    It changes nothing, and may be asked as often as one likes: the same log and the same moment give the same alerts.
    Exits 1 where an alert goes on. Where conf/engine names a cluster, its machines read the log, which all of them see.

    With --act, each alert whose rule says `issue`, `retrain` or `rollback` has one issue on the forge, which is kept up
    to date and closed when it is quiet; exits 1 then only where another alert goes on. Whatever the forge does not do
    exits 3, and the next run does it. A rollback is proposed once, where the version before is measurably better on the
    same labelled rows: with the token TRUNK_TOKEN, if it is set, so that the pull request is checked. A retraining has
    one, as trunkline retrain opens it, which is kept up to date while an alert or the schedule asks for it.

    With --self-test, no log is read: known faults are planted into rows of the holdout, and shown are the rules that
    see each and after how many windows, and how often somebody would be told in a year in which nothing changes. Exits
    1 where a fault is told by nobody, or the quiet year is not quiet.
    """
    import tempfile

    os.environ |= _SPARING | os.environ  # before numpy and pyarrow are imported
    from trunkline.core.params import Params
    from trunkline.monitor import report as monitor_report

    if act and as_of is not None:
        raise click.UsageError("--act is of now; leave out --as-of")
    if tables is not None and not replaying:
        raise click.UsageError("--tables is of --replay")
    params = Params.read()
    if testing:
        context.exit(0 if _test_rules(params, folder or Path("models/bundle"), as_json) else 1)
    if act and folder is None and (reason := watching.idle(params, environment, log)):
        click.echo(f"nothing is watched: {reason}")
        return
    with tempfile.TemporaryDirectory(prefix="trunkline-") as aside:
        of = watching.named(folder) if folder else watching.running(params, environment, Path(aside))
        report = _report(params, of, _Asked(environment, log, as_of or datetime.now(UTC), replaying, tables))
    _write(report, html, target, markdown, metrics)
    acted = acting.act(report, trunk, write=not dry_run) if act else None
    if as_json:
        output.echo_json(monitor_report.content(report) | acting.content(acted))
    else:
        _tell(report)
        acting.tell(acted)
    context.exit(acting.code(report, acted))


@dataclass(frozen=True)
class _Asked:
    """What of an environment is asked for; with `replaying`, what is logged is recomputed, over `tables` if given."""

    environment: str
    log: str | None
    as_of: datetime
    replaying: bool
    tables: Path | None


def _report(params: "Params", of: "Running", asked: _Asked) -> "Report":
    from functools import partial

    from trunkline.conf.engine import Engine
    from trunkline.core.progress import Bar
    from trunkline.monitor import measure
    from trunkline.pipeline.features.executors.executor import connect

    scope = watching.scope(params, of, asked.environment, asked.log, asked.as_of)
    source, plan = scope.source, scope.plan
    with Bar(f"reading the log of {asked.environment}"), connect(params.group(Engine)) as executor:
        measured = measure.measure(source, plan, executor)
    if asked.replaying:
        with Bar(f"recomputing the log of {asked.environment}"):
            measured = skew.added(measured, source, plan, of.folder, asked.tables)
    before = partial(watching.previous, params, asked.environment)
    return comparing.compared(scope.report(measured), source, plan, before)


def _write(
    report: "Report", html: Path | None, target: Path | None, markdown: Path | None, metrics: Path | None
) -> None:
    """Write the files that are asked for."""
    from trunkline.core import files
    from trunkline.monitor import report as monitor_report

    if target is not None:
        files.write_json(target, monitor_report.content(report))
    if html is not None:
        from trunkline.review.monitor import page

        files.write_text(html, page.render(report))
    if markdown is not None:
        from trunkline.monitor import notice

        files.write_text(markdown, notice.summary(report))
    if metrics is not None:
        from trunkline.monitor import gauges

        gauges.write(metrics, report)
    for path in filter(None, (target, html, markdown, metrics)):
        click.echo(f"{path}: written", err=True)


def _tell(report: "Report") -> None:
    from rich.text import Text

    from trunkline.monitor import report as monitor_report
    from trunkline.show import terminal
    from trunkline.show.text import clean

    looked_at = report.watched
    click.echo(
        f"{looked_at.environment}: {report.answer}; {looked_at.version or 'the bundle'} {looked_at.digest[:12]}, "
        f"{looked_at.since:%Y-%m-%d} to {looked_at.as_of:%Y-%m-%d %H:%M} UTC, {report.windows} windows with rows"
    )
    for alert in report.active:
        click.echo(clean(monitor_report.sentence(alert)))
    past = len(report.alerts) - len(report.active)
    if past:
        click.echo(f"{past} {'alert has' if past == 1 else 'alerts have'} ended; --json and --html have them")
    table = terminal.table("rule", "verdict", "of", "value", "limit", "rows", "beyond", left=(0, 1, 2))
    for standing in report.standings:
        table.add_row(*(Text(clean(cell)) for cell in _cells(standing)))  # a value of a slice is a text of others
    terminal.show(table)
    for line in report.unmeasured:
        click.echo(f"not measured: {clean(line)}")


def _cells(standing: "Standing") -> tuple[str, ...]:
    finding = standing.finding or {}
    numbers = [f"{finding[key]:.3g}" if finding.get(key) is not None else "" for key in ("value", "limit")]
    rows = f"{finding['rows']:,}" if finding else ""
    beyond = f"{standing.beyond} of {standing.series}" if standing.series else ""
    return standing.rule, standing.verdict, standing.where, *numbers, rows, beyond


def _test_rules(params: "Params", folder: Path, as_json: bool) -> bool:
    """Plant faults, show what became of each, and tell whether all were seen and the quiet year was quiet."""
    import tempfile
    from dataclasses import asdict

    from trunkline.core.dataset import Dataset
    from trunkline.core.progress import track
    from trunkline.monitor import selftest

    setting = selftest.Setting(
        watching.model(folder), Dataset.read("holdout"), watching.declared(params), watching.first_metric(params)
    )
    with tempfile.TemporaryDirectory(prefix="trunkline-") as aside:
        cases = selftest.run(setting, Path(aside), lambda faults: track(faults, "self-test", "cases"))
    if as_json:
        output.echo_json([asdict(case) | {"right": case.right} for case in cases])
    else:
        _tell_cases(cases)
    return all(case.right for case in cases)


def _tell_cases(cases: "Sequence[Case]") -> None:
    from rich.text import Text

    from trunkline.show import terminal
    from trunkline.show.text import clean

    table = terminal.table("fault", "what", "told as", "seen by, after windows", left=(0, 1, 2, 3))
    for case in cases:
        if case.fault:
            seen = ", ".join(f"{rule} {windows}" for rule, windows in case.seen)
            cells = case.fault, case.words, case.cause or "nobody is told", seen
            table.add_row(*(Text(clean(cell)) for cell in cells))  # a label is a text of others
    terminal.show(table)
    for case in cases:
        if not case.fault:
            by = f", by {', '.join(rule for rule, _ in case.seen)}" if case.seen else ""
            click.echo(f"in {case.windows} quiet windows ({case.words}) somebody is told {case.notices} times{by}")
