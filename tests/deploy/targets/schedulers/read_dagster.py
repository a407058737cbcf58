"""Says what Dagster reads of files, or with `run` first, whether a run of one succeeds: run in its environment."""

import importlib.util
import json
import sys
from pathlib import Path


def load(path):
    spec = importlib.util.spec_from_file_location(path.stem, path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.definitions


def answer(path):
    try:
        definitions = load(path)
        [job] = definitions.resolve_all_job_defs()
        [schedule] = definitions.get_repository_def().schedule_defs
    except Exception as error:
        return {"error": str(error)}
    return {"name": job.name, "tasks": sorted(job.graph.node_dict), "schedule": schedule.cron_schedule}


paths = [Path(argument) for argument in sys.argv[1:]]
if paths[0] == Path("run"):
    [job] = load(paths[1]).resolve_all_job_defs()
    sys.stdout.write(json.dumps({"success": job.execute_in_process().success}))
else:
    sys.stdout.write(json.dumps({path.name: answer(path) for path in paths}))
