"""`trunkline dossier`: all that is known of a version, under the headings of the EU AI Act's Annex IV."""

from pathlib import Path
from typing import Any

import click

from trunkline.cli import options, output


@click.command(short_help="Write a version's dossier, under the headings of the EU AI Act's Annex IV.")
@click.argument("what", metavar="VERSION")
@click.option("--html", type=click.Path(dir_okay=False, path_type=Path), help="Write it as a page to this file.")
@click.option(
    "--monitoring", type=click.Path(path_type=Path), metavar="FILE", help="What `trunkline monitor --json` has printed."
)
@options.trunk
@options.as_json("Print it as JSON.")
@click.pass_context
def dossier(  # noqa: PLR0913  an option each
    context: click.Context, what: str, html: Path | None, monitoring: Path | None, trunk: str, *, as_json: bool
) -> None:
    """Gather what the repository proves of a version: use, data, metrics with intervals, fairness, limits, approvals.

    Each section has a heading of Annex IV, and lists what a person has to write since nothing here can know it. It
    comes from git, DVC's lock and the signed tag; nothing is fetched or asked. A browser prints the page as PDF. Exits
    with 1 where the version's chain does not hold, which the page then says first.
    """
    from trunkline.adapters.git import repository
    from trunkline.core import files
    from trunkline.lineage import dossier as lineage_dossier
    from trunkline.lineage import trace

    if not as_json and html is None:
        raise click.UsageError("say how: --html FILE, or --json")
    lineage = trace.trace(Path(), what, trunk, (), None)
    commit = lineage.commit.hash if lineage.commit and lineage.chain else None
    if commit is None or lineage.chain is None:
        raise click.UsageError(f"{what}: is no version; name one such as v3")
    seen = _monitoring(monitoring, lineage.chain.digest) if monitoring else None
    committed = repository.files_at(Path(), [commit], lineage_dossier.READ)[commit]
    content = lineage_dossier.content(lineage_dossier.dossier(lineage_dossier.Evidence.of(lineage, committed, seen)))
    if as_json:
        output.echo_json(content)
    if html:
        from trunkline.review.dossier import page

        files.write_text(html, page.render(content))
        click.echo(f"{html}: the dossier of {lineage.chain.version}", err=as_json)
    context.exit(0 if lineage.holds else 1)


def _monitoring(path: Path, digest: str | None) -> dict[str, Any]:
    """Return a report of monitoring; raises UserError where it is none, or of another bundle."""
    from trunkline.core.errors import UserError
    from trunkline.core.files import parse_json

    try:
        report = parse_json(path.read_text(encoding="utf-8"))
        of = report["digest"]
        if not {"rules", "alerts", "answer", "since", "as_of", "environment"} <= report.keys():
            raise KeyError(of)
    except (OSError, ValueError, TypeError, LookupError):
        raise UserError(f"{path}: is no report of monitoring; write one with: trunkline monitor --json") from None
    if of != digest:
        raise UserError(f"{path}: is of the bundle {str(of)[:12]}, and the version is {str(digest)[:12]}")
    return dict(report)
