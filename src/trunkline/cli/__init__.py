"""The command line: a verb is imported when it is called, so that help and typing mistakes answer at once."""

import importlib
import sys
import traceback

import click

from trunkline import __version__
from trunkline.core.errors import explain, nearest

COMMANDS = {
    "attribute": "trunkline.cli.attribute:attribute",
    "audit": "trunkline.cli.audit:audit",
    "check": "trunkline.cli.check:check",
    "comment": "trunkline.cli.comment:comment",
    "compose": "trunkline.cli.compose:compose",
    "gate": "trunkline.cli.gate:gate",
    "log": "trunkline.cli.log:log",
    "merge-driver": "trunkline.cli.merge_driver:merge_driver",
    "pin": "trunkline.cli.pin:pin",
    "plan": "trunkline.cli.plan:plan",
    "predict": "trunkline.cli.predict:predict",
    "promote": "trunkline.cli.promote:promote",
    "reconcile": "trunkline.cli.reconcile:reconcile",
    "release": "trunkline.cli.release:release",
    "report": "trunkline.cli.report:report",
    "reproduce": "trunkline.cli.reproduce:reproduce",
    "rollback": "trunkline.cli.rollback:rollback",
    "status": "trunkline.cli.status:status",
    "trace": "trunkline.cli.trace:trace",
    "verify": "trunkline.cli.verify:verify",
}

EPILOG = """\b
Exit codes, the same for every command:
  0  yes, done
  1  the answer is no: a gate failed, a difference was found
  2  what you wrote is wrong: a config, a data file, the command line
  3  something outside failed: a remote, a server, the file system
"""


class Commands(click.Group):
    """A group whose commands are named here and imported when they are needed."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Return the names of the commands."""
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import a command; None if there is none of that name."""
        if cmd_name not in COMMANDS:
            return None
        module, _, attribute = COMMANDS[cmd_name].partition(":")
        command = getattr(importlib.import_module(module), attribute)
        if not isinstance(command, click.Command):
            raise TypeError(f"{COMMANDS[cmd_name]} is no click command")
        return command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Find the command that the arguments begin with; an unknown one is answered with the nearest."""
        if args and args[0] not in COMMANDS and not args[0].startswith("-"):
            ctx.fail(f"no command '{args[0]}'{nearest(args[0], COMMANDS)}")
        return super().resolve_command(ctx, args)


@click.group(cls=Commands, epilog=EPILOG, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, message="%(prog)s %(version)s")
def trunkline() -> None:
    """Production is whatever the trunk says it is: declare, reproduce, measure and ship a model from git."""


def main() -> None:
    """Run the command line; a known error is one line on stderr and its exit code."""
    sys.exit(_exit_code())


def _exit_code() -> int:
    try:
        return trunkline.main(prog_name="trunkline", standalone_mode=False) or 0
    except click.ClickException as error:
        error.show()
        return 2
    except click.Abort:
        return 130
    except Exception as error:
        known = explain(error)
        if known is None:
            # A bug must not look like exit code 1, which is an answer.
            traceback.print_exc()
            return 3
        click.echo(f"error: {known}", err=True)
        return known.exit_code
