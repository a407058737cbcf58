"""The model in production: its bundle, by the tag of its version, and its scores of this commit's rows.

A version is an immutable annotated tag `<name>@v<N>`; the tagged commit says the digest of the bundle that it built,
and DVC has the files. The bundle is verified, and its digest compared, before anything is scored with it.
"""

import json
import tempfile
from pathlib import Path

import duckdb
import numpy as np
import numpy.typing as npt
from dvc.api import DVCFileSystem

from trunkline import git, identity, interface, modelfile, parity, splits, training
from trunkline.bundle import Bundle
from trunkline.core import paths
from trunkline.core.errors import OutsideError, UserError
from trunkline.dataset import Dataset
from trunkline.duckdb_engine import DuckDBEngine
from trunkline.features import Plan
from trunkline.identity import Identity
from trunkline.params.data import Data
from trunkline.versions import Version

Floats = npt.NDArray[np.float64]
BUNDLE = paths.CHAMPION / "bundle"


def fetch(home: Path, name: str, number: int, target: Path) -> Identity:
    """Get a version's bundle into a folder that does not exist.

    `home` is the repository with the tags and DVC's remotes. Raises OutsideError for a version that cannot be had,
    UserError for one that is not what its tag says.
    """
    tag = Version(name, number).tag
    commit = git.annotated_tag(home, tag)
    if commit is None:
        raise OutsideError(f"{paths.REGISTRY}: there is no annotated tag {tag} here; run: git fetch --tags")
    announced = git.file_at(home, commit, paths.BUNDLE_REPORT)
    if announced is None:
        raise UserError(f"{tag}: its commit has no {paths.BUNDLE_REPORT}; tag a commit that built a bundle")
    _get(home, commit, tag, target)
    found, expected = identity.identify(tag, target), json.loads(announced)["digest"]
    if found.digest != expected:
        raise UserError(f"{tag}: its bundle has the digest {found.digest[:12]}, but its commit says {expected[:12]}")
    return found


def _get(home: Path, commit: str, tag: str, target: Path) -> None:
    target.mkdir(parents=True)
    try:
        files = DVCFileSystem(str(home), rev=commit)
        for path in files.find(paths.BUNDLE.as_posix()):
            (target / Path(path).name).write_bytes(files.read_bytes(path))
    except Exception as error:  # those of DVC's packages share no base
        message = " ".join(str(error).split())
        raise OutsideError(f"{tag}: its bundle cannot be had ({message}); run: dvc fetch --all-tags") from error


def score(folder: Path, plan: Plan, data: Data, holdout: Dataset) -> Floats:
    """Return the score of each row of the holdout by the bundle in a folder.

    Where it was built with another plan of features, they are computed by its own from this commit's tables.
    Raises UserError if that does not give the same rows.
    """
    own = interface.plan_of(json.loads((folder / "features.json").read_text(encoding="utf-8")))
    features = (holdout if own == plan else _computed(own, data, holdout)).features
    if (folder / "model.onnx").exists():
        return parity.graph_scores(Bundle.load(folder), features)
    return training.scores(modelfile.load(folder / "model.skops"), features)


def _computed(plan: Plan, data: Data, holdout: Dataset) -> Dataset:
    try:
        with tempfile.TemporaryDirectory() as folder, DuckDBEngine(plan, paths.VALID) as engine:
            splits.materialize(engine, plan, data, Path(folder))
            found = Dataset.read("holdout", Path(folder))
    except duckdb.Error as error:
        message = " ".join(str(error).split())
        raise UserError(f"the champion's features cannot be computed from this commit's tables: {message}") from error
    key = list(data.unique_key)
    if not found.frame.select(key).equals(holdout.frame.select(key)):
        raise UserError("the champion's features give other rows of the holdout: its plan does not fit conf/data")
    return found
