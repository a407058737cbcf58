"""Groups of commands, each imported when it is called, so that help and typing mistakes answer at once."""

import importlib
import traceback
from collections.abc import Callable, Mapping
from typing import Any

import click

from trunkline.core.errors import explain, nearest


class Commands(click.Group):
    """A group whose commands are named as `module:attribute`, and imported when they are needed."""

    def __init__(self, *arguments: Any, commands: Mapping[str, str], **options: Any) -> None:
        super().__init__(*arguments, **options)
        self.addresses = commands

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Return the names of the commands."""
        return list(self.addresses)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import a command; None if there is none of that name."""
        if cmd_name not in self.addresses:
            return None
        module, _, attribute = self.addresses[cmd_name].partition(":")
        command = getattr(importlib.import_module(module), attribute)
        if not isinstance(command, click.Command):
            raise TypeError(f"{self.addresses[cmd_name]} is no click command")
        return command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Find the command that the arguments begin with; an unknown one is answered with the nearest."""
        if args and args[0] not in self.addresses and not args[0].startswith("-"):
            ctx.fail(f"no command '{args[0]}'{nearest(args[0], self.addresses)}")
        return super().resolve_command(ctx, args)


def exit_code(command: Callable[[], int | None]) -> int:
    """Run a command and return its exit code; an error that is known is one line on stderr."""
    try:
        return command() or 0
    except click.exceptions.Exit as ended:
        return ended.exit_code
    except click.ClickException as error:
        error.show()
        return 2
    except click.Abort:
        return 130
    except Exception as error:
        explained = explain(error)
        if explained is None:
            # A bug must not look like exit code 1, which is an answer.
            traceback.print_exc()
            return 3
        click.echo(f"error: {explained}", err=True)
        return explained.exit_code
