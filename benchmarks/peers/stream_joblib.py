"""A plain consumer, as tutorials write one: the fitted scikit-learn pipeline scores each message of a topic.

Run as: python stream_joblib.py BROKER REQUESTS ANSWERS MODEL
"""

import asyncio
import json
import sys
import time

import joblib
import pandas as pd


def score(model, body: bytes) -> bytes:
    """Return the answer to a message."""
    return json.dumps({"score": float(model.predict_proba(pd.DataFrame([json.loads(body)]))[0, 1])}).encode()


def kafka(broker: str, requests: str, answers: str, model) -> None:
    """Answer the two partitions of a topic."""
    from confluent_kafka import Consumer, Producer, TopicPartition

    settings = {"bootstrap.servers": broker}
    consumer = Consumer(settings | {"group.id": "plain", "enable.auto.commit": False, "fetch.wait.max.ms": 50})
    consumer.assign([TopicPartition(requests, number, 0) for number in (0, 1)])
    producer = Producer(settings)
    committed = time.monotonic()
    while True:
        message = consumer.poll(1)
        if message is None or message.error():
            continue
        producer.produce(answers, score(model, message.value()), message.key(), message.partition())
        producer.poll(0)
        if time.monotonic() > committed + 1:
            producer.flush()
            consumer.commit(message, asynchronous=False)
            committed = time.monotonic()


async def nats(broker: str, requests: str, answers: str, model) -> None:
    """Answer a subject."""
    from nats import connect

    client = await connect(broker)
    jetstream = client.jetstream()
    subscription = await jetstream.pull_subscribe(requests, "plain")
    while True:
        try:
            messages = await subscription.fetch(100, timeout=1)
        except TimeoutError:
            continue
        for message in messages:
            await jetstream.publish(answers, score(model, message.data))
            await message.ack()


if __name__ == "__main__":
    address, topic, answered, path = sys.argv[1:]
    loaded = joblib.load(path)
    if address.startswith("kafka"):
        kafka(address.removeprefix("kafka://"), topic, answered, loaded)
    else:
        asyncio.run(nats(address, topic, answered, loaded))
