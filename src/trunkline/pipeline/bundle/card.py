"""The model card: what the model is for, what it was measured to do, and where it is weak, as one page.

Its sections follow Mitchell et al., "Model Cards for Model Reporting" (FAT* 2019). Names and categories come
from configs and data: whatever is put into the page is made plain text first, so that no value can add a
column, a heading, a link or HTML.
"""

import json
import re
import unicodedata
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from jinja2 import Environment, PackageLoader, StrictUndefined, select_autoescape
from markupsafe import Markup

from trunkline.conf.evaluation import WHOLE
from trunkline.core.tasks import NUMERIC, Task, levels
from trunkline.pipeline.bundle.explain.explain import Explanations
from trunkline.pipeline.evaluate.estimate import Estimate, words
from trunkline.pipeline.evaluate.metrics.kinds import Metric
from trunkline.pipeline.reports import Evaluated, Parity, WindowReport

TEMPLATE = "card.md.j2"
LEAST = 30  # slices that are shown, the weakest
MOST = 10  # features whose importance is shown

# Whatever begins markup inside a line; an underscore inside a word does not, and names are full of them.
_MARKUP = re.compile(r"[\\`*\[\]{}~|]|(?<![^\W_])_|_(?![^\W_])")
_ENTITIES = {"&": "&amp;", "<": "&lt;", ">": "&gt;", "#": "&#35;", "@": "&#64;"}
_LINK = re.compile(r"(?i)(?<=\bwww)\.|:(?=//)|(?<=\bmailto):|(?<=\bxmpp):")
_START = re.compile(r"^[-+=]|(?:(?<=^\d)|(?<=^\d\d))[.)](?=\s|$)")  # of a list, a rule or a heading


@dataclass(frozen=True)
class FeatureText:
    """A feature as a reader needs it: name, role, and what it means."""

    name: str
    role: str
    description: str


@dataclass(frozen=True)
class CardInputs:
    """Everything that the card says; texts as declared in conf/, numbers as measured in reports/."""

    name: str
    intended_use: str
    limits: tuple[str, ...]
    estimator: str
    parameters: Mapping[str, object]  # preprocessing included
    observations: str
    label: str
    label_definition: str
    task: Task
    classes: tuple[str, ...]
    label_known_after: str | None  # None where rows have no time
    prediction_lead: str | None
    windows: Mapping[str, str]
    metrics: tuple[Metric, ...]
    confidence: float
    cluster: str | None
    reports: Evaluated
    features: tuple[FeatureText, ...]
    runtime: str
    reason: str | None  # why the runtime is not onnx
    parity: Parity | None
    explanations: Explanations
    known_because: tuple[tuple[str, str], ...] = ()  # why columns that are derived from outcomes are known

    group: tuple[str, ...] = ()  # of ranking: the columns whose equal values are one group
    selected: Mapping[str, tuple[int, int]] = field(default_factory=dict)  # columns of a source: kept, and of how many
    naive: str | None = None  # the feature that is by itself a simple forecast

    @property
    def covered(self) -> str:
        """The share of labels that the interval of quantiles is to hold, in words."""
        of = levels(self.task, self.classes)
        return f"{100 * (of[-1] - of[0]):g} %" if of else ""


@dataclass(frozen=True)
class SliceRow:
    """A slice of the holdout: its cells in the order of the metrics."""

    slice: str
    value: str
    rows: int
    estimates: tuple[str, ...]


@dataclass(frozen=True)
class Importance:
    """A feature's two importances, as cells."""

    name: str
    drop: str
    spread: str
    shap: str


def render(inputs: CardInputs) -> str:
    """Return the card as Markdown; equal inputs give equal text."""
    weakest = list(_weakest(inputs))
    text = (
        _environment()
        .get_template(TEMPLATE)
        .render(
            card=inputs,
            whole=inputs.reports.slices[WHOLE][WHOLE],
            judged=_judged(inputs),
            slices=weakest[:LEAST],
            more_slices=len(weakest[LEAST:]),
            small_slices=sum(not part.metrics for values in inputs.reports.slices.values() for part in values.values()),
            importances=list(_importances(inputs.explanations)),
            selection=_selection(inputs.selected),
        )
    )
    return re.sub(r"\n{3,}", "\n\n", text).rstrip() + "\n"


def plain(value: object) -> Markup:
    """Return a value as Markdown that shows it literally, on one line; an empty one as `(empty)`."""
    if isinstance(value, Markup):
        return value
    line = " ".join("".join(map(_visible, str(value))).split())
    escaped = _MARKUP.sub(r"\\\g<0>", line)
    escaped = "".join(_ENTITIES.get(character, character) for character in escaped)
    for pattern in (_LINK, _START):
        escaped = pattern.sub(lambda match: f"&#{ord(match[0])};", escaped)
    return Markup(escaped or "(empty)")  # noqa: S704  escaped just above


def code(value: object) -> Markup:
    """Return a value as code; as plain text if it holds what a code span in a table cannot."""
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, sort_keys=True)
    if re.fullmatch(r"[ -_a-{}~]+", text) and text == text.strip():  # printable ASCII, no backtick, no pipe
        return Markup(f"`{text}`")  # noqa: S704  cannot end the span
    return plain(text)


def _visible(character: str) -> str:
    """Return white space as a space, and what is invisible or changes the direction of text as a replacement mark."""
    if character.isspace():
        return " "
    return "\ufffd" if unicodedata.category(character).startswith("C") else character


def _environment() -> Environment:
    """Return an environment in which every value goes through `plain`, unless a filter has made it safe."""
    environment = Environment(
        loader=PackageLoader("trunkline.pipeline.bundle", ""),
        autoescape=select_autoescape(("html",)),
        undefined=StrictUndefined,
        finalize=plain,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters.update(
        code=code, count="{:,}".format, estimate=_estimate, base=_base, value=_value, short="{:.4g}".format
    )
    return environment


def _judged(inputs: CardInputs) -> Metric | None:
    """Return the first metric that says which end is the better one."""
    return next((metric for metric in inputs.metrics if metric.better), None)


def _weakest(inputs: CardInputs) -> Iterator[SliceRow]:
    """Yield the measured slices, the weakest first; a metric that is not defined there comes last."""
    judged = _judged(inputs)

    def weakness(row: tuple[str, str]) -> tuple[bool, float, tuple[str, str]]:
        estimate = inputs.reports.slices[row[0]][row[1]].metrics.get(judged.name) if judged else None
        if judged is None or estimate is None or estimate.value is None:
            return True, 0.0, row
        return False, estimate.value if judged.better == "larger" else -estimate.value, row

    slices = {name: values for name, values in inputs.reports.slices.items() if name != WHOLE}
    measured = [(name, label) for name, values in slices.items() for label, part in values.items() if part.metrics]
    for name, label in sorted(measured, key=weakness):
        part = slices[name][label]
        yield SliceRow(name, label, part.n, tuple(_estimate(part.metrics.get(m.name)) for m in inputs.metrics))


def _importances(explanations: Explanations) -> Iterator[Importance]:
    drops, shap = explanations.permutation.drops, explanations.shap.mean_absolute
    for name in sorted(drops, key=lambda name: (-drops[name].mean, name))[:MOST]:
        drop = drops[name]
        spread = f"{drop.lowest:.4f} to {drop.highest:.4f}"
        yield Importance(name, f"{drop.mean:.4f}", spread, f"{shap[name]:.4f}")


def _selection(selected: Mapping[str, tuple[int, int]]) -> Markup | None:
    """Return how many columns are selected, and of what; None where nothing selects."""
    if not selected:
        return None
    kept = [(name, *counts) for name, counts in selected.items() if counts[0]]
    names = [f"{code(name)}{'' if count == of else f' ({count} of {of})'}" for name, count, of in kept[:LEAST]]
    names += [f"and {len(kept) - LEAST} more"] if len(kept) > LEAST else []
    count, of = map(sum, zip(*selected.values(), strict=True))
    text = f"Of {of:,} columns, the estimator sees the {count:,} that were selected: {', '.join(names)}"
    return Markup(text)  # noqa: S704  names are escaped by `code`


def _estimate(estimate: Estimate | None) -> str:
    if estimate is None or estimate.interval is None:
        return words(estimate)
    low, high = estimate.interval
    return f"{words(estimate)} ({low:.4f} to {high:.4f})"


def _value(value: float | None) -> str:
    return "undefined" if value is None else f"{value:.4f}"


def _base(window: WindowReport, task: Task) -> str:
    """Return what a row's label is without a model: a share, a mean, or the share of each class."""
    if window.class_shares is not None:
        return ", ".join(f"{name} {share:.1%}" for name, share in window.class_shares.items())
    if task in NUMERIC and window.base_rate is not None:
        return f"{window.base_rate:.4g}"
    return "not known" if window.base_rate is None else f"{window.base_rate:.1%}"
