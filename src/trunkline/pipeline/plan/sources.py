"""Sources in the project's own folders that are not what conf/data has pinned: no stage reads them before it runs."""

from collections.abc import Iterator, Mapping
from pathlib import Path

from trunkline.conf.data.sources import Files, Source
from trunkline.core.errors import UserError
from trunkline.pipeline.ingest import pins


def unpinned(sources: Mapping[str, Source]) -> Iterator[str]:
    """Yield a line for each file of the project that was changed, is missing or is new since it was pinned.

    A folder that DVC keeps and that was not brought here yet has not changed.
    """
    for name, source in sources.items():
        if not isinstance(source, Files) or "://" in source.url:
            continue
        folder = Path(source.url)
        if not folder.exists() and folder.with_name(f"{folder.name}.dvc").is_file():
            continue
        try:
            moves = list(pins.moves(name, source))
        except UserError as error:
            yield str(error)
            continue
        for move in moves:
            what = "is missing" if move.now is None else "is not pinned" if move.before is None else "was changed"
            yield f"{source.url}{move.key[-1]}: {what}; run: trunkline pin {name}"
