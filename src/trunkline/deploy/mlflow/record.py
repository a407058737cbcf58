"""What MLflow shows of a release beside its model: what its commit says of how it was made and how it was measured.

It is shown, and nothing is decided by it: so what cannot be read of a commit is left out, and the release is still
registered.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar

from trunkline.adapters.git import ancestry, messages, repository
from trunkline.adapters.git.snapshot import Snapshot
from trunkline.adapters.mlflow import Dataset
from trunkline.core import paths
from trunkline.core.addresses import shown
from trunkline.core.files import parse_json
from trunkline.deploy.mlflow import pictures
from trunkline.deploy.mlflow.state import Release
from trunkline.pipeline.track import datasets, runs
from trunkline.release.provenance import DATA

PULL_REQUEST = "trunkline.pull_request"
_READ = (paths.PARAMS, paths.LOCK, paths.METRICS, paths.SLICES, paths.INGESTED, paths.CHOICE)

Item = TypeVar("Item")


@dataclass(frozen=True)
class Record:
    """What is logged in a release's run: parameters, metrics, what it read, pictures by file name, and its origin.

    `use` is what the model is for, in the words of conf/bundle.
    """

    params: Mapping[str, str] = field(default_factory=dict)
    metrics: Mapping[str, float] = field(default_factory=dict)
    datasets: tuple[Dataset, ...] = ()
    pictures: Mapping[str, str] = field(default_factory=dict)
    origin: Mapping[str, str] = field(default_factory=dict)
    use: str = ""


def read(clone: Path, release: Release) -> Record:
    """Read the record of a release from its commit."""
    at = Snapshot(clone, release.commit, _READ)
    params, home = at.mapping(paths.PARAMS), shown(repository.setting(clone, "remote.origin.url") or "")
    parameters = runs.parameters(params, at.mapping(paths.CHOICE))
    values = _readable(lambda: runs.values(at.mapping(paths.METRICS)))
    intervals = _readable(lambda: runs.intervals(at.mapping(paths.SLICES)))
    use = _readable(lambda: [str(params["bundle"]["card"]["intended_use"])])
    return Record(
        params=dict(runs.flatten(parameters)) if parameters else {},
        metrics={name: float(value) for name, value in (*values, *intervals)},
        datasets=(
            *_readable(lambda: datasets.ingested(at.mapping(paths.INGESTED))),
            *_readable(lambda: _data(at, home)),
        ),
        pictures=dict(_readable(lambda: _curves(at))),
        origin=_origin(clone, release, home),
        use=next(iter(use), ""),
    )


def _readable(read: Callable[[], Iterable[Item]]) -> tuple[Item, ...]:
    """Return what is read of a file; nothing if it is missing or malformed."""
    try:
        return tuple(read())
    except (AttributeError, LookupError, TypeError, ValueError):
        return ()


def _data(at: Snapshot, home: str) -> Iterator[Dataset]:
    """Yield the data that the model was made of, as DVC records it."""
    for stage in at.mapping(paths.LOCK)["stages"].values():
        for out in stage.get("outs", ()):
            if Path(out["path"]) in DATA:
                size = {"files": out["nfiles"], "bytes": out["size"]}
                yield Dataset(out["path"], out["md5"], "dvc", {"repository": home, "path": out["path"]}, size)


def _curves(at: Snapshot) -> Iterator[tuple[str, str]]:
    for kind in pictures.CURVES:
        points = parse_json(at.text(paths.CURVES / f"{kind}.json") or "[]")
        if points:
            yield f"{kind}.svg", pictures.draw(kind, points)


def _origin(clone: Path, release: Release, home: str) -> dict[str, str]:
    """Return the tags of a run by which MLflow shows who made it, and of what."""
    commit = ancestry.commits(clone, [release.commit])[release.commit]
    tags = {
        "mlflow.user": commit.author,
        "mlflow.source.type": "PROJECT",
        "mlflow.source.name": home,
        "mlflow.source.git.repoURL": home,
        "mlflow.source.git.commit": release.commit,
        PULL_REQUEST: release.review or messages.landed(commit.hash, commit.message).reference,
    }
    return {key: value for key, value in tags.items() if value}
