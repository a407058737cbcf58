"""How the rows of each view reach the tasks that need them, and why: `trunkline plan --views` shows it."""

from dataclasses import dataclass
from typing import Literal

from trunkline.core.values import duration_text
from trunkline.pipeline.features.plan import FeaturePlan, LatestAsOf, Primitive, StaticLookup

How = Literal["broadcast", "shuffled"]

SLICE = 2**19  # requests that are computed together, in order of time


@dataclass(frozen=True)
class Distribution:
    """A view's: whole to every task, or by a hash of `keys`, and how far back in time."""

    view: str
    how: How
    keys: tuple[str, ...]
    why: str


def of(view: Primitive) -> Distribution:
    """Return how a view is distributed.

    A view is hashed by its own keys: a request and the events that it can see agree in them, so that each task has all
    that it needs, whatever the keys of other views are. The features then find their request by its number.
    """
    if isinstance(view, StaticLookup):
        return Distribution(
            view.name, "broadcast", (), f"{view.table} has one row of each key, and no time to be cut by"
        )
    keys = ", ".join(view.keys)
    reach = view.max_age if isinstance(view, LatestAsOf) else view.window
    far = "all events before it" if reach is None else f"those of the last {duration_text(reach)} before it"
    return Distribution(
        view.name, "shuffled", view.keys, f"a request sees events of its own {keys} alone; a slice reads {far}"
    )


def buckets(view: Primitive, count: int) -> int:
    """Return into how many tasks a slice of a view is cut, of `count` that are wanted."""
    return count if of(view).how == "shuffled" else 1


def table(plan: FeaturePlan) -> tuple[Distribution, ...]:
    """Return how every view of a plan is distributed, in its order."""
    return tuple(map(of, plan.primitives))
