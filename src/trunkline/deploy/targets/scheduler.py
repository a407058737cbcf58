"""The pipeline as what a scheduler reads: one task, or one for each stage, in a clone of the trunk. Pure."""

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from graphlib import TopologicalSorter
from typing import Any

from trunkline.conf.deploy import Deploy
from trunkline.conf.targets import ArgoWorkflows, Databricks, Worker
from trunkline.core.errors import UserError
from trunkline.core.params import Params
from trunkline.deploy.targets import template
from trunkline.deploy.targets.server import USER

PARAMS = "params.yaml"
_STAGE = re.compile(r"[A-Za-z][A-Za-z0-9_-]*")
_OWN = ("checkout", "push")  # tasks beside those of stages
_RUN = "trunkline ci reproduce run"


@dataclass(frozen=True)
class Task:
    """A command of a shell, run in the clone, and the tasks that it waits for."""

    name: str
    command: str
    after: tuple[str, ...]


def render(params: Params, kind: str, stages: Mapping[str, Any]) -> dict[str, str]:
    """Return the texts of a scheduler by the files' names; `stages` are those of dvc.yaml.

    Raises UserError for what is not declared, and for stages or a schedule that it cannot have.
    """
    deploy = params.group(Deploy)
    declared = getattr(deploy.targets, kind)
    where = f"deploy.targets.{kind}"
    if declared is None:
        raise UserError(f"{params.where}: {where}: is missing; declare it in conf/deploy")
    origin, in_clone = deploy.targets.origin, isinstance(declared, Worker)
    if origin is None and not in_clone:
        raise UserError(f"{params.where}: deploy.targets.origin: is missing; write where the repository is")
    name = re.sub(r"[^a-z0-9]+", "-", params.name.lower()).strip("-")
    values = {
        "declared": declared, "name": name, "word": name.replace("-", "_"), "origin": origin, "user": USER,
        "trunk": deploy.targets.trunk, "ssh": origin is not None and not origin.startswith("https://"),
        "tasks": tasks(declared, deploy.targets.trunk, stages, _clones(origin) if not in_clone else None),
        "quartz": quartz(declared.schedule, f"{where}.schedule") if isinstance(declared, Databricks) else None,
    }  # fmt: skip
    return {file: template.render(f"scheduler/{source}.j2", values) for file, source in _FILES[kind](name).items()}


_FILES: Mapping[str, Callable[[str], Mapping[str, str]]] = {
    "airflow": lambda name: {f"{name}_airflow.py": "airflow.py"},
    "dagster": lambda name: {f"{name}_dagster.py": "dagster.py"},
    "prefect": lambda name: {f"{name}_prefect.py": "prefect.py"},
    "argo_workflows": lambda name: {f"{name}-workflow.yaml": "argo-workflows.yaml"},
    "databricks": lambda _: {"databricks.yml": "databricks.yml", "reproduce.py": "reproduce.py"},
}


def tasks(
    declared: Worker | ArgoWorkflows | Databricks, trunk: str, stages: Mapping[str, Any], clones: str | None
) -> list[Task]:
    """Return the tasks in an order in which they can run; `clones` makes the clone, where there is none."""
    checkout = [
        *([clones] if clones else []),
        f"git fetch --quiet origin {trunk}",
        "git switch --quiet --discard-changes --detach FETCH_HEAD",
        "locks/install ci",
    ]
    push = [f"trunkline ci reproduce push {trunk}"] if declared.push else []
    if isinstance(declared, Databricks) or declared.tasks == "one":
        return [Task("reproduce", " && ".join([*checkout, _RUN, *push]), ())]
    after = upstream(stages)
    ordered = TopologicalSorter(after).static_order()
    of_stages = [Task(name, f"dvc repro --single-item --pull {name}", after[name] or ("checkout",)) for name in ordered]
    pushes = [Task("push", command, tuple(sorted(after))) for command in push]
    return [Task("checkout", " && ".join(checkout), ()), *of_stages, *pushes]


def upstream(stages: Mapping[str, Any]) -> dict[str, tuple[str, ...]]:
    """Return the stages that each stage of dvc.yaml reads from; raises UserError for stages that are made by DVC."""
    for name, stage in stages.items():
        if not _STAGE.fullmatch(name) or name in _OWN or not isinstance(stage, Mapping) or "cmd" not in stage:
            raise UserError(
                f"dvc.yaml: {name}: is no stage that a task can be made of: one with a `cmd`, named by letters, "
                f"digits, _ and -, and not {' or '.join(_OWN)}; declare: tasks: one"
            )
    outs = {path: name for name, stage in stages.items() for key in _OUTS for path in _paths(stage.get(key))}
    return {
        name: tuple(sorted({maker for path in _reads(stage) for maker in _makers(path, outs)} - {name}))
        for name, stage in stages.items()
    }


_OUTS = ("outs", "metrics", "plots")


def _reads(stage: Mapping[str, Any]) -> Iterator[str]:
    yield from _paths(stage.get("deps"))
    for entry in stage.get("params") or ():  # a key of params.yaml, or a file with its keys
        yield from entry if isinstance(entry, Mapping) else (PARAMS,)


def _paths(entries: Any) -> Iterator[str]:
    """Yield the paths of a list of dvc.yaml, in which each is a text, or a mapping with one key."""
    for entry in entries or ():
        yield from map(str, entry if isinstance(entry, Mapping) else (entry,))


def _makers(path: str, outs: Mapping[str, str]) -> Iterator[str]:
    """Yield the stages that make a path, what is in it, or what it is in."""
    yield from (name for out, name in outs.items() if f"{path}/".startswith(f"{out}/") or out.startswith(f"{path}/"))


def quartz(schedule: str | None, where: str) -> str | None:
    """Return a schedule of cron as Quartz writes it: with seconds, days of the week from 1 for Sunday, and one `?`.

    Raises UserError for one that limits the days of the month and of the week, which Quartz cannot say.
    """
    if schedule is None:
        return None
    minute, hour, day, month, weekday = schedule.split(" ")
    if day != "*" and weekday != "*":
        raise UserError(
            f"{where}: '{schedule}' limits days of the month and of the week, which Databricks cannot; write * for one"
        )
    if weekday == "*":
        return f"0 {minute} {hour} {day} {month} ?"
    shifted = (f"{_shifted(days)}{slash}{step}" for days, slash, step in (x.partition("/") for x in weekday.split(",")))
    return f"0 {minute} {hour} ? {month} {','.join(shifted)}"


def _shifted(days: str) -> str:
    return re.sub(r"\d+", lambda number: str(int(number[0]) % 7 + 1), days)


def _clones(origin: str | None) -> str:
    """Return the command that makes the working directory a clone, if it is none yet; a volume may hold lost+found."""
    return f"(test -e .git || (git init --quiet && git remote add origin {origin}))"
