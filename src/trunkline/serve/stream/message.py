"""What is read of a broker, and what is written to it."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from trunkline.serve.http import REQUEST_ID, is_request_id
from trunkline.serve.problems import ProblemError

SOURCE = "trunkline-source"  # header of what is written: the message that it is made of
PROBLEM = "trunkline-problem"  # header of a dead letter: why it is one, as RFC 9457 has it


@dataclass(frozen=True, slots=True)
class Message:
    """A message of a topic: `source` is its place there, the same at each delivery; `handle` is the broker's own.

    `time` is when it was written, in seconds since 1970, None where that is not known.
    """

    id: str
    body: bytes
    source: str
    time: float | None
    handle: Any


@dataclass(frozen=True, slots=True)
class Record:
    """What is written because of a message, whose request id is its key; `body` is the answer or the message's own."""

    message: Message
    body: bytes
    headers: Mapping[str, str]


@dataclass(frozen=True)
class Outcome:
    """What became of a batch: its answers and dead letters, in order of the messages.

    `settle` is called when the broker has them, with whether each answer is new to it.
    """

    answers: Sequence[Record] = ()
    dead: Sequence[Record] = ()
    settle: Callable[[Sequence[bool]], None] = field(default=lambda new: None)


class OutageError(Exception):
    """Something outside does not answer now: it is tried again."""


def request_id(given: str | None, place: str) -> str:
    """Return the request id of a message: what its header gives, if it is short and printable, else its place."""
    return given if given and is_request_id(given) else place


def answer(message: Message, body: bytes) -> Record:
    """Return what answers a message."""
    return Record(message, body, {REQUEST_ID: message.id, SOURCE: message.source})


def dead_letter(message: Message, problem: ProblemError) -> Record:
    """Return a message that is refused, as it came, with the reason."""
    document = problem.document(message.id).decode()
    ascii_alone = "".join(each if each.isascii() else _escaped(each) for each in document)
    return Record(message, message.body, {REQUEST_ID: message.id, SOURCE: message.source, PROBLEM: ascii_alone})


def _escaped(character: str) -> str:
    """Return a character as JSON escapes it: headers are plain ASCII."""
    units = character.encode("utf-16-be")
    return "".join(f"\\u{units[place : place + 2].hex()}" for place in range(0, len(units), 2))
