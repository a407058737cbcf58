"""Computes the inputs of a model from raw rows, as the features stage computes those of the training rows.

The expressions are those of the bundle's features.json, evaluated by the same engine over columns that are converted
and checked as conf/contract declared them when the bundle was built.
"""

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any, Self

import msgspec
import numpy as np
import polars as pl

from trunkline.bundle import columns as bundle_columns
from trunkline.bundle.columns import Breach
from trunkline.bundle.contract import Contract
from trunkline.core.errors import UserError
from trunkline.core.expressions import Expression, columns
from trunkline.core.features import EVENT_TIME
from trunkline.core.tables import convert, rows
from trunkline.pipeline.features import plan_json
from trunkline.pipeline.features.plan import FeaturePlan
from trunkline.serve.joined import OfflineTables
from trunkline.serve.online.reader import DeclaredColumn, limits


@dataclass(frozen=True)
class RawRows:
    """How rows of raw columns become rows of the model's inputs."""

    plan: FeaturePlan
    declared: Mapping[str, DeclaredColumn]
    derived: Mapping[str, Expression]
    tables: OfflineTables | None = None  # what inputs are joined from, where the row alone does not give all

    @classmethod
    def parse(cls, content: bytes) -> Self | None:
        """Read features.json; None for that of a bundle that was built before it told the columns."""
        plain = msgspec.json.decode(content)
        if "columns" not in plain:
            return None
        declared = msgspec.convert(plain["columns"], dict[str, DeclaredColumn])
        derived = {name: plan_json.expression_of(each) for name, each in plain["derived"].items()}
        return cls(plan_json.plan_of(plain), declared, derived)

    @cached_property
    def features(self) -> Mapping[str, Expression]:
        """The model's inputs that are expressions of the request, in its order."""
        declared = dict(self.plan.rows)
        return {output.name: declared[output.name] for output in self.plan.outputs if output.name in declared}

    @cached_property
    def joined(self) -> list[str]:
        """The inputs that need other rows than the request's own, such as those of a stream or a lookup."""
        known = {*self.declared, EVENT_TIME}
        of_request = {name for name, expression in self.features.items() if known.issuperset(columns(expression))}
        return [output.name for output in self.plan.outputs if output.name not in of_request]

    @cached_property
    def read(self) -> tuple[str, ...]:
        """The columns that rows must have, in order: those that features, event_time and derived columns read.

        With tables, also those by which their rows are joined.
        """
        event_time = self.plan.request.event_time
        time = {EVENT_TIME: event_time} if event_time is not None else {}
        names = [name for expression in {**self.features, **time}.values() for name in columns(expression)]
        if self.tables is not None:
            names += [key for view in self.plan.primitives for key in view.keys]
        return self._given(name for name in names if name in self.declared)  # others are event_time, and what is joined

    @cached_property
    def identity(self) -> tuple[str, ...]:
        """The columns by which a row is told from the observations that it is joined with; rows may lack them."""
        unique = self.plan.request.unique
        return self._given(unique) if self.tables is not None and self.declared.keys() >= set(unique) else ()

    def _given(self, names: Iterable[str]) -> tuple[str, ...]:
        """Return columns, each once, with what derived ones are made of in their place."""
        names = list(names)
        parts = [part for name in names if name in self.derived for part in columns(self.derived[name])]
        return tuple(dict.fromkeys(name for name in (*names, *parts) if name not in self.derived))

    def inputs(self, chunk: Any, times: pl.Series | None = None) -> tuple[Any, tuple[Breach, ...]]:
        """Return the model's inputs of a chunk of raw rows (a pa.Table), and what in these is not as declared.

        With `times` (naive UTC), what is joined is what was known then, not when the row's event time says.

        Raises UnfitError for a value that does not fit its type in some row, which a contract did not limit.
        """
        identity = self.identity if set(self.identity).issubset(chunk.column_names) else ()
        names = dict.fromkeys([*self.read, *identity])
        raw = pl.DataFrame([pl.Series(name, pl.from_arrow(chunk[name])) for name in names])
        raw = rows.add_derived(raw, self.declared, self.derived, self.plan.timezone)
        frame, breaches = converted(raw, self.declared, self.derived)
        breaches = tuple(each for each in breaches if self._is_read(each.field))
        values = self._joined(frame, breaches, times) if self.tables is not None else self._own(frame)
        categories = [each.name for each in self.plan.outputs if each.role == "categorical"]
        return values.with_columns(pl.col(categories).cast(pl.String)).to_arrow(), breaches

    def _is_read(self, name: str) -> bool:
        """Tell whether an input is made of a column; who a row is may be told wrongly."""
        return not set(self._given([name])).isdisjoint(self.read)

    def _own(self, frame: pl.DataFrame) -> pl.DataFrame:
        """Return the inputs that are expressions of the row."""
        event_time = self.plan.request.event_time
        if event_time is not None:
            frame = frame.with_columns(rows.compute(frame, {EVENT_TIME: event_time}, self.plan.timezone))
        return rows.compute(frame, self.features, self.plan.timezone)

    def _joined(self, frame: pl.DataFrame, breaches: Sequence[Breach], times: pl.Series | None) -> pl.DataFrame:
        """Return all inputs, of refused rows null."""
        assert self.tables is not None  # noqa: S101  as `inputs` sees to
        refused = np.any([np.zeros(frame.height, dtype=np.bool_), *(breach.rows for breach in breaches)], axis=0)
        places = pl.Series(np.flatnonzero(~refused), dtype=pl.UInt32)
        known_at = None if times is None else times[places]
        values = self.tables.features(frame[places], self.plan, known_at).with_columns(places.alias("\0row"))
        every = pl.DataFrame({"\0row": pl.Series(range(frame.height), dtype=pl.UInt32)})
        return every.join(values, on="\0row", how="left", maintain_order="left").drop("\0row")


def converted(
    raw: pl.DataFrame, declared: Mapping[str, DeclaredColumn], derived: Mapping[str, Expression]
) -> tuple[pl.DataFrame, tuple[Breach, ...]]:
    """Return raw columns in their declared types, and what in them is not as declared.

    What is `derived` from a value that cannot be read breaks nothing itself.
    """
    parsed = {name: convert.parse(raw[name], declared[name].type, declared[name].formats) for name in raw.columns}
    frame = pl.DataFrame({name: each.values for name, each in parsed.items()})
    breaches = [
        Breach(name, f"is not {convert.MEANING[declared[name].type]}", each.failed.to_numpy())
        for name, each in parsed.items()
        if each.failed.any()
    ]
    for breach in _against_limits(frame, {name: declared[name] for name in raw.columns}):
        parts = [breach.field, *(columns(derived[breach.field]) if breach.field in derived else ())]
        rows_of = breach.rows & ~np.any([parsed[part].failed.to_numpy() for part in parts], axis=0)
        breaches += [Breach(breach.field, breach.words, rows_of)] if rows_of.any() else []
    return frame, tuple(breaches)


def _against_limits(frame: pl.DataFrame, declared: Mapping[str, DeclaredColumn]) -> Iterator[Breach]:
    limited = [limits(name, of) for name, of in declared.items() if of.type != "time"]
    contract = Contract(label="", on_bad_row="stop", inputs=limited, request={})
    yield from bundle_columns.check_rows(frame.to_arrow(), contract).breaches
    for name, of in declared.items():
        if of.type == "time" and not of.nullable:
            yield Breach(name, "is missing", np.asarray(frame[name].is_null()))


def raw_rows(
    path: Path, names: Collection[str], contract: Contract, features: bytes | None, tables: Path | None = None
) -> RawRows | None:
    """Return what computes the inputs of raw rows of these columns; None for rows that have the inputs, or lack both.

    `features` is the bundle's features.json, `tables` the folder that inputs may be joined from. Raises UserError for
    raw rows of a model whose inputs need other tables, and for tables that cannot be used.
    """
    if tables is not None:
        return _with_tables(path, names, features, tables)
    if features is None or {field.name for field in contract.inputs}.issubset(names):
        return None
    raw = RawRows.parse(features)
    if raw is None or not set(raw.read).issubset(names):
        return None
    absent = [name for name in raw.joined if name not in names]
    if absent:
        others = f", as are {len(absent) - 1} more" if len(absent) > 1 else ""
        raise UserError(
            f"{path}: feature {absent[0]}: cannot be computed from the row alone, for it is joined from other tables"
            f"{others}; supply it as a column, or name the folder of these tables: --tables data/valid"
        )
    return None if raw.joined else raw


def _with_tables(path: Path, names: Collection[str], features: bytes | None, tables: Path) -> RawRows:
    raw = RawRows.parse(features) if features is not None else None
    if raw is None:
        raise UserError("--tables: the bundle does not say how its features are made; build it again: dvc repro")
    raw = replace(raw, tables=OfflineTables(tables))
    absent = [name for name in raw.read if name not in names]
    if absent:
        raise UserError(f"{path}: column {absent[0]}: is missing; with --tables, rows are raw, and features need it")
    OfflineTables(tables).check(raw.plan)
    return raw
