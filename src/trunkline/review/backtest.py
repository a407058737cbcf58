"""A backtest as a reviewer reads it: a row for each origin, the mean over them, and a picture of the first metric."""

from collections.abc import Sequence

from trunkline.pipeline.reports import BacktestReport
from trunkline.review import mermaid
from trunkline.review.figures import number, span
from trunkline.show.markdown import table, text


def ordered(names: Sequence[str], report: BacktestReport) -> BacktestReport:
    """Return a backtest with its metrics in the order of `names`, as conf/evaluation declares them; its file sorts."""
    origins = (
        each.model_copy(update={"metrics": {name: each.metrics[name] for name in names if name in each.metrics}})
        for each in report.origins
    )
    metrics = {name: report.metrics[name] for name in names if name in report.metrics}
    return report.model_copy(update={"origins": tuple(origins), "metrics": metrics})


def markdown(report: BacktestReport) -> str:
    """Return it as Markdown."""
    rows = [
        (str(origin.origin), f"{origin.learnt_from:,}", f"{origin.n:,}", *map(_value, origin.metrics.values()))
        for origin in report.origins
    ]
    means = (f"{text(number(mean))} {span(mean.interval)}" for mean in report.metrics.values())
    head = ("origin", "learnt from", "rows", *map(text, report.metrics))
    picture = f"\n\n{mermaid.backtest(report, report.first)}" if report.first else ""
    return f"{table(head, [*rows, ('mean, interval over origins', '', '', *means)])}{picture}"


def _value(value: float | None) -> str:
    return "undefined" if value is None else f"{value:.4f}"
