"""Where the windows of a retraining lie, whatever is declared and whenever it is asked."""

from datetime import UTC, date, datetime, timedelta

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from trunkline.conf.data import Windows
from trunkline.core.values import Window
from trunkline.retrain import windows
from trunkline.retrain.windows import Known

ZONES = ["UTC", "America/New_York", "Pacific/Auckland", "Asia/Kathmandu"]
MOMENTS = st.datetimes(datetime(2014, 1, 1), datetime(2030, 12, 31)).map(lambda moment: moment.replace(tzinfo=UTC))
AFTER = st.integers(0, 60 * 24 * 3600).map(lambda seconds: timedelta(seconds=seconds))


def month(number):
    return f"{number // 12:04d}-{number % 12 + 1:02d}"


@st.composite
def in_months(draw):
    """Windows in months, as they are written: the training window, a gap of so many months, the holdout."""
    begin, train, gap, holdout = draw(
        st.tuples(st.integers(2000 * 12, 2013 * 12), st.integers(1, 36), st.integers(0, 3), st.integers(1, 4))
    )
    cut = begin + train + gap
    return f"{month(begin)}..{month(begin + train - 1)}", f"{month(cut)}..{month(cut + holdout - 1)}"


@st.composite
def in_days(draw):
    begin = draw(st.dates(date(2000, 1, 1), date(2013, 1, 1)))
    train, gap, holdout = draw(st.tuples(st.integers(1, 900), st.integers(0, 40), st.integers(1, 90)))
    cut = begin + timedelta(days=train + gap)
    last = [begin + timedelta(days=train - 1), cut + timedelta(days=holdout - 1)]
    return f"{begin}..{last[0]}", f"{cut}..{last[1]}"


def moved(texts, known, keep):
    declared = Windows.model_validate(dict(zip(("train", "holdout"), texts, strict=True)))
    step = windows.unit(*texts)
    return declared, step, windows.moved(declared, windows.known_until(known, step), step, keep)


@given(st.one_of(in_months(), in_days()), MOMENTS, AFTER, st.sampled_from(ZONES), st.sampled_from(["slide", "grow"]))
def test_the_holdout_ends_at_the_last_unit_whose_outcomes_are_known(texts, as_of, after, zone, keep):
    declared, step, new = moved(texts, Known(as_of, after, zone), keep)
    assert step == ("month" if len(texts[0]) == 16 else "day")

    end = declared.holdout.end if new is None else new.holdout.end
    following = (end.replace(day=1) + timedelta(days=31)).replace(day=1) if step == "month" else end + timedelta(days=1)
    assert windows.instant(following, zone) + after > as_of, "what follows is not known"
    if new is not None:
        assert windows.instant(end, zone) + after <= as_of
        assert end > declared.holdout.end, "it never goes back"


@given(st.one_of(in_months(), in_days()), MOMENTS, st.sampled_from(["slide", "grow"]))
def test_lengths_and_what_lies_between_stay(texts, as_of, keep):
    declared, step, new = moved(texts, Known(as_of, timedelta(0), "UTC"), keep)
    assume(new is not None)
    count = date.toordinal if step == "day" else lambda day: day.year * 12 + day.month
    length = {
        name: [count(window.end) - count(window.start) for _, window in of]
        for name, of in (("before", declared), ("after", new))
    }
    assert length["after"][1] == length["before"][1]
    assert count(new.holdout.start) - count(new.train.end) == count(declared.holdout.start) - count(declared.train.end)
    if keep == "slide":
        assert length["after"][0] == length["before"][0]
        assert new.train.start > declared.train.start
    else:
        assert new.train.start == declared.train.start
    for _, window in new:
        assert Window.from_text(windows.written(window, step)) == window, "it can be read again"
        assert windows.unit(windows.written(window, step)) == step, "and moves on in the same steps"


@given(st.one_of(in_months(), in_days()), MOMENTS, st.sampled_from(["slide", "grow"]))
def test_asked_again_of_what_it_gave_there_is_nothing_newer(texts, as_of, keep):
    known = Known(as_of, timedelta(days=1), "UTC")
    _, step, new = moved(texts, known, keep)
    assume(new is not None)
    assert moved([windows.written(window, step) for _, window in new], known, keep)[2] is None


@pytest.mark.parametrize(
    ("texts", "as_of", "keep", "new"),
    [
        (("2013-01..2013-06", "2013-07"), "2013-09-03T04:00", "slide", ("2013-02..2013-07", "2013-08")),
        (("2013-01..2013-06", "2013-07"), "2013-09-03T03:59", "slide", None),  # of which midnight is at 04:00 UTC
        (("2013-01..2013-06", "2013-07"), "2013-11-15T00:00", "grow", ("2013-01..2013-09", "2013-10")),
        (
            ("2013-01..2013-06-29", "2013-07"),
            "2013-08-20T12:00",
            "grow",
            ("2013-01-01..2013-07-16", "2013-07-18..2013-08-17"),
        ),
        (
            ("2013-01-01..2013-02-28", "2013-03-02..2013-03-08"),
            "2013-03-12T12:00",
            "slide",
            ("2013-01-02..2013-03-01", "2013-03-03..2013-03-09"),
        ),
    ],
)
def test_examples(texts, as_of, keep, new):
    known = Known(datetime.fromisoformat(as_of).replace(tzinfo=UTC), timedelta(days=2), "America/New_York")
    _, step, answer = moved(texts, known, keep)
    assert (answer and tuple(windows.written(window, step) for _, window in answer)) == new
