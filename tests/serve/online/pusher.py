"""Pushes batches of rows into a store from where it stopped, as often as it is killed, and says what it is about to do.

Run as: python -m tests.serve.online.pusher ADDRESS FILE NAME. FILE has the plan, the table, its types and the batches.
"""

import json
import sys
from datetime import datetime
from pathlib import Path
from typing import Any

from trunkline.pipeline.features.plan_json import plan_of
from trunkline.serve.online.events import TableEvents
from trunkline.serve.online.plan import OnlinePlan
from trunkline.serve.online.store.open import open_store


def typed(row: dict[str, Any], types: dict[str, Any]) -> dict[str, Any]:
    return {
        name: datetime.fromisoformat(value) if types[name] == "time" and value is not None else value
        for name, value in row.items()
    }


def told(what: object) -> None:
    sys.stdout.write(f"{what}\n")
    sys.stdout.flush()


def main(address: str, file: str, name: str) -> None:
    content = json.loads(Path(file).read_text())
    table = TableEvents(OnlinePlan(plan_of(content["plan"])), content["table"], content["types"])
    batches = [[typed(row, content["types"]) for row in batch] for batch in content["batches"]]
    store = open_store(address, {}, Path("/"))
    done = int(store.get([], [name]).facts.get(name, b"0"))
    for number in range(done, len(batches)):
        told(number)
        conflicts = store.put(table.changes(batches[number]), {name: str(number + 1).encode()})
        assert conflicts == []
    store.close()
    heavy = {"polars", "duckdb", "pandas", "pyarrow", "sqlalchemy"} & set(sys.modules)
    assert heavy == set()
    told("done")


if __name__ == "__main__":
    main(*sys.argv[1:])
