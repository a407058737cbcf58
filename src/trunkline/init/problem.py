"""Everything that is guessed of some tables, in one value: what the files of a project are written from. Pure."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import polars as pl

from trunkline.conf.privacy import words
from trunkline.core.errors import UserError
from trunkline.core.features import EVENT_TIME
from trunkline.init import key as row_key
from trunkline.init import names, roles, target, timing
from trunkline.init.guess import Guess
from trunkline.init.key import Key
from trunkline.init.profile import Column, Table
from trunkline.init.roles import ColumnRole
from trunkline.init.sources import Named
from trunkline.init.target import Target
from trunkline.init.timing import Timing

MOST_SLICES = 3
MOST_PARTS = 12  # values of a column that is sliced by


@dataclass(frozen=True)
class Answers:
    """What a person has said: on the command line, or asked for it."""

    target: str
    name: str | None = None
    time: str | None = None
    key: tuple[str, ...] = ()


@dataclass(frozen=True)
class ProfiledTable:
    """A table with its source, and the columns by which its rows are told apart."""

    named: Named
    table: Table
    unique: Key


@dataclass(frozen=True)
class Problem:
    """What is predicted from what: a row of the first table is a prediction; features and slices are expressions."""

    name: str
    tables: tuple[ProfiledTable, ...]
    target: Target
    labels: pl.Series = field(compare=False)
    roles: Mapping[str, ColumnRole]
    key: tuple[str, ...]
    timing: Timing
    features: Mapping[str, str]
    slices: Mapping[str, str]
    smallest_slice: int
    model: str
    guesses: tuple[Guess, ...]

    @property
    def observed(self) -> ProfiledTable:
        """The table in which a row is a prediction."""
        return self.tables[0]

    @property
    def held_out(self) -> int:
        """About how many rows are measured on."""
        return int(self.labels.drop_nulls().len() * timing.HELD_OUT)


def problem(tables: Sequence[tuple[Named, Table]], answers: Answers) -> Problem:
    """Guess everything that the answers do not say; raises UserError for an answer that does not fit the tables."""
    named, observed = tables[0]
    of, guesses = target.target(observed, answers.target)
    for name in answers.key:
        target.check_column(observed, name, "--key")
    if answers.time is not None:
        target.check_column(observed, answers.time, "--time")
    labels = target.labels(observed, of)
    by_name = roles.roles(observed, of, labels)
    when = timing.timing(observed, by_name, of, labels, answers.time)
    by_name = {**by_name, **timing.following(observed, by_name, when)}
    features = _features(observed, by_name, when, of)
    request = [name for name, role in by_name.items() if role.role not in ("label", "outcome")]
    if not request or not features:
        why = "; ".join(f"{name}: {role.why}" for name, role in list(by_name.items())[:5])
        raise UserError(f"{named.name}: no column is left to predict from: {why}; supply more columns")
    chosen = (
        Key(answers.key, row_key.repeated(observed, answers.key)) if answers.key else row_key.key(observed, request)
    )
    smallest = 100 if labels.drop_nulls().len() >= 8_000 else 20
    slices = _slices(observed, by_name, labels, smallest)
    others = [ProfiledTable(each, table, row_key.key(table, table.frame.columns)) for each, table in tables[1:]]
    return Problem(
        name=names.project(answers.name or named.name),
        tables=(ProfiledTable(named, observed, _unique(observed, chosen)), *others),
        target=of,
        labels=labels,
        roles=by_name,
        key=chosen.columns,
        timing=when,
        features=features,
        slices=slices,
        smallest_slice=smallest,
        model=_model(of, labels.drop_nulls().len()),
        guesses=tuple(guesses),
    )


def _unique(table: Table, chosen: Key) -> Key:
    """Return the columns that must be unique: the key, or with the outcomes besides where rows share what is known."""
    everything = tuple(table.frame.columns)
    return chosen if not chosen.repeated else Key(everything, row_key.repeated(table, everything))


def _features(table: Table, by_name: Mapping[str, ColumnRole], when: Timing, of: Target) -> dict[str, str]:
    """Return every plain column as a feature, and the parts of the time of a row."""
    columns = set(table.frame.columns)
    reserved = {*columns, EVENT_TIME, of.name}
    features: dict[str, str] = {}
    for name, role in by_name.items():
        if role.role == "feature" and name not in when.columns:
            feature = names.slug(name, (reserved | features.keys()) - {name}, "column")
            features[feature] = names.reference(name)
    if when.event_time is not None and when.window is not None:
        times = {"weekday": "weekday(event_time)"}
        if _has_hours(table, when):
            times["hour"] = "hour(event_time)"
        features |= {
            names.slug(f"event_{part}", reserved | features.keys(), "event"): how for part, how in times.items()
        }
    return features


def _has_hours(table: Table, when: Timing) -> bool:
    if when.event_time not in {names.reference(name) for name in when.columns}:
        return "local_time(1970" not in str(when.event_time) or "minutes(" in str(when.event_time)
    times = table.frame[when.columns[0]].drop_nulls()
    return bool((times.dt.hour() != 0).any())


def _slices(table: Table, by_name: Mapping[str, ColumnRole], labels: pl.Series, smallest: int) -> dict[str, str]:
    """Return what the holdout is sliced by: columns of few values, of which two or more have rows enough there."""
    labelled = int(labels.drop_nulls().len())
    share = timing.HELD_OUT * labelled / max(1, table.frame.height)
    sliceable = [
        column
        for column in table.columns
        if by_name[column.name].role == "feature"
        and column.type in ("text", "boolean")
        and 2 <= column.distinct <= MOST_PARTS
        and sum(count * share >= 1.5 * smallest for count in column.counts) >= 2
    ]
    ranked = sorted(sliceable, key=lambda column: (roles.privacy(column) is None, column.distinct))
    slices: dict[str, str] = {}
    for column in ranked[:MOST_SLICES]:
        slices[names.slug(column.name, {*slices, "all"}, "column")] = names.reference(column.name)
    return slices


def _model(of: Target, rows: int) -> str:
    if of.task == "regression":
        return "ridge" if rows < 1_000 else "gbm_regression"
    return "forest_small" if rows < 4_000 else "boosting_small" if rows < 40_000 else "gbm"


def suggests_streams(whole: Problem) -> tuple[Column, ...]:
    """Return the columns of the observations that repeat often enough for views on the past of what they name."""
    table = whole.observed.table
    return tuple(
        column
        for column in table.columns
        if column.type in ("text", "integer")
        and whole.roles[column.name].role in ("feature", "identifier")
        and column.name not in whole.timing.columns
        and 2 <= column.distinct <= column.rows / 5
        and (column.type == "text" or words(column.name).endswith(("_id", "id", "_no", "number")))
    )
