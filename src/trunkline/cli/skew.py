"""Skew as rows of the table that `trunkline monitor` judges: what `trunkline replay` recomputes, window by window."""

from collections import defaultdict
from collections.abc import Iterator
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from trunkline.lineage.replay import Replay
    from trunkline.monitor.measure import Measured, Plan, Source
    from trunkline.monitor.rows import Choice

TOLERANCE = 1e-9  # as of trunkline replay
_SHADOW = "shadow"


def added(measured: "Measured", source: "Source", plan: "Plan", bundle: Path, tables: Path | None) -> "Measured":
    """Return what was measured, and the share of each window's rows of which something is recomputed otherwise.

    `tables` are those that features are joined from; None: scores alone are compared. Raises OutsideError for a segment
    that cannot be read.
    """
    import tempfile

    import polars as pl

    from trunkline.core.errors import UserError
    from trunkline.lineage import replay
    from trunkline.monitor import table

    content: list[dict[str, Any]] = []
    left: dict[str, None] = {}
    with tempfile.TemporaryDirectory(prefix="trunkline-") as aside:
        for start, folder in sorted(_copied(source, plan, Path(aside)).items()):
            try:
                compared = replay.replay([str(folder)], lambda _: bundle, tables, TOLERANCE)
            except UserError as error:
                left |= {f"skew: {error}": None}
                continue
            content += _rows(compared, start, complete=start + plan.window <= plan.as_of)
            left |= {f"skew: {why}": None for why in compared.left}
    whole = pl.concat([measured.table, table.of(content)])
    return replace(measured, table=table.ordered(whole), unmeasured=(*measured.unmeasured, *left))


def _rows(compared: "Replay", start: datetime, *, complete: bool) -> Iterator[dict[str, Any]]:
    from trunkline.monitor import table

    for each in (*compared.scores.values(), *compared.features.values()):
        if each.rows:
            yield {
                table.WINDOW: start, table.KIND: table.SKEW, table.SUBJECT: each.name, table.MEASURE: "share",
                table.VALUE: each.different / each.rows, table.ROWS: each.rows, table.COMPLETE: complete,
            }  # fmt: skip


def _copied(source: "Source", plan: "Plan", aside: Path) -> dict[datetime, Path]:
    """Copy the rows that are watched below a folder, each window's to its own, and return the folders."""
    import pyarrow.compute as pc
    import pyarrow.parquet as pq

    from trunkline.monitor import rows
    from trunkline.serve.log import TIME

    folders: dict[datetime, Path] = {}
    numbers: dict[datetime, int] = defaultdict(int)
    choice = rows.Choice(rows.begin(plan.since, plan.window), plan.as_of, plan.window, plan.digest, plan.environment)
    for folder, name in rows.Reader(source.place, choice, rows.Columns({}, ())).segments():
        with source.place.open(folder, name) as file:
            chosen = _chosen(file.read(), choice)
        while len(chosen):
            start = rows.begin(chosen[TIME][0].as_py(), plan.window)
            inside = pc.and_(pc.greater_equal(chosen[TIME], start), pc.less(chosen[TIME], start + plan.window))
            target = folders.setdefault(start, aside / f"{start:%Y-%m-%dT%H%M%S}")
            target.mkdir(exist_ok=True)
            numbers[start] += 1
            pq.write_table(chosen.filter(inside), target / f"{numbers[start]}.parquet")
            chosen = chosen.filter(pc.invert(inside))
    return folders


def _chosen(stored: Any, choice: "Choice") -> Any:
    """Return the rows of a segment, a pa.Table, that are watched."""
    import pyarrow.compute as pc

    from trunkline.serve.log import DIGEST, TIME
    from trunkline.serve.prediction_log.segments import ARM, ENVIRONMENT

    kept = pc.and_(pc.greater_equal(stored[TIME], choice.since), pc.less_equal(stored[TIME], choice.until))
    if choice.digest is not None:
        kept = pc.and_(kept, pc.equal(stored[DIGEST], choice.digest))
    if ARM in stored.column_names:
        kept = pc.and_(kept, pc.not_equal(pc.fill_null(stored[ARM], ""), _SHADOW))
    if choice.environment is not None and ENVIRONMENT in stored.column_names:
        named = pc.fill_null(stored[ENVIRONMENT], choice.environment)
        kept = pc.and_(kept, pc.equal(named, choice.environment))
    return stored.filter(kept)
