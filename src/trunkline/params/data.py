"""conf/data: where the tables come from, what one row is, what is predicted, and over which window."""

from typing import Annotated, ClassVar, Self
from zoneinfo import ZoneInfo, available_timezones

from pydantic import AfterValidator, Field, model_validator

from trunkline.core.errors import nearest
from trunkline.params.base import Columns, Duration, Expression, Group, Name, Period, Strict
from trunkline.params.sources import Source


def _zone(name: str) -> str:
    if name not in available_timezones():
        raise ValueError(f"no time zone '{name}'{nearest(name, available_timezones())}")
    ZoneInfo(name)
    return name


class Target(Strict):
    """What is predicted."""

    name: Name = Field(description="Column name of the label.")
    expression: Expression = Field(description="True or false per row; missing where there is no label.")
    known_after: Duration = Field(description="How long after the event the label becomes known.")


class Windows(Strict):
    """The split by time, in local days of the declared time zone."""

    train: Period = Field(description="Rows to learn from, such as 2013-01..2013-06.")
    holdout: Period = Field(description="Rows to measure on, after the training window.")

    @model_validator(mode="after")
    def _in_order(self) -> Self:
        if self.train.end > self.holdout.start:
            raise ValueError(
                f"train ends on {self.train.end} (exclusive), after holdout starts on {self.holdout.start}; "
                "move one of them"
            )
        return self


class Data(Group):
    """Sources, the observed row, the target and the windows."""

    key: ClassVar[str] = "data"

    sources: dict[Name, Source] = Field(description="The tables, by name.")
    observations: Name = Field(description="The table in which one row is one prediction.")
    unique_key: Columns = Field(description="Columns that identify an observation.")
    timezone: Annotated[str, AfterValidator(_zone)] = Field(description="Zone of local times and of windows.")
    event_time: Expression = Field(description="When the observed event is scheduled to happen.")
    prediction_lead: Duration = Field(description="How long before the event the prediction is made.")
    target: Target
    window: Windows

    @model_validator(mode="after")
    def _known_observations(self) -> Self:
        if self.observations not in self.sources:
            raise ValueError(f"observations: no source '{self.observations}'{nearest(self.observations, self.sources)}")
        return self
