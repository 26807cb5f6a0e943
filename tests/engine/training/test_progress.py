from __future__ import annotations

import logging

import pytest

from engine.training import progress
from engine.training.progress import Progress, Reading, duration


def test_without_a_terminal_a_line_comes_now_and_then(caplog, monkeypatch):
    clock = iter(range(0, 1000, 10))
    monkeypatch.setattr(progress.time, "monotonic", lambda: float(next(clock)))
    caplog.set_level(logging.INFO)
    with Progress("STG", total=100, start=90) as shown:
        for iteration in range(91, 101):
            shown.advance(iteration, [Reading(iteration=iteration, loss=0.5, psnr=20.0, gaussians=7)])
    lines = [record.getMessage() for record in caplog.records]
    assert lines == [
        "STG: iteration 93 of 100, PSNR 20.00, loss 0.5000, Gaussians 7, 70 s left",
        "STG: iteration 96 of 100, PSNR 20.00, loss 0.5000, Gaussians 7, 40 s left",
        "STG: iteration 99 of 100, PSNR 20.00, loss 0.5000, Gaussians 7, 10 s left",
    ]


def test_quiet_shows_nothing(caplog, monkeypatch, capsys):
    monkeypatch.setattr(progress, "LINE_EVERY", 0.0)
    caplog.set_level(logging.INFO)
    with Progress("STG", total=2, quiet=True) as shown:
        shown.advance(1)
    assert not caplog.records and capsys.readouterr().err == ""


def test_psnr_is_smoothed():
    with Progress("STG", total=9, quiet=True) as shown:
        for psnr in (20.0, 30.0):
            shown.advance(1, [Reading(iteration=1, loss=0.0, psnr=psnr)])
    assert shown.psnr == pytest.approx(20.2)


def test_durations_are_for_people():
    assert [duration(s) for s in (4, 89, 100, 3590, 11100)] == ["4 s", "89 s", "2 min", "1 h 00 min", "3 h 05 min"]
