"""Groups of commands, each imported when it is called, so that help and typing mistakes answer at once."""

import importlib
from collections.abc import Mapping
from typing import Any

import click

from trunkline.core.errors import nearest


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
