"""Writes a bundle as an MLflow model: outputs, example, requirements, and the code that loads it.

No types of inputs are declared to MLflow, which would convert what does not fit without a word (5.7 to the integer 5,
null to the boolean false and to the text 'None'): values reach the bundle as they are, and the contract decides. It is
in the metadata, as JSON Schema. docs/adr/0013-mlflow-and-the-contract.md says what was measured.
"""

import platform
import shutil
import tempfile
import warnings
from contextlib import suppress
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import msgspec

from trunkline.adapters import mlflow
from trunkline.bundle import manifest
from trunkline.bundle.contract import Contract, read_contract
from trunkline.bundle.manifest import CONTRACT, GOLDEN, Manifest, VerifiedBundle
from trunkline.deploy.mlflow import vendor

_LOADER = "deploy.mlflow.loader"  # in the copied package, as in Trunkline
_EXAMPLES = 5
_BOOSTERS = ("catboost", "lightgbm", "xgboost", "xgboost-cpu")


def write(bundle: Path, folder: Path) -> None:
    """Write a verified bundle as an MLflow model to a folder that does not exist yet.

    Raises UserError if the bundle is not what its manifest says.
    """
    verified = manifest.read(bundle, keep=frozenset({CONTRACT, GOLDEN}))
    contract = read_contract(bundle, verified.kept[CONTRACT])
    with tempfile.TemporaryDirectory() as temporary, warnings.catch_warnings():
        warnings.simplefilter("ignore")  # MLflow warns of its own types when it is imported
        types, models = mlflow.library().types, mlflow.library().models
        scores = types.Schema([types.ColSpec("double", name) for name in contract.scores])
        package = vendor.copy(vendor.PATHS[verified.manifest.runtime], Path(temporary))
        data = shutil.copytree(bundle, Path(temporary, verified.digest))
        mlflow.library().pyfunc.save_model(
            folder,
            loader_module=f"{package.name}.{_LOADER}",
            data_path=str(data),
            code_paths=[str(package)],
            signature=models.ModelSignature(outputs=scores),
            input_example=_example(verified, contract),
            conda_env=_environment(verified.manifest, bundle),
            metadata={"trunkline.digest": verified.digest, "trunkline.request": contract.request},
        )


def _example(verified: VerifiedBundle, contract: Contract) -> Any:
    """Return the first golden rows as MLflow keeps an example; None if the bundle has no golden rows."""
    import pandas as pd  # noqa: PLC0415  heavy, and MLflow has imported it by now

    if GOLDEN not in verified.kept:
        return None
    rows = [row["request"] for row in msgspec.json.decode(verified.kept[GOLDEN])[:_EXAMPLES]]
    return pd.DataFrame(rows, columns=[field.name for field in contract.inputs])


def _environment(declared: Manifest, bundle: Path) -> dict[str, Any]:
    """Return what MLflow makes of requirements, but for the version of pip: where none is installed, it would warn.

    They are what the loader and the model need, in the versions of this environment, which are the lock's.
    """
    requirements = [f"{name}=={version(name)}" for name in vendor.REQUIREMENTS[declared.runtime]]
    if declared.runtime == "sklearn":
        requirements += _boosters((bundle / declared.model).read_bytes())
    dependencies = [f"python={platform.python_version()}", "pip", {"pip": sorted(requirements)}]
    return {"name": "mlflow-env", "channels": ["conda-forge"], "dependencies": dependencies}


def _boosters(pipeline: bytes) -> list[str]:
    """Return the packages of boosted trees that a pipeline's file names, in the versions of this environment."""
    installed = [name for name in _BOOSTERS if name.partition("-")[0].encode() in pipeline]
    pinned = []
    for name in installed:
        with suppress(PackageNotFoundError):  # XGBoost comes as one of two packages
            pinned.append(f"{name}=={version(name)}")
    return pinned
