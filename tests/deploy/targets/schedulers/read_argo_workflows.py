"""Says what Argo's own types, as Hera has them, read of files; they leave out what they do not know."""

import json
import sys
from pathlib import Path

import yaml
from hera.workflows import models


def lacks(given, read, path=""):
    """Return the first place whose value was not read as it was given."""
    if isinstance(given, dict):
        parts = [(f"{path}.{key}", given[key], (read or {}).get(key)) for key in given]
    elif isinstance(given, list) and isinstance(read, list) and len(given) == len(read):
        parts = [(f"{path}.{number}", *pair) for number, pair in enumerate(zip(given, read, strict=True))]
    else:
        return "" if given == read else path
    return next(filter(None, (lacks(part, other, where) for where, part, other in parts)), "")


def answer(path):
    content = yaml.safe_load(path.read_text())
    workflow = getattr(models, content["kind"]).model_validate(content)
    missing = lacks(content, json.loads(workflow.model_dump_json(by_alias=True, exclude_none=True)))
    if missing:
        return {"error": missing}
    [pipeline, _] = workflow.spec.workflow_spec.templates
    names = sorted(task.name for task in pipeline.dag.tasks)
    return {"name": workflow.metadata.name, "tasks": names, "schedule": workflow.spec.schedules[0]}


sys.stdout.write(json.dumps({path.name: answer(path) for path in map(Path, sys.argv[1:])}))
