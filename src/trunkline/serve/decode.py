"""Reads the rows of a request: a decoder compiled from the contract for what is right, and the contract's own checks.

The compiled decoder may only say yes: what it does not take, or might read otherwise (a key that is there twice, a
number that a double cannot hold), is read again in plain Python and checked as `Bundle.score` checks it, which also
gives the words of an error.
"""

import json
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from http import HTTPStatus
from typing import Annotated, Any, NoReturn, Self

import msgspec
import numpy as np
import numpy.typing as npt
from msgspec import UNSET, Meta, UnsetType

from trunkline.bundle.contract import Contract, FieldError, Input, no_unicode, number_check, row_check, text_check
from trunkline.serve.problems import ProblemError, malformed, refused_row

EXACT = 2**53 - 1  # beyond it, a double may stand for several whole numbers
_UNDECODED = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)
_TEXTS: dict[str | None, Any] = {None: str, "integer": int | float | str, "number": str, "boolean": bool | str}


# Of a row: its numbers, None or NaN where they are missing, and its texts, in the order of the bundle's columns.
Values = tuple[Sequence[float | None], Sequence[str]]


@dataclass(frozen=True, slots=True)
class Rows:
    """Rows that are as the contract says; `one`: they came as one row, not as a list.

    `widths` are how many numbers and texts a row has. `refused` holds, by their number in the request, what is wrong
    with the others.
    """

    values: Sequence[Values]
    widths: tuple[int, int]
    one: bool = False
    refused: Mapping[int, FieldError] | None = None

    @property
    def matrices(self) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.object_]]:
        """The rows as `Bundle.scores` takes them."""
        numbers, texts = self.widths
        return (
            np.array([row[0] for row in self.values], np.float64).reshape(len(self.values), numbers),
            np.array([row[1] for row in self.values], object).reshape(len(self.values), texts),
        )

    @property
    def accepted(self) -> "Rows":
        """Return the rows without those that are refused."""
        return replace(self, refused=None)


@dataclass(frozen=True, slots=True)
class Columns:
    """Rows that are all as the contract says, as `Bundle.scores` takes them."""

    matrices: tuple[npt.NDArray[np.float64], npt.NDArray[np.object_]]
    one: bool = False
    refused: None = None

    @property
    def values(self) -> list[Values]:
        """Return the rows as `Rows` has them."""
        numbers, texts = self.matrices
        return list(zip(numbers.tolist(), texts.tolist(), strict=True))

    @property
    def accepted(self) -> "Columns":
        """Return all rows."""
        return self


@dataclass(frozen=True, slots=True)
class CompiledRow:
    """The class of a row of inputs, numeric ones first, and what it leaves to check, by the place of each value."""

    type: type[msgspec.Struct]
    checks: Sequence[tuple[int, Callable[[Any], Any]]]

    @classmethod
    def of(cls, contract: Contract, *, of_json: bool) -> Self:
        """Compile the class of a contract's inputs.

        JSON of a whole number may be 7.0, which becomes an int; in what is decoded already it is a float.
        """
        inputs = sorted(contract.inputs, key=lambda field: field.role, reverse=True)
        checks: list[tuple[int, Callable[[Any], Any]]] = [
            (index, number_check(field) if field.role == "numeric" else text_check(field))
            for index, field in enumerate(inputs)
            if field.role == "categorical" or not is_plain(field)
        ]
        if not of_json:
            checks += [(index, _whole) for index, field in enumerate(inputs) if field.type == "integer"]
        return cls(_struct(msgspec.json.encode(inputs), of_json), checks)

    def finish(self, values: list[Any]) -> None:
        """Check what is left to check of a row's values, and put what the model sees in their stead.

        Raises FieldError.
        """
        if UNSET in values:
            values[:] = [None if value is UNSET else value for value in values]
        for index, check in self.checks:
            values[index] = check(values[index])


def request_check(contract: Contract) -> Callable[[Mapping[str, Any]], Values]:
    """Compile the check of a request that is decoded already, as `row_check` does: what is right takes less time.

    The check raises FieldError.
    """
    compiled, numbers = CompiledRow.of(contract, of_json=False), contract.width("numeric")
    in_words = row_check(contract)

    def check(request: Mapping[str, Any]) -> Values:
        try:
            values = list(msgspec.structs.astuple(msgspec.convert(request, compiled.type)))
            compiled.finish(values)
            row: Values = values[:numbers], values[numbers:]
        except (msgspec.ValidationError, ValueError, FieldError):
            row = in_words(request)
        try:
            "".join(row[1]).encode()
        except UnicodeEncodeError:
            raise no_unicode(request) from None
        return row

    return check


class Decoder:
    """Reads the rows of requests to one bundle.

    `limit` is how many rows a request may have, `depth` how many arrays and objects of it may stand in one another.
    """

    def __init__(self, contract: Contract, limit: int, depth: int) -> None:
        self.limit, self._depth = limit, depth
        self._widths = contract.width("numeric"), contract.width("categorical")
        self._compiled = CompiledRow.of(contract, of_json=True)
        self._check = request_check(contract)
        row: Any = self._compiled.type
        self._row = msgspec.json.Decoder(row)
        self._list = msgspec.json.Decoder(Annotated[list[row], Meta(max_length=limit)])

    def decode(self, body: bytes) -> Rows:
        """Return the rows of a JSON object or array; a row that is refused stands in `refused`.

        Raises ProblemError for a body that is not JSON, is neither a row nor a list of rows, or has too many.
        """
        one = body.lstrip()[:1] == b"{"
        values = self._decoded(body, one)
        if values is not None:
            numbers = self._widths[0]
            return Rows([(row[:numbers], row[numbers:]) for row in values], self._widths, one)
        content = self.parse(body)
        return self.check(self.limited([content] if isinstance(content, dict) else content), one)

    def parse(self, body: bytes) -> Any:
        """Return what a body of JSON says; raises ProblemError as `parse` does, and for one that is nested deeper."""
        content = parse(body)
        if _nesting(content) > self._depth:
            raise malformed(f"the body is nested too deeply: {self._depth} arrays and objects may stand in one another")
        return content

    def limited(self, rows: Any) -> Sequence[Any]:
        """Return the rows of a body that is decoded; raises ProblemError if they are none, or too many."""
        if not isinstance(rows, list):
            raise malformed("the body is neither a row, a JSON object, nor rows, an array of them")
        if len(rows) > self.limit:
            detail = f"the request has {len(rows):,} rows, of which {self.limit:,} are allowed"
            raise ProblemError(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, detail)
        return rows

    def check(self, requests: Sequence[Any], one: bool = False) -> Rows:
        """Return rows that are decoded already, checked one by one; raises ProblemError if there are too many."""
        requests = self.limited(requests)
        rows, refused = [], {}
        for number, request in enumerate(requests):
            if not isinstance(request, Mapping):
                raise refused_row("is not an object of fields", number)
            try:
                rows.append(self._check(request))
            except FieldError as error:
                refused[number] = error
        return Rows(rows, self._widths, one, refused or None)

    def _decoded(self, body: bytes, one: bool) -> list[list[Any]] | None:
        """Return each row's values in the decoder's order; None where the compiled decoder does not say yes."""
        try:
            rows = [self._row.decode(body)] if one else self._list.decode(body)
            values = list(map(list, map(msgspec.structs.astuple, rows)))
            # As many colons as values: then no key is there twice, of which the decoder would take the last.
            if body.count(b":") != sum(len(row) - row.count(UNSET) for row in values):
                return None
            for row in values:
                self._compiled.finish(row)
        except (*_UNDECODED, FieldError):
            return None
        return values


def parse(body: bytes) -> Any:
    """Return what JSON (RFC 8259) says; raises ProblemError for what is none, and for a key that is there twice."""
    try:
        return json.loads(body.decode(), object_pairs_hook=_unique, parse_constant=_no_number)
    except UnicodeDecodeError as error:
        raise malformed(f"the body is not UTF-8: byte {error.start}") from None
    except RecursionError:
        raise malformed("the body is nested too deeply") from None
    except json.JSONDecodeError as error:
        raise malformed(f"the body is not JSON: {error.msg} (line {error.lineno}, column {error.colno})") from None
    except ValueError:
        raise malformed("the body has a number with thousands of digits") from None


def _nesting(content: Any) -> int:
    """Return how many arrays and objects stand in one another."""
    depth, level = 0, [content]
    while level := [value for value in level if isinstance(value, dict | list)]:
        depth += 1
        level = [inner for value in level for inner in (value.values() if isinstance(value, dict) else value)]
    return depth


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    content = dict(pairs)
    if len(content) < len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for name in names if names.count(name) > 1)
        raise malformed(f"key {twice[:60]!r}: is there twice; give it once")
    return content


def _no_number(constant: str) -> NoReturn:
    raise malformed(f"the body is not JSON: it holds {constant}; what is missing is null")


def is_plain(field: Input) -> bool:
    """Tell whether a number's type and range, which the compiled decoder checks, are all of its contract."""
    return field.type != "boolean" and field.allowed is None


@lru_cache(maxsize=8)  # msgspec keeps a part of each class that it makes (msgspec#1193): versions share one
def _struct(declared: bytes, of_json: bool) -> type[msgspec.Struct]:
    """Return the class of a row of inputs, which are given as JSON."""
    inputs = msgspec.json.decode(declared, type=list[Input])
    names = [f"field_{index}" for index in range(len(inputs))]
    fields = [_field(name, field, of_json) for name, field in zip(names, inputs, strict=True)]
    rename = {name: field.name for name, field in zip(names, inputs, strict=True)}
    return msgspec.defstruct("Row", fields, kw_only=True, forbid_unknown_fields=True, rename=rename)


def _whole(number: float | None) -> float | None:
    """Return a number that is whole, or missing; raises ValueError for any other."""
    if isinstance(number, float) and not number.is_integer():
        raise ValueError(number)
    return number


def _field(name: str, field: Input, of_json: bool) -> Any:
    """Return a field of the decoder's row; one that may be missing is UNSET where it is left out."""
    if field.role == "categorical":
        type_: Any = _TEXTS[field.category_of]
    elif not is_plain(field):
        type_ = bool if field.type == "boolean" else int | float
    else:
        low, high = (
            max(-EXACT if field.min is None else field.min, -EXACT),
            min(EXACT if field.max is None else field.max, EXACT),
        )
        whole = Annotated[int, Meta(ge=math.ceil(low), le=math.floor(high))]
        number = Annotated[float, Meta(ge=float(low), le=float(high))]
        type_ = number if field.type != "integer" else whole if of_json else whole | number
    return (name, type_ | None | UnsetType, UNSET) if field.nullable else (name, type_)
