"""Log the finished run to MLflow, once per distinct result; no outputs: ids and times are no results."""

from trunkline.core.stage import run


def main() -> None:
    """Read what the pipeline left, log it, say where to look."""
    import os
    import sys
    from pathlib import Path

    from trunkline import git, tracking
    from trunkline.core import paths
    from trunkline.params.tracking import Tracking, look

    root = Path.cwd()
    finished = tracking.Run.read(root, tags=tracking.tags(git.head(root), git.is_dirty(root), os.environ))
    declared = Tracking.load()
    logged = tracking.log_run(finished, declared, paths.home(root))
    state = "logged" if logged.new else "this result is logged already"
    sys.stdout.write(f"{finished.name}: {state} ({look(declared.address(os.environ))})\n")


if __name__ == "__main__":
    run(main)
