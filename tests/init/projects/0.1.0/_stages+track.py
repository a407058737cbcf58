"""Log the finished run to MLflow, once per distinct result; no outputs: ids and times are no results."""

from trunkline.core.stage import run


def main() -> None:
    """Read what the pipeline left, log it, say where to look."""
    import os
    import sys
    from pathlib import Path

    from trunkline.adapters.git import repository
    from trunkline.conf.tracking import Tracking, look
    from trunkline.core import paths
    from trunkline.core.params import Params
    from trunkline.pipeline.track import runs

    root = Path.cwd()
    params = Params.read(root)
    tags = runs.tags(repository.head(root), repository.is_dirty(root), os.environ)
    finished, declared = runs.FinishedRun.read(root, params, tags), params.group(Tracking)
    logged = runs.log_run(finished, declared, paths.home(root))
    state = "logged" if logged.new else "this result is logged already"
    sys.stdout.write(f"{finished.name}: {state} ({look(declared.address(os.environ))})\n")


if __name__ == "__main__":
    run(main)
