"""Read every declared source into data/raw as it comes: text stays text until the contract types it."""

from trunkline.core.stage import run


def main() -> None:
    """Read conf/data's sources and write one Parquet table for each."""
    from rich.console import Console

    from trunkline import sources
    from trunkline.core.paths import RAW
    from trunkline.params.data import Data
    from trunkline.tables import write_parquet

    console = Console(stderr=True, highlight=False)
    for name, source in Data.load().sources.items():
        frame = sources.read(name, source)
        rows, columns = frame.shape
        path = RAW / f"{name}.parquet"
        write_parquet(frame, path)
        console.print(f"{path}: {rows:,} rows x {columns} columns, {path.stat().st_size:,} bytes", soft_wrap=True)


if __name__ == "__main__":
    run(main)
