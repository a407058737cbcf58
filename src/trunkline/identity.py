"""What a model is, and what the champion stage leaves of the one in production."""

import json
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import polars as pl

from trunkline import manifest
from trunkline.core import files, paths
from trunkline.metrics import Floats
from trunkline.tables import write_parquet

SCORES, CHAMPION, SCORE = "scores.parquet", "champion.json", "score"


@dataclass(frozen=True)
class Identity:
    """A version's name, the digest of its bundle, the sha256 of its model file, and the bundle's bytes."""

    version: str
    digest: str
    model: str
    bytes: int


def identify(version: str, folder: Path) -> Identity:
    """Return what the bundle in a folder is; raises UserError as `manifest.verify` does."""
    found = manifest.read(folder)
    size = sum(path.stat().st_size for path in folder.iterdir())
    return Identity(version, found.digest, found.manifest.files[found.manifest.model], size)


def write_champion(champion: Identity | None, scores: Floats | None) -> None:
    """Write what `read_champion` reads; what the champion is comes last, when all else is there."""
    if scores is not None:
        write_parquet(pl.DataFrame([pl.Series(SCORE, scores)]), paths.CHAMPION / SCORES)
    files.write_json(paths.CHAMPION / CHAMPION, {"champion": champion and asdict(champion)})


def read_champion() -> tuple[Identity | None, Floats | None]:
    """Return the model in production and its scores of the holdout; None if production has no model."""
    content = json.loads((paths.CHAMPION / CHAMPION).read_text(encoding="utf-8"))["champion"]
    if content is None:
        return None, None
    return Identity(**content), pl.read_parquet(paths.CHAMPION / SCORES)[SCORE].to_numpy().astype(np.float64)
