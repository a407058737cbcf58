"""The options that several verbs have, each declared once."""

from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, TypeVar

import click

TIME = click.DateTime(["%Y-%m-%d", "%Y-%m-%dT%H:%M", "%Y-%m-%dT%H:%M:%S"])

Command = TypeVar("Command", bound=Callable[..., Any])
Option = Callable[[Command], Command]


def trunk(command: Command) -> Command:
    """Add --trunk: the branch whose tip says what production is."""
    return click.option(
        "--trunk", metavar="BRANCH", default="main", show_default=True, help="The branch that production follows."
    )(command)


def bundle(text: str = "The bundle.") -> Callable[[Command], Command]:
    """Add --bundle: the folder of a bundle, as the argument `folder`."""
    return click.option(
        "--bundle",
        "folder",
        type=click.Path(path_type=Path),
        default=Path("models/bundle"),
        show_default=True,
        help=text,
    )


def project(text: str) -> Callable[[Command], Command]:
    """Add --project: the folder whose params.yaml declares what a verb needs."""
    return click.option("--project", type=click.Path(path_type=Path), default=Path(), show_default=True, help=text)


def base(text: str, default: str | None = None) -> Callable[[Command], Command]:
    """Add --base: the branch, tag or commit that this one is compared with."""
    return click.option("--base", metavar="REF", default=default, show_default=default is not None, help=text)


def as_json(text: str = "Print the answer as JSON.") -> Callable[[Command], Command]:
    """Add --json, as the argument `as_json`."""
    return click.option("--json", "as_json", is_flag=True, help=text)


def moment(name: str, text: str) -> Callable[[Command], Command]:
    """Add an option for a moment in UTC, which the argument knows to be."""
    return click.option(name, metavar="TIME", type=TIME, callback=_utc, help=text)


def dry_run(text: str = "Change nothing; say what would be done.") -> Callable[[Command], Command]:
    """Add --dry-run."""
    return click.option("--dry-run", is_flag=True, help=text)


def _utc(context: click.Context, parameter: click.Parameter, value: datetime | None) -> datetime | None:
    return None if value is None else value.replace(tzinfo=UTC)
