"""What a run shows of its progress: nothing for a short one, a line now and then, a bar on a terminal."""

import os
import pty
import subprocess
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trunkline.core import durations
from trunkline.core.progress import EVERY, Bar, track


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


def test_without_a_terminal_a_long_run_is_a_line_now_and_then(capsys: pytest.CaptureFixture[str]) -> None:
    clock = Clock()
    with Bar("measuring", 10, "rows", clock) as bar:
        for _ in range(9):
            clock.now += EVERY / 4
            bar.advance()
        bar.rename("searching")
        clock.now += EVERY
        bar.update(9, note="best so far 0.7")
    assert capsys.readouterr().err.splitlines() == [
        "measuring: 4 of 10 rows, about 45 s left",
        "measuring: 8 of 10 rows, about 15 s left",
        "searching: 9 of 10 rows, about 11 s left, best so far 0.7",
    ]


def test_a_short_run_prints_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    assert list(track(range(1000), "counting")) == list(range(1000))
    with Bar("waiting"):
        pass
    assert capsys.readouterr() == ("", "")


def test_on_a_terminal_there_is_a_bar_which_is_gone_at_the_end() -> None:
    script = "from trunkline.core.progress import Bar\nwith Bar('[b]fitting', 4, 'models') as bar: bar.advance(2)"
    reader, writer = pty.openpty()
    environ = os.environ | {"TERM": "xterm", "COLUMNS": "100"}
    subprocess.run([sys.executable, "-c", script], stderr=writer, env=environ, check=True)
    os.close(writer)
    shown = os.read(reader, 1 << 16).decode()
    os.close(reader)
    assert "[b]fitting" in shown
    assert "2 of 4 models, about" in shown
    assert shown.rstrip().endswith("\x1b[2K")  # its row is erased


@given(st.integers(0, 10**6))
def test_a_duration_in_words_is_right_to_its_second_unit(seconds: int) -> None:
    units = {"h": 3600, "min": 60, "s": 1}
    words = durations.in_words(seconds).split()
    said = sum(int(number) * units[unit] for number, unit in zip(words[::2], words[1::2], strict=True))
    assert 0 <= seconds - said < (60 if seconds >= 3600 else 1)
