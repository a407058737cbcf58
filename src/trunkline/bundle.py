"""A bundle in memory: requests and rows in, scores out, with nothing but numpy, onnxruntime and msgspec.

Loading runs no code from the bundle: its files are checked against the manifest, the contract is data, and
the graph is built from verified bytes of onnxruntime's own operators, with no way to another file.
One request is checked field by field against the contract, by checks compiled once when the bundle is loaded.
"""

import os
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Self, TypeVar, cast

import msgspec
import numpy as np
import numpy.typing as npt

from trunkline.core.errors import UserError, nearest
from trunkline.core.tasks import SCORE, score_columns
from trunkline.manifest import CONTRACT, FORMAT, MANIFEST, BundleError, Manifest, digest, read, verify

if TYPE_CHECKING:
    from onnxruntime import InferenceSession

__all__ = [
    "CATEGORICAL",
    "CONTRACT",
    "FORMAT",
    "MANIFEST",
    "MISSING",
    "NUMERIC",
    "SCORE",
    "Bundle",
    "BundleError",
    "Contract",
    "Input",
    "Manifest",
    "digest",
    "matrices",
    "read_contract",
    "verify",
]

MISSING = "\ue000"  # a missing category in the graph's text input; private use, so that no real text has it
NUMERIC, CATEGORICAL = "numeric", "categorical"  # the graph's inputs; its output is SCORE

_LARGEST = float(np.finfo(np.float64).max)
_NO_FOLDER = str(Path(os.devnull, "none"))  # where the graph may look for tensors in other files: it cannot exist

_Value = TypeVar("_Value", float, str)


class Input(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One field of a request; numeric ones are integer, number or boolean, categorical ones text."""

    name: str
    role: Literal["numeric", "categorical"]
    type: Literal["integer", "number", "text", "boolean"]
    nullable: bool
    description: str
    min: float | None = None
    max: float | None = None
    allowed: list[str | int] | None = None
    pattern: str | None = None


class Contract(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """What a request must look like; `request` says the same as JSON Schema (draft 2020-12), for others' tools.

    `classes` are those of a model of several classes, in the order of its scores; none for any other model.
    """

    label: str
    on_bad_row: Literal["stop", "quarantine"]
    inputs: list[Input]
    request: dict[str, Any]
    classes: list[str] = []

    @property
    def scores(self) -> tuple[str, ...]:
        """Names of the scores of a row: `score`, or `score_<class>` for each class."""
        return score_columns(self.classes)


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
        found = read(folder, keep=frozenset({CONTRACT, "model.onnx"}))
        if found.manifest.runtime != "onnx":
            raise UserError(
                f"{folder}: its runtime is {found.manifest.runtime}: this install cannot run it; "
                f"install all of trunkline (locks/pipeline.txt) and use: trunkline predict"
            )
        contract = read_contract(folder, found.kept[CONTRACT])
        numeric = tuple((field.name, _number(field)) for field in contract.inputs if field.role == "numeric")
        categorical = tuple((field.name, _text(field)) for field in contract.inputs if field.role == "categorical")
        widths = {NUMERIC: len(numeric), CATEGORICAL: len(categorical)}
        return cls(
            manifest=found.manifest,
            contract=contract,
            digest=found.digest,
            numeric=tuple(name for name, _ in numeric),
            categorical=tuple(name for name, _ in categorical),
            _fields=frozenset(field.name for field in contract.inputs),
            _numbers=numeric,
            _texts=categorical,
            _session=_session(
                folder / found.manifest.model, found.kept[found.manifest.model], widths, len(contract.classes), threads
            ),
        )

    def scores(self, numeric: npt.NDArray[np.float64], categorical: npt.NDArray[np.object_]) -> npt.NDArray[np.float64]:
        """Return one score per row: the probability of the positive class, or the regressor's prediction.

        Of several classes, it is one score per row and class, shape (n, classes), in the contract's order. `numeric` is
        float64 (n, len(self.numeric)) with NaN for missing, `categorical` object (n, len(self.categorical)) of str,
        with None or MISSING for missing. The rows are not checked against the contract. Raises ValueError for arrays
        of another shape.
        """
        if categorical.shape[-1] != len(self.categorical) or numeric.shape != (len(categorical), len(self.numeric)):
            raise ValueError(
                f"the shapes are {numeric.shape} and {categorical.shape}, but must be "
                f"(n, {len(self.numeric)}) and (n, {len(self.categorical)})"
            )
        feed: dict[str, npt.NDArray[Any]] = {}
        if self.numeric:
            feed[NUMERIC] = numeric
        if self.categorical:
            none = np.equal(categorical, None)  # type: ignore[call-overload]  # None
            feed[CATEGORICAL] = np.where(none, MISSING, categorical) if none.any() else categorical
        return cast(npt.NDArray[np.float64], self._session.run([SCORE], feed)[0])

    def score(self, request: Mapping[str, object]) -> float | dict[str, float]:
        """Return the score of one request, or those of several classes by their names.

        A request is field names to values; None, NaN or no value at all is missing.

        Raises UserError with one line that names the first field that is not as the contract says.
        """
        if not request.keys() <= self._fields:
            raise UserError(_unknown(request, self._fields))
        get = request.get
        feed: dict[str, npt.NDArray[Any]] = {}
        if self._numbers:
            feed[NUMERIC] = np.array([[check(get(name)) for name, check in self._numbers]], np.float64)
        if self._texts:
            feed[CATEGORICAL] = np.array([[check(get(name)) for name, check in self._texts]], object)
        try:
            found = self._session.run([SCORE], feed)[0][0]
        except UnicodeEncodeError:
            raise UserError(_no_unicode(request)) from None
        if not self.contract.classes:
            return float(found)
        return dict(zip(self.contract.classes, found.tolist(), strict=True))


def matrices(
    contract: Contract, requests: Iterable[Mapping[str, object]]
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.object_]]:
    """Return requests as the matrices that `Bundle.scores` takes, each checked as `Bundle.score` checks one.

    Raises UserError with one line that names the first request, counted from 0, and the field.
    """
    numbers = [(field.name, _number(field)) for field in contract.inputs if field.role == "numeric"]
    texts = [(field.name, _text(field)) for field in contract.inputs if field.role == "categorical"]
    fields = frozenset(field.name for field in contract.inputs)

    def checked(request: Mapping[str, object]) -> tuple[list[float], list[str]]:
        if not request.keys() <= fields:
            raise UserError(_unknown(request, fields))
        return [check(request.get(name)) for name, check in numbers], [
            check(request.get(name)) for name, check in texts
        ]

    rows = []
    for place, request in enumerate(requests):
        try:
            rows.append(checked(request))
        except UserError as error:
            raise UserError(f"row {place}: {error}") from None
    return (
        np.array([row for row, _ in rows], np.float64).reshape(len(rows), len(numbers)),
        np.array([row for _, row in rows], object).reshape(len(rows), len(texts)),
    )


def read_contract(folder: Path, content: bytes) -> Contract:
    """Return the contract of a bundle's folder from its verified bytes; raises BundleError if it is none."""
    path = folder / CONTRACT
    try:
        contract = msgspec.json.decode(content, type=Contract)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise BundleError(f"{path}: is not a contract: {error}; build the bundle again") from None
    names = [field.name for field in contract.inputs]
    if not names or len(set(names)) < len(names):
        raise BundleError(f"{path}: inputs: must be one or more, each of another name; build the bundle again")
    for field in contract.inputs:
        if (field.role == "categorical") != (field.type == "text"):
            raise BundleError(f"{path}: inputs.{field.name}: is {field.role}, but of type {field.type}; build it again")
        try:
            re.compile(field.pattern or "")
        except re.error as error:
            raise BundleError(f"{path}: inputs.{field.name}.pattern: {error}; build the bundle again") from None
    return contract


def _session(path: Path, graph: bytes, widths: Mapping[str, int], classes: int, threads: int) -> "InferenceSession":
    """Build the graph; raises BundleError if it is broken, needs anything beyond itself, or has other inputs."""
    import onnxruntime  # noqa: PLC0415  who only checks a bundle or its contract needs none

    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    options.execution_mode = onnxruntime.ExecutionMode.ORT_SEQUENTIAL
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    for key in ("session.intra_op.allow_spinning", "session.inter_op.allow_spinning"):
        options.add_session_config_entry(key, "0")  # a waiting thread would take the CPU from another's work
    options.add_session_config_entry("session.model_external_initializers_file_folder_path", _NO_FOLDER)
    try:
        session = onnxruntime.InferenceSession(graph, options, providers=["CPUExecutionProvider"])
    except Exception as error:  # onnxruntime's own exceptions share no base
        raise BundleError(f"{path}: cannot be loaded: {' '.join(str(error).split())}") from None
    expected = {name: (kind, width) for (name, width), kind in zip(widths.items(), _KINDS, strict=True) if width}
    inputs = {node.name: (node.type, *node.shape[1:]) for node in session.get_inputs()}
    outputs = {node.name: (node.type, *node.shape[1:]) for node in session.get_outputs()}
    given = {SCORE: ("tensor(double)", *([classes] if classes else []))}
    if inputs != expected or outputs != given:
        raise BundleError(f"{path}: takes {inputs} and gives {outputs}, but its contract needs {expected} and {given}")
    return session


_KINDS = ("tensor(double)", "tensor(string)")


def _number(field: Input) -> Callable[[object], float]:
    """Compile the check of a number: what is of the commonest types and in range passes in one comparison."""
    low = -_LARGEST if field.min is None else field.min
    high = _LARGEST if field.max is None else field.max
    slow = partial(_odd_number, field, low, high, None if field.allowed is None else frozenset(field.allowed))
    whole = field.type == "integer"
    if field.type == "boolean" or field.allowed is not None:
        return slow

    def check(value: Any) -> float:
        if (value.__class__ is int or (value.__class__ is float and not whole)) and low <= value <= high:
            return cast(float, value)  # NaN is not in range
        return slow(value)

    return check


def _odd_number(field: Input, low: float, high: float, allowed: frozenset[str | int] | None, value: object) -> float:
    """Check any value in full, and say what is wrong with it."""
    if value is None or (isinstance(value, float) and value != value):  # noqa: PLR0124  NaN
        return _missing(field, np.nan)
    if field.type == "boolean":
        if not isinstance(value, bool | np.bool_):
            raise _wrong(field, value, "is not true or false")
        return float(value)
    if isinstance(value, bool) or not isinstance(value, int | float | np.integer | np.floating):
        raise _wrong(field, value, "is not a whole number" if field.type == "integer" else "is not a number")
    if not -_LARGEST <= value <= _LARGEST:
        raise _wrong(field, value, "is not a finite number")
    if field.type == "integer" and value != int(value):
        raise _wrong(field, value, "is not a whole number")
    if not low <= value <= high:
        raise _wrong(field, value, f"is below {low:.15g}" if value < low else f"is above {high:.15g}")
    if allowed is not None and value not in allowed:
        raise _wrong(field, value, f"is not one of {', '.join(map(str, field.allowed or ()))}")
    return float(value)


def _text(field: Input) -> Callable[[object], str]:
    """Compile the check of a text."""
    allowed = None if field.allowed is None else frozenset(field.allowed)
    matches = None if field.pattern is None else re.compile(field.pattern).fullmatch

    def check(value: object) -> str:
        if value is None:
            return _missing(field, MISSING)
        if not isinstance(value, str):
            raise _wrong(field, value, "is not a text")
        if allowed is not None and value not in allowed:
            raise _wrong(field, value, f"is not one of {', '.join(map(str, field.allowed or ()))}")
        if matches is not None and not matches(value):
            raise _wrong(field, value, f"is not of the form {field.pattern}")
        if value == MISSING:
            raise _wrong(field, value, "is the mark that is reserved for missing texts; leave the field out")
        return value

    return check


def _missing(field: Input, mark: _Value) -> _Value:
    if not field.nullable:
        raise UserError(f"field {field.name}: is missing; give its value: {field.description}")
    return mark


def _wrong(field: Input, value: object, breach: str) -> UserError:
    shown = repr(value)
    return UserError(f"field {field.name}: {shown if len(shown) <= 60 else f'{shown[:57]}...'} {breach}")


def _unknown(request: Mapping[str, object], fields: frozenset[str]) -> str:
    name = next(name for name in request if name not in fields)
    return f"field {name!r}: is not in the contract{nearest(str(name), fields)}"


def _no_unicode(request: Mapping[str, object]) -> str:
    for name, value in request.items():
        if isinstance(value, str) and any("\ud800" <= letter <= "\udfff" for letter in value):
            return f"field {name}: {value[:60]!r} is not Unicode: it holds half of a surrogate pair"
    raise AssertionError("only text with half of a surrogate pair cannot be encoded")
