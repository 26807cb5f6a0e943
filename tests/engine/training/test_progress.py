from __future__ import annotations

import logging

import pytest

from common.text import progress
from engine.training.progress import Reading, TrainingProgress


def test_a_line_has_the_numbers_of_the_training(caplog, monkeypatch):
    clock = iter(range(0, 1000, 10))
    monkeypatch.setattr(progress.time, "monotonic", lambda: float(next(clock)))
    caplog.set_level(logging.INFO)
    with TrainingProgress("STG", total=5000, start=4994) as shown:
        for iteration in range(4995, 5001):
            shown.finish_step([Reading(iteration=iteration, loss=0.5, psnr=20.0, gaussians=7000)])
    numbers = "training PSNR 20.00 dB, loss 0.5000, Gaussians 7,000"
    assert caplog.messages == [
        "STG: 6 iterations",
        f"STG: iteration 4,997 of 5,000, {numbers}, 30 s left",
        f"STG: iteration 5,000 of 5,000, {numbers}, 0 s left",
        f"STG: 6 iterations in 70 s, {numbers}",
    ]


def test_quiet_shows_nothing(caplog, monkeypatch, capsys):
    monkeypatch.setattr(progress, "LINE_EVERY", 0.0)
    caplog.set_level(logging.INFO)
    with TrainingProgress("STG", total=2, quiet=True) as shown:
        shown.finish_step()
    assert not caplog.records and capsys.readouterr().err == ""


def test_psnr_is_smoothed():
    with TrainingProgress("STG", total=9, quiet=True) as shown:
        for psnr in (20.0, 30.0):
            shown.finish_step([Reading(iteration=1, loss=0.0, psnr=psnr)])
    assert shown.psnr == pytest.approx(20.2)
