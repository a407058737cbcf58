"""The keys of the log at rest: there, keys at all, not the same, and not for everybody to read."""

import base64
from pathlib import Path

import pytest

from tests.doctor.conftest import found
from trunkline.doctor import log

OLD, NEW = (base64.b64encode(bytes([number]) * 32).decode() for number in (1, 2))


@pytest.fixture
def sealing(project):
    project.params(serving={"log": {"to": "log", "encrypt": {"key": "NEW", "before": ["OLD"]}}})
    return project


def state(project, **environ):
    return {what: each.state for what, each in found(log.check, project, environ).items()}


def test_keys_that_can_be_used_work_and_what_is_not_set_is_not_set_up(sealing):
    assert state(sealing, NEW=NEW, OLD=OLD) == {"log key NEW": "works", "log key OLD": "works"}
    assert state(sealing, NEW=NEW) == {"log key NEW": "works", "log key OLD": "not set up"}
    assert state(sealing, OLD=OLD)["log key NEW"] == "not set up"


def test_what_is_no_key_or_an_older_one_fails_and_is_not_shown(sealing):
    wrong = found(log.check, sealing, {"NEW": "c2hvcnQ=", "OLD": OLD})["log key NEW"]
    assert (wrong.state, "c2hvcnQ=" in str(wrong), "openssl rand" in wrong.advice) == ("fails", False, True)
    same = found(log.check, sealing, {"NEW": NEW, "OLD": NEW})["log key OLD"]
    assert (same.state, NEW in str(same)) == ("fails", False)
    assert "take OLD out of serving.log.encrypt.before" in same.advice


def test_a_file_that_everybody_can_read_fails(sealing, tmp_path):
    key: Path = tmp_path / "key"
    key.write_text(NEW)
    for mode, expected in ((0o644, "fails"), (0o640, "works"), (0o600, "works")):
        key.chmod(mode)
        finding = found(log.check, sealing, {"NEW": str(key)})["log key NEW"]
        assert finding.state == expected
        assert (f"chmod o-rwx {key}" in finding.advice) == (expected == "fails")


def test_a_plain_log_is_said_and_no_log_is_not_asked_for(project):
    project.params(serving={"log": {"to": "log"}})
    assert state(project) == {"log": "not set up"}
    project.params(serving={"bind": "127.0.0.1:8000"})
    assert state(project) == {}
