"""What a broker has to do: give out a topic's messages, take what comes of them, and know what is done."""

from collections.abc import Callable, Sequence
from typing import Protocol

from trunkline.serve.stream.message import Message, Record


class Channel(Protocol):
    """A topic that is read, and those that answers and dead letters are written to.

    Each method raises OutageError where the broker does not answer; it may be called again then.
    """

    def fetch(self) -> list[Message]:
        """Return a batch of messages that are not done, in order; none, if none has come in time."""
        ...

    def write(self, answers: Sequence[Record], dead: Sequence[Record]) -> list[bool]:
        """Return when the broker has all of them: whether each answer is new to it, or was there before."""
        ...

    def finish(self, messages: Sequence[Message]) -> None:
        """Tell the broker that these are done."""
        ...

    @property
    def lag(self) -> int:
        """How many messages wait in the topic that nobody was given yet, as the broker said last."""
        ...

    def close(self) -> None:
        """Leave the broker."""
        ...


Open = Callable[[], Channel]
