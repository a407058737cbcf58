"""What CatBoost's models hold of the machine and the hour in which they were fitted, kept out of them."""

import json
from collections.abc import Iterator
from typing import Any

_BLANK = ("model_guid", "train_finish_time")


def set_threads(estimator: Any, threads: int) -> None:
    """Give the number of threads to every estimator of CatBoost's, which has a pool of its own; before it is fitted."""
    for each in _catboost(estimator):
        each.set_params(thread_count=threads)


def erase(estimator: Any) -> None:
    """Take the time, a random name and the number of threads out of every fitted estimator of CatBoost's."""
    for each in _catboost(estimator):
        each._init_params.pop("thread_count", None)
        metadata = each.get_metadata()
        for name in _BLANK:
            metadata[name] = ""
        parameters = json.loads(metadata["params"])
        parameters["system_options"]["thread_count"] = 1
        parameters["flat_params"].pop("thread_count", None)
        metadata["params"] = json.dumps(parameters, sort_keys=True)


def _catboost(value: Any) -> Iterator[Any]:
    """Yield the estimators of CatBoost's that a value is or holds."""
    if type(value).__module__.startswith("catboost."):
        yield value
    elif isinstance(value, list | tuple):
        for part in value:
            yield from _catboost(part)
    elif isinstance(value, dict):
        yield from _catboost(list(value.values()))
    elif type(value).__module__.startswith(("sklearn.", "trunkline.")):
        yield from _catboost(list(getattr(value, "__dict__", {}).values()))
