"""What conf/serving declares of a stream, and what the verb is told, is refused with a word where it does not fit."""

import sys
from threading import Event

import pytest
import yaml
from click.testing import CliRunner
from pydantic import ValidationError

from trunkline.cli.stream import stream
from trunkline.conf.serving import Serving, Stream
from trunkline.core.errors import UserError
from trunkline.serve.stream.open import open_channel

STREAM = {"broker": "kafka://one:9092,two:9092", "requests": "r", "answers": "a", "dead_letters": "d"}
EVENTS = {"e": {"table": "trips", "dead_letters": "f"}}


@pytest.mark.parametrize(
    ("declared", "words"),
    [
        ({"stream": STREAM | {"batch": 200}, "limits": {"rows": 100}}, "more than limits.rows"),
        ({"stream": STREAM | {"events": EVENTS}}, "needs online"),
        ({"stream": STREAM | {"answers": "r"}}, "topic r: is there more than once"),
        ({"stream": STREAM | {"broker": "kafka://me:secret@one:9092"}}, "broker"),
        ({"stream": STREAM | {"broker": "amqp://one"}}, "broker"),
        ({"stream": STREAM | {"requests": "all.>"}}, "requests"),
    ],
)
def test_what_does_not_fit_is_refused(declared, words):
    with pytest.raises(ValidationError, match=words):
        Serving.parse(declared)


@pytest.mark.parametrize(
    ("broker", "extra"), [("kafka://one:9092", "stream-kafka"), ("nats://one:4222", "stream-nats")]
)
def test_a_client_that_is_not_installed_is_named_with_its_extra(monkeypatch, broker, extra):
    module = "confluent_kafka" if extra == "stream-kafka" else "nats"
    for name in [name for name in sys.modules if name.startswith("trunkline.serve.stream.") or name == module]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, module, None)
    declared = Stream(**STREAM | {"broker": broker})
    with pytest.raises(UserError, match=rf"pip install 'trunkline\[{extra}\]'"):
        open_channel(declared, {}, None, Event(), "r", "a", "d")


def test_the_verb_says_what_is_not_declared_and_what_is_no_partition(tmp_path):
    packaging = {
        "on_bad_row": "stop",
        "tolerance": 1e-9,
        "golden_rows": 20,
        "card": {"intended_use": "to add up numbers"},
    }
    (tmp_path / "params.yaml").write_text(yaml.safe_dump({"bundle": packaging, "serving": {}}), encoding="utf-8")
    given = ["--project", str(tmp_path)]
    undeclared = CliRunner().invoke(stream, given)
    assert isinstance(undeclared.exception, UserError)
    assert "serving.stream: is not declared" in str(undeclared.exception)
    assert "is no list of numbers" in CliRunner().invoke(stream, [*given, "--partitions", "0,x"]).output
