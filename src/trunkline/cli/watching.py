"""What `trunkline monitor` looks at: an environment's bundle, its log, its outcomes, and what is declared of it."""

import json
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from trunkline.conf.monitoring import Monitoring
    from trunkline.conf.versions import Version
    from trunkline.core.arrays import Floats
    from trunkline.core.params import Params
    from trunkline.monitor.measure import Measured, Plan, Source
    from trunkline.monitor.report import Report, Watched
    from trunkline.monitor.rival import Previous
    from trunkline.monitor.selftest import Model

_STORE = Path(".trunkline/bundles")  # of trunkline reconcile
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(frozen=True)
class Running:
    """A bundle: its folder, digest, and the version it is of, with the moment of its release; None: it was named."""

    folder: Path
    digest: str
    version: str | None = None
    released: datetime | None = None


@dataclass(frozen=True)
class Scope:
    """What a report is of: what is looked at, by which rules and first metric, and what is measured, and how."""

    watched: "Watched"
    monitoring: "Monitoring"
    metric: str
    source: "Source"
    plan: "Plan"

    def report(self, measured: "Measured") -> "Report":
        """Return what the rules say of what was measured."""
        from trunkline.monitor.report import Report

        return Report(self.watched, self.monitoring, measured, self.metric)


def running(params: "Params", environment: str, aside: Path) -> Running:
    """Return the bundle of the version that the registry file has an environment run, as `of_version`.

    Raises UserError where it runs none.
    """
    from trunkline.core import paths
    from trunkline.core.errors import UserError

    version = current(params, environment)
    if version is None:
        raise UserError(f"{paths.REGISTRY}: {environment} runs no version; name a bundle: --bundle models/bundle")
    return of_version(version, aside)


def current(params: "Params", environment: str) -> "Version | None":
    """Return the version that the registry file has an environment run; raises UserError for an unknown environment."""
    from trunkline.adapters.git import ancestry
    from trunkline.conf import registry, versions
    from trunkline.core import paths
    from trunkline.core.errors import UserError, nearest

    tags = [tag.name for tag in ancestry.annotated(Path())]
    arms = registry.read(paths.REGISTRY, params.name).resolve(versions.of(params.name, tags))
    if environment not in arms:
        raise UserError(f"--env {environment}: no such environment in {paths.REGISTRY}{nearest(environment, arms)}")
    return arms[environment].current


def of_version(version: "Version", aside: Path, store: Path = _STORE, *, fetching: bool = True) -> Running:
    """Return the bundle of a version: of this machine, or else fetched below a folder from DVC's remote, if it may be.

    Raises UserError or OutsideError where it is nowhere.
    """
    from trunkline.adapters.dvc import fetch
    from trunkline.adapters.git import ancestry
    from trunkline.core import paths
    from trunkline.core.errors import OutsideError, UserError
    from trunkline.lineage import bundles
    from trunkline.release import message

    tag = ancestry.tag(Path(), version.tag)
    if tag is None:
        raise UserError(f"{version.tag} was never released")
    digest = message.parse_message(tag.message).bundle
    released = datetime.fromisoformat(tag.date).astimezone(UTC)
    try:
        folder = bundles.find(Path(), digest, [paths.BUNDLE, store / digest], aside)
    except UserError as error:
        if not fetching:
            raise
        folder = aside / f"fetched-{digest}"
        try:
            fetch.fetch(Path(), version, folder)
        except OutsideError as failed:
            raise OutsideError(f"{error}; and it cannot be fetched: {failed}") from None
    return Running(folder, digest, version.label, released)


def previous(params: "Params", environment: str, aside: Path) -> "Previous":
    """Return the version that ran before, by the registry file's history, and its bundle, found as `of_version`.

    Raises UserError where none did, or it cannot be loaded.
    """
    from trunkline.adapters.git import repository
    from trunkline.core.errors import UserError
    from trunkline.deploy import proposal, propose
    from trunkline.monitor import rows
    from trunkline.monitor.rival import Previous
    from trunkline.serve import bundles

    tip = repository.resolve(Path(), "HEAD")
    version = proposal.previous(propose.ran_in(Path(), tip, params.name, environment)) if tip else None
    if version is None:
        raise UserError(f"nothing ran in {environment} before")
    return Previous(version.label, bundles.load(of_version(version, aside).folder, rows.BATCH))


def idle(params: "Params", environment: str, log: str | None) -> str | None:
    """Return why there is nothing to watch yet, where a project has no log, or the environment runs no version."""
    from trunkline.conf.serving import Serving
    from trunkline.core import paths

    if log is None and params.group(Serving).log is None:
        return "conf/serving declares no prediction log: serving.log"
    return None if current(params, environment) else f"{paths.REGISTRY}: {environment} runs no version"


def named(folder: Path) -> Running:
    """Return a bundle by its folder; raises UserError where it is none."""
    from trunkline.bundle import manifest

    return Running(folder, manifest.verify(folder))


def source(params: "Params", bundle: Path, log: str | None) -> "Source":
    """Return what is measured: the log, its outcomes, and the bundle's reference; raises UserError without a log."""
    from trunkline.cli.labels import log_place
    from trunkline.conf.data import Data
    from trunkline.monitor.measure import Source
    from trunkline.serve.labels import store

    target, place = params.group(Data).target, log_place(Path(), log)
    return Source(place, reference(bundle), store.read(place, target.task), target.task, target.class_names)


def reference(bundle: Path) -> Any:
    """Return the content of a bundle's reference.json; raises UserError for a bundle of before there was one."""
    from trunkline.core.errors import UserError

    path = bundle / "reference.json"
    if not path.is_file():
        raise UserError(f"{path}: there is no such file; the bundle is too old to be watched: make it again, dvc repro")
    return json.loads(path.read_text(encoding="utf-8"))


def declared(params: "Params") -> "Monitoring":
    """Return conf/monitoring; what is watched of any model where a params.yaml of before has none."""
    from trunkline.conf.monitoring import Monitoring
    from trunkline.core.params import dig

    return params.group(Monitoring) if dig(params.content, Monitoring.key) else Monitoring()


def watched(of: Running, environment: str, monitoring: "Monitoring", as_of: datetime) -> "Watched":
    """Return what is looked at, from the beginning of the first window that is read."""
    from trunkline.monitor.report import Watched

    since = as_of - monitoring.read
    begin = since - (since - _EPOCH) % monitoring.window
    return Watched(environment, of.version, of.digest, begin, as_of, of.released)


def plan(params: "Params", monitoring: "Monitoring", looked_at: "Watched", released: datetime | None) -> "Plan":
    """Return what is to be measured of it."""
    from trunkline.conf.data import Data
    from trunkline.monitor.measure import Plan

    known_after = params.group(Data).target.known_after
    return Plan(
        looked_at.since,
        looked_at.as_of,
        monitoring.window,
        monitoring.matures or known_after or timedelta(0),
        environment=looked_at.environment,
        digest=looked_at.digest,
        slices=monitoring.slices,
        cluster=monitoring.cluster,
        features=monitoring.features,
        released=released,
    )


def report(params: "Params", of: Running, environment: str, log: str | None, as_of: datetime) -> "Report":
    """Return what the log says of a bundle in an environment, as of a moment (UTC), by the rules that are declared."""
    from trunkline.monitor import measure

    asked = scope(params, of, environment, log, as_of)
    return asked.report(measure.measure(asked.source, asked.plan))


def scope(params: "Params", of: Running, environment: str, log: str | None, as_of: datetime) -> Scope:
    """Return what a report of a bundle in an environment is of, as of a moment (UTC); raises as `source`."""
    monitoring = declared(params)
    looked_at = watched(of, environment, monitoring, as_of)
    how = plan(params, monitoring, looked_at, of.released)
    return Scope(looked_at, monitoring, first_metric(params), source(params, of.folder, log), how)


def first_metric(params: "Params") -> str:
    """Return the metric of rules that name none: the first of conf/evaluation."""
    from trunkline.conf.evaluation import Evaluation

    return params.group(Evaluation).metrics[0]


def model(folder: Path) -> "Model":
    """Return a bundle that scores rows of features; raises UserError where it is none, or is of scikit-learn."""
    import polars as pl

    from trunkline.bundle.runtime import Bundle
    from trunkline.monitor.selftest import Model

    bundle = Bundle.load(folder)

    def score(rows: pl.DataFrame) -> "Floats":
        numbers = rows.select(pl.col(bundle.numeric).cast(pl.Float64)).fill_null(float("nan"))
        texts = rows.select(pl.col(bundle.categorical)).to_numpy().astype(object)
        return bundle.scores(
            numbers.to_numpy().reshape(rows.height, -1), texts.reshape(rows.height, len(bundle.categorical))
        )

    return Model(bundle.contract, bundle.digest, reference(folder), score)
