"""What happens in the year: who begins when, what is planted, what a wrong answer costs."""

from dataclasses import dataclass
from datetime import date, timedelta

START, END = date(2013, 4, 1), date(2014, 1, 1)  # in production, local days
FIRST = date(2013, 1, 1)  # of the flights

# The weather comes in metric units for a month: most of its rows break the contract, and the others are lies.
FAULT, MENDED = date(2013, 8, 1), date(2013, 9, 1)

CHALLENGED = date(2013, 10, 15)  # a bad challenger is proposed

HOLDOUT = timedelta(days=14)
MATURES = timedelta(days=3)  # conf/monitoring: when a day's outcomes are complete
KNOWN_AFTER = timedelta(days=1)  # conf/data: when training may use one
EVERY = timedelta(days=30)  # how often managed learns, whatever the rule says
MERGED = timedelta(days=1)  # from an alert to the version that answers: the pipeline, the gates, a person

MISSED, NEEDLESS = 3.0, 1.0  # of a late flight that nobody was told of, and of a warning for nothing
THRESHOLD = NEEDLESS / (NEEDLESS + MISSED)  # from which score on a warning pays, of calibrated scores


@dataclass(frozen=True)
class Version:
    """A model that learnt from the local days from `start` up to, not including, `end`, and answers from `since` on.

    Rows `half_life` older count half; 0: all count alike. With `mended`, the month with the fault was published anew
    before this was learnt; else it is learnt from as the server has seen it.
    """

    since: date
    start: date
    end: date
    half_life: int = 0
    mended: bool = True

    @property
    def name(self) -> str:
        """What its scores are kept under: when it answers does not matter to them."""
        faulty = not self.mended and self.start < MENDED and self.end > FAULT
        return f"{self.start}-{self.end}-{self.half_life}{'-faulty' if faulty else ''}"


def months(first: date = START, last: date = END) -> list[date]:
    """Return the first days of the months after `first` and before `last`."""
    days = [date(2013, month, 1) for month in range(1, 13)]
    return [day for day in days if first < day < last]


@dataclass(frozen=True)
class Story:
    """What is lived for real: from when on, on which windows, and what is planted on which days; local ones.

    A `small` one has a model of which a run takes seconds, and gates for what so few rows can show. One flight of
    `share` is asked for; the events of all are pushed.
    """

    first: date = FIRST
    start: date = START
    end: date = END
    fault: date = FAULT
    mended: date = MENDED
    challenged: date = CHALLENGED
    every: timedelta = EVERY
    small: bool = False
    share: int = 1


YEAR = Story()
SHORT = Story(  # two months in which all of it happens
    first=date(2013, 3, 1),
    start=date(2013, 5, 1),
    end=date(2013, 7, 1),
    fault=date(2013, 6, 10),
    mended=date(2013, 6, 13),
    challenged=date(2013, 5, 4),
    every=timedelta(days=30),
    small=True,
    share=3,
)
