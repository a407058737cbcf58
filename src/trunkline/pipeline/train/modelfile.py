"""The fitted pipeline as a file: no pickle, and equal models give equal bytes.

The format is skops's: a zip of a JSON schema and numpy arrays, which loads only types trusted by name. As
skops writes it, it holds addresses of objects, the time, random names and unset padding bytes; they mean
nothing to its reader and are left out here.
"""

import hashlib
import io
import json
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import skops.io
from scipy.sparse import load_npz, save_npz
from sklearn.pipeline import Pipeline
from skops.io.exceptions import UntrustedTypesFoundException

from trunkline.core import files
from trunkline.core.errors import UserError

_KERNELS = ("ConstantKernel", "DotProduct", "ExpSineSquared", "Matern", "Product", "RBF", "RationalQuadratic", "Sum")

# What common estimators consist of, besides what skops trusts: scikit-learn's estimators, numpy's types.
# A sparse matrix is read as arrays, with no pickle in them.
TRUSTED = (
    "catboost.core.CatBoostClassifier",
    "catboost.core.CatBoostRegressor",
    "collections.OrderedDict",
    "collections.defaultdict",
    "functools.partial",
    "lightgbm.basic.Booster",
    "lightgbm.sklearn.LGBMClassifier",
    "lightgbm.sklearn.LGBMRanker",
    "lightgbm.sklearn.LGBMRegressor",
    "numpy.dtype",
    "numpy.ravel",
    "scipy._lib.array_api_compat.numpy._aliases.asarray",
    "scipy.interpolate._bsplines.BSpline",
    "scipy.sparse._csc.csc_array",
    "scipy.sparse._csc.csc_matrix",
    "scipy.sparse._csr.csr_array",
    "scipy.sparse._csr.csr_matrix",
    "sklearn._loss.loss.HalfTweedieLoss",
    "sklearn._loss.loss.HalfTweedieLossIdentity",
    "sklearn.calibration._CalibratedClassifier",
    "sklearn.calibration._SigmoidCalibration",
    "sklearn.ensemble._hist_gradient_boosting.predictor.TreePredictor",
    "sklearn.feature_selection._mutual_info.mutual_info_classif",
    "sklearn.feature_selection._mutual_info.mutual_info_regression",
    "sklearn.feature_selection._univariate_selection.chi2",
    "sklearn.feature_selection._univariate_selection.f_classif",
    "sklearn.feature_selection._univariate_selection.f_regression",
    "sklearn.gaussian_process._gpc._BinaryGaussianProcessClassifierLaplace",
    *(f"sklearn.gaussian_process.kernels.{name}" for name in _KERNELS),
    *(f"sklearn.metrics._dist_metrics.{name}Distance64" for name in ("Euclidean", "Manhattan", "Minkowski")),
    "sklearn.model_selection._split.KFold",
    "sklearn.model_selection._split.StratifiedKFold",
    "sklearn.neighbors._ball_tree.BallTree",
    "sklearn.neighbors._kd_tree.KDTree",
    "sklearn.neural_network._stochastic_optimizers.AdamOptimizer",
    "sklearn.neural_network._stochastic_optimizers.SGDOptimizer",
    "sklearn.tree._tree.Tree",
    "sklearn.utils._bunch.Bunch",
    "sklearn.utils.validation.check_array",
    "trunkline.pipeline.train.joint.JointClassifier",
    "trunkline.pipeline.train.joint.JointRegressor",
    "trunkline.pipeline.train.labels.Labels",
    "trunkline.pipeline.train.quantiles.Quantiles",
    "xgboost.core.Booster",
    "xgboost.sklearn.XGBClassifier",
    "xgboost.sklearn.XGBRFClassifier",
    "xgboost.sklearn.XGBRFRegressor",
    "xgboost.sklearn.XGBRanker",
    "xgboost.sklearn.XGBRegressor",
)

_SCHEMA = "schema.json"
_THREADS = "n_threads"  # histogram boosting keeps the number that it was fitted with
_ONE = {"__class__": "str", "__module__": "builtins", "__loader__": "JsonNode", "content": "1"}
_EPOCH = (1980, 1, 1, 0, 0, 0)


def save(pipeline: Pipeline, path: Path) -> None:
    """Write a fitted pipeline, atomically; the bytes depend on the fitted values only.

    Raises UserError for an estimator that `load` would refuse.
    """
    content = canonical(skops.io.dumps(pipeline))
    _refuse(skops.io.get_untrusted_types(data=content), path)
    with files.atomic_path(path) as temporary:
        temporary.write_bytes(content)


def load(path: Path) -> Pipeline:
    """Read a fitted pipeline; raises UserError for another file, or one that holds a type not trusted."""
    try:
        return skops.io.load(path, trusted=list(TRUSTED))
    except UntrustedTypesFoundException as error:
        _refuse(skops.io.get_untrusted_types(file=path), path)
        raise UserError(f"{path}: {error}") from error
    except (zipfile.BadZipFile, KeyError, TypeError, ValueError) as error:
        raise UserError(f"{path}: is not a model file ({error}); run: dvc repro") from error


def canonical(content: bytes) -> bytes:
    """Rewrite a skops file so that it depends on the model's values only, and still loads as the same model.

    Arrays are named by their content. Object ids are dropped: they only say which parts were one object.
    Nothing is compressed, since compressed bytes differ between versions and builds of zlib.
    """
    members = {name: _canonical_member(name, data) for name, data in _members(content).items()}
    schema = json.loads(members.pop(_SCHEMA))
    names = {name: hashlib.sha256(data).hexdigest()[:32] + Path(name).suffix for name, data in members.items()}
    renamed = {names[name]: data for name, data in members.items()}
    renamed[_SCHEMA] = json.dumps(_canonical_node(schema, names), separators=(",", ":")).encode()
    return _archive(renamed)


def _members(content: bytes) -> dict[str, bytes]:
    with zipfile.ZipFile(io.BytesIO(content)) as source:
        return {name: source.read(name) for name in source.namelist()}


def _archive(members: Mapping[str, bytes]) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_STORED) as target:
        for name in sorted(members):
            entry = zipfile.ZipInfo(name, date_time=_EPOCH)
            entry.create_system = 3  # Unix, wherever it is written
            target.writestr(entry, members[name])
    return buffer.getvalue()


def _refuse(types: list[str], path: Path) -> None:
    unknown = sorted(set(types) - set(TRUSTED))
    if unknown:
        raise UserError(f"{path}: holds types that are not trusted: {', '.join(unknown)}; use another estimator")


def _canonical_member(name: str, data: bytes) -> bytes:
    if name.endswith(".npz"):  # a sparse matrix, whose places scipy reads as the narrowest integers that hold them
        buffer = io.BytesIO()
        save_npz(buffer, load_npz(io.BytesIO(data)), compressed=False)
        return _archive(_members(buffer.getvalue()))
    if not name.endswith(".npy"):
        return data
    array = np.load(io.BytesIO(data), allow_pickle=False)
    if array.dtype.names is None:
        return data
    # Padding between the fields is whatever was in memory; zeros_like and np.save would not clear it either.
    clean = np.zeros(array.shape, array.dtype, order="F" if np.isfortran(array) else "C")
    for field in array.dtype.names:
        clean[field] = array[field]
    return data[: len(data) - array.nbytes] + clean.tobytes(order="A")


def _canonical_node(value: Any, names: dict[str, str]) -> Any:
    if isinstance(value, list):
        return [_canonical_node(item, names) for item in value]
    if not isinstance(value, dict):
        return value
    node = {key: _canonical_node(item, names) for key, item in value.items() if key != "__id__"}
    if isinstance(node.get("file"), str):  # of whatever kind the node is; a dictionary's key of that name holds a node
        node["file"] = names[node["file"]]
    match node.get("__loader__"):
        case "SetNode":
            node["content"].sort(key=json.dumps)
        case "DictNode" if _THREADS in node["content"]:
            node["content"][_THREADS] = _ONE
    return node
