"""What a server and the process that writes its log tell each other, as msgpack."""

from collections.abc import Sequence
from typing import Literal

import msgspec

from trunkline.bundle.contract import Contract, Input
from trunkline.serve.decode import Values

_EXACT = 2**53  # whole numbers up to here are what they are as a double
Kind = Literal["integer", "number", "boolean", "text"]


class Scorer(msgspec.Struct, frozen=True, tag="scorer"):
    """A bundle that scores: its inputs, numbers before texts, each with its type in the log, and its scores' names."""

    digest: str
    version: str | None
    inputs: list[tuple[str, Kind]]
    scores: list[str]

    @classmethod
    def of(cls, contract: Contract, digest: str, version: str | None) -> "Scorer":
        """Return how a bundle with a contract is told."""
        numbers = [(field.name, _kind(field)) for field in contract.inputs if field.role == "numeric"]
        texts: list[tuple[str, Kind]] = [(field.name, "text") for field in contract.inputs if field.role != "numeric"]
        return cls(digest, version, [*numbers, *texts], [*contract.scores])

    @property
    def name(self) -> str:
        """What answers call it: a bundle may be that of several versions."""
        return scorer_name(self.digest, self.version)

    def width(self, *, text: bool) -> int:
        """Return how many inputs are texts, or numbers."""
        return sum((kind == "text") == text for _, kind in self.inputs)


class Answer(msgspec.Struct, frozen=True, array_like=True):
    """The rows of a request; `rows` are their numbers in it, `values` the numbers and the texts of each scored one.

    `scorer` is the name of what scored them. A number that is missing may be None, as in a request. `scores` are
    float64, those of a row one after the other. `columns` and `times` are of requests whose features were joined by the
    server: for each row, the request's columns as JSON, and the moment as of which it was predicted, in seconds since
    1970. While a rollout runs, `arm` is whose rows they are, `scoring` how many seconds the model took for them, and
    `problems` says of the last ones of `rows`, which have no values and no scores, why not.
    """

    scorer: str
    request: str
    time: float
    principal: str | None
    route: str
    latency: float | None
    rows: Sequence[int]
    values: Sequence[Values]
    scores: bytes
    columns: Sequence[str | None] | None = None
    times: Sequence[float | None] | None = None
    arm: str | None = None
    scoring: float | None = None
    problems: Sequence[str] = ()


class Batch(msgspec.Struct, frozen=True, tag="batch"):
    """Answers under a number that counts up."""

    number: int
    answers: list[Answer]


class EncodedBatch(msgspec.Struct, frozen=True, tag="batch"):
    """A Batch whose answers are encoded already."""

    number: int
    answers: list[msgspec.Raw]


class Finish(msgspec.Struct, frozen=True, tag="finish"):
    """Asks for what has come to be written now."""


class Written(msgspec.Struct, frozen=True, tag="written"):
    """Tells that all batches up to a number are in files."""

    number: int


class Problem(msgspec.Struct, frozen=True, tag="problem"):
    """Tells why nothing can be written; None: it can be again."""

    text: str | None


encode = msgspec.msgpack.Encoder().encode
to_writer = msgspec.msgpack.Decoder(Scorer | Batch | Finish)
to_server = msgspec.msgpack.Decoder(Written | Problem)


def scorer_name(digest: str, version: str | None) -> str:
    """Return what answers call the bundle of a version."""
    return f"{digest} {version}"


def _kind(field: Input) -> Kind:
    """Return the type of a numeric input in the log: one that may be beyond what is exact stays a double."""
    if field.type != "integer":
        return "boolean" if field.type == "boolean" else "number"
    bounds = (field.min, field.max)
    return "integer" if all(bound is not None and abs(bound) < _EXACT for bound in bounds) else "number"
