"""A subject of NATS JetStream: an answer's Nats-Msg-Id is its request id, by which the broker drops what comes twice.

What is not acknowledged is given out again. So the streams that are written to have to remember ids for at least as
long as a redelivery takes, which is checked at the start.
"""

import asyncio
import logging
from collections.abc import Awaitable, Coroutine, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, TypeVar

import nats
from nats.aio.client import Client
from nats.aio.msg import Msg
from nats.errors import Error as NatsError
from nats.js import JetStreamContext
from nats.js.api import AckPolicy, ConsumerConfig, Header
from nats.js.errors import Error as JetStreamError
from nats.js.errors import NotFoundError

from trunkline.core.errors import UserError
from trunkline.serve.http import REQUEST_ID
from trunkline.serve.stream.message import Message, OutageError, Record, request_id

_Result = TypeVar("_Result")

_SECONDS = 5.0  # that the broker may take to answer
_OUTAGES = (NatsError, JetStreamError, OSError, TimeoutError)

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Subjects:
    """A subject that is read, and those that are written to."""

    requests: str
    answers: str | None
    dead_letters: str


@dataclass(frozen=True)
class Limits:
    """Messages of a batch, seconds that it waits to be full, messages out at once, and when they come again."""

    batch: int
    wait: float
    unacknowledged: int
    redelivery: timedelta


class JetStreamChannel:
    """A durable consumer of a subject. The client's tasks run while a method waits, in a loop of their own."""

    def __init__(self, runner: asyncio.Runner, client: Client, subjects: Subjects, limits: Limits) -> None:
        self._runner, self._client, self._subjects, self._limits = runner, client, subjects, limits
        self._jetstream: JetStreamContext = client.jetstream(timeout=_SECONDS)
        self._subscription: Any = None
        self._lag = 0

    @classmethod
    def open(
        cls, address: str, password: str | None, group: str, subjects: Subjects, limits: Limits
    ) -> "JetStreamChannel":
        """Check the streams, and bind the group's consumer, which is made or brought up to date.

        Raises OutageError where no broker answers, and UserError for streams that are missing or forget too soon.
        """
        runner = asyncio.Runner()
        try:
            channel = cls(runner, _run(runner, _connected(address, password)), subjects, limits)
        except BaseException:
            runner.close()
            raise
        try:
            _run(runner, channel._bind(group))
        except BaseException:
            channel.close()
            raise
        return channel

    def fetch(self) -> list[Message]:
        """Return the next messages."""
        return _run(self._runner, self._fetched())

    def write(self, answers: Sequence[Record], dead: Sequence[Record]) -> list[bool]:
        """Write dead letters, and then answers; the broker says which it had already."""
        _run(self._runner, self._published(self._subjects.dead_letters, dead))
        return _run(self._runner, self._published(self._subjects.answers or "", answers))

    def finish(self, messages: Sequence[Message]) -> None:
        """Acknowledge messages."""
        _run(self._runner, self._acknowledged([message.handle for message in messages]))

    @property
    def lag(self) -> int:
        """How many messages the consumer was not given yet."""
        return self._lag

    def close(self) -> None:
        """Leave the broker."""
        try:
            _run(self._runner, asyncio.wait_for(self._client.close(), _SECONDS))
        except OutageError:
            _log.info("leaves NATS, which does not answer")
        finally:
            self._runner.close()

    async def _bind(self, group: str) -> None:
        stream = await self._stream(self._subjects.requests)
        for subject in filter(None, (self._subjects.answers, self._subjects.dead_letters)):
            written = await self._stream(subject)
            if written == stream:
                raise UserError(
                    f"subject {subject}: is in the stream {stream}, as what is read; put it in one of its own"
                )
            await self._check_memory(written)
        name = f"{group}-{self._subjects.requests}".replace(".", "_")
        config = ConsumerConfig(
            durable_name=name,
            filter_subject=self._subjects.requests,
            ack_policy=AckPolicy.EXPLICIT,
            ack_wait=self._limits.redelivery.total_seconds(),
            max_ack_pending=self._limits.unacknowledged,
        )
        await self._jetstream.add_consumer(stream, config)
        self._subscription = await self._jetstream.pull_subscribe_bind(name, stream)

    async def _stream(self, subject: str) -> str:
        try:
            return await self._jetstream.find_stream_name_by_subject(subject)
        except NotFoundError:
            raise UserError(f"subject {subject}: no stream of NATS keeps it; make one, or name another") from None

    async def _check_memory(self, stream: str) -> None:
        info = await self._jetstream.stream_info(stream)
        window, redelivery = info.config.duplicate_window or 0, self._limits.redelivery.total_seconds()
        if window < redelivery:
            raise UserError(
                f"stream {stream}: remembers duplicates for {window:g} s (duplicate_window), and a message may come "
                f"again after {redelivery:g} s (serving.stream.redelivery): make the window longer"
            )

    async def _fetched(self) -> list[Message]:
        if not self._client.is_connected:
            await asyncio.sleep(self._limits.wait)  # the client comes back while this waits
            if not self._client.is_connected:
                raise OutageError("NATS does not answer")
        try:
            read: list[Msg] = await self._subscription.fetch(self._limits.batch, timeout=self._limits.wait)
        except TimeoutError:
            read = []
        self._lag = read[-1].metadata.num_pending if read else 0
        return [_message(each) for each in read]

    async def _published(self, subject: str, records: Sequence[Record]) -> list[bool]:
        waiting = []
        for record in records:
            headers = {**record.headers, Header.MSG_ID.value: record.message.id}
            body = record.body if len(record.body) + _size(headers) <= self._client.max_payload else b""
            waiting.append(await self._jetstream.publish_async(subject, body, _SECONDS, headers=headers))
        said = await asyncio.wait_for(asyncio.gather(*waiting), _SECONDS)
        return [not each.duplicate for each in said]

    async def _acknowledged(self, messages: Sequence[Msg]) -> None:
        for message in messages:
            if not message._ackd:  # it may be tried again
                await message.ack()
        await self._client.flush(int(_SECONDS))


async def _connected(address: str, password: str | None) -> Client:
    async def _quietly(error: Exception) -> None:
        _log.debug("NATS: %r", error)

    connecting: Awaitable[Client] = nats.connect(
        address, password=password, max_reconnect_attempts=-1, reconnect_time_wait=0.2, error_cb=_quietly
    )
    return await asyncio.wait_for(connecting, _SECONDS)


def _run(runner: asyncio.Runner, work: Coroutine[Any, Any, _Result]) -> _Result:
    try:
        return runner.run(work)
    except _OUTAGES as error:
        raise OutageError(f"NATS: {error or type(error).__name__}") from None


def _size(headers: Mapping[str, str]) -> int:
    """Return how many bytes headers take at most, with what stands around them."""
    return 64 + sum(len(name) + len(value) + 4 for name, value in headers.items())


def _message(read: Msg) -> Message:
    at = read.metadata
    place = f"{at.stream}:{at.sequence.stream}"
    given = next((value for key, value in (read.headers or {}).items() if key.lower() == REQUEST_ID), None)
    return Message(request_id(given, place), read.data, place, at.timestamp.timestamp(), read)
