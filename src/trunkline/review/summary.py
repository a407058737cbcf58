"""Renders what a finished run leaves in reports/ for a person; reads no file and no clock."""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

from rich.console import Group, RenderableType
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from trunkline.conf.evaluation import WHOLE
from trunkline.core.tasks import NUMERIC, Task
from trunkline.pipeline.evaluate.estimate import Estimate, Slice, words
from trunkline.pipeline.evaluate.metrics.kinds import Metric
from trunkline.pipeline.reports import (
    BundleReport,
    DatasetReport,
    GatesReport,
    Reports,
    TableReport,
    Verdict,
    WindowReport,
)
from trunkline.show.terminal import table

_MARKS = {"FAIL": "bold red", "warn": "yellow", "n/a": "dim", "pass": "green"}
PLOTS: dict[Task, str] = {
    "binary": "ROC, precision-recall and calibration",
    "multiclass": "the confusion matrix",
    "ordinal": "the confusion matrix",
    "regression": "predicted against observed",
    "count": "predicted against observed",
    "ranking": "the label by score",
    "multilabel": "the scores by label",
    "quantile": "the share of labels up to each quantile",
}
SHOWN = 3  # slices at either end, and reasons per table


@dataclass(frozen=True)
class Subject:
    """What was declared: names, the windows by name, the metrics in order, and where the runs can be seen."""

    name: str
    estimator: str
    target: str
    observations: str
    windows: Mapping[str, str]
    task: Task
    metrics: tuple[Metric, ...]
    confidence: float
    look: str
    search: str = ""  # what a search came to


def summary(subject: Subject, reports: Reports) -> RenderableType:
    """Return the whole report: headline, gates, metrics, slices, data and where to look next."""
    parts = [
        ("", _headline(subject, reports)),
        (f"Gates: {reports.gates.verdict}", _gates(reports.gates)),
        ("Metrics on the holdout", _metrics(subject, reports.slices[WHOLE][WHOLE])),
        *_slices(subject, reports.slices),
        ("Rows", _rows(subject, reports.dataset)),
        ("Source tables", _sources(reports.validation)),
        ("Bundle", _bundle(reports.bundle)),
        ("Where to look next", _next(subject)),
    ]
    shown: list[RenderableType] = []
    for title, body in parts:
        if title:
            shown.append(Text(f"\n{title}", style="bold"))
        shown.append(Padding(body, (0, 0, 0, 2 if title else 0)))
    return Group(*shown)


def gates_table(verdicts: Iterable[Verdict]) -> Table:
    """Show verdicts, those that block first."""
    rows = table("", "rule", "why", left=(0, 1, 2))
    for verdict in sorted(verdicts, key=lambda verdict: (tuple(_MARKS).index(_mark(verdict)), verdict.id)):
        mark = _mark(verdict)
        name = " ".join(filter(None, [verdict.id, verdict.slice]))
        rows.add_row(Text(mark, style=_MARKS[mark]), Text(name), Text(verdict.reason))
    return rows


def _mark(verdict: Verdict) -> str:
    if verdict.verdict == "fail":
        return "FAIL" if verdict.blocking else "warn"
    return "n/a" if verdict.verdict == "not_applicable" else "pass"


def _headline(subject: Subject, reports: Reports) -> RenderableType:
    features = sum(reports.dataset.features.values())
    rows = {name: f"{window.rows:,}" for name, window in reports.dataset.windows}
    return Text.assemble(
        (f"{subject.name}: {subject.estimator.rpartition('.')[2]}", "bold"),
        f"\ntrained on {subject.windows['train']} ({rows['train']} rows, {features} features), "
        f"measured on {subject.windows['holdout']} ({rows['holdout']} rows)",
        f"\nsearch: {subject.search}" if subject.search else "",
    )


def _metrics(subject: Subject, whole: Slice) -> Table:
    rows = table("metric", "value", f"{subject.confidence:.0%} interval", "", left=(0, 3))
    for metric in subject.metrics:
        better = f"{metric.better} is better" if metric.better else ""
        rows.add_row(metric.name, *_estimate(whole.metrics.get(metric.name)), better)
    return rows


def _slices(subject: Subject, slices: Mapping[str, Mapping[str, Slice]]) -> Iterator[tuple[str, Table]]:
    """Yield the slices at either end of the first declared metric that says which end is the better one."""
    metric = next((metric for metric in subject.metrics if metric.better), None)
    if metric is None:
        return
    measured = [
        (estimate.value, f"{name} {label}", part.n, estimate)
        for name, labels in slices.items()
        for label, part in labels.items()
        if name != WHOLE and (estimate := part.metrics.get(metric.name)) is not None and estimate.value is not None
    ]
    measured.sort(key=lambda row: row[:2], reverse=metric.better == "smaller")
    if measured:
        others = [part for labels in slices.values() for part in labels.values()]
        small = sum(not part.metrics for part in others)
        absent = sum(metric.name in part.metrics and part.metrics[metric.name].value is None for part in others)
        why = {"with too few rows to measure": small, "where it is undefined": absent}
        left = ", ".join(f"{count} more {reason}" for reason, count in why.items() if count)
        more = f" ({left})" if left else ""
        yield f"Weakest and strongest slices by {metric.name}{more}", _ends(metric, measured)


def _ends(metric: Metric, measured: list[tuple[float, str, int, Estimate]]) -> Table:
    rows = table("slice", metric.name, "interval", "rows", left=(0,))
    gap = len(measured) > 2 * SHOWN
    shown = [*measured[:SHOWN], *measured[-SHOWN:]] if gap else measured
    for number, (_, name, n, estimate) in enumerate(shown):
        if gap and number == SHOWN:
            rows.add_row("…")
        rows.add_row(Text(name), *_estimate(estimate), f"{n:,}")  # a label may look like markup
    return rows


def _rows(subject: Subject, dataset: DatasetReport) -> RenderableType:
    rows = table("window", "", "rows", subject.target, "no label", "label too late", left=(0, 1))
    for name, window in dataset.windows:
        rate = _base(window, subject.task)
        left_out = (f"{window.unlabelled:,}", f"{window.label_not_yet_known:,}")
        rows.add_row(name, subject.windows[name], f"{window.rows:,}", rate, *left_out)
    source = f"of {dataset.source_rows:,} valid rows of {subject.observations}"
    return Group(rows, Text(f"{source}, {dataset.unlabelled:,} have no label{dataset.elsewhere}", style="dim"))


def _base(window: WindowReport, task: Task) -> str:
    """Return the share of true labels, the mean label, or the shares of the classes."""
    if window.class_shares is not None:
        return ", ".join(f"{name} {share:.1%}" for name, share in window.class_shares.items())
    if window.base_rate is None:
        return ""
    return f"mean {window.base_rate:.4g}" if task in NUMERIC else f"{window.base_rate:.1%}"


def _sources(validation: Mapping[str, TableReport]) -> Table:
    rows = table("table", "rows", "quarantined", "", "rules that rows broke", left=(0, 4))
    for name, checked in validation.items():
        most = sorted(checked.checks.items(), key=lambda check: (-check[1], check[0]))
        reasons = [f"{rule} {count:,}" for rule, count in most if count]
        more = [f"and {len(reasons) - SHOWN} more"] if len(reasons) > SHOWN else []
        share = f"{checked.quarantined / checked.rows:.3%}" if checked.quarantined else ""
        cells = (f"{checked.rows:,}", f"{checked.quarantined:,}", share)
        rows.add_row(name, *cells, ", ".join([*reasons[:SHOWN], *more]))
    return rows


def _bundle(bundle: BundleReport) -> RenderableType:
    line = f"{bundle.digest[:12]}, {bundle.bytes / 1e6:,.1f} MB, runs on "
    if bundle.runtime == "sklearn":
        reason = f"scikit-learn only, so no serving install can run it: {bundle.reason}"
        return Text.assemble(line, (reason, "bold yellow"))
    compared = ""
    if bundle.parity:
        below = f"{bundle.parity.difference_below:.0e}"
        compared = f"; equals the pipeline to {below} on {bundle.parity.rows:,} rows, {bundle.parity.flips} label flips"
    return Text(f"{line}ONNX Runtime{compared}")


def _gates(gates: GatesReport) -> RenderableType:
    """Count the verdicts, and show those that are not passed."""
    counts = Counter(map(_mark, gates.gates))
    champion = f"against {gates.champion.version}" if gates.champion else "production has no champion yet"
    line = ", ".join(f"{counts[mark]} {mark}" for mark in _MARKS if counts[mark])
    failed = [verdict for verdict in gates.gates if verdict.verdict == "fail"]
    return Group(Text(f"{line}; {champion}"), *([gates_table(failed)] if failed else []))


def _next(subject: Subject) -> Table:
    rows = table()
    rows.add_column(no_wrap=True)  # a command is there to be copied
    rows.add_row("trunkline gate", "every rule, and why it passed or not")
    rows.add_row("models/bundle/card.md", "the model card; explanations.svg beside it")
    rows.add_row("dvc plots show", PLOTS[subject.task])
    rows.add_row("dvc exp show --only-changed --drop '.*/|reports'", "this run beside its experiments")
    rows.add_row(subject.look, "every run that was logged")
    rows.add_row("docs/tour.md of the framework", "how a project is read, in one page")
    return rows


def _estimate(estimate: Estimate | None) -> tuple[str, str]:
    if estimate is None or estimate.interval is None:
        return words(estimate), ""
    low, high = estimate.interval
    return words(estimate), f"{low:.4f} to {high:.4f}"
