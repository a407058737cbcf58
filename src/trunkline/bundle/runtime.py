"""A bundle in memory: requests and rows in, scores out, with nothing but numpy, onnxruntime and msgspec.

Loading runs no code from the bundle: its files are checked against the manifest, the contract is data, and
the graph is built from verified bytes of onnxruntime's own operators, with no way to another file.
One request is checked field by field against the contract, by checks compiled once when the bundle is loaded.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import numpy as np
import numpy.typing as npt

from trunkline.bundle.manifest import CONTRACT, BundleError, Manifest, read
from trunkline.core.errors import UserError, one_line
from trunkline.core.graphs import CATEGORICAL, MISSING, NUMERIC, even, session
from trunkline.core.tasks import SCORE

if TYPE_CHECKING:
    from onnxruntime import InferenceSession

from trunkline.bundle.contract import (
    Contract,
    no_unicode,
    number_check,
    read_contract,
    text_check,
    unknown_field,
)


@dataclass(frozen=True, slots=True)
class Bundle:
    """A verified bundle, ready to score; it is unchanged by scoring, and threads may share it.

    `numeric` and `categorical` are the names of the inputs in the order of the columns that `scores` takes.
    """

    manifest: Manifest
    contract: Contract
    digest: str
    numeric: tuple[str, ...]
    categorical: tuple[str, ...]
    _fields: frozenset[str]
    _numbers: "tuple[tuple[str, Callable[[object], float]], ...]"
    _texts: "tuple[tuple[str, Callable[[object], str]], ...]"
    _session: "InferenceSession"

    @classmethod
    def load(cls, folder: Path, threads: int = 1) -> Self:
        """Verify a bundle and make it ready to score, each call with that many threads.

        Raises UserError if `folder` is no bundle or not what its manifest says (see `verify`), if only an
        install with scikit-learn can run it, or if its graph is not one that its contract describes.
        """
        verified = read(folder, keep=frozenset({CONTRACT, "model.onnx"}))
        if verified.manifest.runtime != "onnx":
            raise UserError(
                f"{folder}: its runtime is {verified.manifest.runtime}: this install cannot run it; "
                f"install all of trunkline (locks/pipeline.txt) and use: trunkline predict"
            )
        contract = read_contract(folder, verified.kept[CONTRACT])
        numeric = tuple((field.name, number_check(field)) for field in contract.inputs if field.role == "numeric")
        categorical = tuple((field.name, text_check(field)) for field in contract.inputs if field.role == "categorical")
        widths = {NUMERIC: len(numeric), CATEGORICAL: len(categorical)}
        return cls(
            manifest=verified.manifest,
            contract=contract,
            digest=verified.digest,
            numeric=tuple(name for name, _ in numeric),
            categorical=tuple(name for name, _ in categorical),
            _fields=frozenset(field.name for field in contract.inputs),
            _numbers=numeric,
            _texts=categorical,
            _session=_session(
                folder / verified.manifest.model,
                verified.kept[verified.manifest.model],
                widths,
                len(contract.classes),
                threads,
            ),
        )

    def scores(self, numeric: npt.NDArray[np.float64], categorical: npt.NDArray[np.object_]) -> npt.NDArray[np.float64]:
        """Return one score per row: the probability of the positive class, or the regressor's prediction.

        Of several classes, it is one score per row and class, shape (n, classes), in the contract's order. `numeric` is
        float64 (n, len(self.numeric)) with NaN for missing, `categorical` object (n, len(self.categorical)) of str,
        with None or MISSING for missing. The rows are not checked against the contract. Raises ValueError for arrays
        of another shape.

        A row has the same score alone and in any batch: onnxruntime gives the last of an odd number of rows other last
        bits, so it is never given one.
        """
        if categorical.shape[-1] != len(self.categorical) or numeric.shape != (len(categorical), len(self.numeric)):
            raise ValueError(
                f"the shapes are {numeric.shape} and {categorical.shape}, but must be "
                f"(n, {len(self.numeric)}) and (n, {len(self.categorical)})"
            )
        feed: dict[str, npt.NDArray[Any]] = {}
        if self.numeric:
            feed[NUMERIC] = even(numeric)
        if self.categorical:
            none = np.equal(categorical, None)  # type: ignore[call-overload]  # None
            feed[CATEGORICAL] = even(np.where(none, MISSING, categorical) if none.any() else categorical)
        scores: npt.NDArray[np.float64] = self._session.run([SCORE], feed)[0]
        return scores[: len(categorical)]

    def score(self, request: Mapping[str, object]) -> float | dict[str, float]:
        """Return the score of one request, or those of several classes by their names.

        A request is field names to values; None, NaN or no value at all is missing.

        Raises UserError with one line that names the first field that is not as the contract says.
        """
        if not request.keys() <= self._fields:
            raise unknown_field(request, self._fields)
        get = request.get
        feed: dict[str, npt.NDArray[Any]] = {}
        if self._numbers:
            feed[NUMERIC] = np.array([[check(get(name)) for name, check in self._numbers]] * 2, np.float64)
        if self._texts:
            feed[CATEGORICAL] = np.array([[check(get(name)) for name, check in self._texts]] * 2, object)
        try:
            scores = self._session.run([SCORE], feed)[0][0]
        except UnicodeEncodeError:
            raise no_unicode(request) from None
        if not self.contract.classes:
            return float(scores)
        return dict(zip(self.contract.classes, scores.tolist(), strict=True))


def _session(path: Path, graph: bytes, widths: Mapping[str, int], classes: int, threads: int) -> "InferenceSession":
    """Build a bundle's graph; raises BundleError if it is broken, needs anything beyond itself, or has other inputs."""
    try:
        built = session(graph, threads)
    except Exception as error:  # onnxruntime's own exceptions share no base
        raise BundleError(f"{path}: cannot be loaded: {one_line(error)}") from None
    expected = {name: (kind, width) for (name, width), kind in zip(widths.items(), _KINDS, strict=True) if width}
    inputs = {node.name: (node.type, *node.shape[1:]) for node in built.get_inputs()}
    outputs = {node.name: (node.type, *node.shape[1:]) for node in built.get_outputs()}
    given = {SCORE: ("tensor(double)", *([classes] if classes else []))}
    if inputs != expected or outputs != given:
        raise BundleError(f"{path}: takes {inputs} and gives {outputs}, but its contract needs {expected} and {given}")
    return built


_KINDS = ("tensor(double)", "tensor(string)")
