"""What each column is to the model: a feature, or else why not. Pure."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import polars as pl
from sklearn.model_selection import cross_val_score
from sklearn.tree import DecisionTreeClassifier

from trunkline.conf.privacy import looks, words
from trunkline.init.profile import LISTED, Column, Table
from trunkline.init.target import Target
from trunkline.pipeline.gate import leaks

Role = Literal["feature", "label", "outcome", "identifier", "constant", "empty", "time", "text", "personal"]

SAMPLE = 20_000  # rows by which it is measured what a column alone knows of the label
SUSPECT = 0.9  # how well a column may rank the labels by itself before a person must say why
LEAK = 0.99  # from here on it is taken for the label itself; of several classes, if it also tells each from all others
DISTINCT = 0.5  # share of different values from which on a text or an id names the row
MOST_CATEGORIES = 200  # that a text may have as a feature
WORDY = 40  # characters, on average, of a text that people have written
_TOGETHER, _ELSEWHERE = 0.5, 0.05  # shares of missing values where the label is missing, and elsewhere

_IDENTIFIER = re.compile(r"(^|_)(id|uuid|guid|key|no|nr|number|index|row|unnamed\w*)(_|$)")
_ENTITY = re.compile(r"(^|_)(id|uuid|guid)$")
_LATER = re.compile(r"(^|_)(actual|arr|arrival|clos\w+|complet\w+|deliver\w+|end\w*|finish\w*|resol\w+|result\w*)(_|$)")


@dataclass(frozen=True)
class ColumnRole:
    """What a column is to the model and why; `strength` is how well it ranks the labels alone, if that was measured."""

    role: Role
    why: str
    strength: float | None = None


def privacy(column: Column) -> str | None:
    """Return the privacy class that a column's name or its values suggest; None where they suggest none."""
    suggested = looks(column.name, column.type)
    return suggested[0] if suggested else "personal" if column.looks_like else None


def privacy_why(column: Column) -> str:
    """Say why a column has the class that `privacy` returns."""
    suggested = looks(column.name, column.type)
    return f"its name is that of {suggested[1]}" if suggested else f"its values look like {column.looks_like}"


def roles(table: Table, of: Target, labels: pl.Series) -> dict[str, ColumnRole]:
    """Return the role of every column."""
    by_shape = {column.name: _by_shape(column, of) for column in table.columns}
    plain = [name for name, role in by_shape.items() if role is None]
    measured = strengths(table, of, labels, plain)
    return {name: role or _by_labels(table, name, of, labels, measured.get(name)) for name, role in by_shape.items()}


def _by_shape(column: Column, of: Target) -> ColumnRole | None:  # noqa: PLR0911  one per role
    name = words(column.name)
    if column.name in of.read:
        return ColumnRole("label", "the label is made of it")
    if column.present == 0:
        return ColumnRole("empty", "it has no values")
    if column.distinct == 1 and not column.missing:
        return ColumnRole("constant", "it has one value")
    if column.type == "time":
        late = _LATER.search(name)
        return ColumnRole("outcome", "its name says that it is later") if late else ColumnRole("time", "it is a time")
    if column.type == "text" and privacy(column) == "personal":
        return ColumnRole("personal", "its name says that it tells who somebody is")
    many = column.distinct > max(50, DISTINCT * column.present)
    if column.type == "text" and (many or column.distinct > MOST_CATEGORIES):
        different = f"{column.distinct:,} of {column.present:,} values are different"
        return ColumnRole("text", column.notation) if column.notation else ColumnRole("identifier", different)
    if column.type == "text" and column.length > WORDY:
        return ColumnRole("text", f"its texts have {column.length:.0f} characters on average")
    counted = column.distinct == column.rows and (column.high or 0) - (column.low or 0) == column.rows - 1
    if column.type == "integer" and (counted or (many and _IDENTIFIER.search(name))):
        return ColumnRole("identifier", "it counts or names the rows")
    if column.type == "integer" and column.distinct > LISTED and _ENTITY.search(name):
        return ColumnRole("identifier", f"it names one of {column.distinct:,}, and how large it is means nothing")
    return None


def _by_labels(table: Table, name: str, of: Target, labels: pl.Series, strength: float | None) -> ColumnRole:
    missing = labels.is_null()
    empty = table.frame[name].is_null()
    unknown, known = empty.filter(missing), empty.filter(~missing)
    if unknown.len() >= 5 and unknown.mean() > _TOGETHER and known.mean() < _ELSEWHERE:  # type: ignore[operator]
        return ColumnRole("outcome", "it is missing where the label is missing", strength)
    if table.frame[name].filter(~missing).n_unique() == 1:
        return ColumnRole("outcome", "it has one value wherever the label is known", strength)
    if (
        strength is not None
        and strength >= LEAK
        and (of.task != "multiclass" or tells_classes(table.frame[name], labels))
    ):
        return ColumnRole(
            "outcome", f"alone it ranks the labels by {strength:.3f}, too well to be known before", strength
        )
    return ColumnRole("feature", "", strength)


def strengths(table: Table, of: Target, labels: pl.Series, columns: Sequence[str]) -> Mapping[str, float]:
    """Return how well each column alone ranks the labels of a sample of the rows."""
    if not columns:
        return {}
    frame = table.frame.select(columns).with_columns(labels.alias("\0label")).drop_nulls("\0label")
    if frame.height > SAMPLE:
        frame = frame.sample(SAMPLE, seed=0)
    types = {name: pl.String if frame[name].dtype == pl.String else pl.Float64 for name in columns}
    features = frame.select(pl.col(name).cast(kind) for name, kind in types.items())
    return leaks.strengths(features, frame["\0label"].to_numpy(), of.task)


def tells_classes(values: pl.Series, labels: pl.Series) -> bool:
    """Tell whether a column alone decides which class a row is of, as a code of the classes does.

    The strength of a column is that of the class which it ranks best: one class of iris by the length of its petals.
    """
    frame = pl.DataFrame({"value": values.rank("dense").fill_null(0), "label": labels}).drop_nulls()
    frame = frame.sample(min(frame.height, SAMPLE), seed=0)
    tree = DecisionTreeClassifier(min_samples_leaf=3, random_state=0)
    scores = cross_val_score(tree, frame.select("value").to_numpy(), frame["label"].to_numpy(), cv=3)
    return bool(scores.mean() >= LEAK)
