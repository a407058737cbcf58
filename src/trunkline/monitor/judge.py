"""Holds the rules of conf/monitoring against what was measured: of each window and rule, whether the bound holds.

Bounds are of effect sizes, and a window needs a smallest number of rows: with enough rows any p-value is small.
"""

from collections.abc import Mapping

import polars as pl

from trunkline.conf.monitoring import OF_METRICS, Rule
from trunkline.monitor.table import (
    COMPLETE,
    COVERAGE,
    HIGH,
    KIND,
    LABEL,
    LOW,
    MEASURE,
    REFERENCE,
    ROWS,
    SLICE,
    SUBJECT,
    SYSTEM,
    TABLE,
    VALUE,
    WINDOW,
)
from trunkline.pipeline.evaluate.metrics import registry

RULE, LIMIT, VERDICT, EXCESS = "rule", "limit", "verdict", "excess"
BEYOND, WITHIN, FEW, UNKNOWN, OPEN = "beyond", "within", "few", "unknown", "open"
SERIES = [RULE, KIND, SUBJECT, MEASURE, SLICE, LABEL]

FINDINGS = {RULE: pl.String(), **TABLE, LIMIT: pl.Float64(), VERDICT: pl.String(), EXCESS: pl.Float64()}


def findings(table: pl.DataFrame, rules: Mapping[str, Rule], metric: str | None = None) -> pl.DataFrame:
    """Return a row for each rule and each row of the table that it is of, with the limit and the verdict.

    `metric` is that of rules that name none. The verdict is `beyond` or `within` the bound, or why neither: `open`, the
    window is not over or its outcomes are not complete; `few` rows or outcomes; `unknown`, there is no value, or no
    reference that the bound is relative to. `excess` is how far beyond the limit a value is, over the limit. The order
    of the table's rows does not matter.
    """
    table = _with_usual_rates(table)
    judged = [_judged(name, rule, table, rule.measure or metric) for name, rule in rules.items()]
    empty = pl.DataFrame(schema=FINDINGS)
    return pl.concat([empty, *judged]).sort([*SERIES, WINDOW])


def _with_usual_rates(table: pl.DataFrame) -> pl.DataFrame:
    """Return the table with the median over complete windows with rows as the reference of each rate."""
    counted = pl.when(pl.col(COMPLETE) & (pl.col(VALUE) > 0)).then(VALUE)
    usual = counted.median().over(KIND, SUBJECT, MEASURE, SLICE, LABEL)
    is_rate = (pl.col(KIND) == SYSTEM) & (pl.col(MEASURE) == "rate")
    return table.with_columns(pl.when(is_rate).then(usual).otherwise(REFERENCE).alias(REFERENCE))


def _judged(name: str, rule: Rule, table: pl.DataFrame, measure: str | None) -> pl.DataFrame:
    rows = table.filter(_concerned(rule, measure))
    limit, over = _limit(rule, measure)
    tested = pl.col(VALUE)
    if rule.sure:
        tested = pl.coalesce(pl.when(over).then(LOW).otherwise(HIGH), VALUE)
    known = pl.col(VALUE).is_not_nan() & limit.is_not_null()
    beyond = pl.when(over).then(tested > limit).otherwise(tested < limit)
    if rule.off_reference is not None:
        beyond = (tested - pl.col(REFERENCE)).abs() > rule.off_reference
    few = (pl.col(ROWS) < rule.rows) | (pl.col(COVERAGE).fill_null(1.0) < rule.coverage)
    verdict = (
        pl.when(~pl.col(COMPLETE)).then(pl.lit(OPEN))
        .when(few).then(pl.lit(FEW))
        .when(~known.fill_null(False)).then(pl.lit(UNKNOWN))
        .when(beyond).then(pl.lit(BEYOND))
        .otherwise(pl.lit(WITHIN))
    )  # fmt: skip
    return rows.select(
        pl.lit(name).alias(RULE),
        *TABLE,
        limit.alias(LIMIT),
        verdict.alias(VERDICT),
        ((pl.col(VALUE) - limit).abs() / pl.max_horizontal(limit.abs(), 1e-9)).alias(EXCESS),
    )


def _concerned(rule: Rule, measure: str | None) -> pl.Expr:
    """Return which rows of the table a rule is of."""
    concerned = pl.col(KIND) == rule.of
    if rule.of in OF_METRICS:
        concerned &= (pl.col(SUBJECT) == (measure or "")) & (pl.col(MEASURE) == "value")
    else:
        concerned &= pl.col(MEASURE) == rule.measure
        if rule.subject is not None:
            concerned &= pl.col(SUBJECT) == rule.subject
        if rule.apart_from:
            concerned &= ~pl.col(SUBJECT).is_in(rule.apart_from)
    return concerned if rule.slices else concerned & (pl.col(SLICE) == "")


def _limit(rule: Rule, measure: str | None) -> tuple[pl.Expr, pl.Expr]:
    """Return the value from which on a row is beyond the bound, and whether that is above it."""
    name, bound = rule.bound
    reference = pl.col(REFERENCE)
    if name in ("above", "below"):
        return pl.lit(bound), pl.lit(name == "above")
    if name == "below_share":
        return reference * bound, pl.lit(value=False)
    if name == "off_reference":
        over = pl.col(VALUE) > reference
        return pl.when(over).then(reference + bound).otherwise(reference - bound), over
    room = reference.abs() * bound if name == "worse_by_share" else pl.lit(bound)
    larger_is_worse = name == "above_reference" or registry.better(measure or "") == "smaller"
    return (reference + room if larger_is_worse else reference - room), pl.lit(larger_is_worse)
