"""`trunkline pin` writes what is there into conf/; the monthly zips of BTS go through it into checked tables."""

import csv
import io
import json
import shutil
import subprocess
import zipfile
from collections.abc import Iterator
from pathlib import Path

import polars as pl
import pytest

from tests.fileserver import FileServer, serving
from tests.forkserver import commands

# The first of some 110 that the published files have, and those that conf/data/bts.yaml keeps.
COLUMNS = [
    "Year", "Quarter", "Month", "DayofMonth", "DayOfWeek", "FlightDate", "Reporting_Airline",
    "DOT_ID_Reporting_Airline", "IATA_CODE_Reporting_Airline", "Tail_Number", "Flight_Number_Reporting_Airline",
    "OriginAirportID", "Origin", "OriginCityName", "DestAirportID", "Dest", "DestCityName", "CRSDepTime", "DepTime",
    "DepDelay", "DepDelayMinutes", "DepDel15", "TaxiOut", "CRSArrTime", "ArrTime", "ArrDelay", "ArrDelayMinutes",
    "Cancelled", "CancellationCode", "Diverted", "CRSElapsedTime", "AirTime", "Flights", "Distance",
]  # fmt: skip
NAME = "On_Time_Reporting_Carrier_On_Time_Performance_1987_present_2013_{}.zip"


def month(number: int, cities: str = "New York, NY") -> bytes:
    """Return a zip as BTS publishes it: a readme, and a CSV with quoted names and a comma at the end of lines."""
    rows = io.StringIO()
    writer = csv.writer(rows, quoting=csv.QUOTE_NONNUMERIC, lineterminator="\n")
    writer.writerow([*COLUMNS, ""])
    for day in range(1, 29):
        cancelled = day == 7
        values = {
            "Year": 2013, "Month": number, "DayofMonth": day, "Reporting_Airline": "AA", "Tail_Number": "N101AA",
            "Flight_Number_Reporting_Airline": "1", "Origin": "JFK", "OriginCityName": cities, "Dest": "LAX",
            "CRSDepTime": "0900", "DepTime": "" if cancelled else "0905", "DepDelay": "" if cancelled else "5.00",
            "CRSArrTime": "1225", "ArrTime": "" if cancelled else "1223", "ArrDelay": "" if cancelled else "-2.00",
            "AirTime": "" if cancelled else "350.00", "Distance": "2475.00", "Cancelled": f"{cancelled:.2f}",
        }  # fmt: skip
        writer.writerow([values.get(column, "") for column in COLUMNS] + [None])
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr(zipfile.ZipInfo("readme.html"), "<html></html>")
        archive.writestr(
            zipfile.ZipInfo(f"On_Time_Reporting_Carrier_On_Time_Performance_(1987_present)_2013_{number}.csv"),
            rows.getvalue(),
        )
    return packed.getvalue()


@pytest.fixture(scope="module")
def web() -> Iterator[FileServer]:
    with serving() as server:
        yield server


@pytest.fixture
def project(root: Path, tmp_path: Path, web: FileServer) -> Path:
    """A project whose conf/data/bts.yaml asks a server on this machine."""
    shutil.copytree(root / "conf", tmp_path / "conf")
    shutil.copytree(root / "stages", tmp_path / "stages")
    (tmp_path / "models").mkdir()
    shutil.copy(root / "models/registry.yaml", tmp_path / "models")
    bts = tmp_path / "conf/data/bts.yaml"
    here = f"{web.url}\n    private_hosts: [127.0.0.1]"
    bts.write_text(bts.read_text().replace("https://transtats.bts.gov/PREZIP/", here))
    config = tmp_path / "conf/config.yaml"
    config.write_text(config.read_text().replace("experiment: null", "experiment: bts"))
    web.reset({NAME.format(number): month(number) for number in range(1, 8)})
    return tmp_path


def run(project: Path, *command: str) -> tuple[int, str]:
    done = subprocess.run(
        [commands() / command[0], *command[1:]],
        cwd=project,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    return done.returncode, done.stdout


def pin(project: Path, *options: str) -> tuple[int, str]:
    return run(project, "trunkline", "pin", *options)


def test_the_monthly_files_of_bts_become_checked_tables(project: Path, web: FileServer) -> None:
    assert run(project, "python", "stages/compose.py")[0] == 0
    code, told = run(project, "python", "stages/ingest.py")
    assert (code, told) == (
        2,
        f"error: data.sources.flights.files: {NAME.format(1)}: has no sha256; run: trunkline pin flights\n",
    )
    before = (project / "conf/data/bts.yaml").read_text()
    assert pin(project, "--check")[0] == 1
    assert (project / "conf/data/bts.yaml").read_text() == before
    assert pin(project)[0] == 0
    after = (project / "conf/data/bts.yaml").read_text()
    changed = [line for line in after.splitlines() if line not in before.splitlines()]
    assert len(changed) == 7
    assert [line.partition(" ")[0] for line in before.splitlines()] == [
        line.partition(" ")[0] for line in after.splitlines()
    ]
    assert pin(project, "--check") == (0, "every source is what conf/ has pinned\n")

    for stage in ("compose", "ingest", "validate", "features"):
        code, told = run(project, "python", f"stages/{stage}.py")
        assert code == 0, told
    rows = pl.read_parquet(project / "data/valid/flights.parquet")
    assert rows.height == 7 * 28
    assert rows["arr_delay"].null_count() == 7
    train = pl.read_parquet(project / "data/features/train.parquet")
    assert train["departure_minute"].unique().to_list() == [540]
    report = json.loads((project / "reports/ingest.json").read_text())["flights"]
    assert [file["name"] for file in report["files"]] == [web.url + NAME.format(number) for number in range(1, 8)]
    assert report["table"]["rows"] == 7 * 28


def test_a_pin_follows_its_source_and_says_so(project: Path, web: FileServer) -> None:
    assert pin(project)[0] == 0
    web.files[NAME.format(3)] = month(3, "Newark, NJ")
    code, told = pin(project, "--check", "--json")
    [moved] = json.loads(told)["moved"]
    assert (code, moved["key"]) == (1, f"data.sources.flights.files.{NAME.format(3)}")
    assert pin(project, "--dry-run")[0] == 0
    assert f"{moved['before']} → {moved['now']}" in pin(project, "flights")[1]
    assert f"{NAME.format(3)}: {moved['now']}\n" in (project / "conf/data/bts.yaml").read_text()
    assert pin(project, "flight") == (2, "error: data.sources: no source 'flight'; did you mean 'flights'?\n")
    config = project / "conf/data/bts.yaml"
    config.write_text(config.read_text().replace("kind: files", "kind: file"))
    line = config.read_text().splitlines().index("    kind: file") + 1
    assert pin(project)[0] == 2
    assert f"conf/data/bts.yaml:{line - 1}: data.sources.flights: 'file' is not allowed" in pin(project)[1]
