"""What a model is, and what the champion stage leaves of the one in production."""

from dataclasses import asdict

import numpy as np
import polars as pl

from trunkline.bundle.manifest import Identity
from trunkline.core import files, paths
from trunkline.core.arrays import Floats
from trunkline.core.files import parse_json
from trunkline.core.tables.parquet import write_parquet

SCORES, CHAMPION, SCORE = "scores.parquet", "champion.json", "score"


def write_champion(champion: Identity | None, scores: Floats | None) -> None:
    """Write what `read_champion` reads; what the champion is comes last, when all else is there."""
    if scores is not None:
        write_parquet(pl.DataFrame([pl.Series(SCORE, scores)]), paths.CHAMPION / SCORES)
    files.write_json(paths.CHAMPION / CHAMPION, {"champion": champion and asdict(champion)})


def read_champion() -> tuple[Identity | None, Floats | None]:
    """Return the model in production and its scores of the holdout; None if production has no model."""
    content = parse_json((paths.CHAMPION / CHAMPION).read_text(encoding="utf-8"))["champion"]
    if content is None:
        return None, None
    return Identity(**content), pl.read_parquet(paths.CHAMPION / SCORES)[SCORE].to_numpy().astype(np.float64)
