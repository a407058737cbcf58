"""Which processes of git a test has started."""

import subprocess

import pytest


def counted(monkeypatch: pytest.MonkeyPatch) -> list[list[str]]:
    """Return a list that grows by the arguments of every git that is started, after the folder it works in."""
    started: list[list[str]] = []

    class Counted(subprocess.Popen):
        def __init__(self, args, *rest, **options):
            if args[0] == "git":
                started.append(list(args[args.index("-C") + 2 :] if "-C" in args else args[1:]))
            super().__init__(args, *rest, **options)

    monkeypatch.setattr(subprocess, "Popen", Counted)
    return started
