"""What verbs print alike."""

import sys

import pytest

from trunkline.cli import output
from trunkline.core import durations


@pytest.mark.parametrize("at_a_terminal", [True, False])
def test_how_long_a_verb_last_took_is_said_at_a_terminal_alone(tmp_path, monkeypatch, capsys, at_a_terminal):
    (tmp_path / ".dvc").mkdir()
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys.stderr, "isatty", lambda: at_a_terminal)
    durations.write(tmp_path, "trunkline release", 200.4)
    with output.timed("trunkline release"):
        pass
    said = capsys.readouterr().err
    assert said == ("trunkline release: took 3 min 20 s when it last ran here\n" if at_a_terminal else "")
    assert durations.read(tmp_path)["trunkline release"] < 100
