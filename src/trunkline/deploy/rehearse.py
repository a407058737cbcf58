"""Whether an old version can be run today: its bundle is fetched, loaded, and gives its golden rows their scores."""

import tempfile
from pathlib import Path

from trunkline.adapters.dvc import fetch
from trunkline.bundle import golden
from trunkline.conf.versions import Version
from trunkline.core.errors import UserError
from trunkline.serve.scorer import scorer


def rehearse(home: Path, version: Version, tolerance: float) -> int:
    """Return how many golden rows a version's bundle scored correctly, fetched into a folder that is then deleted.

    Raises OutsideError for a bundle that could not be fetched, UserError for one that is not what its tag says, cannot
    be loaded, has no golden rows, or scores one of them otherwise.
    """
    with tempfile.TemporaryDirectory() as aside:
        folder = Path(aside, "bundle")
        fetch.fetch(home, version, folder)
        try:
            return golden.check(folder, scorer(folder), tolerance)
        except UserError as error:
            raise UserError(f"{version}: {error}") from None
