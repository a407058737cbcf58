"""`trunkline compose`: conf/ into params.yaml, or whether they agree."""

import json
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import click

from trunkline.cli import options, output
from trunkline.core import files, paths
from trunkline.core.errors import UserError

if TYPE_CHECKING:
    from trunkline.conf.project import Project
    from trunkline.show.differences import Difference


@click.command(short_help="Compose conf/ into params.yaml, or check that they agree.")
@click.argument("overrides", nargs=-1, metavar="[OVERRIDES]...")
@click.option(
    "--cfg",
    type=click.Choice(("job", "hydra", "all")),
    help="Print what Hydra composes, as Hydra's own --cfg does, and write nothing.",
)
@click.option("--check", "checking", is_flag=True, help="Write nothing; exit 1 and show the difference if they differ.")
@options.dry_run("Write nothing; print what would be written.")
@options.as_json("With --check: print the answer as JSON.")
@click.pass_context
def compose(  # noqa: PLR0913  an option each
    context: click.Context, overrides: tuple[str, ...], cfg: str | None, *, checking: bool, dry_run: bool, as_json: bool
) -> None:
    """Compose conf/ into params.yaml; with --check, say whether params.yaml is what conf/ composes to.

    OVERRIDES are Hydra's, such as `model=forest seed=3 '~gates.baseline'`: what conf/ composes to with them is printed
    and not written, since params.yaml is what the files say. To run it, or a sweep, use `dvc exp run -S model=forest`,
    and `-S 'model=forest,logistic' --queue` for several.

    After `dvc exp apply`, --check prints the file that keeps the experiment in conf/experiment/.
    """
    from trunkline.pipeline.compose import compose as compose_compose
    from trunkline.pipeline.compose import judge

    if checking and (overrides or cfg):
        raise click.UsageError("--check compares conf/ as it is: leave the overrides and --cfg out")
    if cfg in ("hydra", "all"):
        click.echo(compose_compose.hydra_text(paths.CONF, overrides, whole=cfg == "all"), nl=False)
        return
    composed = compose_compose.compose(paths.CONF, overrides)
    _warn(judge.check(composed, paths.CONF, paths.REGISTRY))
    if checking:
        context.exit(0 if _agree(composed.content, as_json) else 1)
    text = compose_compose.render(composed.content)
    if dry_run or cfg or overrides:
        click.echo(text, nl=False)
        return
    files.write_text(paths.PARAMS, text)
    click.echo(f"{paths.PARAMS} is composed from {paths.CONF}/")


def _warn(project: "Project") -> None:
    """Say which public columns look personal, on stderr."""
    from trunkline.pipeline.compose import privacy

    for line in privacy.suspicions(project):
        click.secho(line, fg="yellow", err=True)


def _agree(content: dict[str, Any], as_json: bool) -> bool:
    from trunkline.core.params import Params
    from trunkline.pipeline.compose import compose as compose_compose
    from trunkline.show import differences

    written = Params.read().content
    different = differences.differences(content, written)
    same_text = compose_compose.render(written) == paths.PARAMS.read_text(encoding="utf-8")
    if as_json:
        listed = [{"key": item.key, "composed": item.before, "found": item.after} for item in different]
        output.echo_json({"in_sync": not different and same_text, "differences": listed})
    elif different:
        _explain(different, written)
    elif not same_text:
        click.echo(f"{paths.PARAMS} holds the right values but was written by hand; fix it with: trunkline compose")
    else:
        click.echo(f"{paths.PARAMS} is what {paths.CONF}/ composes to")
    return not different and same_text


def _explain(different: "Sequence[Difference]", written: Mapping[str, Any]) -> None:
    from trunkline.pipeline.compose import keep

    click.echo(f"{paths.PARAMS} is not what {paths.CONF}/ composes to (composed → found):")
    width = max(len(item.key) for item in different)
    for item in different:
        click.echo(f"  {item.key:<{width}}  {_shown(item.before)} → {_shown(item.after)}")
    try:
        suggestion = keep.suggest(paths.CONF, written)
    except UserError:  # params.yaml is so wrong that no experiment could compose to it
        suggestion = None
    click.echo("\nTo make params.yaml follow conf/ again: trunkline compose")
    if suggestion is None:
        return
    if suggestion.existing:
        click.echo(f"To keep it: it is the experiment '{suggestion.existing}'; set it in conf/config.yaml:")
        click.echo(f"    - experiment: {suggestion.existing}")
        return
    click.echo(
        "To keep it: write this to conf/experiment/NAME.yaml, then put NAME for `experiment` in conf/config.yaml:"
    )
    click.echo("".join(f"    {line}\n" for line in suggestion.text.splitlines()), nl=False)
    for key in suggestion.beyond:
        click.echo(f"No experiment can remove a key: remove {key} in conf/ itself.")


def _shown(value: Any) -> str:
    from trunkline.show.differences import MISSING

    return MISSING if value == MISSING else json.dumps(value, ensure_ascii=False, sort_keys=True)
