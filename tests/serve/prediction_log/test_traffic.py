"""How many rows a log gets in a month: those of whole hours, at the rate of a log that is younger."""

from datetime import UTC, datetime, timedelta

import pyarrow as pa
import pytest

from trunkline.core.errors import OutsideError
from trunkline.serve.prediction_log.place import Place
from trunkline.serve.prediction_log.traffic import rows_in

NOW = datetime(2026, 11, 30, 12, 34, tzinfo=UTC)
DAYS = timedelta(days=30)


@pytest.fixture
def log(tmp_path):
    def write(**rows: int) -> Place:
        """Write a segment of so many rows so many hours before the hour of NOW."""
        place = Place(str(tmp_path / "log"))
        for name, count in rows.items():
            hour = NOW - timedelta(hours=int(name.removeprefix("before_")))
            place.write(f"v1/{hour:%Y-%m-%dT%H}", f"part-{count}.parquet", pa.table({"row": range(count)}))
        return place

    return write


def test_of_a_long_log_it_is_what_the_last_month_has(log):
    assert rows_in(log(before_721=1000, before_720=5, before_300=40, before_1=2, before_0=700), NOW, DAYS) == 47


def test_of_a_younger_log_it_is_as_many_as_at_its_rate(log):
    assert rows_in(log(before_48=90, before_1=6, before_0=700), NOW, DAYS) == 96 * 15


def test_of_less_than_a_day_or_of_nothing_it_is_not_known(log, tmp_path):
    assert rows_in(log(before_23=90), NOW, DAYS) is None
    assert rows_in(Place(str(tmp_path / "none")), NOW, DAYS) is None


def test_a_segment_that_cannot_be_read_is_named(log, tmp_path):
    place = log(before_48=90)
    [segment] = tmp_path.rglob("*.parquet")
    segment.write_bytes(b"half of it")
    with pytest.raises(OutsideError, match=r"part-90\.parquet: cannot be read"):
        rows_in(place, NOW, DAYS)
