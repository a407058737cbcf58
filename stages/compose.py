"""Compose conf/ into params.yaml, so that an edit of conf/ reruns exactly the stages whose group changed."""

import os

from trunkline.core.stage import run


def main() -> None:
    """Merge, judge and write; under `dvc exp run` keep the parameters that DVC has just composed from -S."""
    from trunkline import conffiles
    from trunkline.compose import Composed, check, completed, compose, render
    from trunkline.core import files, paths
    from trunkline.core.paramsfile import read_params

    if "DVC_EXP_NAME" in os.environ:
        conffiles.lint(paths.CONF)
        composed = Composed(completed(read_params()), merged=())
    else:
        composed = compose(paths.CONF)
    check(composed, fallback=paths.PARAMS)
    files.write_text(paths.PARAMS, render(composed.content))


if __name__ == "__main__":
    run(main)
