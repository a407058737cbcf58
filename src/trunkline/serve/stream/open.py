"""Opens the topics that conf/serving declares, at the broker that its address names."""

from collections.abc import Collection, Mapping
from threading import Event

from trunkline.conf.serving import Stream
from trunkline.core.errors import UserError
from trunkline.serve.stream.channel import Channel

PASSWORD = "TRUNKLINE_STREAM_PASSWORD"  # noqa: S105  the variable


def open_channel(  # noqa: PLR0913, PLR0917  what is read, what is written, and how
    declared: Stream,
    environ: Mapping[str, str],
    partitions: Collection[int] | None,
    stop: Event,
    topic: str,
    answers: str | None,
    dead_letters: str,
) -> Channel:
    """Open a topic, and those that are written to; `partitions` are whose messages are read, None for all.

    Raises UserError for a client that is not installed and as the broker's channel does, OutageError for a broker
    that does not answer.
    """
    scheme, _, place = declared.broker.partition("://")
    try:
        if scheme == "kafka":
            from trunkline.serve.stream import kafka  # noqa: PLC0415  an extra

            settings = {"bootstrap.servers": place, **declared.options}
            if environ.get(PASSWORD):
                settings["sasl.password"] = environ[PASSWORD]
            topics = kafka.Topics(topic, answers, dead_letters, partitions)
            reading = kafka.Reading(declared.group, declared.batch, declared.wait)
            return kafka.KafkaChannel.open(settings, topics, reading, stop)
        from trunkline.serve.stream import jetstream  # noqa: PLC0415  an extra

        limits = jetstream.Limits(declared.batch, declared.wait, declared.unacknowledged, declared.redelivery)
        subjects = jetstream.Subjects(topic, answers, dead_letters)
        return jetstream.JetStreamChannel.open(declared.broker, environ.get(PASSWORD), declared.group, subjects, limits)
    except ModuleNotFoundError as error:
        extra = "stream-kafka" if scheme == "kafka" else "stream-nats"
        raise UserError(f"serving.stream: needs {error.name}: pip install 'trunkline[{extra}]'") from None
