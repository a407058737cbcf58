"""Compose conf/ into params.yaml, so that an edit of conf/ reruns exactly the stages whose group changed."""

import os

from trunkline.core.stage import run


def main() -> None:
    """Merge, judge and write; under `dvc exp run` keep the parameters that DVC has just composed from -S."""
    from trunkline.core import files as core_files
    from trunkline.core import paths
    from trunkline.core.params import Params
    from trunkline.pipeline.compose import files
    from trunkline.pipeline.compose.compose import completed, compose, render
    from trunkline.pipeline.compose.files import Composed
    from trunkline.pipeline.compose.judge import check

    if "DVC_EXP_NAME" in os.environ:
        files.lint(paths.CONF)
        composed = Composed(completed(Params.read().content), merged=())
    else:
        composed = compose(paths.CONF)
    check(composed, fallback=paths.PARAMS)
    core_files.write_text(paths.PARAMS, render(composed.content))


if __name__ == "__main__":
    run(main)
