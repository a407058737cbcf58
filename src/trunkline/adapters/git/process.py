"""Starts git, so that everything else runs and is tested without a repository."""

import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from trunkline.core.errors import OutsideError, one_line


def stdout(folder: Path, *arguments: str) -> str | None:
    """Return what git prints, without the last line end; None if it fails or is not installed."""
    # Without optional locks, so that reading never gets in the way of the user's own git command.
    command = ("git", "--no-optional-locks", "-C", str(folder), *arguments)
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False)  # noqa: S603  no shell
    except FileNotFoundError:
        return None
    return done.stdout.strip() if done.returncode == 0 else None


def output(folder: Path, *arguments: str, given: bytes = b"", environ: Mapping[str, str] | None = None) -> bytes:
    """Return what git prints, given an input; raises OutsideError with git's reason where it fails."""
    command = ("git", "--no-optional-locks", "-C", str(folder), *arguments)
    done = subprocess.run(command, input=given, env=environ, capture_output=True, check=False)  # noqa: S603  no shell
    if done.returncode:
        reason = one_line(done.stderr.decode(errors="replace"))
        verb = next(word for word in arguments if not word.startswith("-") and "=" not in word)
        raise OutsideError(f"git {verb} failed: {reason or done.returncode}")
    return done.stdout


@dataclass(frozen=True)
class Done:
    """How git ended, and what it printed on its output and to people."""

    returncode: int
    stdout: str
    stderr: str


def attempt(folder: Path, environ: Mapping[str, str], *arguments: str) -> Done:
    """Run git with exactly this environment, and return how it ended."""
    command = ("git", "-C", str(folder), *arguments)
    done = subprocess.run(command, env=dict(environ), capture_output=True, text=True, check=False)  # noqa: S603  no shell
    return Done(done.returncode, done.stdout, done.stderr)
