"""A log without somebody: whichever of its writes is the last of a run, the next one finishes."""

from datetime import UTC, datetime

import pyarrow as pa
import pytest

from tests.erasure import project
from tests.erasure.project import KEY, WHO
from trunkline.core.errors import OutsideError
from trunkline.erasure import logged
from trunkline.erasure.subject import Subject
from trunkline.serve.prediction_log.place import LABELS, Place
from trunkline.serve.prediction_log.privacy import Privacy

NOW = datetime(2026, 11, 29, tzinfo=UTC)


@pytest.fixture
def subject(monkeypatch):
    monkeypatch.setenv("LOG_KEY", KEY)
    return Subject("tailnum", "text", WHO, Privacy({"tailnum": "hash"}, "keep", frozenset(), "LOG_KEY"))


def rows(place):
    read = []
    for folder, name in [*place.segments(), *((LABELS, name) for name in place.labels())]:
        with place.open(folder, name) as file:
            read.append(file.read())
    return read


@pytest.mark.parametrize("effect", range(3))
def test_a_run_that_ended_early_is_finished_by_the_next(tmp_path, monkeypatch, subject, effect):
    place, whole = Place(str(tmp_path / "log")), Place(str(tmp_path / "whole"))
    for each in (place, whole):
        project.log(each)
    assert vars(logged.erase(whole, subject, NOW)) == {"segments": 3, "outcomes": 2, "unfinished": 0, "rows": []}
    with monkeypatch.context() as broken:
        left = iter(range(effect))

        def ends(*_):
            if next(left, None) is None:
                raise OSError("the disk is full")

        for name in ("write", "remove"):
            effective = getattr(Place, name)
            broken.setattr(Place, name, lambda *given, effective=effective: ends() or effective(*given))
        with pytest.raises(OutsideError, match="cannot be written: the disk is full; run again"):
            logged.erase(place, subject, NOW)
    logged.erase(place, subject, NOW)
    assert rows(place) == rows(whole)
    assert [table.num_rows for table in rows(whole)] == [1, 1]
    assert logged.search(place, subject, NOW).places("log", erased=False) == []


def test_what_stays_of_a_segment_has_the_same_columns_and_what_the_schema_says(tmp_path, subject):
    place = Place(str(tmp_path / "log"))
    project.log(place)
    folder, name = next(place.segments())
    with place.open(folder, name) as file:
        before = file.read()
    logged.erase(place, subject, NOW)
    with place.open(folder, name) as file:
        after = file.read()
    assert after.schema.equals(before.schema, check_metadata=True)
    assert after == before.filter(pa.array([False, True, False]))
