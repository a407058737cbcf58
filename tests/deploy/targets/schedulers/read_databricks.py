"""Says what Databricks' own types read of a bundle's job: run where they are installed."""

import json
import sys
from pathlib import Path

import yaml
from databricks.bundles.jobs import Job


def answer(path):
    [content] = yaml.safe_load(path.read_text())["resources"]["jobs"].values()
    try:
        job = Job.from_dict(content)
    except ValueError as error:
        return {"error": str(error)}
    tasks = [task.task_key for task in job.tasks]
    return {"name": job.name, "tasks": tasks, "schedule": job.schedule.quartz_cron_expression}


sys.stdout.write(json.dumps({path.name: answer(path) for path in map(Path, sys.argv[1:])}))
