"""`trunkline retrain`: propose that the model learns from newer rows."""

from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from trunkline.cli import options, output

if TYPE_CHECKING:
    from trunkline.monitor.report import Report
    from trunkline.retrain.propose import Proposal, Wish
    from trunkline.retrain.publish import Done


@click.command(short_help="Propose that the model learns from newer rows.")
@click.option("--env", "environment", metavar="NAME", default="production", show_default=True, help="The environment.")
@click.option("--because", metavar="TEXT", help="Why, in words; else what alerts and conf/monitoring ask for.")
@click.option("--log", metavar="FOLDER|URL", help="The prediction log, instead of serving.log.to of conf/serving.")
@options.trunk
@options.moment("--as-of", "What was known then (UTC); with --local or --dry-run.")
@click.option("--local", is_flag=True, help="Ask no forge: commit to a branch here, and say what to push.")
@click.option("--run", "running", is_flag=True, help="Run the pipeline too, in a checkout, and commit its results.")
@options.dry_run("Print the change and the pull request's text; commit and push nothing.")
@options.as_json("Print what was done as JSON.")
@click.pass_context
def retrain(  # noqa: PLR0913, PLR0917  an argument per option
    context: click.Context,
    environment: str,
    because: str | None,
    log: str | None,
    trunk: str,
    as_of: datetime | None,
    local: bool,
    running: bool,
    dry_run: bool,
    as_json: bool,
) -> None:
    """Move the data windows and pins in conf/data on to the newest rows whose outcomes are known, as a pull request.

    There is one branch, retrain/NAME, at the tip of the trunk of origin, and one pull request, whatever asks for it:
    an alert whose rule says retrain, the schedule of conf/monitoring, or --because. The pipeline runs in CI, or with
    --run here. What a person has changed on the branch stays; what a person has closed stays closed until the newest
    rows are all others. Where what the model is given is broken, nothing is learnt from it: exits with 1. The working
    tree is left alone; running it again finds what is there. GITHUB_REPOSITORY and GITHUB_TOKEN, or those of GitLab,
    name the forge.
    """
    from trunkline.release.verify import RefusedError
    from trunkline.retrain import causes
    from trunkline.retrain.propose import Wish

    if as_of is not None and not (local or dry_run):
        raise click.UsageError("--as-of is a replay of the past: with --local or --dry-run only")
    if running and dry_run:
        raise click.UsageError("--run and --dry-run exclude each other")
    moment = as_of or datetime.now(UTC)
    report = _report(environment, log, moment)
    wish = Wish(moment, report, causes.asking(report), because)
    try:
        content, text = _answer(trunk, wish, local=local, running=running, dry_run=dry_run)
    except RefusedError as error:
        output.answer({"what": "refused", "reason": str(error)}, str(error), as_json)
        context.exit(1)
    output.answer(content, text, as_json)


def _answer(trunk: str, wish: "Wish", *, local: bool, running: bool, dry_run: bool) -> tuple[dict[str, Any], str]:
    """Do what is asked for; return what was done as JSON, and for people."""
    import os
    from dataclasses import asdict

    from trunkline.cli.forges import forge_or_local
    from trunkline.retrain import propose, publish
    from trunkline.retrain.propose import Nothing, Where

    forge = None if local or dry_run else forge_or_local()
    where = Where(Path(), trunk, os.environ, forge, _tell, local)
    proposal = propose.prepare(where, wish)
    if isinstance(proposal, Nothing):
        return {"what": "nothing", "reason": proposal.reason}, proposal.reason
    if dry_run:
        body = publish.body(where, proposal)
        facts = _facts(proposal, "dry run") | {"diff": proposal.change.diff, "body": body}
        return facts, f"{proposal.change.diff}\n{proposal.title}\n\n{body}".rstrip()
    if running:
        proposal = publish.run(where, proposal)
    done = publish.publish(where, forge, proposal) if forge else publish.local(where, proposal)
    if forge:
        publish.say_no_help(where, forge, done)
    facts = _facts(proposal, "local" if local else "proposed") | asdict(done)
    text = {"body": publish.body(where, proposal)} if local else {}  # for who opens the pull request by hand
    return facts | text, said(proposal, done, local=local)


def said(proposal: "Proposal", done: "Done", *, local: bool = False) -> str:
    """Say in a few lines what became of a proposal."""
    if proposal.step == "left closed":
        remedy = (
            f"git branch -D {proposal.branch.name}" if local else f"git push origin --delete {proposal.branch.name}"
        )
        return (
            f"{proposal.branch.name} {done.commit[:10]} was closed, or taken back, and stays so until the newest rows "
            f"are all others; to have it tried again: {remedy}"
        )
    if proposal.step == "a person's":
        kept = f"#{done.number} {done.url}: its text is up to date" if done.number else "and has no open pull request"
        return f"{proposal.branch.name}: a person has changed it, so that its commits stay; {kept}"
    results = "with its results" if done.computed else "without results yet: CI computes them, or --run"
    line = f"{proposal.branch.name}: {done.commit[:10]} {proposal.title}, {results}"
    if local:
        return f"{line}\nrun: git push origin {proposal.branch.name}, and open a pull request"
    waits = "merges when its checks pass" if proposal.automatic else "waits for an approval"
    return f"{line}\n#{done.number}: {'merged' if done.merged else waits}\n{done.url}"


def _facts(proposal: "Proposal", what: str) -> dict[str, Any]:
    change = proposal.change
    windows = {"before": change.before, "after": change.after}
    return {
        "what": what,
        "step": proposal.step,
        "branch": proposal.branch.name,
        "title": proposal.title,
        "files": sorted(path.as_posix() for path in change.new),
        "windows": {side: of and {name: str(window) for name, window in of} for side, of in windows.items()},
        "pins": [".".join(("data", "sources", *move.key)) for move in change.moves],
    }


def _tell(line: str) -> None:
    click.echo(line, err=True)


def _report(environment: str, log: str | None, as_of: datetime) -> "Report | None":
    """Return what production does; None where there is no log, or nothing runs."""
    import tempfile

    from trunkline.cli import watching
    from trunkline.core.params import Params

    params = Params.read()
    if watching.idle(params, environment, log):
        return None
    with tempfile.TemporaryDirectory(prefix="trunkline-") as aside:
        running = watching.running(params, environment, Path(aside))
        return watching.report(params, running, environment, log, as_of)
