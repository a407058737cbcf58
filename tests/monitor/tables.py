"""Tables of measured windows, with a fault from a window on, as measuring gives them."""

from datetime import UTC, datetime, timedelta

from trunkline.monitor import table

BEGIN = datetime(2026, 3, 1, tzinfo=UTC)
DAY = timedelta(days=1)


def day(number):
    return BEGIN + number * DAY


def row(number, value, **given):
    """A row of the table of one day: by default the PSI of a feature."""
    return {
        "window": day(number), "kind": "feature", "subject": "dew_point", "measure": "psi", "value": float(value),
        "reference": 0.0, "rows": 5000, "complete": True,
    } | given  # fmt: skip


def days(values, **given):
    """Rows of consecutive days; None is a day without any."""
    return [row(number, value, **given) for number, value in enumerate(values) if value is not None]


def performance(values, **given):
    """Rows of the metric by day, with intervals, beside .70 on the holdout."""
    rows = days(values, kind="performance", subject="roc_auc", measure="value", reference=0.70, coverage=0.9)
    return [each | {"low": each["value"] - 0.01, "high": each["value"] + 0.01} | given for each in rows]


def of(*rows):
    return table.of([row for part in rows for row in part])
