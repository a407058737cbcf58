"""Says what Prefect reads of files: run in its environment."""

import importlib.util
import json
import sys
from pathlib import Path


def answer(path):
    spec = importlib.util.spec_from_file_location(path.stem, path)
    module = importlib.util.module_from_spec(spec)
    try:
        spec.loader.exec_module(module)
    except Exception as error:
        return {"error": str(error)}
    return {"name": module.pipeline.name, "tasks": sorted(module.TASKS), "schedule": None}


sys.stdout.write(json.dumps({path.name: answer(path) for path in map(Path, sys.argv[1:])}))
