"""Outcomes are kept as they arrive, whatever order and pieces they come in, and none is taken for more than it is."""

import json
from contextlib import suppress
from datetime import timedelta
from unittest import mock

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.serve.labels.project import NOW, WINE, after, declared, file, log
from trunkline.core.errors import UserError
from trunkline.serve.labels import file as labels_file
from trunkline.serve.labels import importing, join, store
from trunkline.serve.labels.file import Columns
from trunkline.serve.prediction_log.place import LABELS, Place
from trunkline.serve.prediction_log.privacy import Privacy

BY_ID = Columns("request_id", "row", "arrived")
BY_KEY = Columns(at="arrived")

REQUESTS = st.tuples(st.sampled_from("abc"), st.integers(0, 1))
KEYS = st.integers(0, 2)
MINUTES = st.integers(0, 12)
PREDICTIONS = st.lists(st.tuples(REQUESTS, MINUTES, st.none() | KEYS), max_size=6, unique_by=lambda each: each[0])
OUTCOMES = st.lists(st.tuples(REQUESTS | KEYS, st.booleans(), MINUTES), max_size=8, unique_by=lambda each: each[2])


def run(opened, place, **options):
    return importing.run(opened, place, options.pop("now", NOW), lambda rows: None, **options)


@pytest.fixture
def place(tmp_path):
    return Place(str(tmp_path / "log"))


def killed(opened, place, writes):
    """Import a file as one that is killed when it has written so many pieces; the next is written, and not noted."""
    left, write = [writes], store.write

    def written(*arguments):
        write(*arguments)
        left[0] -= 1
        if left[0] < 0:
            raise KeyboardInterrupt

    with mock.patch.object(store, "write", written), suppress(KeyboardInterrupt):
        run(opened, place)


def files_of(folder, number, outcomes):
    """Write outcomes as a file of those by id and one of those by key, each with its first again at its end."""
    by_id = [(*whose, late, after(minute)) for whose, late, minute in outcomes if isinstance(whose, tuple)]
    by_key = [(whose, late, after(minute)) for whose, late, minute in outcomes if isinstance(whose, int)]
    for by, names, rows in ((BY_ID, ["request_id", "row"], by_id), (BY_KEY, ["nr"], by_key)):
        if rows:
            columns = dict(zip([*names, "late", "arrived"], zip(*rows, rows[0], strict=True), strict=True))
            yield file(folder / f"{number}-{names[0]}.parquet", columns, by)


def expected(predictions, outcomes, moment):
    """Return what each prediction that was made by a minute had come to by then, and the minute of that."""
    for request, made, key in sorted(predictions, key=lambda each: (each[1], each[0])):
        if made <= moment:
            arrived = [
                (minute, late) for whose, late, minute in outcomes if whose in (request, key) and minute <= moment
            ]
            minute, late = max(arrived, default=(None, None))
            yield *request, late, None if minute is None else after(minute)


@settings(max_examples=20)
@given(data=st.data(), predictions=PREDICTIONS, outcomes=OUTCOMES)
def test_as_of_any_moment_each_prediction_has_what_had_arrived_last(data, predictions, outcomes, tmp_path_factory):
    home = tmp_path_factory.mktemp("project")
    place = Place(str(home / "log"))
    log(place, [(*request, after(made), key) for request, made, key in predictions])
    order = data.draw(st.permutations(outcomes))
    cut = data.draw(st.integers(0, len(order)))
    files = [each for number, some in enumerate((order[:cut], order[cut:])) for each in files_of(home, number, some)]
    with mock.patch.object(labels_file, "PART", 2):
        for each in files:
            killed(each, place, data.draw(st.integers(0, 2)))
            run(each, place, now=NOW + timedelta(days=1))
        again = [run(each, place) for each in files]
    assert [(each.stored, each.refused) for each in again] == [(0, {})] * len(files)
    assert store.read(place).rows.height == len(outcomes)
    for moment in data.draw(st.lists(MINUTES, min_size=1, max_size=3)):
        rows = join.table(place, store.read(place), after(moment))
        columns = rows.select("request_id", "row", "outcome", "arrived_at").rows()
        assert columns == [*expected(predictions, outcomes, moment)]


def test_what_an_import_does_is_counted_and_named_by_row(tmp_path, place, monkeypatch):
    monkeypatch.setattr(labels_file, "PART", 3)
    log(place, [("a", 0, after(10), 1), ("b", 0, after(20), 2)])
    content = {
        "request_id": ["a", "b", "c", "a", None, "b", "b", "c"],
        "late": ["true", "no idea", "0", "false", "true", "", "true", "true"],
        "arrived": [after(m).isoformat() for m in (30, 30, 30, 30, 30, 30, 15, 90_000)],
    }
    done = run(file(tmp_path / "late.csv", content, Columns("request_id", at="arrived")), place)
    assert done.refused == {
        2: "late: is not true or false ('no idea')",
        4: importing.CONTRADICTS,
        5: "request_id: is missing",
    }
    assert done.early == {7: "arrived at 2026-11-01T00:15:00Z, before the prediction b, made at 2026-11-01T00:20:00Z"}
    counts = (done.rows, done.stored, done.before, done.missing, done.later, done.matched, done.unmatched)
    assert counts == (8, 3, 0, 1, 1, 2, 1)
    other = {"request_id": ["a"], "late": [False], "arrived": [after(30)]}
    done = run(file(tmp_path / "other.parquet", other, Columns("request_id", at="arrived")), place)
    assert (done.stored, done.refused) == (0, {1: importing.CONTRADICTS})


def test_a_dry_run_says_the_same_and_stores_nothing(tmp_path, place):
    log(place, [("a", 0, after(10), 1)])
    opened = file(tmp_path / "late.csv", {"nr": [1, 2], "late": ["true", "false"], "arrived": [after(30)] * 2}, BY_KEY)
    dry = run(opened, place, dry_run=True)
    assert not place.names(LABELS)
    assert run(opened, place) == dry
    assert len(place.names(LABELS)) == 1


def test_the_declared_table_is_read_as_training_reads_it(tmp_path, place):
    """The outcome is computed of the source's columns, and is known so long after the event as training says."""
    log(place, [("a", 0, after(0), 1), ("b", 0, after(0), 2)])
    trips = {"nr": [1, 2, 3, 4], "at": [after(0), after(60), after(0), NOW], "city": "Roma", "delay": [6, 5, None, 7]}
    done = run(file(tmp_path / "trips.parquet", trips), place)
    assert (done.stored, done.missing, done.later, done.refused) == (2, 1, 1, {})
    rows = join.table(place, store.read(place), NOW).select("request_id", "outcome", "arrived_at").rows()
    assert rows == [("a", True, after(24 * 60)), ("b", False, after(25 * 60))]


def test_without_a_time_an_outcome_arrives_as_it_is_imported_and_a_corrected_one_is_one_more(tmp_path, place):
    log(place, [("a", 0, after(0), 1)])
    imports = [([1, 2], [True, True], 10), ([1, 2], [True, True], 20), ([1, 2], [False, True], 30)]
    stored = [
        run(file(tmp_path / "late.parquet", {"nr": keys, "late": late}), place, now=after(minute)).stored
        for keys, late, minute in imports
    ]
    assert stored == [2, 0, 1]
    known = [join.table(place, store.read(place), after(minute))["outcome"].item() for minute in (5, 15, 25, 35)]
    assert known == [None, True, True, False]


def test_what_two_imports_at_the_same_time_have_both_is_one_outcome(tmp_path, place):
    log(place, [("a", 0, after(0), 1)])
    other = Place(str(tmp_path / "other"))
    for to, keys in ((place, [1, 2]), (other, [2, 3])):
        columns = {"nr": keys, "late": [key == 2 for key in keys], "arrived": [after(key) for key in keys]}
        run(file(tmp_path / "late.parquet", columns, BY_KEY), to)
    for path in (tmp_path / "other" / LABELS).iterdir():
        path.rename(tmp_path / "log" / LABELS / path.name)
    assert store.read(place).rows.select("outcome", "arrived_at").sort("arrived_at").rows() == [
        (False, after(1)), (True, after(2)), (False, after(3))
    ]  # fmt: skip


@pytest.mark.parametrize(("name", "kept"), [("late", [1, 0]), ("delay", [2, 1, 0])])
def test_an_outcome_of_several_labels_is_the_number_of_their_set(tmp_path, place, name, kept):
    log(place, [("a", 0, after(0), 1)])
    labels = {"odd": "delay % 2 == 1", "large": "delay > 1"}
    of = declared(target={"name": "late", "task": "multilabel", "labels": labels}, **WINE)
    done = run(file(tmp_path / "late.csv", {"nr": [1, 2, 3], name: [1, 4, 0]}, of=of), place)
    assert list(done.refused) == [2] * (name == "late")
    assert all("late: is not the number of a set, from 0 to 3" in reason for reason in done.refused.values())
    assert store.read(place).rows["outcome"].to_list() == kept


@pytest.mark.parametrize(
    ("target", "values", "why", "kept"),
    [
        ({"task": "multiclass", "expression": "delay", "classes": [0, 1]}, [1, 2, 0], "one of 0, 1", ["1", "0"]),
        ({"task": "ordinal", "expression": "delay", "classes": [0, 1]}, [1, 2, 0], "one of 0, 1", ["1", "0"]),
        (
            {"task": "ranking", "expression": "delay", "group": ["nr"]},
            [1, 31, 0],
            "a whole number from 0 to 30",
            [1.0, 0.0],
        ),
        ({"task": "count", "expression": "delay"}, [1, -2, 0], "a whole number of at least 0", [1.0, 0.0]),
        ({"task": "regression", "expression": "delay * 1e308"}, [1, 9, 0], "a finite number", [1e308, 0.0]),
    ],
)
@pytest.mark.parametrize("own", [True, False])
def test_an_outcome_is_held_to_its_task(tmp_path, place, target, values, why, kept, own):  # noqa: PLR0917
    log(place, [("a", 0, after(0), 1)])
    of = declared(target={"name": "late"} | target, **WINE)
    if own:  # as texts, where a factor is written out
        values = [f"{float(value) * 1e308}" for value in values] if target["task"] == "regression" else values
    content = {"nr": [1, 2, 3], "late" if own else "delay": values}
    done = run(file(tmp_path / "late.csv", content, of=of), place)
    assert (list(done.refused), f"late: is not {why}" in done.refused[2]) == ([2], True)
    assert store.read(place).rows["outcome"].to_list() == kept
    with pytest.raises(UserError, match=f"would hold outcomes of binary and {target['task']}"):
        run(file(tmp_path / "other.csv", {"nr": [1], "late": ["1"]}), place)


def test_a_hashed_key_is_hashed_and_one_that_is_left_out_is_refused(tmp_path, place, monkeypatch):
    monkeypatch.setenv("LOG_KEY", "a key of many letters")
    hashing = Privacy({"nr": "hash"}, "keep", frozenset(), "LOG_KEY")
    log(place, [("a", 0, after(0), 77_777)], hashing)
    content = {"nr": [77_777], "late": [True], "arrived": [after(1)]}
    done = run(file(tmp_path / "late.parquet", content, BY_KEY, declared(hashing)), place)
    assert (done.matched, join.table(place, store.read(place), NOW)["outcome"].to_list()) == (1, [True])
    (name,) = place.names(LABELS)
    with place.open(LABELS, name) as kept:
        assert json.loads(kept.read()["key"][0].as_py()) == {"nr": hashing.hashed("nr", 77_777)}
    leaving = Privacy({"nr": "leave_out"}, "keep", frozenset(), None)
    with pytest.raises(UserError, match=r"columns\.nr: is left out of the log, so no outcome can be found by it"):
        run(file(tmp_path / "late.parquet", content, BY_KEY, declared(leaving)), place)


@pytest.mark.parametrize(
    ("content", "by", "words"),
    [
        ({"late": [True]}, Columns(), "column nr: is missing; supply it; or name the column of request ids: --id"),
        ({"nr": [1]}, Columns(), "column delay: is missing; supply it; or supply late itself"),
        ({"nr": [1], "late": [True]}, Columns("id"), "column id: is missing; supply it"),
        ({"nr": [True], "late": [1.5]}, Columns(), "column nr: is stored as bool, which is not an integer"),
    ],
)
def test_a_file_that_lacks_what_tells_an_outcome_is_refused_before_its_rows(tmp_path, place, content, by, words):
    with pytest.raises(UserError, match=words):
        run(file(tmp_path / "late.parquet", content, by), place)


def test_a_file_of_others_in_the_folder_of_outcomes_is_named(place):
    place.write(LABELS, "labels-1.parquet", pl.DataFrame({"x": [1]}).to_arrow())
    with pytest.raises(UserError, match=r"labels/labels-1\.parquet: is no file of trunkline labels import"):
        store.read(place)
