"""A topic of Kafka: answers go to the partition of the same number, whose end says how far the requests are answered.

Each process is assigned its partitions, and asks no group for them. In a partition, dead letters of a batch are written
before its answers, and answers in the order of their requests: all up to the last answered offset is done, and beyond
it what stands among the last dead letters. So a process that takes the place of a killed one needs no clock, and no
transactions of the broker; the committed offset only saves it from reading what it would skip.
"""

import logging
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, field
from threading import Event
from typing import Any

from confluent_kafka import Consumer, KafkaError, KafkaException, Producer, TopicPartition
from confluent_kafka import Message as KafkaMessage

from trunkline.core.errors import OutsideError, UserError
from trunkline.serve.http import REQUEST_ID
from trunkline.serve.stream.message import SOURCE, Message, OutageError, Record, request_id

_SECONDS = 10.0  # that the broker may take to answer what is asked at the start
_LOOK = 1.0  # seconds between two looks at whether it is to stop
_NONE = -1  # an offset before all
_LARGE = {"message.max.bytes": "1000000000"}  # the broker alone decides what is too large

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Topics:
    """A topic that is read, and those that are written to; `partitions` are whose messages are read, None for all."""

    requests: str
    answers: str | None
    dead_letters: str
    partitions: Collection[int] | None = None

    @property
    def written(self) -> list[str]:
        """The topics that are written to."""
        return [name for name in (self.answers, self.dead_letters) if name]


@dataclass(frozen=True)
class Reading:
    """The group that offsets are committed for, messages of a batch, and the seconds that it waits to be full."""

    group: str
    batch: int
    wait: float


@dataclass
class _Done:
    """What is done of a partition: all up to an offset, and some offsets behind it.

    `next` is what is read next, and `committed` the offset that the broker knows.
    """

    upto: int
    dead: frozenset[int]
    next: int
    committed: int

    def has(self, offset: int) -> bool:
        return offset <= self.upto or offset in self.dead


@dataclass
class KafkaChannel:
    """Partitions of a topic, with what is done of each."""

    topics: Topics
    reading: Reading
    stop: Event
    _consumer: Consumer
    _producer: Producer
    _done: dict[int, _Done] = field(default_factory=dict)
    _failure: KafkaError | None = None

    @classmethod
    def open(cls, settings: dict[str, str], topics: Topics, reading: Reading, stop: Event) -> "KafkaChannel":
        """Find out what is done, and begin behind it.

        Raises OutageError where no broker answers, and UserError for topics that do not fit each other.
        """
        linger = {"fetch.wait.max.ms": str(max(1, int(reading.wait * 1000)))}  # at the end of a partition
        common = {**settings, "logger": logging.getLogger(f"{__name__}.client")}
        consuming = {"group.id": reading.group, "enable.auto.commit": False, "auto.offset.reset": "earliest"}
        consumer = Consumer(
            {**linger, **common, **consuming, "enable.partition.eof": True, "isolation.level": "read_committed"}
        )
        writing = {"enable.idempotence": True, "message.timeout.ms": 0}
        channel = cls(topics, reading, stop, consumer, Producer({**_LARGE, **common, **writing}))
        try:
            channel._begin()
        except KafkaException as error:
            channel.close()
            raise OutageError(f"Kafka: {_words(error)}") from None
        except BaseException:
            channel.close()
            raise
        return channel

    def fetch(self) -> list[Message]:
        """Return the next messages that are not done."""
        messages, trouble = [], None
        for each in self._consumed():
            if error := each.error():
                trouble = trouble if error.code() == KafkaError._PARTITION_EOF else error
                continue
            partition, offset = _place(each)
            done = self._done[partition]
            done.next = offset + 1
            if not done.has(offset):
                messages.append(_message(each))
        if not messages:
            self.finish([])  # what a process that was killed has done, and not committed
        if trouble is not None and not messages:  # what was read before it is not dropped
            raise OutageError(f"Kafka: {trouble.str()}")
        return messages

    def write(self, answers: Sequence[Record], dead: Sequence[Record]) -> list[bool]:
        """Write dead letters, and then answers; every answer is new, since what is answered is not read."""
        self._produce(self.topics.dead_letters, dead)
        if self.topics.answers:
            self._produce(self.topics.answers, answers)
        return [True] * len(answers)

    def finish(self, messages: Sequence[Message]) -> None:
        """Commit the offsets behind all that was read: messages of the batch, and those between that are skipped."""
        ahead = {partition: done.next for partition, done in self._done.items() if done.next > done.committed}
        if not ahead:
            return
        try:
            offsets = [TopicPartition(self.topics.requests, *each) for each in ahead.items()]
            self._consumer.commit(offsets=offsets, asynchronous=False)
        except KafkaException as error:
            raise OutageError(f"Kafka: {_words(error)}") from None
        for partition, offset in ahead.items():
            self._done[partition].committed = offset

    @property
    def lag(self) -> int:
        """How many messages the partitions hold that were not read."""
        waiting = 0
        for partition, done in self._done.items():
            marks = self._consumer.get_watermark_offsets(TopicPartition(self.topics.requests, partition), cached=True)
            waiting += max(0, marks[1] - done.next) if marks else 0
        return waiting

    def close(self) -> None:
        """Leave the broker; what it has not taken by now is given up."""
        self._producer.purge()
        self._producer.flush(_LOOK)
        self._consumer.close()

    def _begin(self) -> None:
        for partition in self._partitions():
            self._done[partition] = self._state(partition)
        starts = [TopicPartition(self.topics.requests, each, done.next) for each, done in self._done.items()]
        self._consumer.assign(starts)
        for start in starts:
            _log.info("reads partition %d of %s from offset %d", start.partition, start.topic, start.offset)

    def _partitions(self) -> list[int]:
        """Return whose messages are read; raises UserError for a partition that a topic lacks."""
        counts = {name: self._count(name) for name in (self.topics.requests, *self.topics.written)}
        every = range(counts[self.topics.requests])
        for name in self.topics.written:
            if counts[name] < len(every):
                raise UserError(
                    f"topic {name}: has {counts[name]} partitions, and {self.topics.requests} {len(every)}: what comes "
                    "of a partition is written to that of the same number; give it as many"
                )
        wanted = every if self.topics.partitions is None else self.topics.partitions
        return [each for each in wanted if each in every]

    def _count(self, topic: str) -> int:
        known = self._consumer.list_topics(topic, timeout=_SECONDS).topics.get(topic)
        if known is None or known.error or not known.partitions:
            raise UserError(f"topic {topic}: is not there; make it, or name another in serving.stream")
        return len(known.partitions)

    def _state(self, partition: int) -> _Done:
        """Return what is done of a partition, by what was written, and by the committed offset."""
        here = TopicPartition(self.topics.requests, partition)
        (committed,) = self._consumer.committed([here], timeout=_SECONDS)
        low, high = self._consumer.get_watermark_offsets(here, timeout=_SECONDS)
        answered = (
            max(self._sources(self.topics.answers, partition, 1), default=_NONE) if self.topics.answers else _NONE
        )
        start = max(committed.offset, answered + 1, low)
        if answered >= high and not self._has(partition, answered):
            raise UserError(
                f"topic {self.topics.answers}: partition {partition} answers offset {answered} of {here.topic}, which "
                "ends before it: they do not belong together; name topics that do"
            )
        dead = frozenset(each for each in self._refused(partition, start) if each >= start)
        return _Done(answered, dead, start, committed.offset)

    def _refused(self, partition: int, start: int) -> list[int]:
        """Return the offsets of the last dead letters, back to one before `start` if there is one."""
        last = self.reading.batch
        while len(refused := self._sources(self.topics.dead_letters, partition, last)) >= last:
            if min(refused) < start:
                break
            last *= 2
        return refused

    def _has(self, partition: int, offset: int) -> bool:
        return any(_place(each)[1] >= offset for each in self._tail(self.topics.requests, partition, 1))

    def _sources(self, topic: str, partition: int, last: int) -> list[int]:
        """Return the offsets of the messages that the last records of a partition are of."""
        return [self._source(each) for each in self._tail(topic, partition, last)]

    def _source(self, record: KafkaMessage) -> int:
        text = _header(record, SOURCE) or ""
        topic, _, place = text.partition(":")
        partition, _, offset = place.partition(":")
        if topic != self.topics.requests or partition != str(record.partition()) or not offset.isdecimal():
            raise UserError(
                f"topic {record.topic()}: offset {record.offset()} of partition {record.partition()} is of "
                f"{text[:100] or 'something else'}, not of {self.topics.requests}: nothing else may write there"
            )
        return int(offset)

    def _tail(self, topic: str, partition: int, last: int) -> Iterator[KafkaMessage]:
        """Yield the last records of a partition, so many or more."""
        low, high = self._consumer.get_watermark_offsets(TopicPartition(topic, partition), timeout=_SECONDS)
        if high <= low:
            return
        self._consumer.assign([TopicPartition(topic, partition, max(low, high - last))])
        while (record := self._consumer.poll(_SECONDS)) is not None:
            error = record.error()
            if error is None:
                yield record
            elif error.code() == KafkaError._PARTITION_EOF:
                return
            elif not error.retriable():
                raise KafkaException(error)
        raise OutageError(f"Kafka: the end of {topic} does not come")

    def _consumed(self) -> list[KafkaMessage]:
        try:
            return self._consumer.consume(self.reading.batch, self.reading.wait)
        except KafkaException as error:
            raise OutageError(f"Kafka: {_words(error)}") from None

    def _produce(self, topic: str, records: Sequence[Record]) -> None:
        for record in records:
            partition, _ = record.message.handle
            while True:
                try:
                    self._producer.produce(
                        topic, record.body, record.message.id, partition, self._delivered, headers=dict(record.headers)
                    )
                    break
                except BufferError:  # the client's own queue is full
                    self._producer.poll(_LOOK)
        self._flush(topic)

    def _flush(self, topic: str) -> None:
        """Return when the broker has all; the client itself tries again, in order and without doubling anything."""
        waited = False
        while self._producer.flush(_LOOK):
            if not waited:
                _log.error("%s: waits for the broker", topic)
            waited = True
            if self.stop.is_set():
                raise OutageError("the broker does not answer")
        if self._failure:
            raise OutsideError(f"topic {topic}: the broker does not take what is written: {self._failure.str()}")
        if waited:
            _log.info("%s: goes on", topic)

    def _delivered(self, error: KafkaError | None, _: KafkaMessage) -> None:
        self._failure = self._failure or error


def _message(read: KafkaMessage) -> Message:
    place = f"{read.topic()}:{read.partition()}:{read.offset()}"
    kind, milliseconds = read.timestamp()
    at = milliseconds / 1000 if kind else None
    return Message(request_id(_header(read, REQUEST_ID), place), read.value() or b"", place, at, _place(read))


def _place(read: KafkaMessage) -> tuple[int, int]:
    """Return the partition and the offset of a message that was read."""
    partition, offset = read.partition(), read.offset()
    assert partition is not None  # noqa: S101  only what is to be written has none
    assert offset is not None  # noqa: S101
    return partition, offset


def _header(read: KafkaMessage, name: str) -> str | None:
    """Return the last header of a name, which may be written in any case."""
    headers: Any = read.headers() or ()
    values = [value for key, value in headers if key.lower() == name]
    return values[-1].decode("latin-1") if values and isinstance(values[-1], bytes) else None


def _words(error: KafkaException) -> str:
    cause = error.args[0]
    return cause.str() if isinstance(cause, KafkaError) else str(cause)
