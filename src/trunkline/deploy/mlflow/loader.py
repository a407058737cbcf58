"""Loads a bundle where MLflow loads a model; imports MLflow only to refuse a row as MLflow's server expects.

A model that is logged to MLflow brings a copy of this module and of those that it needs, which `vendor` lists.
No signature stands before it (docs/adr/0013-mlflow-and-the-contract.md): every row is held to the contract here, as a
request is, and all rows are scored at once, as `Bundle.scores` does it.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from trunkline.bundle import manifest
from trunkline.bundle.contract import Contract, matrices, read_contract
from trunkline.bundle.manifest import BundleError
from trunkline.bundle.runtime import Bundle
from trunkline.core.errors import UserError

if TYPE_CHECKING:
    import pandas as pd


_EXACT = 2**53

Scorer = Callable[[npt.NDArray[np.float64], npt.NDArray[np.object_]], npt.NDArray[np.float64]]


@dataclass(frozen=True)
class BundleModel:
    """What MLflow wraps: a contract, and what scores the matrices of rows that fulfil it."""

    contract: Contract
    scores: Scorer

    def predict(self, model_input: object, params: dict[str, Any] | None = None) -> npt.NDArray[np.float64]:
        """Return the scores of rows, float64; null, NaN or no column is missing, and there are no parameters.

        Rows are a pandas frame, or what MLflow's server makes of `inputs` and `instances`: columns by name, or rows
        that name theirs. Raises MlflowException, INVALID_PARAMETER_VALUE, with one line that names the first row,
        counted from 0, and the field that is not as the contract says.
        """
        try:
            frame = _frame(model_input)
            _check_columns(frame, self.contract)
            given = frame.astype(object).where(frame.notna(), None).to_dict("records")
            rows = ({str(name): value for name, value in row.items()} for row in given)
            return self.scores(*matrices(self.contract, rows))
        except UserError as error:
            from mlflow.exceptions import MlflowException  # noqa: PLC0415  whoever calls this has it already

            raise MlflowException.invalid_parameter_value(str(error)) from error


def _frame(given: object) -> "pd.DataFrame":
    import pandas as pd  # noqa: PLC0415  heavy, and MLflow has imported it by now

    if isinstance(given, pd.DataFrame):
        return given
    if isinstance(given, Mapping):
        columns = {name: _cells(str(name), values) for name, values in given.items()}
        if len(lengths := {len(cells) for cells in columns.values()}) > 1:
            raise UserError(f"columns have {', '.join(map(str, sorted(lengths)))} values; give each row one of each")
        return pd.DataFrame(columns, dtype=object)
    if isinstance(given, list) and all(isinstance(row, Mapping) for row in given):
        return pd.DataFrame([{name: _plain(value) for name, value in row.items()} for row in given], dtype=object)
    raise UserError("the rows do not name their fields; send dataframe_split, dataframe_records or CSV with a header")


def _cells(name: str, values: Any) -> list[Any]:
    """Return the values of a column; refuses those of which numpy made texts because there was a text among them."""
    plain = _plain(values)
    # An array of texts alone is as wide as the longest; beside a number or a boolean, numpy leaves room for any.
    if isinstance(values, np.ndarray) and values.dtype.kind == "U" and values.dtype != np.array(plain, "U").dtype:
        raise UserError(f"field {name}: holds a text beside other values, which reach the model as texts")
    return [_plain(cell) for cell in plain] if isinstance(plain, list) else [plain]


def _plain(value: Any) -> Any:
    return value.tolist() if isinstance(value, np.ndarray) else value


def _check_columns(frame: "pd.DataFrame", contract: Contract) -> None:
    """Refuse what the rows no longer show: a column name given twice, and whole numbers that lost digits."""
    if not frame.columns.is_unique:
        raise UserError(f"field {frame.columns[frame.columns.duplicated()][0]}: is there twice; give it once")
    for field in contract.inputs:
        column = frame.get(field.name) if field.category_of == "integer" else None
        # pandas makes floats of whole numbers beside a missing one; from here on, one stands for several.
        if column is not None and column.dtype.kind == "f" and (column.abs() >= _EXACT).any():
            raise UserError(f"field {field.name}: floats of whole numbers this large are not exact; give texts")


def _load_pyfunc(path: str) -> BundleModel:
    """Load the bundle from the folder `<digest>`; MLflow calls it.

    Raises BundleError for a bundle that is not what its manifest says, or of another digest than its folder's name.
    """
    folder = Path(path)
    verified = manifest.read(folder, keep=frozenset({manifest.CONTRACT}))
    if verified.digest != folder.name:
        raise BundleError(f"{folder}: holds the bundle {verified.digest}; do not use it; register the version again")
    contract = read_contract(folder, verified.kept[manifest.CONTRACT])
    if verified.manifest.runtime == "onnx":
        return BundleModel(contract, Bundle.load(folder).scores)
    from trunkline.serve import pipeline_scorer  # noqa: PLC0415  a model with a graph brings neither it nor scikit-learn

    return BundleModel(contract, pipeline_scorer.scorer(folder / verified.manifest.model, contract))
