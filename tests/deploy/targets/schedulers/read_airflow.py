"""Says what Airflow reads of files: run in its environment."""

import json
import sys
from pathlib import Path

from airflow.dag_processing.dagbag import DagBag

answers = {}
for path in map(Path, sys.argv[1:]):
    bag = DagBag(path)
    answers[path.name] = {"error": "".join(bag.import_errors.values())} if bag.import_errors else {}
    for name, dag in bag.dags.items():
        answers[path.name] = {"name": name, "tasks": sorted(dag.task_ids), "schedule": dag.schedule}
sys.stdout.write(json.dumps(answers))
