"""What can be done with the same rows: the three strategies, and what was tried before settings were chosen."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from datetime import date, timedelta
from functools import partial

from examples.year import managed, plan
from examples.year.learning import Learner
from examples.year.managed import Event, Policy
from examples.year.plan import FIRST, HOLDOUT, MATURES, MERGED, Version
from trunkline.core.arrays import Floats

LAG = MATURES + MERGED  # from the end of a month to the version that has learnt from it


@dataclass(frozen=True)
class Course:
    """How a strategy went: the versions that answered, the answers, and what became of retrainings.

    `happened` is what the time line shows of a course that was lived for real: days, and words of picture.MARKS.
    """

    name: str
    versions: list[Version]
    answers: Floats
    events: tuple[Event, ...] = ()
    happened: tuple[tuple[date, str], ...] = ()

    @property
    def marks(self) -> tuple[tuple[date, str], ...]:
        """What the time line shows: a day, and what happened on it."""
        computed = [(version.since, "released") for version in self.versions]
        computed += [(event.on, event.what) for event in self.events if event.what != "merged"]
        return self.happened or tuple(computed)


def frozen(learner: Learner, name: str) -> Course:
    """Never retrain."""
    versions = [managed.first()]
    return Course(name, versions, learner.answered(versions))


def blind(
    learner: Learner, name: str, window: int = 0, held_out: timedelta = timedelta(0), half_life: int = 0
) -> Course:
    """Retrain each month on `window` months, 0: on all, and let the result answer at once, whatever it is.

    The month with the fault is learnt from as it was: nobody looks. `held_out` is kept from it, as gates would need.
    """
    versions = [managed.first()]
    for month in plan.months():
        start = max(FIRST, _before(month, window)) if window else FIRST
        versions.append(Version(month + LAG, start, month - held_out, half_life, mended=False))
    return Course(name, versions, learner.answered(versions))


def manage(learner: Learner, name: str, policy: Policy) -> Course:
    """Retrain when the rule says so, through the gate."""
    versions, events = [managed.first()], list[Event]()
    for now, event in managed.run(learner, policy):
        versions = now
        again = (
            event
            and events
            and (events[-1].what, events[-1].why) == ("forbidden", event.why) == (event.what, event.why)
        )
        events += [event] if event and not again else []
    return Course(name, versions, learner.answered(versions), tuple(events))


def renamed(course: Course, name: str) -> Course:
    """Return a course under another name."""
    return replace(course, name=name)


def _before(month: date, months: int) -> date:
    at = month.year * 12 + month.month - 1 - months
    return date(at // 12, at % 12 + 1, 1)


TRIED: Mapping[str, Callable[[Learner, str], Course]] = {
    "never": frozen,
    "each month, window of 2 months": partial(blind, window=2),
    "each month, window of 3 months": partial(blind, window=3),
    "each month, growing window": blind,
    "each month, growing window, 14 days held out": partial(blind, held_out=HOLDOUT),
    "each month, growing window, rows of 60 days before count half": partial(blind, half_life=60),
    "0.03 below on 2 days, growing window": partial(manage, policy=Policy()),
    "0.03 below on 2 days, and each 30 days, growing window": partial(manage, policy=Policy(every=plan.EVERY.days)),
    "0.03 below on 2 days, window of 75 days": partial(manage, policy=Policy(window=75)),
}
SHOWN = {
    "managed": "0.03 below on 2 days, and each 30 days, growing window",
    "frozen": "never",
    "blind": "each month, growing window",
}
BESIDE = ("each month, window of 2 months", "each month, window of 3 months")  # also compared with managed
