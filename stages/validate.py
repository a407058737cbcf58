"""Check the raw tables against conf/contract: valid rows go on, typed; the others stay aside with reasons."""

from trunkline.core.stage import run


def main() -> None:
    """Read the raw tables, check them, write valid and quarantined rows and the counts."""
    from dataclasses import asdict

    import polars as pl
    from rich.console import Console

    from trunkline.conf.contract import Contract
    from trunkline.conf.data import Data
    from trunkline.core import files, paths
    from trunkline.core.params import Params
    from trunkline.core.tables.parquet import write_parquet
    from trunkline.pipeline.validate import check

    console = Console(stderr=True, highlight=False)
    params = Params.read()
    data = params.group(Data)
    raw = {name: pl.scan_parquet(paths.RAW / f"{name}.parquet") for name in data.sources}
    months = [month for _, window in data.window or () for month in window.months()]
    derived = {name: data.derivations(name) for name in data.sources}
    checked = check.check_tables(raw, params.group(Contract), data.timezone, months, derived)
    for name, table in checked.items():
        write_parquet(table.valid, paths.VALID / f"{name}.parquet")
        write_parquet(table.rejected, paths.QUARANTINE / f"{name}.parquet")
        report = table.report
        console.print(f"{name}: {report.valid:,} rows valid, {report.quarantined:,} in quarantine", soft_wrap=True)
    files.write_json(paths.VALIDATION, {name: asdict(table.report) for name, table in checked.items()})


if __name__ == "__main__":
    run(main)
