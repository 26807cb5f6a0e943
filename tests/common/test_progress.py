"""Progress of long work: lines in a log without a terminal, a bar on one, nothing where it is not wanted."""

from __future__ import annotations

import io
import logging
from contextlib import redirect_stderr

import pytest

from common.text import progress
from common.text.progress import Progress, tracked


@pytest.fixture
def ten_seconds_a_look(monkeypatch, caplog):
    """A clock that shows ten seconds more whenever it is looked at, and a log of everything."""
    clock = iter(range(0, 1000, 10))
    monkeypatch.setattr(progress.time, "monotonic", lambda: float(next(clock)))
    caplog.set_level(logging.INFO)


class Terminal(io.StringIO):
    """A terminal to put in the place of standard error."""

    def isatty(self) -> bool:
        return True


def test_without_a_terminal_lines_come_at_the_start_every_30_seconds_and_at_the_end(ten_seconds_a_look, caplog, capsys):
    with Progress("Decoding frames", total=2430, start=2420, unit="frame") as decoding:
        for number in range(10):
            decoding.advance(numbers={"size": f"{number} MB"} if number > 4 else None)
    assert caplog.messages == [
        "Decoding frames: 10 frames",
        "Decoding frames: frame 2,423 of 2,430, 70 s left",
        "Decoding frames: frame 2,426 of 2,430, size 5 MB, 40 s left",
        "Decoding frames: frame 2,429 of 2,430, size 8 MB, 10 s left",
        "Decoding frames: 10 frames in 2 min, size 9 MB",
    ]
    assert "\r" not in capsys.readouterr().err


def test_a_part_of_other_work_logs_only_the_lines_between(ten_seconds_a_look, caplog):
    with Progress("training", total=1, unit="iteration") as training:
        assert list(tracked("abcd", "Scoring", unit="frame")) == ["a", "b", "c", "d"]
        training.advance()
    assert [line for line in caplog.messages if line.startswith("Scoring")] == ["Scoring: frame 3 of 4, 10 s left"]
    caplog.clear()
    assert list(tracked("ab", "Scoring", unit="frame")) == ["a", "b"]
    assert caplog.messages == ["Scoring: 2 frames", "Scoring: 2 frames in 30 s"]


def test_work_that_fails_has_no_last_line_and_does_not_change_the_next(ten_seconds_a_look, caplog):
    with pytest.raises(ValueError, match="damaged"), Progress("Decoding frames", total=3, unit="frame"):
        raise ValueError("damaged")
    assert caplog.messages == ["Decoding frames: 3 frames"]
    caplog.clear()
    with Progress("Scoring", total=1, unit="frame"):
        pass
    assert caplog.messages == ["Scoring: 1 frame", "Scoring: 0 frames in 10 s"]


@pytest.mark.parametrize(("shown", "total"), [(False, 3), (True, 0)])
def test_nothing_is_shown_unasked_or_of_no_work(ten_seconds_a_look, caplog, capsys, shown, total):
    with redirect_stderr(Terminal()) as terminal:
        assert list(tracked(range(total), "Scoring", unit="frame", shown=shown)) == list(range(total))
    assert list(tracked(range(total), "Scoring", unit="frame", shown=shown)) == list(range(total))
    assert not caplog.messages and capsys.readouterr().err == terminal.getvalue() == ""


def test_a_terminal_gets_a_bar_and_the_log_no_lines(caplog):
    caplog.set_level(logging.INFO)
    with redirect_stderr(Terminal()) as terminal:
        assert list(tracked("abc", "Scoring", unit="frame")) == ["a", "b", "c"]
    assert "Scoring: 100%" in terminal.getvalue() and "3/3" in terminal.getvalue()
    assert not caplog.messages
