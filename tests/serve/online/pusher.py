"""Pushes batches of rows into a store, from where it stopped when it was killed.

Run as: python -m tests.serve.online.pusher ADDRESS FILE NAME CALL. FILE has the plan, the table, its types and the
batches of each name. It kills itself before the so-manieth call that the store's code makes; for 0 it lives and says
`done`.
"""

import json
import os
import signal
import sys
from datetime import datetime
from pathlib import Path
from types import FrameType
from typing import Any

from trunkline.pipeline.features.plan_json import plan_of
from trunkline.serve.online.events import TableEvents
from trunkline.serve.online.plan import OnlinePlan
from trunkline.serve.online.store.open import open_store

STORE = str(Path("online", "store"))


def typed(row: dict[str, Any], types: dict[str, Any]) -> dict[str, Any]:
    return {
        name: datetime.fromisoformat(value) if types[name] == "time" and value is not None else value
        for name, value in row.items()
    }


def die_before(call: int) -> None:
    """Kill this process before the so-manieth call that the code of a store makes, of whatever function."""
    left = call

    def profile(frame: FrameType, event: str, _: Any) -> None:
        nonlocal left
        caller = frame.f_back if event == "call" else frame if event == "c_call" else None
        if caller is not None and STORE in caller.f_code.co_filename:
            left -= 1
            if left == 0:
                os.kill(os.getpid(), signal.SIGKILL)

    sys.setprofile(profile)


def main(address: str, file: str, name: str, call: str) -> None:
    content = json.loads(Path(file).read_text())
    table = TableEvents(OnlinePlan(plan_of(content["plan"])), content["table"], content["types"])
    batches = [[typed(row, content["types"]) for row in batch] for batch in content["batches"][name]]
    store = open_store(address, {}, Path("/"))
    done = int(store.get([], [name]).facts.get(name, b"0"))
    if int(call):
        die_before(int(call))
    for number in range(done, len(batches)):
        conflicts = store.put(table.changes(batches[number]), {name: str(number + 1).encode()})
        assert conflicts == []
    store.close()
    heavy = {"polars", "duckdb", "pandas", "pyarrow", "sqlalchemy"} & set(sys.modules)
    assert heavy == set()
    sys.stdout.write("done\n")


if __name__ == "__main__":
    main(*sys.argv[1:])
