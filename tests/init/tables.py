"""Tables as people bring them, from a seed: names with capitals and spaces, missing values, dates in text."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import numpy as np
import polars as pl

Random = np.random.Generator


@dataclass(frozen=True)
class Example:
    """A table, and what a person says of it."""

    make: Callable[[Random], pl.DataFrame]
    target: str
    task: str
    timed: bool


def _sprinkled(random: Random, values: np.ndarray, share: float, text: str = "") -> list[str]:
    return [text if random.random() < share else str(value) for value in values]


def flights(random: Random) -> pl.DataFrame:
    """Departures of a year, as Houston's of 2011: the day in three columns, outcomes missing where none arrived."""
    rows = 4_000
    days = [date(2011, 1, 1) + timedelta(days=int(day)) for day in np.sort(random.integers(0, 360, rows))]
    carrier = random.choice(["AA", "CO", "XE", "WN"], rows)
    delay = np.round(random.gumbel(-4, 14, rows) + 20 * (carrier == "XE"))
    arrival = np.round(delay + random.normal(-2, 9, rows))
    gone = random.random(rows) < 0.03
    return pl.DataFrame(
        {
            "Year": [day.year for day in days],
            "Month": [day.month for day in days],
            "DayofMonth": [day.day for day in days],
            "FlightNum": random.integers(1, 4000, rows),
            "UniqueCarrier": carrier,
            "Dest": random.choice(["DFW", "MIA", "JFK", "LAX", "ORD"], rows),
            "Distance": random.choice([224, 964, 1428, 1379, 925], rows),
            "DepDelay": np.where(gone, "NA", delay.astype(int).astype(str)),
            "ArrDelay": np.where(gone, "NA", arrival.astype(int).astype(str)),
            "AirTime": np.where(gone, "NA", random.integers(40, 200, rows).astype(str)),
            "Cancelled": gone.astype(int),
        }
    )


def inspections(random: Random) -> pl.DataFrame:
    """A city's inspections: dates in American notation, mixed case, a result in words."""
    rows = 2_500
    days = [date(2021, 1, 1) + timedelta(days=int(day)) for day in random.integers(0, 700, rows)]
    risk = random.choice(["Risk 1 (High)", "Risk 2 (Medium)", "RISK 3 (low)"], rows)
    failed = random.random(rows) < 0.15 + 0.3 * (risk == "Risk 1 (High)")
    return pl.DataFrame(
        {
            "Inspection ID": 60_000 + 7 * random.permutation(rows),
            "DBA Name": [f"Café {number}" for number in random.integers(0, 900, rows)],
            "Facility Type": _sprinkled(random, random.choice(["Restaurant", "Grocery", "School"], rows), 0.02),
            "Risk": risk,
            "Zip": random.choice(["02134", "60601", "60602"], rows),
            "Inspection Date": [day.strftime("%m/%d/%Y") for day in days],
            "Results": np.where(random.random(rows) < 0.003, "Not Ready", np.where(failed, "Fail", "Pass")),
        }
    )


def penguins(random: Random) -> pl.DataFrame:
    """Three species, text labels, numbers that are missing as NA."""
    rows = 344
    species = random.choice(["Adelie", "Chinstrap", "Gentoo"], rows, p=[0.44, 0.2, 0.36])
    flipper = random.normal(193, 8, rows) + 18 * (species == "Gentoo")
    bill = random.normal(39, 3.2, rows) + 8 * (species != "Adelie")
    return pl.DataFrame(
        {
            "species": species,
            "island": random.choice(["Torgersen", "Biscoe", "Dream"], rows),
            "bill_length_mm": _sprinkled(random, bill.round(1), 0.01, "NA"),
            "flipper_length_mm": _sprinkled(random, flipper.round(), 0.01, "NA"),
            "body_mass_g": random.normal(4200, 700, rows).round(-1).astype(int),
            "sex": _sprinkled(random, random.choice(["male", "female"], rows), 0.03, "NA"),
            "year": random.choice([2007, 2008, 2009], rows),
        }
    )


def wages(random: Random) -> pl.DataFrame:
    """Wages by education and experience; truth as 0 and 1, whole numbers as 12.0."""
    rows = 1_200
    education, experience = random.integers(8, 19, rows), random.integers(0, 45, rows)
    wage = np.exp(1 + 0.09 * education + 0.01 * experience + random.normal(0, 0.4, rows))
    return pl.DataFrame(
        {
            "Hourly Wage ($)": wage.round(2),
            "Education": education.astype(float),
            "Experience": experience,
            "Sex": random.choice(["M", "F"], rows),
            "Union": random.choice([0, 1], rows),
            "Nation": ["US"] * rows,
        }
    )


def regression(random: Random) -> pl.DataFrame:
    """A number from numbers, with a time since 1970 in seconds."""
    rows = 1_500
    start = datetime(2022, 3, 1, tzinfo=UTC).timestamp()
    load = random.normal(50, 10, rows)
    return pl.DataFrame(
        {
            "timestamp": (start + np.sort(random.integers(0, 86_400 * 90, rows))).astype(int),
            "load": load.round(3),
            "temp": random.normal(20, 5, rows).round(1),
            "energy": (2 * load + random.normal(0, 8, rows)).round(3),
        }
    )


def grades(random: Random) -> pl.DataFrame:
    """Several classes with texts that YAML reads as something else, and one that hardly occurs."""
    rows = 900
    hours = random.normal(10, 4, rows)
    grade = np.array(["no", "maybe", "yes"])[np.digitize(hours + random.normal(0, 3, rows), [8, 12])]
    grade[:3] = "on"
    return pl.DataFrame(
        {"Grade": grade, "hours:studied": hours.round(2), "Größe": random.normal(170, 9, rows).round(1)}
    )


def churn(random: Random) -> pl.DataFrame:
    """A table without a time: a customer per row, a flag in words."""
    rows = 1_000
    months = random.integers(1, 72, rows)
    left = random.random(rows) < 1 / (1 + np.exp(months / 12 - 1.5))
    return pl.DataFrame(
        {
            "customerID": [f"{number:04d}-ABCDE" for number in random.permutation(rows)],
            "Tenure": months,
            "Contract": random.choice(["Month-to-month", "One year"], rows),
            "Monthly Charges": random.normal(60, 20, rows).round(2),
            "Churn": np.where(left, "Yes", "No"),
        }
    )


def wide(random: Random) -> pl.DataFrame:
    """Five hundred columns."""
    rows = 400
    values = random.normal(0, 1, (rows, 499)).round(4)
    label = values[:, 0] + values[:, 1] + random.normal(0, 1, rows) > 0
    columns = {f"Feature {number}": values[:, number] for number in range(499)}
    return pl.DataFrame({**columns, "Outcome": label.astype(int)})


def events(random: Random) -> pl.DataFrame:
    """A table whose columns have names that mean something else to the framework."""
    rows = 800
    start = datetime(2023, 1, 1, tzinfo=UTC)
    times = [start + timedelta(minutes=int(minute)) for minute in np.sort(random.integers(0, 60 * 24 * 100, rows))]
    size = random.normal(0, 1, rows)
    return pl.DataFrame(
        {
            "event_time": [time.strftime("%Y-%m-%dT%H:%M:%SZ") for time in times],
            "reasons": random.choice(["a", "b", "c"], rows),
            "size": size.round(3),
            "target": (size + random.normal(0, 1, rows) > 0).astype(int),
        }
    )


EXAMPLES: Mapping[str, Example] = {
    "flights": Example(flights, "ArrDelay > 15", "binary", timed=True),
    "inspections": Example(inspections, "Results", "binary", timed=True),
    "penguins": Example(penguins, "species", "multiclass", timed=False),
    "wages": Example(wages, "Hourly Wage ($)", "regression", timed=False),
    "regression": Example(regression, "energy", "regression", timed=True),
    "grades": Example(grades, "Grade", "multiclass", timed=False),
    "churn": Example(churn, "Churn", "binary", timed=False),
    "wide": Example(wide, "Outcome", "binary", timed=False),
    "events": Example(events, "target", "binary", timed=True),
}


def write(name: str, folder: Path) -> Path:
    """Write a table as a CSV and return the file."""
    path = folder / f"{name}.csv"
    EXAMPLES[name].make(np.random.default_rng(20130701)).write_csv(path)
    return path
