"""How many rows a log gets in a month, by the footers of its segments."""

from datetime import datetime, timedelta

from trunkline.serve.prediction_log.place import Place, hour_of

ENOUGH = timedelta(days=1)  # less is not told as a month's


def rows_in(place: Place, until: datetime, span: timedelta) -> float | None:
    """Return the rows that a log gets in such a span: those of its whole hours before `until` (UTC).

    Of a log that is younger, or keeps less, as many as it would be at that rate; None where it has less than a day.
    Raises OutsideError for a segment that cannot be read.
    """
    end = until.replace(minute=0, second=0, microsecond=0)
    segments = [(hour_of(folder), folder, name) for folder, name in place.segments()]
    start = max(end - span, min((hour for hour, _, _ in segments), default=end))
    if end - start < ENOUGH:
        return None
    rows = sum(_rows(place, folder, name) for hour, folder, name in segments if start <= hour < end)
    return rows * (span / (end - start))


def _rows(place: Place, folder: str, name: str) -> int:
    with place.open(folder, name) as file:
        return int(file.metadata.num_rows)
