"""conf/data: where the tables come from, what one row is, what is predicted, and over which window."""

from itertools import pairwise
from typing import Annotated, Any, ClassVar, Self
from zoneinfo import ZoneInfo, available_timezones

from pydantic import AfterValidator, Field, WithJsonSchema, model_validator

from trunkline.conf.data.sources import Source
from trunkline.core import expressions
from trunkline.core.errors import nearest
from trunkline.core.tasks import CLASSES, MOST_LABELS, NUMERIC, Task, quantile_name
from trunkline.core.values import Column, Columns, Duration, Expression, Group, Name, Period, Strict, Tuple


def _zone(name: str) -> str:
    if name not in available_timezones():
        raise ValueError(f"no time zone '{name}'{nearest(name, available_timezones())}")
    ZoneInfo(name)
    return name


Zone = Annotated[
    str, AfterValidator(_zone), WithJsonSchema({"type": "string", "title": "time zone, such as America/New_York"})
]


def _set_of(labels: dict[str, str]) -> str:
    """Return the expression of the number of a set of labels."""
    return " + ".join(f"({2**place} if ({source}) else 0)" for place, source in enumerate(labels.values()))


class Target(Strict):
    """What is predicted."""

    name: Column = Field(description="Column name of the label.")
    task: Task = Field(
        "binary",
        description="Whether a row is true or false, of one of several classes, which ordinal has in an order, a "
        "number, a count, quantiles of a number, how high it belongs among the rows of its group, or several labels.",
    )
    expression: Expression = Field(
        "",
        description="True or false, one of `classes`, a number, or a count per row; of ranking, its relevance, a whole "
        "number from 0 to 30; missing where there is no label. Of multilabel null, as `labels` stand in its place.",
        json_schema_extra={"type": ["string", "null"]},
    )
    labels: dict[Name, Expression] | None = Field(
        None,
        description="Of multilabel: the names of the labels, and whether a row has each; scores are in the order of "
        "the names, and a row of which one is missing has no label.",
        min_length=2,
        max_length=MOST_LABELS,
    )
    classes: Annotated[tuple[str | int, ...], Tuple] | None = Field(
        None,
        description="Of multiclass and ordinal: every class, in the order of the scores; of ordinal, from the lowest.",
        min_length=2,
    )
    quantiles: Annotated[tuple[float, ...], Tuple] | None = Field(
        None,
        description="Of quantile: the levels that are scored, ascending between 0 and 1; the first and the last are an "
        "interval.",
        min_length=2,
    )
    group: Columns = Field(
        (), description="Of ranking: columns whose equal values are one group, within which rows are put in order."
    )
    naive: Column | None = Field(
        None,
        description="Of a forecast: the feature that is by itself a simple one, such as the label a season before; "
        "`mase` and gates measure the model by it. Of ranking: one whose order, from the highest, is a simple one.",
    )
    known_after: Duration | None = Field(
        None, description="How long after the event the label becomes known; with `window` only."
    )

    @property
    def class_names(self) -> tuple[str, ...]:
        """The names of a row's several scores: classes, labels or quantiles; none of a task with one score."""
        return tuple(map(str, self.classes or self.labels or ())) or tuple(map(quantile_name, self.quantiles or ()))

    @model_validator(mode="after")
    def _classes_fit_the_task(self) -> Self:
        if (self.classes is None) == (self.task in CLASSES):
            raise ValueError(
                f"classes: the key is missing: {self.task} needs all its classes"
                if self.classes is None
                else f"classes: has no meaning for {self.task}; remove it, or declare task: multiclass or ordinal"
            )
        if self.classes and len(set(self.class_names)) < len(self.classes):
            raise ValueError("classes: names a class twice; remove one")
        return self

    @property
    def definition(self) -> str:
        """What the label is, in words of expressions."""
        return "; ".join(f"{name}: {source}" for name, source in (self.labels or {}).items()) or self.expression

    @model_validator(mode="before")
    @classmethod
    def _labels_are_a_set(cls, content: Any) -> Any:
        """Write labels as the number of their set, by which a label is one column wherever rows are read."""
        labels = content.get("labels") if isinstance(content, dict) else None
        if not isinstance(labels, dict) or content.get("expression"):
            return content
        ordered = dict(sorted(labels.items(), key=str))  # as params.yaml has them, whoever reads
        return content | {"labels": ordered, "expression": _set_of(ordered)}

    @model_validator(mode="after")
    def _labels_fit_the_task(self) -> Self:
        if (self.labels is None) == (self.task == "multilabel"):
            raise ValueError(
                "labels: the key is missing: multilabel needs its labels, such as {late: delay > 15}"
                if self.labels is None
                else f"labels: has no meaning for {self.task}; remove it, or declare task: multilabel"
            )
        if self.labels is not None and self.expression != _set_of(self.labels):
            raise ValueError(
                "expression: has no meaning for multilabel, which has labels; remove it, or set it to null"
            )
        if not self.expression:
            raise ValueError("expression: the key is missing: it says what is predicted")
        return self

    @model_validator(mode="after")
    def _group_fits_the_task(self) -> Self:
        if bool(self.group) != (self.task == "ranking"):
            raise ValueError(
                f"group: has no meaning for {self.task}; remove it, or declare task: ranking"
                if self.group
                else "group: the key is missing: ranking needs the columns of a group, such as [query]"
            )
        return self

    @model_validator(mode="after")
    def _naive_is_a_number(self) -> Self:
        if self.naive is not None and self.task not in NUMERIC:
            raise ValueError(f"naive: has no meaning for {self.task}, whose labels are no numbers; remove it")
        return self

    @model_validator(mode="after")
    def _quantiles_fit_the_task(self) -> Self:
        if (self.quantiles is None) == (self.task == "quantile"):
            raise ValueError(
                "quantiles: the key is missing: quantile needs its levels, such as [0.1, 0.5, 0.9]"
                if self.quantiles is None
                else f"quantiles: has no meaning for {self.task}; remove it, or declare task: quantile"
            )
        ends = (0.0, *(self.quantiles or ()), 1.0)
        if any(low >= high for low, high in pairwise(ends)):
            raise ValueError("quantiles: must be above 0, below 1 and ascending")
        return self


class Windows(Strict):
    """The split by time, in local days of the declared time zone."""

    train: Period = Field(description="Rows to learn from, such as 2013-01..2013-06.")
    holdout: Period = Field(description="Rows to measure on, after the training window.")

    @model_validator(mode="after")
    def _in_order(self) -> Self:
        if self.train.end > self.holdout.start:
            raise ValueError(
                f"train ends on {self.train.end} (exclusive), after holdout starts on {self.holdout.start}; "
                "move one of them"
            )
        return self


class Split(Strict):
    """The split of a table without time: by a hash of columns, so that a row stays where it is when rows are added."""

    holdout: float = Field(gt=0, lt=1, description="Share of the rows to measure on; learnt from are the others.")
    by: Columns = Field(
        (), description="Columns whose equal values stay together, such as a patient; unique_key if none is named."
    )
    seed: int = Field(0, ge=0, lt=2**32, description="Another seed is another split.")


class Data(Group):
    """Sources, the observed row, the target and the split, by windows of time or by a hash."""

    key: ClassVar[str] = "data"

    sources: dict[Name, Source] = Field(description="The tables, by name.")
    derive: dict[Name, dict[Column, Expression]] = Field(
        default_factory=dict,
        description="By table, columns that its source lacks: computed from those that it has, before the contract, "
        "which lists them too, is checked.",
    )
    observations: Name = Field(description="The table in which one row is one prediction.")
    unique_key: Columns = Field(description="Columns that identify an observation.")
    timezone: Zone = Field("UTC", description="Zone of local times and of windows.")
    event_time: Expression | None = Field(
        None, description="When the observed event is scheduled to happen; with `window` only."
    )
    prediction_lead: Duration | None = Field(
        None, description="How long before the event the prediction is made; with `window` only."
    )
    target: Target
    window: Windows | None = Field(None, description="The split of rows that have a time.")
    split: Split | None = Field(None, description="The split of rows without a time, instead of `window`.")

    @property
    def parts(self) -> dict[str, str]:
        """What is learnt from and what is measured on, in words."""
        if self.window is not None:
            return {name: str(window) for name, window in self.window}
        share, by = (self.split.holdout if self.split else 0.0), ", ".join(self.split_by)
        return {"train": f"{1 - share:.0%} by a hash of {by}", "holdout": f"{share:.0%} by a hash of {by}"}

    @property
    def split_by(self) -> tuple[str, ...]:
        """The columns that a hash splits by."""
        return (self.split.by if self.split else ()) or self.unique_key

    def derivations(self, table: str) -> dict[str, expressions.Expression]:
        """Return the derived columns of a table, as expressions over the columns of its source.

        Raises ValueError that begins with the column for one that is derived from itself, or too large.
        """
        parsed = {name: expressions.parse(source) for name, source in self.derive.get(table, {}).items()}
        written_out = {}
        for name, expression in parsed.items():
            try:
                written_out[name] = expressions.substitute(expression, parsed)
            except ValueError as error:
                raise ValueError(f"{name}: {error}") from None
            if parsed.keys() & set(expressions.columns(written_out[name])):
                raise ValueError(f"{name}: is derived from itself")
        return written_out

    @model_validator(mode="after")
    def _derived_from_others(self) -> Self:
        for table in self.derive:
            if table not in self.sources:
                raise ValueError(f"derive.{table}: no source '{table}'{nearest(table, self.sources)}")
            try:
                self.derivations(table)
            except ValueError as error:
                raise ValueError(f"derive.{table}.{error}") from None
        return self

    @model_validator(mode="after")
    def _split_one_way(self) -> Self:
        if (self.window is None) == (self.split is None):
            raise ValueError("needs either `window`, if rows have a time, or `split`, if they have none")
        timed = {
            "event_time": self.event_time,
            "prediction_lead": self.prediction_lead,
            "target.known_after": self.target.known_after,
        }
        for key, value in timed.items():
            if self.window is not None and value is None:
                raise ValueError(f"{key}: the key is missing: window splits by time")
            if self.split is not None and value is not None:
                raise ValueError(f"{key}: has no meaning with split; remove it, or declare window instead of split")
        return self

    @model_validator(mode="after")
    def _groups_are_whole(self) -> Self:
        cutting = [name for name in self.split_by if name not in self.target.group]
        if self.split is not None and self.target.group and cutting:
            raise ValueError(
                f"split.by: '{cutting[0]}' would cut groups of target.group; name columns of "
                f"[{', '.join(self.target.group)}] alone"
            )
        return self

    @model_validator(mode="after")
    def _known_observations(self) -> Self:
        if self.observations not in self.sources:
            raise ValueError(f"observations: no source '{self.observations}'{nearest(self.observations, self.sources)}")
        return self
