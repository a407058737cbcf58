"""`trunkline ci`: what only workflows call, and git on their behalf."""

import click

from trunkline.cli.commands import Commands

COMMANDS = {
    "comment": "trunkline.cli.ci.comment:comment",
    "kind": "trunkline.cli.ci.kind:kind",
    "merge-driver": "trunkline.cli.ci.merge_driver:merge_driver",
    "preview": "trunkline.cli.ci.preview:preview",
    "record": "trunkline.cli.ci.record:record",
    "reproduce": "trunkline.cli.ci.reproduce:reproduce",
    "review": "trunkline.cli.ci.review:review",
    "status": "trunkline.cli.ci.status:status",
}


@click.group(cls=Commands, commands=COMMANDS, short_help="What workflows call: review, reproduce, comment, status.")
def ci() -> None:
    """Check a pull request, run what changed, comment, set a status, merge dvc.lock: for workflows, and for git."""
