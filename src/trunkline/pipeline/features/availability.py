"""When an outcome may become known: never before the event of the row that it is the outcome of.

It concerns streams of the observations' own table through which an outcome reaches a feature, be it as a value, as a
time, or by which events there are. What the declaration proves is refused when it is composed; all else by the data.
The engine sees to it by itself that no row sees itself.
"""

from collections.abc import Iterator
from datetime import timedelta

from trunkline.core.errors import UserError
from trunkline.core.expressions import Call, Constant, Expression, columns, substitute
from trunkline.core.features import EVENT_TIME
from trunkline.core.values import duration_text
from trunkline.pipeline.features.plan import Engine, Events, FeaturePlan, LatestAsOf, RollingAggregate, operands

_DAYS = {"days": 1.0, "hours": 1 / 24, "minutes": 1 / 1440}


def refuse_provable(plan: FeaturePlan) -> None:
    """Raise UserError for a stream of outcomes that are known before their own event, whatever the data."""
    for events in _of_outcomes(plan):
        lead = _lead(events, plan)
        if lead is not None:
            raise UserError(
                f"{_key(events)}: the outcome of a row of {events.table} is known {duration_text(lead)} before the "
                "row's own event (data.event_time), whatever the data: declare when it became known, which is never "
                "before that event"
            )


def check(engine: Engine, plan: FeaturePlan) -> None:
    """Raise UserError for a stream of outcomes, one of which is known before its own event."""
    for events in _of_outcomes(plan):
        early = engine.first_early(events)
        if early is not None:
            named = zip(plan.request.unique, early.row, strict=True)
            raise UserError(
                f"{_key(events)}: the outcome of {', '.join(f'{name} {value}' for name, value in named)} is known at "
                f"{early.available_at}, before its own event at {early.event_time} (data.event_time), as for "
                f"{early.rows:,} rows in all: declare when it became known, which is never before that event"
            )


def _key(events: Events) -> str:
    return f"features.streams.{events.name}.available_at"


def _of_outcomes(plan: FeaturePlan) -> Iterator[Events]:
    """Yield each stream of the observations' table that reads, or whose views read, what no request has, once."""
    requested = {*plan.request.columns, EVENT_TIME}
    views = [view for view in plan.primitives if isinstance(view, LatestAsOf | RollingAggregate)]
    for events in dict.fromkeys(view.events for view in views):
        own = [view for view in views if view.events == events]
        read = {*columns(events.event_time), *columns(events.available_at)}
        if events.table == plan.request.table and not read.union(*map(operands, own)) <= requested:
            yield events


def _lead(events: Events, plan: FeaturePlan) -> timedelta | None:
    """Return how long before a row's own event it is always available; None if that is not so or cannot be proven."""
    available_at = substitute(events.available_at, {EVENT_TIME: events.event_time})
    declared = [plan.request.event_time, events.event_time, available_at]
    (own, at), *times = [_shifted(expression) for expression in declared if expression is not None]
    if any(base != own for base, _ in times):
        return None
    latest = max(shift for _, shift in times)  # an event is available no earlier than it happens
    return at - latest if latest < at else None


def _shifted(expression: Expression) -> tuple[Expression, timedelta]:
    """Split a time into another one and the constant duration that is added to it."""
    if isinstance(expression, Call) and expression.operation in ("add", "subtract"):
        left, right = expression.operands
        if expression.operation == "add" and _duration(right) is None:
            left, right = right, left
        duration = _duration(right)
        if duration is not None:
            base, shift = _shifted(left)
            return base, shift + duration if expression.operation == "add" else shift - duration
    return expression, timedelta()


def _duration(expression: Expression) -> timedelta | None:
    if not isinstance(expression, Call) or expression.operation not in _DAYS:
        return None
    number = _number(expression.operands[0])
    try:
        return None if number is None else timedelta(days=1) * (number * _DAYS[expression.operation])
    except OverflowError:
        return None


def _number(expression: Expression) -> float | None:
    if isinstance(expression, Constant) and isinstance(expression.value, int | float):
        return float(expression.value)
    if isinstance(expression, Call) and expression.operation == "negate":
        number = _number(expression.operands[0])
        return None if number is None else -number
    return None
