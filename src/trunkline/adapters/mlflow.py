"""The one module that imports mlflow: its client at an address, whose failures are one line without a secret.

MLflow is imported when it is first used, with an environment in which a store that does not answer is an error
within seconds. Where the store is a SQLite file, one process at a time uses it.
"""

import json
import os
import re
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any, TypeAlias
from urllib.parse import unquote

import sqlalchemy
from filelock import FileLock

from trunkline.conf.tracking import URI, is_server
from trunkline.core.addresses import shown
from trunkline.core.errors import OutsideError, UserError

if TYPE_CHECKING:
    import mlflow.entities.model_registry

    Client: TypeAlias = mlflow.MlflowClient
    LoggedRun: TypeAlias = mlflow.entities.Run
    ModelVersion: TypeAlias = mlflow.entities.model_registry.ModelVersion


ARTIFACTS = "mlartifacts"

# What the user has set stays. Three tries of ten seconds, where MLflow would make eight of two minutes.
_ENVIRONMENT = {
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "MLFLOW_LOGGING_LEVEL": "WARNING",
    "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true",
    "MLFLOW_UV_AUTO_DETECT": "false",  # would copy a uv.lock, with the addresses in it
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "2",
    "MLFLOW_HTTP_REQUEST_BACKOFF_FACTOR": "1",
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "10",
}
USER, PASSWORD, TOKEN = "MLFLOW_TRACKING_USERNAME", "MLFLOW_TRACKING_PASSWORD", "MLFLOW_TRACKING_TOKEN"
_UNKNOWN_USER = re.compile(r"\b40[13]\b|unauthori[sz]ed|not authenticated|permission.denied", re.IGNORECASE)
_DAMAGED = re.compile("is not a database|is malformed|is encrypted")
_RETRIES = "MLFLOW_HTTP_REQUEST_MAX_RETRIES"
_LOCK_SECONDS = 300
_FOREIGN = {"mlflow", "sqlalchemy", "alembic"}  # whose errors are about the store, not about this program
_DIGEST = 36  # characters that MLflow keeps of a data set's digest


@dataclass(frozen=True)
class Dataset:
    """What a run read: its name, its hash, which kind of source it is from, where that is, and its size; no rows."""

    name: str
    digest: str
    kind: str
    source: Mapping[str, Any]
    size: Mapping[str, int]


@dataclass(frozen=True)
class MlflowStore:
    """MLflow at an address; a relative SQLite path starts at the project's home."""

    address: str
    home: Path

    @property
    def uri(self) -> str:
        """The address with a relative SQLite path resolved."""
        scheme, separator, path = self.address.partition(":///")
        relative = scheme.startswith("sqlite") and separator and not path.startswith("/")
        return f"{scheme}:///{self.home.resolve() / path}" if relative else self.address

    @property
    def artifacts(self) -> Path | None:
        """Where a new experiment's files go; None if the server decides."""
        return None if is_server(self.uri) else self.home.resolve() / ARTIFACTS

    @contextmanager
    def client(self, advice: str) -> "Iterator[Client]":
        """Yield a client, alone if the store is a SQLite file; tracking and model registry are at the one address.

        Raises OutsideError, which ends in the advice, for what fails with MLflow, its database or its file system
        while it is used; UserError if a package that speaks to the database is not installed.
        """
        with _outside(self.uri, advice), _alone(self.uri):
            yield _client(self.uri)

    def exists(self, advice: str) -> bool:
        """Ask the store for what it holds, and write nothing; tell whether MLflow has made its tables there yet.

        Raises as `client` does, after one try.
        """
        with _outside(self.uri, advice), never_repeated():
            if is_server(self.uri):
                _client(self.uri).search_experiments(max_results=1)
                return True
            return _has_tables(self.uri)


def library() -> ModuleType:
    """Return MLflow, imported when it is first asked for."""
    for key, value in _ENVIRONMENT.items():
        os.environ.setdefault(key, value)
    import mlflow  # takes seconds, and reads the environment when it is imported

    return mlflow


@contextmanager
def never_repeated() -> Iterator[None]:
    """Keep MLflow from sending a request again that may have had its effect, as it does after a time-out."""
    before = os.environ.get(_RETRIES)
    os.environ[_RETRIES] = "0"
    try:
        yield
    finally:
        os.environ.pop(_RETRIES)
        if before is not None:
            os.environ[_RETRIES] = before


@contextmanager
def answered(code: str) -> Iterator[None]:
    """End the block where MLflow answers with that code, such as RESOURCE_DOES_NOT_EXIST."""
    try:
        yield
    except library().exceptions.MlflowException as error:
        if error.error_code != code:
            raise


def experiment(client: "Client", name: str, artifacts: Path | None) -> str:
    """Return the id of an experiment, which is made if there is none; raises UserError if it was deleted."""
    existing = client.get_experiment_by_name(name)
    if existing is None:
        try:
            return str(client.create_experiment(name, artifacts.as_uri() if artifacts else None))
        except library().exceptions.MlflowException as error:
            existing = client.get_experiment_by_name(name)  # another run may have made it in the meantime
            if existing is None:
                raise error from None
    if existing.lifecycle_stage != "active":
        advice = f"restore it (mlflow experiments restore -x {existing.experiment_id}) or choose another name"
        raise UserError(f"conf/tracking: tracking.experiment: '{name}' was deleted in MLflow; {advice}")
    return str(existing.experiment_id)


def log_datasets(client: "Client", run_id: str, datasets: Iterable[Dataset]) -> None:
    """Log what a run read; one that is logged already stays as it is."""
    entities = library().entities
    inputs = [
        entities.DatasetInput(
            entities.Dataset(
                dataset.name,
                dataset.digest[:_DIGEST],
                dataset.kind,
                json.dumps(dict(dataset.source), sort_keys=True),
                profile=json.dumps(dict(dataset.size), sort_keys=True),
            )
        )
        for dataset in datasets
    ]
    if inputs:
        client.log_inputs(run_id, inputs)


def without_secrets(text: str, uri: str) -> str:
    """Return a message's first line, without what is secret of the address in it."""
    user, _, password = "".join(re.findall(r"//(.*)@", uri)).partition(":")
    query = re.findall(r"=([^&]+)", uri.partition("?")[2])
    text = text.replace(uri, shown(uri))
    for secret in filter(None, (password or user, unquote(password or user), *query)):
        text = text.replace(secret, "…")
    line = text.strip().partition("\n")[0]
    return f"{line[:200]}…" if len(line) > 200 else line


def _client(uri: str) -> "Client":
    if not is_server(uri):
        # Once, here: MLflow would try a missing database for two minutes, warning each time.
        engine = sqlalchemy.create_engine(uri)
        engine.connect().close()
        engine.dispose()
    client: Client = library().MlflowClient(tracking_uri=uri, registry_uri=uri)
    return client


def _has_tables(uri: str) -> bool:
    address = sqlalchemy.make_url(uri)
    if address.get_backend_name() == "sqlite":
        database = Path(address.database or "")
        if not database.exists():
            return False
        address = address.set(database=database.absolute().as_uri(), query={"mode": "ro", "uri": "true"})
    engine = sqlalchemy.create_engine(address)
    try:
        return sqlalchemy.inspect(engine).has_table("experiments")
    finally:
        engine.dispose()


@contextmanager
def _alone(uri: str) -> Iterator[None]:
    """Hold the lock of a SQLite file: MLflow breaks when two processes create its tables at once."""
    if not uri.startswith("sqlite"):
        yield
        return
    database = Path(sqlalchemy.make_url(uri).database or "")
    database.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(f"{database}.lock", timeout=_LOCK_SECONDS):
        if not database.exists():
            _create(database)
        yield


def _create(database: Path) -> None:
    """Create a SQLite file whole or not at all: MLflow cannot continue with tables that are half created."""
    part = database.with_name(f".{database.name}.part")
    for left in database.parent.glob(f"{part.name}*"):  # a journal that is left would be played back
        left.unlink()
    _client(f"sqlite:///{part}").search_experiments(max_results=1)
    part.replace(database)


@contextmanager
def _outside(uri: str, advice: str) -> Iterator[None]:
    """Turn a failure of MLflow, its database or its file system into one message without a secret."""
    try:
        yield
    except ModuleNotFoundError as error:
        raise UserError(f"{shown(uri)}: needs the Python package {error.name}: install it") from error
    except Exception as error:  # MLflow, the driver and the file system share no base; another one is raised
        if not isinstance(error, OSError) and type(error).__module__.partition(".")[0] not in _FOREIGN:
            raise
        root: BaseException = error  # `Connection refused`, not the five layers that say so at length
        while deeper := root.__cause__ or root.__context__:
            root = deeper
        reason = without_secrets(str(root), uri)
        raise OutsideError(f"MLflow at {shown(uri)}: {reason}; {_remedy(uri, reason)}; {advice}") from error


def _remedy(uri: str, reason: str) -> str:
    """Return what to do about a failure."""
    if is_server(uri) and _UNKNOWN_USER.search(reason):
        return f"set {USER} and {PASSWORD}, or {TOKEN}, for a user who may write there"
    if not is_server(uri) and _DAMAGED.search(reason):
        return "the file is damaged: put a copy of it back, or move it away, and a new one is made"
    if "mlflow db upgrade" in reason:
        return "it is of another version of MLflow"
    return f"start it or correct the address (tracking.uri in conf/tracking, or {URI})"
