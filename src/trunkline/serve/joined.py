"""Features of raw rows that are joined from other tables: the plan that trained, over the tables of a folder.

A row sees what was known before its own prediction is made, as in training, and no other row of the same file. An event
of the observations' own table counts if it is in the folder, but for that of a row itself, told by the unique key.
"""

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from pathlib import Path
from tempfile import TemporaryDirectory

import duckdb
import polars as pl

from trunkline.core.errors import UserError, one_line
from trunkline.core.expressions import Column, columns, substitute
from trunkline.core.features import EVENT_TIME
from trunkline.core.tables import rows
from trunkline.pipeline.features.duckdb import DuckDBEngine
from trunkline.pipeline.features.plan import Events, FeaturePlan, Primitive, StaticLookup, operands


@dataclass(frozen=True)
class OfflineTables:
    """A folder of tables as `validate` writes them, each NAME.parquet, for the views of a plan."""

    folder: Path

    def check(self, plan: FeaturePlan) -> None:
        """Raise UserError for a table that is missing, or lacks a column that a feature is made of."""
        for table, names in _read(plan).items():
            path = self.path(table)
            try:
                stored = pl.read_parquet_schema(path)
            except (OSError, pl.exceptions.PolarsError) as error:
                raise UserError(f"{path}: cannot be read ({one_line(error)}); features are joined from it") from None
            absent = [name for name in names if name not in stored]
            if absent:
                raise UserError(f"{path}: column {absent[0]}: is missing; features are made of it")

    def path(self, table: str) -> Path:
        """Return the file of a table."""
        return self.folder / f"{table}.parquet"

    def files(self, plan: FeaturePlan) -> list[Path]:
        """Return the files that a plan's features are joined from."""
        return [self.path(table) for table in _read(plan)]

    def known_until(self, plan: FeaturePlan) -> dict[str, datetime | None]:
        """Return when the last event of each stream became known, in naive UTC; None for a stream without events."""
        return {events.name: self._last(events, plan.timezone) for events in plan.streams}

    def _last(self, events: Events, zone: str) -> datetime | None:
        names = {*columns(events.event_time), *columns(events.available_at)} - {EVENT_TIME}
        table = pl.read_parquet(self.path(events.table), columns=sorted(names))
        table = table.with_columns(rows.compute(table, {EVENT_TIME: events.event_time}, zone))
        known = rows.compute(table, {"known": events.available_at}, zone)["known"]
        times = pl.DataFrame({EVENT_TIME: table[EVENT_TIME], "known": known}).drop_nulls()
        last: datetime | None = times.max_horizontal().max()  # type: ignore[assignment]  # of times
        return last

    def features(self, frame: pl.DataFrame, plan: FeaturePlan, times: pl.Series | None = None) -> pl.DataFrame:
        """Return the plan's outputs for rows of the request's columns, in order.

        `times` are when the prediction of each row is made, in naive UTC, where that is not told by its event time.
        A row whose unique key is given does not see its own event.

        Raises UserError where a table does not fit the plan, or a value its type.
        """
        number, own = _unlike("row", frame.columns), _unlike("own_row", frame.columns)
        frame = frame.with_columns(self._own_rows(frame, plan).alias(own))
        table, observed = _unlike("rows", _read(plan)), plan.request.table
        if times is not None:
            moment = _unlike("predicted_at", [*frame.columns, number])
            frame, plan = frame.with_columns(times.alias(moment)), _as_of(plan, moment)
        request = replace(plan.request, table=table, columns=(*frame.columns, number), unique=(number,))
        with TemporaryDirectory(prefix="trunkline-") as name:
            folder = Path(name)
            for path in self.files(plan):
                (folder / path.name).symlink_to(path.resolve())
            frame.with_row_index(number).write_parquet(folder / f"{table}.parquet")
            written = folder / f"{table}.features"
            try:
                with DuckDBEngine(replace(plan, request=request), folder, own=(observed, own)) as engine:
                    engine.load_requests()
                    for primitive in plan.primitives:
                        engine.compute(primitive)
                    engine.write(written)
            except duckdb.Error as error:
                raise UserError(
                    f"{self.folder}: its tables do not fit the model's features: {one_line(error)}; name tables that "
                    "`validate` wrote by this model's conf/"
                ) from None
            return pl.read_parquet(written).sort(number).select(output.name for output in plan.outputs)

    def _own_rows(self, frame: pl.DataFrame, plan: FeaturePlan) -> pl.Series:
        """Return the number of each row, from 1, in the observations' table; null where it is not there."""
        key, table = list(plan.request.unique), plan.request.table
        if table not in _read(plan) or not set(key).issubset(frame.columns):
            return pl.Series([None] * frame.height, dtype=pl.UInt32)
        stored = pl.read_parquet(self.path(table), columns=key).with_row_index("\0row", offset=1)
        keys = frame.select(pl.col(name).cast(stored.schema[name], strict=False) for name in key)
        return keys.join(stored.unique(key, keep="first"), on=key, how="left", maintain_order="left")["\0row"]


def _as_of(plan: FeaturePlan, moment: str) -> FeaturePlan:
    """Return a plan that predicts each row at the time in a column of it; its event time is what it was."""
    if plan.request.event_time is None:
        return plan
    rows = tuple(
        (name, substitute(expression, {EVENT_TIME: plan.request.event_time})) for name, expression in plan.rows
    )
    request = replace(plan.request, event_time=Column(moment), lead=timedelta())
    return replace(plan, request=request, rows=rows, types={**plan.types, moment: "time"})


def _read(plan: FeaturePlan) -> Mapping[str, list[str]]:
    """Return the columns that are read of each table, each once."""
    tables: dict[str, dict[str, None]] = {}
    for view in plan.primitives:
        table = view.table if isinstance(view, StaticLookup) else view.events.table
        names = (name for name in _columns(view) if name != EVENT_TIME)
        tables.setdefault(table, {}).update(dict.fromkeys(names))
    return {table: list(names) for table, names in tables.items()}


def _columns(view: Primitive) -> Iterator[str]:
    yield from view.keys
    if isinstance(view, StaticLookup):
        for _, expression in view.features:
            yield from columns(expression)
    else:
        yield from operands(view)
        yield from view.events.unique
        yield from columns(view.events.event_time)
        yield from columns(view.events.available_at)


def _unlike(name: str, taken: Collection[str]) -> str:
    """Return a name that is not taken."""
    while name in taken:
        name += "_"
    return name
