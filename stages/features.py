"""Join every observation with what was known when its prediction is made, and split by time."""

from trunkline.core.stage import run


def main() -> None:
    """Read the validated tables, compute the plan, write the two windows and what is in them."""
    import polars as pl
    from rich.console import Console
    from rich.progress import track

    from trunkline import planning, rows, splits
    from trunkline.core import expressions, files, paths
    from trunkline.dataset import EVENT_TIME, Schema
    from trunkline.duckdb_engine import DuckDBEngine
    from trunkline.params.contract import Contract
    from trunkline.params.data import Data
    from trunkline.params.features import Features

    console = Console(stderr=True, highlight=False)
    data = Data.load()
    plan = planning.plan(Features.load(), data, Contract.load())
    schema = Schema(plan.outputs, data.target.name, data.timezone)
    split = train, holdout = splits.periods(data)

    with DuckDBEngine(plan, paths.VALID) as engine:
        label = expressions.parse(data.target.expression)
        engine.load_requests(train.start, holdout.end, ((schema.label, label),))
        for primitive in track(
            plan.primitives, "joining", console=console, transient=True, disable=not console.is_terminal
        ):
            engine.compute(primitive)
        for period in split:
            written = engine.write(
                paths.FEATURES / f"{period.name}.parquet", period.start, period.known, [schema.label]
            )
            console.print(f"{period.name}: {written:,} rows x {len(plan.outputs)} features", soft_wrap=True)
    schema.write()

    observations = pl.read_parquet(paths.VALID / f"{data.observations}.parquet")
    sources = {EVENT_TIME: data.event_time, schema.label: data.target.expression}
    files.write_json(
        paths.DATASET, splits.summarise(rows.evaluate(observations, sources, data.timezone), schema, split)
    )


if __name__ == "__main__":
    run(main)
