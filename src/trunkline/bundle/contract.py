"""What a request to a bundle must look like, and the checks of one, compiled once when the bundle is loaded."""

import re
from collections.abc import Callable, Iterable, Mapping
from functools import partial
from pathlib import Path
from typing import Any, Literal, TypeVar, cast

import msgspec
import numpy as np
import numpy.typing as npt

from trunkline.bundle.manifest import CONTRACT, BundleError
from trunkline.core.errors import UserError, nearest
from trunkline.core.graphs import MISSING
from trunkline.core.tasks import score_columns

_INTEGER = re.compile(r"0|-?[1-9]\d*", re.ASCII)
_LARGEST = float(np.finfo(np.float64).max)

_Value = TypeVar("_Value", float, str)


class FieldError(UserError):
    """A field of a request that is not as the contract says."""

    def __init__(self, field: str, message: str) -> None:
        super().__init__(message)
        self.field = field


class Input(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One field of a request; numeric ones are integer, number or boolean, categorical ones text.

    `nulls` are the texts that mean a missing value where the field's own source is a CSV, and so in a CSV of requests;
    without them, it is an empty field without quotes. `category_of` is what the texts of a category are written from.
    `levels` are the texts of the training rows: the model takes any other for an unknown one.
    """

    name: str
    role: Literal["numeric", "categorical"]
    type: Literal["integer", "number", "text", "boolean"]
    nullable: bool
    description: str
    min: float | None = None
    max: float | None = None
    allowed: list[str | int] | None = None
    pattern: str | None = None
    nulls: list[str] | None = None
    category_of: Literal["integer", "number", "boolean"] | None = None
    levels: list[str] | None = None


class Decision(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The score from which on a row is taken for a positive one, and the declared costs that it was chosen by."""

    threshold: float
    costs: dict[str, float]


class Contract(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """What a request must look like; `request` says the same as JSON Schema (draft 2020-12), for others' tools.

    `classes` are those of a model of several classes, or the names of its quantiles such as q90, in the order of its
    scores; none for any other model.
    `decision` is there where conf/evaluation declares costs: what is answered is the score all the same.
    """

    label: str
    on_bad_row: Literal["stop", "quarantine"]
    inputs: list[Input]
    request: dict[str, Any]
    classes: list[str] = []
    decision: Decision | None = None

    @property
    def scores(self) -> tuple[str, ...]:
        """Names of the scores of a row: `score`, or `score_<class>` for each class or quantile."""
        return score_columns(self.classes)

    def width(self, role: Literal["numeric", "categorical"]) -> int:
        """Return how many inputs have a role."""
        return sum(field.role == role for field in self.inputs)


def matrices(
    contract: Contract, requests: Iterable[Mapping[str, object]]
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.object_]]:
    """Return requests as the matrices that `Bundle.scores` takes, each checked as `Bundle.score` checks one.

    Raises UserError with one line that names the first request, counted from 0, and the field.
    """
    check = row_check(contract)
    rows = []
    for number, request in enumerate(requests):
        try:
            rows.append(check(request))
        except UserError as error:
            raise UserError(f"row {number}: {error}") from None
    return (
        np.array([row for row, _ in rows], np.float64).reshape(len(rows), contract.width("numeric")),
        np.array([row for _, row in rows], object).reshape(len(rows), contract.width("categorical")),
    )


def row_check(contract: Contract) -> Callable[[Mapping[str, object]], tuple[list[float], list[str]]]:
    """Compile the check of a request, which returns its numbers and its texts in the contract's order.

    The check raises FieldError.
    """
    numbers = [(field.name, number_check(field)) for field in contract.inputs if field.role == "numeric"]
    texts = [(field.name, text_check(field)) for field in contract.inputs if field.role == "categorical"]
    fields = frozenset(field.name for field in contract.inputs)

    def check(request: Mapping[str, object]) -> tuple[list[float], list[str]]:
        if not request.keys() <= fields:
            raise unknown_field(request, fields)
        return [check(request.get(name)) for name, check in numbers], [
            check(request.get(name)) for name, check in texts
        ]

    return check


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


def number_check(field: Input) -> Callable[[object], float]:
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


def text_check(field: Input) -> Callable[[object], str]:
    """Compile the check of a text."""
    allowed = None if field.allowed is None else frozenset(field.allowed)
    matches = None if field.pattern is None else re.compile(field.pattern).fullmatch

    def check(value: object) -> str:
        if value is None or (field.category_of is not None and value != value):  # noqa: PLR0124  NaN
            return _missing(field, MISSING)
        if field.category_of is not None:
            value = _category(field, value)
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


def _category(field: Input, value: object) -> object:
    """Return the text of a whole number or a truth value; refuse a text that is not written so."""
    if field.category_of == "integer":
        if isinstance(value, int | float | np.integer | np.floating) and not isinstance(value, bool) and value % 1 == 0:
            return str(int(value))
        if isinstance(value, str) and not _INTEGER.fullmatch(value):
            raise _wrong(field, value, "is not a whole number, written without leading zeros")
    if field.category_of == "boolean":
        if isinstance(value, bool | np.bool_):
            return "true" if value else "false"
        if value not in ("true", "false"):
            raise _wrong(field, value, "is not true or false")
    return value


def _missing(field: Input, mark: _Value) -> _Value:
    if not field.nullable:
        raise FieldError(field.name, f"field {field.name}: is missing; give its value: {field.description}")
    return mark


def _wrong(field: Input, value: object, breach: str) -> FieldError:
    shown = repr(value)
    return FieldError(field.name, f"field {field.name}: {shown if len(shown) <= 60 else f'{shown[:57]}...'} {breach}")


def unknown_field(request: Mapping[str, object], fields: frozenset[str]) -> FieldError:
    """Return what is wrong with a request that has a field besides those of the contract."""
    name = next(name for name in request if name not in fields)
    return FieldError(str(name), f"field {name!r}: is not in the contract{nearest(str(name), fields)}")


def no_unicode(request: Mapping[str, object]) -> FieldError:
    """Return what is wrong with a request that holds a text which is not Unicode."""
    for name, value in request.items():
        if isinstance(value, str) and any("\ud800" <= letter <= "\udfff" for letter in value):
            return FieldError(name, f"field {name}: {value[:60]!r} is not Unicode: it holds half of a surrogate pair")
    raise AssertionError("only text with half of a surrogate pair cannot be encoded")
