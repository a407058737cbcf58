"""The engine against a plain Python reading of what the primitives mean, and against leakage."""

import re
from collections.abc import Sequence
from copy import deepcopy
from datetime import datetime, timedelta
from functools import reduce
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from trunkline.conf.contract import Contract
from trunkline.conf.data import Data
from trunkline.conf.features import Features
from trunkline.core import expressions
from trunkline.core.errors import UserError
from trunkline.core.features import EVENT_TIME
from trunkline.pipeline.features.compiler import plan
from trunkline.pipeline.features.distribution import SLICE
from trunkline.pipeline.features.duckdb import DuckDBEngine
from trunkline.pipeline.features.plan import FeaturePlan, Span

START = datetime(2013, 3, 9, 12)
# The queries take the time, not the trips: so there are few lists, of many trips from many stations, at full hours, so
# that many an event is just as old as a window.
MOST, STATIONS = 60, [*"abcdefg", None]
LEAD, WINDOW, MAX_AGE = timedelta(hours=2), timedelta(hours=6), timedelta(hours=9)

DATA = {
    "sources": {"trips": {"package": "p", "version": "1", "path": "trips.csv"}},
    "observations": "trips",
    "unique_key": ["number"],
    "timezone": "America/New_York",
    "event_time": "starts",
    "prediction_lead": "2h",
    "target": {"name": "late", "expression": "delay > 15", "known_after": "1d"},
    "window": {"train": "2013-03-01..2013-03-09", "holdout": "2013-03-10"},
}
CONTRACT = {
    "tables": {
        "trips": {
            "privacy": "public",
            "unique": ["number"],
            "columns": {
                "number": {"type": "integer", "description": "Number of the trip"},
                "station": {"type": "text", "nullable": True, "description": "Where it starts"},
                "starts": {"type": "time", "description": "Scheduled start"},
                "delay": {
                    "type": "integer",
                    "nullable": True,
                    "known": "outcome",
                    "description": "Minutes late",
                },
            },
        },
        "stations": {
            "privacy": "public",
            "unique": ["station"],
            "columns": {
                "station": {"type": "text", "description": "Name"},
                "platforms": {"type": "integer", "nullable": True, "description": "Number of platforms"},
            },
        },
    }
}
FEATURES = {
    "streams": {
        "done": {"table": "trips", "event_time": "starts", "available_at": "event_time + minutes(delay)"},
    },
    "views": {
        "last": {
            "kind": "latest",
            "stream": "done",
            "keys": ["station"],
            "max_age": "9h",
            "features": {"last_delay": "delay", "last_start": "event_time"},
        },
        "recent": {
            "kind": "rolling",
            "stream": "done",
            "keys": ["station"],
            "window": "6h",
            "features": {
                "trips_6h": {"aggregate": "count"},
                "delay_sum_6h": {"aggregate": "sum", "of": "delay"},
                "late_share_6h": {"aggregate": "mean", "of": "delay > 15"},
                "scaled_mean_6h": {"aggregate": "mean", "of": "delay * 0.1", "default": -1.0},
            },
        },
        "place": {
            "kind": "lookup",
            "table": "stations",
            "keys": ["station"],
            "features": {"tracks": "platforms * 2"},
        },
        "row": {
            "kind": "expression",
            "features": {
                "since_last": "minutes_between(last_start, event_time)",
                "since_last_hours": "since_last / 60",
                "local_hour": "hour(event_time)",
                "station": "station",
            },
        },
    },
    "hidden": ["last_start"],
}


def compiled(features: dict[str, Any] | None = None, names: dict[str, str] | None = None) -> FeaturePlan:
    features, data, contract = (renamed(each, names or {}) for each in (features or FEATURES, DATA, CONTRACT))
    return plan(Features.parse(features), Data.parse(data), Contract.parse(contract))


def compute(
    folder: Path,
    trips: Sequence[dict[str, Any]],
    features: dict[str, Any] | None = None,
    size: int = SLICE,
    names: dict[str, str] | None = None,
) -> pl.DataFrame:
    names = names or {}
    schema = {"number": pl.Int64, "station": pl.String, "starts": pl.Datetime("us"), "delay": pl.Int64}
    stations = {"station": ["a", "b"], "platforms": [4, None]}
    tables = {
        "trips": pl.DataFrame(trips, schema=schema, orient="row"),
        "stations": pl.DataFrame(stations, schema={"station": pl.String, "platforms": pl.Int64}),
    }
    for name, table in tables.items():
        table.rename(lambda column: names.get(column, column)).write_parquet(folder / f"{name}.parquet")
    planned = compiled(features, names)
    label = expressions.parse(renamed(DATA["target"]["expression"], names))  # type: ignore[index]
    part = Span(START - timedelta(days=9), START + timedelta(days=9))
    with DuckDBEngine(planned, folder, size=size) as engine:
        engine.load_requests(part, (("late", label),))
        for primitive in planned.primitives:
            engine.compute(primitive)
        engine.write(folder / "out.parquet", part)
    return pl.read_parquet(folder / "out.parquet")


def earlier(hours: int) -> dict[str, Any]:
    """The features over events that are declared to happen, and so to be known, some hours before they do."""
    shifted = {**FEATURES["streams"]["done"], "event_time": f"starts - hours({hours} + 0 * number)"}  # type: ignore[index]
    return {**FEATURES, "streams": {"done": shifted}}


def known_at(trip: dict[str, Any]) -> datetime | None:
    return None if trip["delay"] is None else trip["starts"] + timedelta(minutes=max(0, trip["delay"]))


def oracle(trip: dict[str, Any], rows: Sequence[dict[str, Any]], early: timedelta = timedelta()) -> dict[str, Any]:
    now = trip["starts"] - LEAD
    trips = [{**row, "starts": row["starts"] - early} for row in rows if row["number"] != trip["number"]]
    seen = [
        other
        for other in trips
        if other["station"] == trip["station"] and other["station"] is not None
        if (known := known_at(other)) and known < now
    ]
    last = max(seen, key=lambda other: (other["starts"], known_at(other), other["number"]), default=None)
    if last and last["starts"] < now - MAX_AGE:
        last = None
    recent = [other["delay"] for other in seen if other["starts"] >= now - WINDOW]
    since = (trip["starts"] - last["starts"]) / timedelta(minutes=1) if last else None
    return {
        "last_delay": last["delay"] if last else None,
        "trips_6h": len(recent),
        "delay_sum_6h": float(sum(recent)),
        "late_share_6h": sum(delay > 15 for delay in recent) / len(recent) if recent else None,
        "scaled_mean_6h": pytest.approx(sum(recent) * 0.1 / len(recent)) if recent else -1.0,
        "tracks": 8 if trip["station"] == "a" else None,
        "since_last": since,
        "since_last_hours": since / 60 if since is not None else None,
    }


@st.composite
def trip_lists(draw: st.DrawFn) -> list[dict[str, Any]]:
    count = draw(st.integers(1, MOST))
    return [
        {
            "number": number,
            "station": draw(st.sampled_from(STATIONS)),
            "starts": START + timedelta(hours=draw(st.integers(0, 30))),
            "delay": draw(st.one_of(st.none(), st.sampled_from([-700, -20, 0, 10, 30, 60, 500, 2000]))),
        }
        for number in range(count)
    ]


@settings(max_examples=40)
@given(trips=trip_lists(), size=st.sampled_from([1, 4, SLICE]), hours=st.sampled_from([0, 3, 5, 40]))
def test_equals_a_plain_reading_of_the_primitives(
    trips: list[dict[str, Any]], size: int, hours: int, tmp_path_factory: Any
) -> None:
    """Whatever times are declared: a row sees others by them, and never itself."""
    computed = compute(tmp_path_factory.mktemp("engine"), trips, earlier(hours), size=size)
    rows = {row["number"]: row for row in computed.iter_rows(named=True)}
    assert len(rows) == len(trips)
    for trip in trips:
        expected = oracle(trip, trips, timedelta(hours=hours))
        assert {name: rows[trip["number"]][name] for name in expected} == expected


@settings(max_examples=30)
@given(trips=trip_lists(), rewritten=st.lists(st.integers(-3000, 3000) | st.none(), min_size=MOST, max_size=MOST))
def test_no_outcome_of_a_later_event_reaches_a_feature(
    trips: list[dict[str, Any]], rewritten: list[int | None], tmp_path_factory: Any
) -> None:
    """Whatever is written into the outcomes of events from a moment on, the features of predictions till then stay."""
    now = trips[len(trips) // 2]["starts"] - LEAD
    until = [trip["number"] for trip in trips if trip["starts"] - LEAD <= now]
    changed = [
        {**other, "delay": delay} if other["starts"] >= now else other
        for other, delay in zip(trips, rewritten, strict=False)
    ]
    before, after = (
        compute(tmp_path_factory.mktemp("leak"), rows).filter(pl.col("number").is_in(until)).drop("late", strict=False)
        for rows in (trips, changed)
    )
    assert before.to_dicts() == after.to_dicts()


def test_clock_changes_do_not_bend_windows_or_hours(tmp_path: Path) -> None:
    # Clocks in New York went from 02:00 to 03:00 on 10 March 2013, which is 07:00 UTC.
    trips = [
        {"number": 1, "station": "a", "starts": datetime(2013, 3, 10, 6, 30), "delay": 20},
        {"number": 2, "station": "a", "starts": datetime(2013, 3, 10, 9, 30), "delay": 0},
    ]
    computed = compute(tmp_path, trips)
    assert computed["local_hour"].to_list() == [1, 5]
    assert computed["since_last"].to_list() == [None, 180.0]


@pytest.mark.parametrize("size", [700, SLICE])
def test_same_bytes_for_any_number_of_threads(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, size: int) -> None:
    trips = [
        {
            "number": n,
            "station": "ab"[n % 2],
            "starts": START + timedelta(minutes=n * 7 % 5000),
            "delay": n % 90,
        }
        for n in range(3000)
    ]
    written = []
    for threads in ("1", "4"):
        monkeypatch.setenv("OMP_NUM_THREADS", threads)
        compute(tmp_path, trips, size=size)
        written.append((tmp_path / "out.parquet").read_bytes())
    assert written[0] == written[1]


def changed(path: str, value: str) -> dict[str, Any]:
    """The features with another expression at a path of keys."""
    features = deepcopy(FEATURES)
    *within, last = path.split(".")
    reduce(dict.__getitem__, within, features)[last] = value
    return features


@pytest.mark.parametrize(
    ("path", "value", "told"),
    [
        (
            "streams.done.available_at",
            "event_time + days(number)",
            "features.streams.done.available_at: row 2 of table trips",
        ),
        ("streams.done.event_time", "starts - days(number)", "features.streams.done.event_time: row 2 of table trips"),
        (
            "views.last.features.last_delay",
            "delay + number * 3",
            "features.views.last.features.last_delay: row 2 of table t",
        ),
        (
            "views.recent.features.delay_sum_6h.of",
            "number",
            "features.views.recent.features.delay_sum_6h: row 2 of table",
        ),
        (
            "views.place.features.tracks",
            f"platforms * {2**62}",
            "features.views.place.features.tracks: row 1 of table stat",
        ),
        ("views.row.features.since_last_hours", "number * 3", "feature since_last_hours: row 2 of table trips"),
    ],
)
def test_a_value_that_does_not_fit_is_told_with_its_expression_and_row(
    tmp_path: Path, path: str, value: str, told: str
) -> None:
    trips = [
        {"number": number, "station": "a", "starts": START + timedelta(hours=5 * place), "delay": 1}
        for place, number in enumerate((1, 2**62, 3))
    ]
    with pytest.raises(UserError) as refused:
        compute(tmp_path, trips, changed(path, value))
    assert str(refused.value).startswith(told), refused.value
    assert "a value does not fit: " in str(refused.value)
    assert "; change the expression, or limit its columns by min and max in conf/contract" in str(refused.value)


def test_columns_are_ordered_by_name_whatever_the_order_of_the_views(tmp_path: Path) -> None:
    reordered = {**FEATURES, "views": dict(reversed(FEATURES["views"].items()))}  # type: ignore[union-attr]
    assert compiled(reordered) == compiled()
    columns = compute(tmp_path, []).columns
    assert columns[:4] == ["number", "starts", "station", EVENT_TIME]
    assert columns[4:] == sorted(columns[4:])


# Names that some library takes for something else: of other case, of SQL, of this engine, of no letter.
NAMES = [
    "delay",
    "Delay",
    "DELAY",
    "Event_Time",
    "EVENT_TIME",
    "late_",
    "_id",
    "_row",
    "_known",
    "c_delay",
    "c_$44$elay",
]
NAMES += [
    "select",
    "NULL",
    "order by",
    "rowid",
    "1",
    " ",
    "a.b",
    "a[0]",
    'a"b',
    "a'b",
    "a\nb",
    "a\\b",
    "{0}",
    "%s",
    "$1",
]
NAMES += ["ä", "Ä", "ß", "ẞ", "\u0131", "日本", "🚂", "e\u0301", "\u00e9", "x" * 200, "", "--", "/*", "request", "own"]
COLUMNS = ["number", "station", "starts", "delay", "platforms"]
# Names of features, views and streams are in lower case, and may be those of columns in another.
TAKEN = ["null", "rowid", "request", "own", "event", "select", "requests", "c_delay", "late_", "view_last", "events"]
OURS = ["done", "last", "recent", "place", "row", "last_delay", "last_start", "trips_6h", "tracks", "since_last"]
PLAIN = ("keys", "unique", "unique_key", "hidden", "stream", "table")  # whose values are names, not expressions


def renamed(declared: Any, names: dict[str, str], key: str = "") -> Any:
    """A declaration with other names, also in its expressions."""
    if not names:
        return declared
    if isinstance(declared, dict):
        return {names.get(name, name): renamed(value, names, name) for name, value in declared.items()}
    if isinstance(declared, list):
        return [renamed(value, names, key) for value in declared]
    if key in PLAIN or not isinstance(declared, str):
        return names.get(declared, declared)
    words = "|".join(sorted(names, key=len, reverse=True))
    return re.sub(rf"\b({words})\b(?!\()", lambda word: f"column({names[word[1]]!r})", declared)


@settings(max_examples=40)
@given(trips=trip_lists(), drawn=st.permutations(NAMES), taken=st.permutations(TAKEN), hours=st.sampled_from([0, 3]))
def test_any_names_give_the_same_values(
    trips: list[dict[str, Any]], drawn: list[str], taken: list[str], hours: int, tmp_path_factory: Any
) -> None:
    columns = dict(zip(COLUMNS, drawn, strict=False))
    free = [name for name in taken if name not in columns.values()]
    names = columns | dict(zip(OURS, free, strict=False))
    features = earlier(hours)
    row = {name: each for name, each in features["views"]["row"]["features"].items() if name != "station"}
    features = {**features, "views": {**features["views"], "row": {**features["views"]["row"], "features": row}}}
    expected = compute(tmp_path_factory.mktemp("plain"), trips, features)
    computed = compute(tmp_path_factory.mktemp("nasty"), trips, features, names=names)
    assert computed.select(names.get(name, name) for name in expected.columns).rows() == expected.rows()
