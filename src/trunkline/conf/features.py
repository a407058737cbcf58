"""conf/features: point-in-time features from four primitives; free of anything that only training knows."""

from typing import Annotated, ClassVar, Literal, Self

from pydantic import Field, model_validator

from trunkline.core.errors import nearest
from trunkline.core.values import Column, Columns, Duration, Expression, Group, Name, Strict

Role = Literal["numeric", "categorical"]


class Stream(Strict):
    """Events with the time they happened and the time they became known, never earlier than they happened."""

    table: Name = Field(description="The validated table that the events are rows of.")
    event_time: Expression = Field(description="When the event happened.")
    available_at: Expression = Field(
        description="When it became known; may use the name event_time. Missing: never known. An outcome of the "
        "observations' own table is never known before data.event_time, and no row sees itself."
    )


class Latest(Strict):
    """The last event of the entity that was known at prediction time."""

    kind: Literal["latest"] = Field(description="Selects this kind of view.")
    stream: Name = Field(description="The stream whose events are looked at.")
    keys: Columns = Field(description="Columns of the request and of the stream that name the entity.")
    max_age: Duration | None = Field(None, description="Older events count as missing.")
    features: dict[Column, Expression] = Field(description="Expressions over the event's columns.")


class Aggregate(Strict):
    """One number from many events; exact on a fixed grid of one millionth."""

    aggregate: Literal["count", "sum", "mean"] = Field(description="How many numbers become one.")
    of: Expression | None = Field(
        None,
        description="What is summed or averaged: numbers below 10^12, of which six decimals count.",
    )
    default: float | None = Field(None, description="The value when there is no event; count and sum give 0.")

    @model_validator(mode="after")
    def _operand(self) -> Self:
        if self.aggregate != "count" and self.of is None:
            raise ValueError(f"{self.aggregate} needs `of`")
        return self


class Rolling(Strict):
    """Aggregates over the entity's events of the last `window` before the prediction that were known by then."""

    kind: Literal["rolling"] = Field(description="Selects this kind of view.")
    stream: Name = Field(description="The stream whose events are aggregated.")
    keys: Columns = Field(description="Columns of the request and of the stream that name the entity.")
    window: Duration = Field(description="How far back from the prediction events count, by event time.")
    features: dict[Column, Aggregate] = Field(description="The aggregates, by feature name.")


class Lookup(Strict):
    """Columns of a static reference table, one row per key."""

    kind: Literal["lookup"] = Field(description="Selects this kind of view.")
    table: Name = Field(description="The validated table to look up in.")
    keys: Columns = Field(description="Columns of the request and of the table that name the row.")
    features: dict[Column, Expression] = Field(description="Expressions over the table's columns.")


class RowExpression(Strict):
    """Expressions over the request, event_time, and features of other views."""

    kind: Literal["expression"] = Field(description="Selects this kind of view.")
    features: dict[Column, Expression] = Field(description="The expressions, by feature name.")


View = Annotated[Latest | Rolling | Lookup | RowExpression, Field(discriminator="kind")]


class Features(Group):
    """Streams and views; a feature's name is unique over all views."""

    key: ClassVar[str] = "features"

    streams: dict[Name, Stream] = Field(default_factory=dict, description="Events to build views on, by name.")
    views: dict[Name, View] = Field(description="The views, by name, each of one of four kinds.")
    hidden: Columns = Field((), description="Features that other features use but no model sees.")
    categorical: Columns = Field((), description="Numeric features to treat as categories; text always is.")

    @model_validator(mode="after")
    def _names(self) -> Self:
        seen: dict[str, str] = {}
        for view_name, view in self.views.items():
            if isinstance(view, Latest | Rolling) and view.stream not in self.streams:
                raise ValueError(
                    f"views.{view_name}.stream: no stream '{view.stream}'{nearest(view.stream, self.streams)}"
                )
            for feature in view.features:
                if feature in seen:
                    raise ValueError(f"feature '{feature}' is in both {seen[feature]} and {view_name}")
                seen[feature] = view_name
        for name in (*self.hidden, *self.categorical):
            if name not in seen:
                raise ValueError(f"no feature '{name}'{nearest(name, seen)}")
        return self
