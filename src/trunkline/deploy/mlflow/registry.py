"""What MLflow's model registry has of a model, and each single change that brings it in line with what is declared.

Every change can be repeated, also after a kill at any point of it: a version is made with its tags in one request, so
that it is either found again or not there; all before that is found by the tags of its run. MLflow numbers versions
itself and cannot be asked to make one only once, so of two that are the same release the lower number counts.

A version's run is the release's own, which names the run of stage track, if that is logged here: the other way round,
nothing could be registered where the pipeline's run was logged elsewhere, or never.
"""

import os
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Self

from trunkline.adapters import mlflow
from trunkline.bundle import manifest
from trunkline.conf.tracking import Tracking
from trunkline.core import files
from trunkline.core.errors import UserError
from trunkline.deploy.mlflow import package
from trunkline.deploy.mlflow.record import PULL_REQUEST, Record
from trunkline.deploy.mlflow.state import DIGEST, VERSION, MlflowVersion, Registered, Release
from trunkline.pipeline.track import runs as track_runs

if TYPE_CHECKING:
    from trunkline.adapters.mlflow import Client, LoggedRun, ModelVersion

_NAME = "trunkline.name"  # a tag of the run only
_TRACKED = "trunkline.run"  # the run of stage track that made the bundle
_CARD = "card.md"
_SHOWN = (_CARD, "explanations.svg")  # files of a bundle that stand beside the model
_DESCRIPTION = 5000  # characters that MLflow's databases have room for
_MODEL = "model"  # the folder of a run's artifacts
_ADVICE = "then try again"


@dataclass(frozen=True)
class ModelRegistry:
    """MLflow's model registry at the declared address.

    Every method raises OutsideError within seconds if MLflow cannot be reached or refuses, after which it can be
    called again. No request is sent twice by itself.
    """

    store: mlflow.MlflowStore
    experiment: str

    @classmethod
    def open(cls, tracking: Tracking, home: Path, environ: Mapping[str, str] = os.environ) -> Self:
        """Return the registry where a project's runs are logged; calls nothing yet."""
        return cls(mlflow.MlflowStore(tracking.address(environ), home), tracking.experiment)

    def look(self, name: str) -> Registered:
        """Return what there is of a model, in two queries: no single one tells both aliases and tags."""
        with self._client() as client:
            return _look(client, name)

    def register(self, release: Release, bundle: Path, record: Record) -> str:
        """Return the number of a release's version, which is made of its bundle if it is not there.

        The record is logged in its run, once: what people change of it later stays. Raises UserError if the bundle is
        not what its manifest says, or not the one that was released.
        """
        with self._client() as client:
            name = release.version.name
            entry = _look(client, name).find(release.version.label, release.digest)
            if entry is None:
                run = _run(client, mlflow.experiment(client, self.experiment, self.store.artifacts), release, record)
                if run.info.status != "FINISHED":
                    _log(client, run, release, bundle, record)
                with mlflow.answered("RESOURCE_ALREADY_EXISTS"):
                    client.create_registered_model(name, description=record.use or None)
                entry = _ensure_version(client, release, run, bundle)
            return entry.number

    def tag(self, name: str, number: str, key: str, value: str) -> None:
        """Set a tag of a version."""
        with self._client() as client:
            client.set_model_version_tag(name, number, key, value)

    def alias(self, name: str, alias: str, number: str) -> None:
        """Point an alias to a version, wherever it pointed before."""
        with self._client() as client:
            client.set_registered_model_alias(name, alias, number)

    def unalias(self, name: str, alias: str) -> None:
        """Remove an alias, if there is one."""
        with self._client() as client, mlflow.answered("RESOURCE_DOES_NOT_EXIST"):
            client.delete_registered_model_alias(name, alias)

    @contextmanager
    def _client(self) -> "Iterator[Client]":
        with mlflow.never_repeated(), self.store.client(_ADVICE) as client:
            yield client


def _look(client: "Client", name: str) -> Registered:
    with mlflow.answered("RESOURCE_DOES_NOT_EXIST"):
        aliases = client.get_registered_model(name).aliases
        versions = sorted(_versions(client, name), key=lambda version: int(version.version))
        entries = tuple(
            MlflowVersion(str(version.version), dict(version.tags), str(version.current_stage), version.run_id)
            for version in versions
        )
        return Registered(entries, {alias: str(number) for alias, number in aliases.items()})
    return Registered()


def _versions(client: "Client", name: str) -> "Iterator[ModelVersion]":
    token = None
    while True:
        page = client.search_model_versions(f"name = '{name}'", page_token=token)
        yield from page
        token = page.token
        if not token:
            return


def _run(client: "Client", experiment: str, release: Release, record: Record) -> "LoggedRun":
    """Return the run of a release: a finished one, else one that was begun, else a new one."""
    version = release.version
    wanted = {_NAME: version.name, VERSION: version.label, DIGEST: release.digest}
    runs = client.search_runs([experiment], " AND ".join(f"tags.`{key}` = '{value}'" for key, value in wanted.items()))
    by_status = {run.info.status: run for run in runs}
    begun = by_status.get("FINISHED") or next(iter(by_status.values()), None)
    if begun:
        return begun
    tracked = client.search_runs(
        [experiment],
        f"tags.`{track_runs.DIGEST}` = '{release.digest}' AND tags.`{track_runs.RESULT}` != '' "
        "AND attributes.status = 'FINISHED'",
        max_results=1,
        order_by=["attributes.start_time ASC", "attributes.run_id ASC"],
    )
    shown = {**record.origin, **({_TRACKED: tracked[0].info.run_id} if tracked else {})}
    tags = release.tags | {_NAME: version.name} | shown
    return client.create_run(experiment, run_name=f"{version.name} {version.label}", tags=tags)


def _log(client: "Client", run: "LoggedRun", release: Release, bundle: Path, record: Record) -> None:
    # At the time of the run, not of the call: a metric that is written again is then the same point.
    entities, time, run_id = mlflow.library().entities, run.info.start_time, run.info.run_id
    metrics = [entities.Metric(key, value, time, 0) for key, value in record.metrics.items()]
    params = [entities.Param(key, value) for key, value in record.params.items()]
    client.log_batch(run_id, metrics=metrics, params=params)
    mlflow.log_datasets(client, run_id, record.datasets)
    if (digest := manifest.verify(bundle)) != release.digest:
        raise UserError(f"{bundle}: has the digest {digest}, but {release.version} was released with {release.digest}")
    with tempfile.TemporaryDirectory() as folder:
        package.write(bundle, Path(folder, _MODEL))
        for name in _SHOWN:
            if (bundle / name).exists():
                shutil.copy(bundle / name, folder)
        for name, text in record.pictures.items():
            files.write_text(Path(folder, "curves", name), text)
        client.log_artifacts(run_id, folder)
    client.set_terminated(run_id, "FINISHED")


def _ensure_version(client: "Client", release: Release, run: "LoggedRun", bundle: Path) -> MlflowVersion:
    """Return the version of a run: one whose tags were changed gets them back, else one is made with its tags."""
    name, run_id = release.version.name, run.info.run_id
    for entry in _look(client, name).entries:
        if entry.run == run_id:
            for key, value in release.tags.items():
                client.set_model_version_tag(name, entry.number, key, value)
            return entry
    shown = {key: run.data.tags[key] for key in (PULL_REQUEST, _TRACKED) if key in run.data.tags}
    created = client.create_model_version(
        name,
        f"{run.info.artifact_uri}/{_MODEL}",
        run_id,
        release.tags | shown,
        description=_description(bundle / _CARD),
        await_creation_for=0,
    )
    return _look(client, name).find(release.version.label, release.digest) or MlflowVersion(
        str(created.version), release.tags
    )


def _description(card: Path) -> str | None:
    """Return a model card, as many whole lines of it as MLflow has room for; None if a bundle has none."""
    if not card.exists():
        return None
    text = card.read_text(encoding="utf-8")
    if len(text) <= _DESCRIPTION:
        return text
    more = f"\n\nThe rest of it is in {_CARD}, among the artifacts of the run."
    return text[: _DESCRIPTION - len(more)].rpartition("\n")[0] + more
