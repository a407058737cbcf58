"""What MLflow's model registry has of a model, and each single change that brings it in line with what is declared.

Every change can be repeated, also after a kill at any point of it: a version is made with its tags in one request, so
that it is either found again or not there; all before that is found by the tags of its run. MLflow numbers versions
itself and cannot be told to make one only once, so of two that are the same release the lower number counts.
"""

import os
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Self

from trunkline.adapters import mlflow
from trunkline.bundle import manifest
from trunkline.conf.tracking import Tracking
from trunkline.core.errors import UserError
from trunkline.deploy.mlflow import package

if TYPE_CHECKING:
    from trunkline.adapters.mlflow import Client, LoggedRun, ModelVersion

from trunkline.deploy.mlflow.state import DIGEST, VERSION, MlflowVersion, Registered, Release

_NAME = "trunkline.name"  # a tag of the run only
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

    def register(self, release: Release, bundle: Path, metrics: Mapping[str, float]) -> str:
        """Return the number of a release's version, which is made of its bundle if it is not there.

        `metrics` are logged in its run. Raises UserError if the bundle is not what its manifest says, or not the one
        that was released.
        """
        with self._client() as client:
            name = release.version.name
            entry = _look(client, name).find(release.version.label, release.digest)
            if entry is None:
                run = _run(client, mlflow.experiment(client, self.experiment, self.store.artifacts), release)
                if run.info.status != "FINISHED":
                    _log(client, run, release, bundle, metrics)
                with mlflow.answered("RESOURCE_ALREADY_EXISTS"):
                    client.create_registered_model(name)
                entry = _ensure_version(client, release, run)
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


def _run(client: "Client", experiment: str, release: Release) -> "LoggedRun":
    """Return the run of a release: a finished one, else one that was begun, else a new one."""
    version = release.version
    wanted = {_NAME: version.name, VERSION: version.label, DIGEST: release.digest}
    runs = client.search_runs([experiment], " AND ".join(f"tags.`{key}` = '{value}'" for key, value in wanted.items()))
    by_status = {run.info.status: run for run in runs}
    begun = by_status.get("FINISHED") or next(iter(by_status.values()), None)
    name = f"{version.name} {version.label}"
    return begun or client.create_run(experiment, run_name=name, tags=release.tags | {_NAME: version.name})


def _log(client: "Client", run: "LoggedRun", release: Release, bundle: Path, metrics: Mapping[str, float]) -> None:
    # At the time of the run, not of the call: a metric that is written again is then the same point.
    entity, time = mlflow.library().entities.Metric, run.info.start_time
    client.log_batch(run.info.run_id, [entity(key, value, time, 0) for key, value in metrics.items()])
    if (digest := manifest.verify(bundle)) != release.digest:
        raise UserError(f"{bundle}: has the digest {digest}, but {release.version} was released with {release.digest}")
    with tempfile.TemporaryDirectory() as folder:
        package.write(bundle, Path(folder, _MODEL))
        client.log_artifacts(run.info.run_id, folder)
    client.set_terminated(run.info.run_id, "FINISHED")


def _ensure_version(client: "Client", release: Release, run: "LoggedRun") -> MlflowVersion:
    """Return the version of a run: one whose tags were changed gets them back, else one is made with its tags."""
    name, run_id = release.version.name, run.info.run_id
    for entry in _look(client, name).entries:
        if entry.run == run_id:
            for key, value in release.tags.items():
                client.set_model_version_tag(name, entry.number, key, value)
            return entry
    source = f"{run.info.artifact_uri}/{_MODEL}"
    created = client.create_model_version(name, source, run_id, release.tags, await_creation_for=0)
    return _look(client, name).find(release.version.label, release.digest) or MlflowVersion(
        str(created.version), release.tags
    )
