"""Measures Feast's online store: run by a Python that has Feast, with what to do as JSON, and prints a line of JSON.

`store` is the declaration of its online store. `folder` has views.json with each view's keys and features, the rows of
each view before and since the push, and the keys of the requests.
"""

import json
import sys
import time
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from itertools import cycle, islice
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from feast import Entity, FeatureStore, FeatureView, Field, FileSource, RepoConfig, ValueType
from feast.types import Float64, Int64, String

_TYPES = {"i": Int64, "f": Float64}


def main(given: Mapping[str, Any]) -> None:
    """Materialise, push and look up; print the rates per second, and what a lookup takes in ms."""
    folder = Path(given["folder"])
    views = json.loads((folder / "views.json").read_text(encoding="utf-8"))
    config = RepoConfig(
        project="benchmark",
        provider="local",
        registry=str(folder / f"{given['store']['type']}.registry"),
        online_store=given["store"],
        offline_store={"type": "file"},
        entity_key_serialization_version=3,
    )
    store = FeatureStore(config=config)
    store.apply(declared(folder, views))
    start = time.perf_counter()
    store.materialize(datetime(2000, 1, 1, tzinfo=UTC), datetime.now(UTC))
    materialized = rows(folder, views, "until") / (time.perf_counter() - start)
    start = time.perf_counter()
    for name in views:
        since = pd.read_parquet(folder / f"{name}.since.parquet")
        for place in range(0, len(since), given["at_once"]):
            store.write_to_online_store(name, since[place : place + given["at_once"]])
    pushed = rows(folder, views, "since") / (time.perf_counter() - start)
    taken = lookups(store, views, pd.read_parquet(folder / "requests.parquet").to_dict("records"), given["lookups"])
    p50, p99 = 1e3 * np.percentile(taken, [50, 99])
    rates = {"materialized": materialized, "pushed": pushed, "lookups": len(taken) / sum(taken), "p50": p50, "p99": p99}
    sys.stdout.write("\n" + json.dumps(rates) + "\n")


def declared(folder: Path, views: Mapping[str, Any]) -> list[Any]:
    """Return the entities and views, each of a file."""
    names = {key for view in views.values() for key in view["keys"]}
    entities = {name: Entity(name=name, join_keys=[name], value_type=ValueType.STRING) for name in names}
    declarations: list[Any] = list(entities.values())
    for name, view in views.items():
        path = folder / f"{name}.until.parquet"
        kinds = pd.read_parquet(path).dtypes
        fields = [Field(name=each, dtype=String) for each in view["keys"]]
        fields += [Field(name=each, dtype=_TYPES[kinds[each].kind]) for each in view["features"]]
        source = FileSource(name=f"{name}_source", path=str(path), timestamp_field="event_timestamp")
        of = [entities[key] for key in view["keys"]]
        declarations.append(
            FeatureView(name=name, entities=of, ttl=timedelta(days=9999), schema=fields, source=source, online=True)
        )
    return declarations


def rows(folder: Path, views: Mapping[str, Any], part: str) -> int:
    """Return how many rows of the table a part has: those of the view with the most."""
    return max(len(pd.read_parquet(folder / f"{name}.{part}.parquet")) for name in views)


def lookups(store: Any, views: Mapping[str, Any], requests: list[dict[str, Any]], count: int) -> list[float]:
    """Return the seconds of each lookup: all views of one request."""
    features = [f"{name}:{each}" for name, view in views.items() for each in view["features"]]
    taken = []
    for request in islice(cycle(requests), count):
        start = time.perf_counter()
        store.get_online_features(features=features, entity_rows=[request]).to_dict()
        taken.append(time.perf_counter() - start)
    return taken


if __name__ == "__main__":
    main(json.loads(sys.argv[1]))
