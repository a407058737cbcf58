"""Runs Evidently's drift preset: by a Python that has Evidently, with two files of rows and a method; prints JSON.

The method is that of all columns, or "" for what the preset chooses itself. Printed are the columns that it flags.
"""

import json
import sys

import pandas as pd
from evidently import DataDefinition, Dataset, Report
from evidently.presets import DataDriftPreset


def main(current: str, reference: str, method: str) -> None:
    """Read both files, run the preset over all columns and print the flagged ones."""
    frames = [pd.read_parquet(path) for path in (current, reference)]
    texts = [name for name in frames[0].columns if name.startswith("text")]
    definition = DataDefinition(
        numerical_columns=[name for name in frames[0].columns if name not in texts], categorical_columns=texts
    )
    rows, before = (Dataset.from_pandas(frame, data_definition=definition) for frame in frames)
    preset = DataDriftPreset(method=method, threshold=0.1) if method else DataDriftPreset()
    done = Report([preset]).run(rows, before)
    sys.stdout.write(json.dumps(flagged(json.loads(done.json()))) + "\n")


def flagged(content: dict) -> list[str]:
    """Return the columns that a report calls drifted: by its tests' threshold, in the direction of its method."""
    columns = []
    for metric in content["metrics"]:
        config = metric.get("config", {})
        if "column" in config and "threshold" in config:
            value, threshold = metric["value"], config["threshold"]
            drifted = value < threshold if "p_value" in config["method"] else value >= threshold
            columns += [config["column"]] if drifted else []
    return sorted(columns)


if __name__ == "__main__":
    main(*sys.argv[1:])
