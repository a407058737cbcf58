"""The subject in a store of online features: their entities, and their events in those of others."""

from contextlib import closing
from datetime import timedelta

import pytest

from tests.serve.online import trips
from trunkline.conf.serving import Online
from trunkline.core.errors import UserError
from trunkline.erasure import online
from trunkline.erasure.subject import Subject
from trunkline.serve import materialize
from trunkline.serve.prediction_log.privacy import Privacy

HOURS = [trips.START + timedelta(hours=number) for number in range(6)]
TABLES = {
    "trips": [
        {"number": number, "station": "ab"[number % 2], "line": number % 3, "starts": hour, "delay": 1, "load": 1.0}
        for number, hour in enumerate(HOURS)
    ],
    "alerts": [
        {"place": number, "code": "x", "station": "ab"[number % 2], "line": number % 3, "at": hour, "told": hour,
         "weight": 1.0}
        for number, hour in enumerate(HOURS)
    ],
    "stations": [{"station": name, "platforms": 1, "opened": trips.START} for name in "ab"],
}  # fmt: skip


def subject(column, kind, value):
    return Subject(column, kind, value, Privacy({}, "keep", frozenset(), None))


def filled(folder, tables):
    """The online features of a bundle in a store that has the rows of tables."""
    folder.mkdir()
    trips.write(folder, tables)
    bundle = trips.bundle(folder / "bundle", trips.planned())
    url = f"sqlite:///{folder}/online.db"
    opened = materialize.opened(bundle, Online(store=url), url, {})
    for name in tables:
        materialize.materialize(opened, name, folder / f"{name}.parquet", None, lambda _: None)
    return opened


def values(opened):
    """What a store has under every key that a row of the tables has a part in."""
    keys = {key for name, rows in TABLES.items() for key in opened.tables[name].events.changes(rows)}
    return opened.store.get(keys).values


@pytest.mark.parametrize(("column", "kind", "value"), [("station", "text", "b"), ("number", "integer", "3")])
def test_the_store_is_as_if_the_subject_had_never_been_there(tmp_path, column, kind, value):
    others = {
        name: [row for row in rows if str(row.get(column)) != value] if column in rows[0] else rows
        for name, rows in TABLES.items()
    }
    opened, never = filled(tmp_path / "all", TABLES), filled(tmp_path / "others", others)
    with closing(opened.store), closing(never.store):
        changes = online.removals(opened, tmp_path / "all", subject(column, kind, value))
        count = len(online.affected(opened, changes))
        assert count > 0
        assert online.erase(opened, changes) == count
        assert values(opened) == values(never)
        assert online.erase(opened, changes) == 0


def test_entities_of_which_the_tables_know_nothing_are_dropped_too(tmp_path):
    """Events are pushed before they are in any table."""
    opened = filled(tmp_path / "all", TABLES)
    with closing(opened.store):
        pushed = {**TABLES["trips"][0], "number": 99, "station": "new"}
        opened.store.put(opened.tables["trips"].events.changes([pushed]))
        changes = online.removals(opened, tmp_path / "all", subject("station", "text", "new"))
        assert online.erase(opened, changes) == 2
    with pytest.raises(UserError, match=r"parquet: there is no such file; what the store has of somebody"):
        online.removals(opened, tmp_path, subject("station", "text", "new"))
