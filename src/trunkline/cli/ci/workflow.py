"""What a verb exchanges with the workflow that calls it: the files that a run has left, and outputs for later steps."""

import os
from pathlib import Path

import click

from trunkline.core.errors import UserError


def left(path: Path | None, run: int | None, artifact: str, name: str, limit: int) -> bytes:
    """Return the bytes of a file, or else of the file of this name in an artifact of a run.

    At most `limit` + 1 bytes of a file are read. Raises UserError for what cannot be read.
    """
    from trunkline.adapters.forge import api, archive, connect

    if path is not None:
        try:
            with path.open("rb") as opened:
                return opened.read(limit + 1)
        except OSError as error:
            raise UserError(f"{path}: cannot be read: {error.strerror}") from None
    forge = connect.connect(os.environ)
    packed = api.retried(lambda: forge.artifact(run or 0, artifact, limit), lambda text: click.echo(text, err=True))
    return archive.member(packed, name, limit)


def tell_steps(name: str, value: str) -> None:
    """Write an output of this step into the file that GITHUB_OUTPUT names, if it is set."""
    if file := os.environ.get("GITHUB_OUTPUT"):
        with Path(file).open("a", encoding="utf-8") as opened:
            opened.write(f"{name}={value}\n")
