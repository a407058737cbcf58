"""What a declared search may try: families of models, and a model of each point of their spaces."""

import copy
import importlib.util
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from pydantic import ValidationError
from sklearn.utils import get_tags

from trunkline.conf.model import DECLARED, Model
from trunkline.conf.search import Domain, Search
from trunkline.core.errors import UserError, nearest
from trunkline.core.tasks import Task
from trunkline.pipeline.evaluate.metrics.registry import REGISTRY
from trunkline.pipeline.train import estimators

AUTO: dict[Task, str] = {
    "binary": "auto",
    "multiclass": "auto",
    "ordinal": "auto",
    "regression": "auto_regression",
    "count": "auto_regression",
    "quantile": "auto_regression",
    "ranking": "auto_regression",
    "multilabel": "auto",
}
DIGITS = 4  # that a drawn number keeps, so that a person can read and repeat it


@dataclass(frozen=True)
class ModelSpace:
    """A model and what is varied of it; `key` is where the space stands in conf/."""

    name: str
    model: Model
    space: Mapping[str, Domain]
    key: str

    def at(self, values: Mapping[str, Any]) -> Model:
        """Return the model at a point; raises UserError for a value that a model cannot have."""
        content = self.model.model_dump(by_alias=True, mode="json")
        for name, value in values.items():
            _put(content, name, _readable(value, self.space[name]), f"{self.key}.{name}")
        try:
            return Model.parse(content)
        except ValidationError as error:
            first = error.errors(include_url=False)[0]
            where = ".".join(map(str, first["loc"]))
            raise UserError(f"{self.key}.{where}: {first['msg']}, not {first['input']!r}") from None


def families(search: Search, declared: Model) -> tuple[ModelSpace, ...]:
    """Return conf/model's own family, then the others in the order of their names."""
    others = sorted(search.families.items())
    own = ModelSpace(DECLARED, declared, search.space, f"{Search.key}.space")
    return own, *(
        ModelSpace(name, other.model, other.space, f"{Search.key}.families.{name}.space") for name, other in others
    )


def verify(search: Search, declared: Model, task: Task) -> None:
    """Raise UserError, with a line per mistake, for a metric or a space that no search could use."""
    mistakes = []
    judging = [name for name, metric in REGISTRY[task].items() if metric.better is not None]
    if search.trials and importlib.util.find_spec("optuna") is None:
        mistakes.append(f"{Search.key}: optuna is not installed; run: pip install 'trunkline[search]'")
    if search.trials and search.metric is not None and search.metric not in judging:
        hint = nearest(search.metric, judging)
        mistakes.append(f"search.metric: no metric '{search.metric}' that says which model is better{hint}")
    unfit = _unfit(search, task)
    if len(unfit) > 1:
        names, kind = ", ".join(unfit), estimators.kind(task)
        reason = f"{names} are no {kind}s, which data.target.task: {task} needs"
        mistakes.append(f"search.families: {reason}; pick another search, such as {AUTO[task]}")
    else:
        for family in families(search, declared):
            mistakes += _mistakes(family, task)
    if mistakes:
        raise UserError("\n".join(dict.fromkeys(mistakes)))


def _unfit(search: Search, task: Task) -> list[str]:
    """Return the families whose estimators are made for another task."""
    unknown = []
    for name, family in sorted(search.families.items()):
        with suppress(UserError):  # one that cannot be built at all is reported elsewhere
            if get_tags(estimators.build(family.model, 0)).estimator_type != estimators.kind(task):
                unknown.append(name)
    return unknown


def _mistakes(family: ModelSpace, task: Task) -> Iterator[str]:
    """Yield what is wrong with a family, then with its space, judged at the ends of each domain."""
    try:
        if family.name != DECLARED:
            estimators.verify(family.model, task, family.key.removesuffix("space") + "model")
        for name, domain in family.space.items():
            for value in domain.ends:
                estimators.verify(family.at({name: value}), task, family.key)
    except UserError as error:
        yield str(error)


def _put(content: dict[str, Any], name: str, value: Any, key: str) -> None:
    """Set a dotted name; what is on the way to it must be there."""
    *way, last = name.split(".")
    if last == estimators.TARGET:
        raise UserError(f"{key}: is not varied; declare another estimator in search.families")
    inner: Any = content
    for part in way:
        inner = inner.get(part) if isinstance(inner, dict) else None
        if not isinstance(inner, dict):
            raise UserError(f"{key}: there is no '{part}' in the model to set it in")
    inner[last] = copy.copy(value)


def _readable(value: Any, domain: Domain) -> Any:
    """Round a drawn float, but not beyond the ends of its range."""
    if not isinstance(value, float) or domain.low is None or domain.high is None:
        return value
    return min(max(float(f"{value:.{DIGITS}g}"), float(domain.low)), float(domain.high))
