"""Says what types of others have against resources of KubeRay and Spark's operator: run where they are installed.

dagster-ray's let what they do not know pass, which is read of them; Kubeflow's leave it out, which a comparison shows.
"""

import json
import re
import sys
from pathlib import Path

from dagster_ray.kuberay.configs import RayClusterSpec, RayJobSpec
from kubeflow_spark_api.models.spark_v1beta2_spark_application import SparkV1beta2SparkApplication
from pydantic import BaseModel

RAY = {"RayCluster": RayClusterSpec, "RayJob": RayJobSpec}
OWN = {"RayJob": {"entrypoint"}}  # what dagster-ray gives a job itself


def snake(name):
    return re.sub(r"[A-Z]", lambda letter: f"_{letter[0].lower()}", name)


def unknown(read):
    """Return the keys that a model and those in it do not know."""
    inner = [key for _, value in read if isinstance(value, BaseModel) for key in unknown(value)]
    return [*(read.model_extra or {}), *inner]


def of_ray(resource):
    kind = resource["kind"]
    given = {snake(key): value for key, value in resource["spec"].items() if key not in OWN.get(kind, ())}
    return unknown(RAY[kind](**given))


def lost(given, read, path=""):
    """Return the paths of values that are not read."""
    if isinstance(given, dict) and isinstance(read, dict):
        return [each for key, value in given.items() for each in lost(value, read.get(key), f"{path}.{key}")]
    if isinstance(given, list) and isinstance(read, list) and len(given) == len(read):
        return [each for one, other in zip(given, read, strict=True) for each in lost(one, other, path)]
    return [] if given == read else [path]


def of_spark(resource):
    return lost(resource, SparkV1beta2SparkApplication.from_dict(resource).to_dict())


def complaints(resource):
    try:
        return of_spark(resource) if resource["kind"] == "SparkApplication" else of_ray(resource)
    except ValueError as error:
        return [str(error)]


sys.stdout.write(json.dumps([complaints(each) for each in json.loads(Path(sys.argv[1]).read_text())]))
