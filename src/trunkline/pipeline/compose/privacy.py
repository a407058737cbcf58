"""Where each column of conf/contract appears, from its source to the log, and whether its class allows that. Pure."""

from collections.abc import Iterator
from dataclasses import dataclass

from trunkline.conf.contract import Privacy
from trunkline.conf.features import Lookup, RowExpression
from trunkline.conf.origins import Origin, Origins
from trunkline.conf.privacy import PERSONAL, RESTRICTED, looks
from trunkline.conf.project import Project
from trunkline.core.errors import UserError

KEPT, LEFT_OUT = "kept", "left out"
PLACES = {
    "source": "what conf/data reads",
    "tables": "data/raw, data/valid and data/quarantine",
    "derived": "a column of conf/data that is made of it",
    "rows": "data/features and data/predictions",
    "target": "what is predicted",
    "key": "a view that joins rows by it",
    "feature": "what the model reads; the graph holds the categories of its texts",
    "golden.json": "requests with their scores, in the bundle",
    "reference.json": "histograms and metrics of slices, in the bundle",
    "contract.json": "the texts of the training rows, in the bundle",
    "slice": "reports/slices.json and the comment",
    "card": "the model card",
    "mlflow": "the run in MLflow",
    "cluster": "what intervals are resampled by",
    "report": "the report of monitoring",
    "online": "the store of features",
    "log": "the log of predictions",
}
_TREATMENTS = {"keep": KEPT, "hash": "hashed", "leave_out": LEFT_OUT}


@dataclass(frozen=True, order=True)
class Appearance:
    """A place where a column appears, by itself or in what is made of it, and what becomes of its values there."""

    table: str
    column: str
    privacy: Privacy
    place: str
    name: str  # of the feature, slice, view, file or column of the log
    treatment: str
    because: str | None = None  # the reason that conf/contract declares


@dataclass(frozen=True)
class _Use:
    """Columns in a place; `key` is that of conf/ which puts them there, where that needs a reason."""

    place: str
    name: str
    origins: frozenset[Origin]
    treatment: str = KEPT
    key: str | None = None


def verify(project: Project) -> None:
    """Refuse a sensitive column or an identifier where no reason is declared; raises UserError, a line for each."""
    mistakes = [
        f"{use.key}: reads {each.table}.{each.column}, which is {each.privacy}: leave it out, or say why it is here "
        f"by contract.tables.{each.table}.columns.{each.column}.privacy_because.{use.place}"
        for use in _uses(project)
        if use.key
        for each in sorted(_appearances(project, use))
        if each.privacy in RESTRICTED and each.because is None
    ]
    if mistakes:
        raise UserError("\n".join(mistakes))


def appearances(project: Project) -> tuple[Appearance, ...]:
    """Return every place where each column appears, from its source to the log."""
    order = {place: number for number, place in enumerate(PLACES)}
    listed = {each for use in _uses(project) for each in _appearances(project, use)}
    return tuple(sorted(listed, key=lambda each: (each.table, each.column, order[each.place], each.name)))


def suspicions(project: Project) -> tuple[str, ...]:
    """Return a line for each column that looks personal, is public, and of which no reason says that it may be."""
    lines = []
    for table, of in project.contract.tables.items():
        for name, column in of.columns.items():
            suggested = looks(name, column.type) or _names_rows(project, table, name)
            if suggested and of.privacy_of(name) == "public" and "public" not in column.privacy_because:
                lines.append(
                    f"contract.tables.{table}.columns.{name}: is public, but looks like {suggested[1]}: declare "
                    f"privacy: {suggested[0]}, or say by privacy_because.public why it is public"
                )
    return tuple(lines)


def _names_rows(project: Project, table: str, column: str) -> tuple[str, str] | None:
    """Return the class of a column whose values each name one row of the observations."""
    alone = (column,) in (project.contract.tables[table].unique, project.data.unique_key)
    return ("identifier", "what names a row") if alone and table == project.data.observations else None


def _appearances(project: Project, use: _Use) -> Iterator[Appearance]:
    for table, column in use.origins:
        of = project.contract.tables[table]
        because = {str(place): reason for place, reason in of.columns[column].privacy_because.items()}.get(use.place)
        yield Appearance(table, column, of.privacy_of(column), use.place, use.name, use.treatment, because)


def _uses(project: Project) -> Iterator[_Use]:
    origins = Origins(project.contract, project.data, project.features)
    yield from _of_tables(project, origins)
    yield from _of_features(project, origins)
    yield from _of_reports(project, origins)
    yield from _of_store(project, origins)
    yield from _of_log(project, origins)


def _of_tables(project: Project, origins: Origins) -> Iterator[_Use]:
    data = project.data
    for table, of in project.contract.tables.items():
        derived = data.derive.get(table, {})
        for column in of.columns:
            itself = frozenset({Origin(table, column)})
            yield _Use("tables", table, itself)
            if column in derived:
                yield _Use("derived", f"{table}.{column}", origins.of_columns(table, [column]) - itself)
            else:
                yield _Use("source", table, itself)
            if table == data.observations:
                yield _Use("rows", table, itself)
    yield _Use("target", data.target.name, origins.of_request(data.target.expression))


def _of_features(project: Project, origins: Origins) -> Iterator[_Use]:
    for view_name, view in project.features.views.items():
        if not isinstance(view, RowExpression):
            yield _Use("key", view_name, origins.of_columns(project.data.observations, view.keys))
        for name in view.features:
            if name not in project.features.hidden:
                yield from _of_feature(f"features.views.{view_name}.features.{name}", name, origins)


def _of_feature(key: str, name: str, origins: Origins) -> Iterator[_Use]:
    of, personal = origins.of_features[name], name in origins.personal_features
    yield _Use("feature", name, of, key=key)
    yield _Use("golden.json", name, of, "replaced" if personal else KEPT)
    yield _Use("reference.json", name, of, "small cells left out" if personal else KEPT)
    yield _Use("contract.json", name, of, LEFT_OUT if personal else KEPT)


def _of_reports(project: Project, origins: Origins) -> Iterator[_Use]:
    evaluation, observations = project.evaluation, project.data.observations
    for name, source in evaluation.slices.items():
        of = origins.of_request(source)
        shown = LEFT_OUT if origins.privacy(of) in PERSONAL else KEPT
        yield _Use("slice", name, of, key=f"evaluation.slices.{name}")
        for place in ("reference.json", "card", "mlflow"):
            yield _Use(place, name, of, shown)
    if evaluation.interval.cluster is not None:
        yield _Use("cluster", "interval", origins.of_request(evaluation.interval.cluster), "not shown")
    for column in project.monitoring.slices:
        yield _Use("report", column, origins.of_columns(observations, [column]), key="monitoring.slices")


def _of_store(project: Project, origins: Origins) -> Iterator[_Use]:
    """Yield what the store of features holds: the keys, and what features are made of."""
    views = project.features.views.values() if project.serving.online else ()
    for view in views:
        if not isinstance(view, RowExpression):
            table = view.table if isinstance(view, Lookup) else project.features.streams[view.stream].table
            features = (origins.of_features[name] for name in view.features)
            yield _Use("online", table, origins.of_columns(table, view.keys).union(*features))


def _of_log(project: Project, origins: Origins) -> Iterator[_Use]:
    """Yield what the log holds: columns of requests, and features."""
    log, table = project.serving.log, project.data.observations
    if log is None:
        return
    logged = {name: origins.of_columns(table, [name]) for name in project.contract.tables[table].columns}
    logged |= {name: of for name, of in origins.of_features.items() if name not in project.features.hidden}
    for name, of in logged.items():
        treatment = log.columns.get(name) or ("leave_out" if origins.privacy(of) in PERSONAL else "keep")
        key = f"serving.log.columns.{name}" if treatment == "keep" else None
        yield _Use("log", name, of, _TREATMENTS[treatment], key)
