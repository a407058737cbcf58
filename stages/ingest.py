"""Read every declared source into data/raw as it comes: text stays text until the contract types it."""

from trunkline.core.stage import run


def main() -> None:
    """Read conf/data's sources, write one Parquet table for each, and what each was read from."""
    from rich.console import Console

    from trunkline.conf.data import Data
    from trunkline.core.files import write_json
    from trunkline.core.params import Params
    from trunkline.core.paths import INGESTED, RAW
    from trunkline.core.progress import Bar
    from trunkline.core.tables.parquet import write_parquet
    from trunkline.pipeline.ingest import read

    console = Console(stderr=True, highlight=False)
    report = {}
    for name, source in Params.read().group(Data).sources.items():
        path = RAW / f"{name}.parquet"
        with Bar(f"reading {name}"):
            reading = read.read(name, source)
            write_parquet(reading.table, path)
        report[name] = read.report(reading, path)
        rows, columns = report[name]["table"]["rows"], report[name]["table"]["columns"]
        console.print(f"{path}: {rows:,} rows x {columns} columns, {path.stat().st_size:,} bytes", soft_wrap=True)
    write_json(INGESTED, report)


if __name__ == "__main__":
    run(main)
