"""What the files of a commit say of a prediction's origin."""

import hashlib
import json
import re
import tomllib
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeVar

import yaml

from trunkline.adapters.git.documents import mapping
from trunkline.core import paths
from trunkline.core.files import parse_json
from trunkline.core.params import dig
from trunkline.lineage.chain import DeclaredParams, Environment, Judged, Output, RowCounts
from trunkline.pipeline.reports import DatasetReport, GatesReport, Verdict
from trunkline.release.provenance import DATA, ENVIRONMENT
from trunkline.show import differences
from trunkline.show.text import clean

PROJECT = Path("pyproject.toml")
READ = (paths.PARAMS, paths.LOCK, ENVIRONMENT, paths.GATES_REPORT, paths.DATASET, paths.CHOICE, PROJECT)
LIBRARIES = (
    "scikit-learn",
    "lightgbm",
    "xgboost",
    "xgboost-cpu",
    "catboost",
    "numpy",
    "scipy",
    "pandas",
    "polars",
    "pyarrow",
    "duckdb",
    "onnx",
    "onnxruntime",
)
KEYS = (  # of params.yaml, that are shown
    "model._target_",
    "data.target.expression",
    "data.target.labels",
    "data.window.train",
    "data.window.holdout",
    "seed",
)
T = TypeVar("T")

_PINNED = re.compile(r"^([a-z0-9][a-z0-9._-]*)==([^\s\\;]+)", re.MULTILINE)


# What the files of a commit say


def judged(files: Mapping[Path, bytes]) -> Judged | None:
    """Return the verdict of a commit; None if it has none that can be read."""
    gates = _understood(lambda text: GatesReport.model_validate(parse_json(text)), files.get(paths.GATES_REPORT))
    if gates is None:
        return None
    champion = clean(gates.champion.version) if gates.champion else None
    return Judged(gates.verdict, clean(gates.challenger), champion, tuple(map(_cleaned, gates.gates)))


def _cleaned(rule: Verdict) -> Verdict:
    where = rule.slice and clean(rule.slice)
    named = replace(rule, id=clean(rule.id), kind=clean(rule.kind), reason=clean(rule.reason), slice=where)
    return replace(named, metric=rule.metric and clean(rule.metric))


def declared(
    files: Mapping[Path, bytes], before: Mapping[Path, bytes] | None, since: str | None
) -> DeclaredParams | None:
    """Return what a commit declared, compared with the commit of the version before."""
    params = mapping(files, paths.PARAMS)
    if params is None:
        return None
    chosen = dig(mapping(files, paths.CHOICE), "model") or params.get("model")  # what a search put in its place
    values = {key: dig({**params, "model": chosen}, *key.split(".")) for key in KEYS}
    shown = {key: clean(differences.shown(value)) for key, value in values.items() if value is not None}
    written = {clean(str(key)): json.dumps(value, sort_keys=True, default=str) for key, value in params.items()}
    groups = {key: hashlib.sha256(text.encode()).hexdigest() for key, text in written.items()}
    earlier = mapping(before, paths.PARAMS) if before is not None else None
    changed = differences.differences(earlier, params) if earlier is not None else ()
    return DeclaredParams(
        shown, groups, since if earlier is not None else None, tuple(clean(str(line)) for line in changed)
    )


def outputs(
    files: Mapping[Path, bytes], listing: Callable[[str], tuple[tuple[str, str], ...] | None]
) -> tuple[Output, ...]:
    """Return the data that a commit's dvc.lock holds; `listing` returns the files of a folder's hash."""
    outs = _understood(_outs, mapping(files, paths.LOCK)) or {}
    rows = ((path.as_posix(), outs[path.as_posix()]) for path in DATA if path.as_posix() in outs)
    return tuple(
        Output(path, clean(str(out.get("md5"))), _count(out.get("nfiles")), _count(out.get("size")),
               listing(str(out.get("md5"))) if path == paths.RAW.as_posix() else None)
        for path, out in rows
    )  # fmt: skip


def _outs(lock: Mapping[str, Any]) -> dict[str, Mapping[str, Any]]:
    return {out["path"]: out for stage in lock["stages"].values() for out in stage.get("outs", ())}


def rows(files: Mapping[Path, bytes]) -> RowCounts | None:
    """Return the windows of a commit's params.yaml, and the rows that reports/dataset.json counts in them."""
    params = mapping(files, paths.PARAMS) or {}
    dataset = _understood(lambda text: DatasetReport.model_validate(parse_json(text)), files.get(paths.DATASET))
    windows = [dig(params, "data", "window", name) for name in ("train", "holdout")]
    if dataset is None and windows == [None, None]:
        return None
    train, holdout = (clean(str(window)) if window is not None else None for window in windows)
    counted = dataset.windows if dataset else None
    return RowCounts(
        source=dataset.source_rows if dataset else None,
        train=train,
        train_rows=counted.train.rows if counted else None,
        holdout=holdout,
        holdout_rows=counted.holdout.rows if counted else None,
    )


def environment(files: Mapping[Path, bytes]) -> Environment | None:
    """Return what the lock of a commit says of the environment; None if the commit has none."""
    lock = files.get(ENVIRONMENT)
    if lock is None:
        return None
    pinned = dict(_PINNED.findall(lock.decode(errors="replace")))
    project = _understood(lambda text: tomllib.loads(text.decode())["project"], files.get(PROJECT)) or {}
    python = _understood(lambda table: clean(str(table["requires-python"])), project)
    libraries = {name: clean(pinned[name]) for name in LIBRARIES if name in pinned}
    return Environment(ENVIRONMENT.as_posix(), hashlib.sha256(lock).hexdigest(), python, libraries)


# What others wrote may be anything: what cannot be understood is a link that is not known


def _understood(read: Callable[[Any], T], given: Any) -> T | None:
    if given is None:
        return None
    try:
        return read(given)
    except (ValueError, TypeError, LookupError, AttributeError, RecursionError, yaml.YAMLError):
        return None


def _count(value: Any) -> int | None:
    return value if isinstance(value, int) and not isinstance(value, bool) else None
