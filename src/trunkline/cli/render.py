"""`trunkline render TARGET`: what conf/ declares, as the files that other programs read."""

import os
import tempfile
from pathlib import Path

import click

from trunkline.cli import options


@click.group(short_help="Write what conf/ declares as files of other programs.")
def render() -> None:
    """Write what conf/ declares as the files that other programs read."""


@render.command(short_help="Write rules, routes and a dashboard of conf/monitoring.")
@click.option(
    "-o", "--output", "folder", required=True, metavar="FOLDER", help="Where to; it is made if it is missing.",
    type=click.Path(file_okay=False, path_type=Path),
)  # fmt: skip
@options.dry_run("Write nothing; say what would be written.")
@click.option("--check", is_flag=True, help="Write nothing; exit 1 if the folder does not hold what would be written.")
@options.project("The folder whose params.yaml has conf/monitoring.")
@click.pass_context
def monitoring(context: click.Context, folder: Path, dry_run: bool, check: bool, project: Path) -> None:
    """Write prometheus-rules.yml, alertmanager.yml and grafana-dashboard.json of conf/monitoring: docs/alerting.md.

    An address of a webhook that `url_env` names is taken from the environment, and alertmanager.yml, which then holds
    it, can be read by its owner alone. With --check, exits 1 if a file is missing or another one.
    """
    if dry_run and check:
        raise click.UsageError("--dry-run does not go with --check, which writes nothing either; leave one out")
    texts, private = _texts(project)
    changed = [name for name, text in texts.items() if _content(folder / name) != text]
    for name in texts:
        if name in changed and not (check or dry_run):
            _write(folder / name, texts[name], private=name in private)
        click.echo(f"{folder / name}: {_state(name in changed, check, dry_run)}")
    context.exit(1 if check and changed else 0)


def _texts(project: Path) -> tuple[dict[str, str], set[str]]:
    """Return the texts by name of the file, and which of them hold a secret."""
    from trunkline.conf.monitoring import Monitoring
    from trunkline.core.params import Params
    from trunkline.monitor.render import alertmanager, dashboard, rules

    declared = Params.read(project).group(Monitoring)
    texts = {
        "prometheus-rules.yml": rules.render(declared),
        "alertmanager.yml": alertmanager.render(declared.alerting, os.environ),
        "grafana-dashboard.json": dashboard.render(declared),
    }
    receivers = declared.alerting.receivers.values()
    secret = any(receiver.webhook and receiver.webhook.url_env for receiver in receivers)
    return texts, {"alertmanager.yml"} if secret else set()


def _content(path: Path) -> str | None:
    """Return what a file holds; None where there is none, or no text."""
    try:
        return path.read_bytes().decode()
    except (FileNotFoundError, UnicodeDecodeError):
        return None


def _state(changed: bool, check: bool, dry_run: bool) -> str:
    if not changed:
        return "as declared"
    if check:
        return "is not what conf/monitoring declares; run: trunkline render monitoring"
    return "would be written" if dry_run else "written"


def _write(path: Path, text: str, *, private: bool) -> None:
    from trunkline.core import files

    if not private:
        files.write_text(path, text)
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.NamedTemporaryFile(
        "w", dir=path.parent, prefix=f".{path.name}.", encoding="utf-8", delete=False
    ) as file:
        file.write(text)  # of its owner alone from the first byte on
    Path(file.name).replace(path)
