"""The source tables of a run as MLflow shows data sets: names, hashes and sizes, and not one row."""

from collections.abc import Iterator, Mapping
from typing import Any

from trunkline.adapters.mlflow import Dataset
from trunkline.core.addresses import shown


def ingested(report: Mapping[str, Any]) -> Iterator[Dataset]:
    """Yield the tables of reports/ingest.json, each with the pinned source that it was read from."""
    for name, source in report.items():
        table = source["table"]
        origin = {"address": shown(source["address"]), "pin": source["pin"], "sha256": table["sha256"]}
        yield Dataset(name, table["sha256"], source["kind"], origin, {key: table[key] for key in ("rows", "columns")})
