"""Join every observation with what was known when its prediction is made, and split by time."""

from trunkline.core.stage import run


def main() -> None:
    """Read the validated tables, compute the plan, write the two windows and what is in them.

    No outcome may have been known before its own event.
    """
    from functools import partial

    import polars as pl
    from rich.console import Console

    from trunkline.conf.contract import Contract
    from trunkline.conf.data import Data
    from trunkline.conf.engine import Engine
    from trunkline.conf.features import Features
    from trunkline.core import files, paths
    from trunkline.core.params import Params
    from trunkline.core.progress import track
    from trunkline.pipeline.features import availability, compiler, partitioned, split

    console = Console(stderr=True, highlight=False)
    params = Params.read()
    data = params.group(Data)
    plan = compiler.plan(params.group(Features), data, params.group(Contract))

    with partitioned.engine(plan, paths.VALID, params.group(Engine)) as engine:
        availability.check(engine, plan)
        written = split.materialize(engine, plan, data, paths.FEATURES, partial(track, what="joining", unit="views"))
    for window, rows in written.items():
        console.print(f"{window}: {rows:,} rows x {len(plan.outputs)} features", soft_wrap=True)

    observations = pl.read_parquet(paths.VALID / f"{data.observations}.parquet", columns=split.summarised(data))
    files.write_json(paths.DATASET, split.summarise(observations, plan, data))


if __name__ == "__main__":
    run(main)
