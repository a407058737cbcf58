"""The modules of Trunkline that load a bundle, copied as a package under a name of its own.

A model that is logged to MLflow works where Trunkline is not installed. Where it is, in whatever version, or where one
process loads models of several versions, no module may be taken for another: the package is named by its code's hash.
"""

import hashlib
import re
from collections.abc import Iterable
from pathlib import Path

import trunkline

# What each runtime needs of Trunkline: modules, and folders of them; and of others.
_BUNDLE = ("bundle/contract.py", "bundle/manifest.py", "bundle/runtime.py")
_GRAPH = (*_BUNDLE, "core/errors.py", "core/graphs.py", "core/tasks.py")
_LOADER = "deploy/mlflow/loader.py"
_PIPELINE = ("conf/model.py", "core", "pipeline/train", "serve/pipeline_scorer.py")
PATHS = {"onnx": (*_GRAPH, _LOADER), "sklearn": (*_GRAPH, _LOADER, *_PIPELINE)}
_SERVING = ("msgspec", "numpy", "onnxruntime", "pandas")
_TRAINING = ("joblib", "polars", "pydantic", "scikit-learn", "scipy", "skops", "threadpoolctl")
REQUIREMENTS = {"onnx": _SERVING, "sklearn": (*_SERVING, *_TRAINING)}

_ROOT = Path(trunkline.__file__).parent
_IMPORT = re.compile(r"^(\s*from )trunkline(?=[. ])", re.MULTILINE)


def copy(paths: Iterable[str], folder: Path) -> Path:
    """Copy modules into a folder, as a package whose modules import each other; return the package's own folder."""
    sources = {file for path in paths for file in (_ROOT / path, *(_ROOT / path).rglob("*.py")) if file.is_file()}
    texts = {file.relative_to(_ROOT).as_posix(): file.read_text(encoding="utf-8") for file in sorted(sources)}
    package = folder / f"trunkline_{hashlib.sha256(repr(texts).encode()).hexdigest()[:16]}"
    for path, text in texts.items():
        target = package / path
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(_IMPORT.sub(rf"\1{package.name}", text), encoding="utf-8")
    return package
