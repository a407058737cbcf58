"""The log of a batch: a segment of each part, as a server writes them, put in place when the scores are.

A segment is made with its part and never again, so that a run that is resumed logs no row twice.
"""

import shutil
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from trunkline.bundle.contract import Contract
from trunkline.core import files
from trunkline.serve.log import DIGEST, REQUEST, TIME
from trunkline.serve.prediction_log import place, segments
from trunkline.serve.prediction_log.messages import Scorer
from trunkline.serve.prediction_log.privacy import Privacy
from trunkline.serve.prediction_log.sealed import Keys
from trunkline.serve.prediction_log.segments import ScoredRows

ROUTE = "predict"


@dataclass(frozen=True)
class BatchLog:
    """A folder that the rows of a run are logged to; `ids` is what its request ids begin with."""

    folder: Path
    privacy: Privacy
    contract: Contract
    digest: str
    ids: str
    keys: Keys | None = None

    def write(
        self, path: Path, number: int, requests: Sequence[str], columns: Sequence[str] | None, rows: ScoredRows
    ) -> str:
        """Write the segment of a part to a file of the run; return where in the log it belongs.

        `columns` are those of each request as JSON, None where its rows had the inputs.
        """
        scorer, moment, count = Scorer.of(self.contract, self.digest, None), time.time(), len(requests)
        given: dict[str, Sequence[Any]] = {
            REQUEST: requests,
            segments.ROW: [0] * count,
            TIME: [int(moment * 1e6)] * count,
            DIGEST: [self.digest] * count,
            "route": [ROUTE] * count,
        }
        if columns is not None:
            given[segments.COLUMNS] = [self.privacy.request_columns(text) for text in columns]
        with files.atomic_path(path) as temporary:
            place.write(segments.table(scorer, self.privacy, given, rows), temporary, keys=self.keys)
        where = place.folder(None, self.digest, moment)
        return f"{where}/part-{self.digest[:12]}-{self.ids}-{number:08}.parquet"

    def publish(self, path: Path, where: str) -> None:
        """Put a segment in its place; to do so again changes nothing."""
        with files.atomic_path(self.folder / where) as temporary:
            shutil.copyfile(path, temporary)
