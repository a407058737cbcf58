"""What a feature is, and what the time of a row is called: for what reads no tables, such as a server."""

from dataclasses import dataclass
from typing import Literal

Role = Literal["numeric", "categorical"]

EVENT_TIME = "event_time"


@dataclass(frozen=True)
class Feature:
    """A column that a model may read, as a number or as a category; either may be missing."""

    name: str
    role: Role
