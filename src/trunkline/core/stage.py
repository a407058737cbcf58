"""Runs a stage so that the same inputs give the same bytes on another machine, and mistakes give one message.

Numerical libraries pick their kernels by the CPU and split their sums over threads, and both change the last
bits of a result. What can be pinned is pinned here, before numpy is imported, and overrides the user's shell;
so this module imports nothing heavy. Not pinned: the C library's exp and log (it too picks kernels by
the CPU, but has one for all with AVX2 and FMA), and any CPU that is not x86-64 with AVX2 and FMA.
"""

import os
import sys
from collections.abc import Callable
from pathlib import Path

import trunkline
from trunkline.core import durations
from trunkline.core.errors import OutsideError, explain
from trunkline.core.machine import pin


def run(main: Callable[[], None]) -> None:
    """Run a stage's main function with pinned kernels and threads; an error becomes a message and a code."""
    try:
        _use_the_tree_in(Path.cwd())
        pin()
        stage = Path(sys.argv[0]).stem
        with durations.measured(Path.cwd(), stage):
            main()
    except KeyboardInterrupt:
        sys.exit(130)
    except Exception as error:
        explained = explain(error)
        if explained is None:
            raise
        print(f"error: {explained}", file=sys.stderr)  # noqa: T201
        sys.exit(explained.exit_code)


def _use_the_tree_in(root: Path) -> None:
    """Start again with the working tree's own library, if an environment's editable install points elsewhere.

    `dvc exp run --temp`, `--queue` and git worktrees run a checkout with the environment of another.
    """
    source = root / "src"
    if not (source / "trunkline").is_dir() or Path(trunkline.__file__).parent.samefile(source / "trunkline"):
        return
    others = os.environ.get("PYTHONPATH", "").split(os.pathsep)
    if others[0] == str(source):
        raise OutsideError(f"{source}: is not what Python imports as trunkline; do not run it with -I or -E")
    path = os.pathsep.join([str(source), *filter(None, others)])
    sys.stdout.flush()
    sys.stderr.flush()
    os.execve(sys.executable, [sys.executable, *sys.orig_argv[1:]], os.environ | {"PYTHONPATH": path})  # noqa: S606
